"""Degradations do what their names say, the same every time; the table says what each costs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="scores need the [train] extra")

from perception.training.dataset import Item, items_of
from perception.training.scoring import robustness as r
from robot.core.messages import Detection, ObjectClass

RNG = np.random.default_rng(0)
IMAGE = cv2.GaussianBlur(RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8), (0, 0), 1.0)


def apply(name: str) -> np.ndarray:  # type: ignore[type-arg]
    return r.DEGRADATIONS[name](IMAGE.copy(), np.random.default_rng(1))


def test_the_first_changes_nothing_and_each_other_does_and_repeats() -> None:
    assert np.array_equal(apply("as taken"), IMAGE)
    for name in list(r.DEGRADATIONS)[1:]:
        found = apply(name)
        assert found.shape == IMAGE.shape
        assert found.dtype == np.uint8
        assert not np.array_equal(found, IMAGE), name
        assert np.array_equal(found, apply(name)), name


def test_light_casts_noise_and_detail() -> None:
    assert apply("light dimmed to 50 %").mean() == pytest.approx(IMAGE.mean() / 2, rel=0.01)
    warm = apply("warm cast (red x 1.3, blue x 0.6)").mean((0, 1)) / IMAGE.mean((0, 1))
    assert warm[0] == pytest.approx(0.6, abs=0.01)
    assert 1.15 < warm[2] < 1.31  # bright pixels are clipped
    noise = apply("noise, sigma 12").astype(float) - IMAGE
    assert noise.std() == pytest.approx(12, rel=0.1)
    half, third = (cv2.Laplacian(apply(n), cv2.CV_64F).var() for n in list(r.DEGRADATIONS)[-2:])
    assert third < half < cv2.Laplacian(IMAGE, cv2.CV_64F).var()


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for k in range(3):
        image = np.full((60, 80, 3), 40, np.uint8)
        image[20:40, 20:40] = 200
        cv2.imwrite(str(tmp_path / "images" / f"{k}.png"), image)
        (tmp_path / "labels" / f"{k}.txt").write_text("1 0.375 0.5 0.25 0.333333\n")
    return items_of(tmp_path)


def test_a_detector_of_brightness_fails_in_the_dark(items: list[Item]) -> None:
    def detect(image: np.ndarray) -> list[Detection]:  # type: ignore[type-arg]
        rows, columns = np.nonzero(image[..., 1] > 120)
        if not rows.size:
            return []
        box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
        return [Detection(object_class=ObjectClass.BALL, score=0.9, box_px=box)]

    rows = r.measure(detect, items)
    scores = {row.name: row.scores for row in rows}
    assert scores["as taken"].per_class[1][1][1] == pytest.approx(1.0)
    assert scores["light dimmed to 25 %"].ap50 == 0.0
    lines = r.table(rows)
    assert len(lines) == 2 + len(r.DEGRADATIONS)
    assert "-1.000" in lines[4]


def test_every_run_and_every_model_sees_the_same_noise_and_each_picture_its_own(items: list[Item]) -> None:
    runs: list[list[bytes]] = [[], []]
    for seen in runs:
        r.measure(lambda image, seen=seen: seen.append(image.tobytes()) or [], items)
    assert runs[0] == runs[1]
    noisy = list(r.DEGRADATIONS).index("noise, sigma 12") * len(items)
    assert len(set(runs[0][noisy : noisy + len(items)])) == len(items), "the pictures are alike, their noise is not"
