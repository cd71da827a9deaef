"""Anchors, decode and suppression against hand-made head outputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from perception.detection.anchors import AnchorSpec
from perception.detection.decode import MAX_LOG_SCALE, Candidates, decode, iou_matrix, logit, suppress

SPEC = AnchorSpec(input_size_px=(32, 16), strides_px=(8, 16), shapes_px=(((8, 8), (12, 4)), ((20, 10),)))
ANCHORS = SPEC.boxes().tolist()


def candidates(boxes: list[list[float]], scores: list[float], classes: list[int]) -> Candidates:
    return Candidates(boxes_px=[(a, b, c, d) for a, b, c, d in boxes], scores=list(scores), classes=list(classes))


def test_anchors_lie_at_cell_centres_in_row_column_shape_order() -> None:
    boxes = SPEC.boxes()
    assert SPEC.grids == ((4, 2), (2, 1))
    assert boxes.shape == (SPEC.count, 4) == (18, 4)
    assert boxes[0].tolist() == [4, 4, 8, 8]
    assert boxes[1].tolist() == [4, 4, 12, 4]
    assert boxes[2].tolist() == [12, 4, 8, 8]
    assert boxes[8].tolist() == [4, 12, 8, 8]
    assert boxes[17].tolist() == [24, 8, 20, 10]


def test_a_hand_made_output_decodes_to_its_box() -> None:
    logits = np.full((SPEC.count, 3), -9.0, np.float32)
    offsets = np.zeros((SPEC.count, 4), np.float32)
    logits[17, 2] = 2.0
    offsets[17] = [0.1, -0.2, np.log(1.5), np.log(0.5)]
    found = decode(logits, offsets, ANCHORS, 0.5)
    assert found.classes == [2]
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-2.0)))
    # centre (24 + 0.1 * 20, 8 - 0.2 * 10) = (26, 6), size (30, 5)
    np.testing.assert_allclose(found.boxes_px[0], [11.0, 3.5, 41.0, 8.5], atol=1e-5)


def test_candidates_come_best_first_and_one_anchor_may_give_two_classes() -> None:
    logits = np.full((SPEC.count, 3), -9.0, np.float32)
    logits[3, 0], logits[3, 1], logits[5, 1] = 0.5, 1.5, 1.0
    found = decode(logits, np.zeros((SPEC.count, 4), np.float32), ANCHORS, 0.5)
    assert found.classes == [1, 1, 0]
    assert (np.diff(found.scores) <= 0).all()


def test_only_the_best_candidates_go_on() -> None:
    logits = np.arange(SPEC.count * 3, dtype=np.float32).reshape(-1, 3) * np.float32(0.01)
    found = decode(logits, np.zeros((SPEC.count, 4), np.float32), ANCHORS, 0.1, max_candidates=5)
    assert len(found.scores) == 5
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-0.53)))


def test_outputs_that_are_not_numbers_give_no_boxes_and_no_warning() -> None:
    logits = np.full((SPEC.count, 3), np.nan, np.float32)
    logits[0, 0] = 3.0
    offsets = np.full((SPEC.count, 4), np.nan, np.float32)
    assert len(decode(logits, offsets, ANCHORS, 0.1).scores) == 0
    offsets[:] = 3e38
    assert len(decode(logits, offsets, ANCHORS, 0.1).scores) == 0
    logits[:] = -np.inf
    offsets[:] = 0.0
    assert len(decode(logits, offsets, ANCHORS, 0.0).scores) == 0


@pytest.mark.parametrize("which", range(4))
def test_one_offset_that_is_no_number_is_enough_to_leave_its_box_out(which: int) -> None:
    logits = np.full((SPEC.count, 3), -9.0, np.float32)
    logits[:2, 0] = 3.0
    offsets = np.zeros((SPEC.count, 4), np.float32)
    offsets[0, which] = np.nan
    assert len(decode(logits, offsets, ANCHORS, 0.1).scores) == 1


def test_very_negative_logits_do_not_overflow_when_everything_is_kept() -> None:
    logits = np.full((SPEC.count, 3), -200.0, np.float32)
    found = decode(logits, np.zeros((SPEC.count, 4), np.float32), ANCHORS, 0.0)
    assert len(found.scores) == SPEC.count * 3
    assert min(found.scores) >= 0


@pytest.mark.parametrize(("score", "value"), [(0.5, 0.0), (0.0, -np.inf), (1.0, np.inf)])
def test_logit_of_the_ends(score: float, value: float) -> None:
    assert logit(score) == value


def test_suppression_drops_the_weaker_twin_and_spares_other_classes() -> None:
    twin, far = [0, 0, 10, 10], [40, 40, 50, 50]
    kept = suppress(candidates([twin, [1, 0, 11, 10], twin, far], [0.9, 0.8, 0.7, 0.6], [1, 1, 0, 1]), 0.5)
    assert kept.scores == pytest.approx([0.9, 0.7, 0.6])
    assert kept.classes == [1, 0, 1]


def test_a_suppressed_box_suppresses_nothing() -> None:
    row = [[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]]  # neighbours overlap by 0.43, ends by 0.11
    assert len(suppress(candidates(row, [0.9, 0.8, 0.7], [0, 0, 0]), 0.4).scores) == 2


def test_suppression_keeps_at_most_so_many() -> None:
    apart = [[20 * k, 0, 20 * k + 10, 10] for k in range(6)]
    assert len(suppress(candidates(apart, [0.5] * 6, [0] * 6), 0.5, max_boxes=4).scores) == 4
    assert len(suppress(candidates([], [], []), 0.5).scores) == 0


boxes = st.lists(
    st.tuples(st.floats(0, 100), st.floats(0, 100), st.floats(1, 60), st.floats(1, 60)).map(
        lambda v: [v[0], v[1], v[0] + v[2], v[1] + v[3]]
    ),
    min_size=1,
    max_size=12,
)


@given(boxes, st.floats(0.05, 0.95))
def test_survivors_do_not_overlap_and_the_dropped_overlap_a_survivor(rows: list[list[float]], limit: float) -> None:
    scores = np.linspace(0.9, 0.5, len(rows)).tolist()
    given_boxes = candidates(rows, scores, [0] * len(rows))
    kept = suppress(given_boxes, limit)
    table, survivors = np.asarray(rows, np.float32), np.asarray(kept.boxes_px, np.float32)
    overlap = iou_matrix(survivors, survivors)
    assert (overlap[~np.eye(len(overlap), dtype=bool)] <= limit + 1e-5).all()
    dropped = [k for k in range(len(rows)) if given_boxes.scores[k] not in kept.scores]
    if dropped:
        assert (iou_matrix(table[dropped], survivors).max(axis=1) > limit - 1e-5).all()


def in_numpy(
    logits: NDArray[np.float32], offsets: NDArray[np.float32], score: float, iou: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Decode and suppress as published, all anchors in float32: what `decode` and `suppress` must equal."""
    anchors = np.repeat(SPEC.boxes(), 3, axis=0)
    offset, classes = np.repeat(offsets, 3, axis=0), np.tile(np.arange(3), len(offsets))
    centre = anchors[:, :2] + offset[:, :2] * anchors[:, 2:]
    half = np.float32(0.5) * anchors[:, 2:] * np.exp(np.minimum(offset[:, 2:], np.float32(MAX_LOG_SCALE)))
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    scores = 1 / (1 + np.exp(-logits.reshape(-1)))
    order = [k for k in np.argsort(-logits.reshape(-1), kind="stable") if scores[k] > score]
    overlap = iou_matrix(boxes, boxes)
    kept: list[int] = []
    for k in order:
        if not any(classes[k] == classes[j] and overlap[j, k] > iou for j in kept):
            kept.append(k)
    return boxes[kept], scores[kept], classes[kept]


@pytest.mark.parametrize("seed", range(20))
def test_the_quick_way_equals_the_plain_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (SPEC.count, 3)).astype(np.float32)
    offsets = rng.normal(0, 0.7, (SPEC.count, 4)).astype(np.float32)
    boxes, scores, classes = in_numpy(logits, offsets, 0.3, 0.45)
    kept = suppress(decode(logits, offsets, ANCHORS, 0.3), 0.45)
    assert kept.classes == classes.tolist()
    assert len(kept.classes) > 3
    np.testing.assert_allclose(kept.boxes_px, boxes, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(kept.scores, scores, rtol=1e-5)


@given(boxes)
def test_iou_is_symmetric_and_one_with_itself(rows: list[list[float]]) -> None:
    table = np.asarray(rows, np.float32)
    overlap = iou_matrix(table, table)
    np.testing.assert_allclose(np.diag(overlap), 1.0, atol=1e-4)
    np.testing.assert_allclose(overlap, overlap.T, atol=1e-5)
    assert iou_matrix(table, np.zeros((1, 4), np.float32)).max() == 0.0
