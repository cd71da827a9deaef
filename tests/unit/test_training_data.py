"""Labelled pictures, the split and the augmentation: labels stay on their objects."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.training.augment import augment
from perception.training.config import AugmentConfig, SourceConfig, load_recipe
from perception.training.dataset import (
    IGNORE,
    Sample,
    held_back_items,
    items_of,
    load_split,
    read_yolo,
    training_items,
)
from perception.training.paste import Pieces
from robot.core.errors import ConfigError, DataError
from tests.helpers import PROJECT, shared_data

SIZE = (416, 320)
QUIET = AugmentConfig(colour=0, strong_cast=0, blur=0, noise=0, jpeg=0, paste_balls=0, clutter=0)


def test_yolo_lines_become_edges_in_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("1 0.5 0.25 0.1 0.2\n\n2 0.95 0.5 0.2 0.5\n")
    boxes, classes = read_yolo(path, (200, 100))
    np.testing.assert_allclose(boxes, [[90, 15, 110, 35], [170, 25, 200, 75]], atol=1e-4)  # the second is clipped
    assert classes.tolist() == [1, 2]


def test_an_empty_label_file_is_a_true_negative(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("")
    boxes, classes = read_yolo(path, (200, 100))
    assert boxes.shape == (0, 4)
    assert classes.shape == (0,)


@pytest.mark.parametrize("text", ["1 0.5 0.5\n", "ball 0.5 0.5 0.1 0.1\n", "7 0.5 0.5 0.1 0.1\n", None])
def test_labels_that_do_not_fit_are_refused(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError):
        read_yolo(path, (200, 100))


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"docs/training\.md"):
        items_of(tmp_path)


def marked(seed: int) -> Sample:
    """A grey picture with bright marks; each mark's label fits it exactly."""
    rng = np.random.default_rng(seed)
    image = np.full((224, 224, 3), 40, np.uint8)
    boxes = []
    for _ in range(3):
        x, y = rng.integers(5, 180, 2).tolist()
        w, h = rng.integers(14, 34, 2).tolist()
        if all(x > b[2] + 4 or x + w < b[0] - 4 or y > b[3] + 4 or y + h < b[1] - 4 for b in boxes):
            image[y : y + h, x : x + w] = 250
            boxes.append([x, y, x + w, y + h])
    return Sample(image_bgr=image, boxes_px=np.asarray(boxes, np.float32), classes=np.full(len(boxes), 2, np.int64))


