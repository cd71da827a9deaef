"""Scores: what is right, missed, badly placed or not there at all, worked out by hand; and the page of failures."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="scores need the [train] extra")

from perception.training.dataset import Item, items_of
from perception.training.scoring.evaluate import Scores, evaluate, operating_point
from perception.training.scoring.gallery import write_gallery
from robot.core.messages import Detection, ObjectClass

ROBOT, BALL = ObjectClass.ROBOT, ObjectClass.BALL
BOX = {ROBOT: (20.0, 20.0, 70.0, 70.0), BALL: (100.0, 20.0, 110.0, 30.0)}
"""The labels of every picture, 200x100: a robot of medium size and a small ball; no goal, nothing large."""


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for k in range(2):
        cv2.imwrite(str(tmp_path / "images" / f"{k}.png"), np.zeros((100, 200, 3), np.uint8))
        (tmp_path / "labels" / f"{k}.txt").write_text("0 0.225 0.45 0.25 0.5\n1 0.525 0.25 0.05 0.1\n")
    return items_of(tmp_path)


def seen(kind: ObjectClass, score: float = 0.9, right: float = 0.0) -> Detection:
    x0, y0, x1, y1 = BOX.get(kind, (150.0, 50.0, 190.0, 90.0))
    return Detection(object_class=kind, score=score, box_px=(x0 + right, y0, x1 + right, y1))


def classes(scores: Scores, which: int = 1) -> list[float]:
    return [values[which] for _, values in scores.per_class]


def test_all_found_is_one_and_what_is_not_there_has_no_score(items: list[Item]) -> None:
    scores = evaluate([(item, [seen(ROBOT), seen(BALL)]) for item in items])
    assert (scores.pictures, scores.ap, scores.ap50) == (2, pytest.approx(1.0), pytest.approx(1.0))
    assert classes(scores) == pytest.approx([1.0, 1.0, math.nan], nan_ok=True)
    assert scores.by_size == pytest.approx((1.0, 1.0, math.nan), nan_ok=True)


def test_half_found_and_a_false_box_that_is_surer(items: list[Item]) -> None:
    """One of two robots (recall 0.5, 51 of 101 points); its ball twice, the better box beside it (precision 1/2)."""
    scores = evaluate([(items[0], [seen(ROBOT), seen(BALL, 0.95, right=30.0), seen(BALL, 0.5)]), (items[1], [])])
    assert classes(scores) == pytest.approx([51 / 101, 0.5 * 51 / 101, math.nan], nan_ok=True)


def test_a_box_that_sits_badly_counts_at_the_loose_threshold_only(items: list[Item]) -> None:
    """Shifted by a fifth of its width: IoU 2/3, above 0.5, 0.55, 0.6 and 0.65 of the ten thresholds."""
    scores = evaluate([(item, [seen(ROBOT, right=10.0)]) for item in items])
    assert scores.per_class[0][1] == pytest.approx((0.4, 1.0, 0.0))


def test_nothing_found_is_what_only_wrong_boxes_would_give(items: list[Item]) -> None:
    wrong = evaluate([(item, [seen(ROBOT, right=100.0), seen(BALL, right=60.0)]) for item in items])
    nothing = evaluate([(item, []) for item in items])
    assert nothing.ap == wrong.ap == 0.0
    for which in range(3):
        assert classes(nothing, which) == pytest.approx(classes(wrong, which), nan_ok=True)
    assert nothing.by_size == pytest.approx(wrong.by_size, nan_ok=True)
    assert nothing.by_size == pytest.approx((0.0, 0.0, math.nan), nan_ok=True)


def test_the_operating_point_counts_above_its_score_only(items: list[Item]) -> None:
    results = [(items[0], [seen(ROBOT), seen(ROBOT, 0.8, right=80.0), seen(BALL, 0.2)]), (items[1], [seen(ROBOT)])]
    rows = dict(operating_point(results, 0.3).per_class)
    assert rows["robot"] == pytest.approx((2 / 3, 1.0, 0.5))
    assert rows["ball"] == pytest.approx((math.nan, 0.0, 0.0), nan_ok=True)
    assert rows["goal"] == pytest.approx((math.nan, math.nan, 0.0), nan_ok=True)


def test_the_gallery_shows_the_worst_first_and_no_flawless_picture(items: list[Item], tmp_path: Path) -> None:
    results = [(items[0], [seen(ROBOT), seen(BALL)]), (items[1], [seen(ROBOT, right=100.0)])]
    page = write_gallery(results, tmp_path / "gallery", 0.3).read_text()
    assert page.count("<figure>") == 1
    assert "1.png: 3 mistakes" in page
    assert "Confusion at score 0.3" in page
