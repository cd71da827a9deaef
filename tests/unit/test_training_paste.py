"""What is pasted into training pictures: labels follow what is pasted, and no label is painted over."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from perception.training.dataset import Sample
from perception.training.paste import cut_out_balls, cut_out_nothing, double_robots, paste_nothing

CARPET, ROBOT = (60, 140, 70), (20, 20, 25)


def a_sample(*boxes: tuple[int, int, int, int], kind: int = 0, size_px: tuple[int, int] = (320, 240)) -> Sample:
    """Return carpet with one dark block per box."""
    image = np.full((size_px[1], size_px[0], 3), CARPET, np.uint8)
    for x0, y0, x1, y1 in boxes:
        image[y0:y1, x0:x1] = ROBOT
    table = np.asarray(boxes, np.float32).reshape(-1, 4)
    return Sample(image_bgr=image, boxes_px=table, classes=np.full(len(boxes), kind, np.int64))


def test_only_whole_round_balls_are_cut_out() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    boxes = np.array([[10, 10, 30, 30], [0, 50, 12, 62], [50, 50, 80, 60], [60, 10, 66, 16]], np.float32)
    sample = Sample(image_bgr=image, boxes_px=boxes, classes=np.ones(4, np.int64))
    assert [b.shape for b in cut_out_balls([sample])] == [(20, 20, 3)]


def crowd(width: int = 200) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (150, width, 3)).astype(np.uint8)


def nothing_found(_: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.zeros((0, 4), np.float32)


def test_pieces_of_nothing_have_texture_and_show_no_object() -> None:
    image = crowd()
    image[:, :100] = CARPET  # bare carpet on the left is no thing, the object's blue on the right is one
    image[40:110, 130:200] = (255, 0, 0)
    labelled = np.array([[130, 40, 200, 110]], np.float32)
    sample = Sample(image_bgr=image, boxes_px=labelled, classes=np.zeros(1, np.int64))
    pieces = [p for seed in range(20) for p in cut_out_nothing([sample], nothing_found, np.random.default_rng(seed))]
    assert len(pieces) > 20
    for piece in pieces:
        assert piece.std() > 10.0
        assert not (piece == (255, 0, 0)).all(axis=2).any()


def test_an_object_that_nobody_labelled_is_no_piece_of_nothing() -> None:
    sample = Sample(image_bgr=crowd(), boxes_px=np.zeros((0, 4), np.float32), classes=np.zeros(0, np.int64))
    everywhere = np.array([[0, 0, 200, 150]], np.float32)
    rng = np.random.default_rng(1)
    assert cut_out_nothing([sample], lambda _: everywhere, rng) == []
    assert cut_out_nothing([sample], nothing_found, rng) != []


def test_pieces_are_pasted_beside_labels_never_over_them() -> None:
    pieces = [np.full((20, 30, 3), 255, np.uint8)]
    changed = 0
    for seed in range(30):
        before = a_sample((100, 60, 180, 200), (20, 20, 60, 60))
        after = a_sample((100, 60, 180, 200), (20, 20, 60, 60))
        paste_nothing(after, pieces, np.random.default_rng(seed))
        changed += int((after.image_bgr != before.image_bgr).any())
        for x0, y0, x1, y1 in before.boxes_px.astype(int):
            np.testing.assert_array_equal(after.image_bgr[y0:y1, x0:x1], before.image_bgr[y0:y1, x0:x1])
    assert changed > 20


@pytest.mark.parametrize("seed", range(8))
def test_a_doubled_robot_is_labelled_where_it_stands(seed: int) -> None:
    sample = double_robots(a_sample((130, 80, 190, 140)), np.random.default_rng(seed))
    assert sample.classes.tolist() == [0, 0]
    x0, y0, x1, y1 = sample.boxes_px[1].astype(int)
    assert (sample.image_bgr[y0:y1, x0:x1] == ROBOT).all()
    assert (x1 - x0, y1 - y0) == (60, 60)
    assert 40 < abs(x0 - 130) < 70  # beside it, at most a quarter of it hidden


@pytest.mark.parametrize(
    "sample",
    [
        a_sample((0, 80, 60, 140)),  # cut by the picture's edge: half a robot is not doubled
        a_sample((100, 100, 108, 108)),  # too small
        a_sample((130, 80, 190, 140), kind=1),
        a_sample((100, 80, 200, 180), (0, 80, 96, 180), (204, 80, 318, 180)),  # no room on either side
    ],
)
def test_robots_are_not_doubled_where_it_would_be_wrong(sample: Sample) -> None:
    before = sample.image_bgr.copy()
    after = double_robots(sample, np.random.default_rng(0))
    assert len(after.boxes_px) == len(sample.boxes_px)
    np.testing.assert_array_equal(after.image_bgr, before)