@pytest.mark.parametrize("plain", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_labels_stay_on_their_objects(seed: int, plain: float) -> None:
    config = AugmentConfig(**{**vars_of(QUIET), "plain": plain, "rotation_deg": 0.0})
    rng = np.random.default_rng(seed)
    sample = augment(lambda: marked(int(rng.integers(1000))), Pieces(), config, SIZE, rng)
    assert sample.image_bgr.shape == (320, 416, 3)
    bright = np.asarray(sample.image_bgr.min(axis=2) > 150, np.uint8)
    for box, kind in zip(sample.boxes_px, sample.classes, strict=True):
        if kind == IGNORE:
            continue
        x0, y0, x1, y1 = box
        inner = bright[int(np.ceil(y0 + 1)) : int(y1 - 1), int(np.ceil(x0 + 1)) : int(x1 - 1)]
        assert inner.size == 0 or inner.mean() > 0.9, (box, inner.mean())


def vars_of(config: AugmentConfig) -> dict[str, object]:
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


def test_the_same_seed_gives_the_same_picture() -> None:
    def one() -> NDArray[np.uint8]:
        rng = np.random.default_rng(5)
        balls = [np.full((20, 20, 3), (20, 90, 240), np.uint8)]
        return augment(lambda: marked(int(rng.integers(9))), Pieces(balls=balls), AugmentConfig(), SIZE, rng).image_bgr

    np.testing.assert_array_equal(one(), one())


def test_worn_pictures_have_grain_as_large_as_their_own_pixels() -> None:
    """Enlarged from 224 to 320 rows, such grain is alike from pixel to pixel; grain made on the input is not."""

    def likeness(**changes: object) -> float:
        config = AugmentConfig(**{**vars_of(QUIET), "plain": 1.0, "noise_sigma": (20.0, 20.0), **changes})
        image = np.full((224, 224, 3), 128, np.uint8)
        grey = Sample(image_bgr=image, boxes_px=np.zeros((0, 4), np.float32), classes=np.zeros(0, np.int64))
        rng = np.random.default_rng(1)
        pictures = (
            augment(lambda: grey, Pieces(), config, SIZE, rng).image_bgr[:, 60:350, 0] - 128.0 for _ in range(12)
        )
        grains = [p for p in pictures if p.std() > 5.0]
        assert len(grains) >= 3
        return float(np.mean([(p[:, 1:] * p[:, :-1]).mean() / p.var() for p in grains]))

    assert likeness(worn=1.0) > 0.4
    assert abs(likeness(noise=1.0)) < 0.1


def test_pasted_balls_are_labelled_where_they_are() -> None:
    ball = np.full((24, 24, 3), (20, 90, 240), np.uint8)
    config = AugmentConfig(**{**vars_of(QUIET), "plain": 1.0, "paste_balls": 1.0, "pasted_ball_px": (8.0, 20.0)})
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(5):
        sample = augment(lambda: marked(1), Pieces(balls=[ball]), config, SIZE, rng)
        for box in sample.boxes_px[sample.classes == 1]:
            x, y = ((box[:2] + box[2:]) / 2).astype(int)
            blue, _, red = sample.image_bgr[y, x].astype(int)
            assert red > blue + 60
            found += 1
    assert found >= 3


def test_held_back_pictures_are_never_trained_on() -> None:
    folder = shared_data("ssl-images")
    split = load_split("ssl_images")
    trained, chances = training_items(SourceConfig(folder=str(folder), split="ssl_images"), Path("/"))
    held = held_back_items(folder, "ssl_images")
    names = {i.image.stem for i in trained}
    assert not names & split.held_back
    assert not names & split.left_out
    assert len(trained) + len(held) + len(split.left_out) == len(items_of(folder)) == 651
    assert chances.sum() == pytest.approx(1.0)


def test_nothing_in_training_looks_nearly_like_a_held_back_picture() -> None:
    folder = shared_data("ssl-images")

    def thumbs(items: list) -> NDArray[np.float32]:  # type: ignore[type-arg]
        small = [cv2.resize(cv2.imread(str(i.image), 0), (16, 16), interpolation=cv2.INTER_AREA) for i in items]
        return np.asarray(small, np.float32).reshape(len(items), -1)

    trained = thumbs(training_items(SourceConfig(folder=str(folder), split="ssl_images"), Path("/"))[0])
    held = thumbs(held_back_items(folder, "ssl_images"))
    nearest = np.sqrt(((trained[:, None] - held[None]) ** 2).mean(-1)).min()
    assert nearest >= 12.0


def test_bands_are_ranges_of_file_numbers_and_may_overlap(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for k in (3, 188, 193, 250, 600):
        (tmp_path / "images" / f"{k:05d}.jpg").write_bytes(b"")
    bands = load_split("ssl_images").by_band(items_of(tmp_path))
    numbers = {name: [i.number for i in part] for name, part in bands.items()}
    assert numbers == {"photos": [3, 188, 193, 250], "photos_new_venue": [188, 250], "lab_video": [600]}


def test_emphasis_draws_a_range_more_often(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for k in range(4):
        (tmp_path / "images" / f"{k:05d}.jpg").write_bytes(b"")
    _, chances = training_items(SourceConfig(folder=str(tmp_path), emphasis=((0, 1, 3.0),)), Path("/"))
    assert chances.tolist() == pytest.approx([0.375, 0.375, 0.125, 0.125])


def test_shipped_recipes_load_and_an_unknown_one_lists_them() -> None:
    for name, size in (("full_real", (416, 320)), ("full_wide", (640, 480)), ("fast_hard", (320, 240))):
        assert load_recipe(name).model.anchors.input_size_px == size
    with pytest.raises(ConfigError, match="full_real"):
        load_recipe("nothing")
    with pytest.raises(ConfigError, match="'stepps'"):
        load_recipe("full", {"stepps": 3})
    assert (PROJECT / "perception" / "training" / "splits" / "ssl_images.toml").is_file()
