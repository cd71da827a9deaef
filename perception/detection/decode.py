"""From raw head outputs to boxes: threshold on logits, decode the survivors, non-maximum suppression per class.

Source: Liu et al., "SSD" (2016), equation 2, without variances: centre = anchor centre + offset * anchor size,
size = anchor size * exp(offset). Thresholding logits before any exponential leaves some dozens of candidates out of
thousands of anchors; only those are decoded, in plain Python: after a network has run, every numpy call starts from a
cold cache and costs some 5 us, so two dozen of them take longer than the arithmetic of two dozen boxes
(`python -m robot bench` times it where it happens, between two networks).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot.core.messages import BoxPx

MAX_LOG_SCALE = 4.0
"""A box is at most exp(4) = 55 times its anchor: an overflow guard, far above anything real."""
MAX_SIDE_PX = 1e5
"""A box wider, or centred further away, is the work of a broken network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidates:
    """N boxes: `boxes_px` edges x_min, y_min, x_max, y_max; `scores` in (0, 1); `classes` as the network counts."""

    boxes_px: list[BoxPx]
    scores: list[float]
    classes: list[int]


def logit(score: float) -> float:
    """Return log(score / (1 - score)), with 0 and 1 mapped to minus and plus infinity."""
    if score <= 0.0:
        return -math.inf
    return math.inf if score >= 1.0 else math.log(score / (1.0 - score))


def decode(
    logits: NDArray[np.float32],
    offsets: NDArray[np.float32],
    anchors: Sequence[Sequence[float]],
    score_threshold: float,
    max_candidates: int = 400,
) -> Candidates:
    """Decode the anchors whose score is above the threshold.

    Args:
        logits: (A, C) class logits. Values that are not numbers are never above the threshold.
        offsets: (A, 4) box offsets. Boxes that they make endless or no number are left out: a broken network is a
            frame without boxes, not an exception.
        anchors: A times x_centre, y_centre, width, height in input pixels, as plain numbers.
        score_threshold: keep scores strictly above it.
        max_candidates: the best this many go on, which bounds the time that suppression takes.

    Returns:
        Candidates in input pixels, best first; ties keep anchor order.
    """
    classes_count = logits.shape[1]
    flat = logits.reshape(-1)
    above = (flat > np.float32(logit(score_threshold))).nonzero()[0]
    values, indices = flat[above].tolist(), above.tolist()
    boxes: list[BoxPx] = []
    scores: list[float] = []
    classes: list[int] = []
    for k in sorted(range(len(values)), key=values.__getitem__, reverse=True)[:max_candidates]:
        row, kind = divmod(indices[k], classes_count)
        x, y, width, height = anchors[row]
        right, down, wider, higher = offsets[row].tolist()
        x, y = x + right * width, y + down * height
        half_width = 0.5 * width * math.exp(min(wider, MAX_LOG_SCALE))
        half_height = 0.5 * height * math.exp(min(higher, MAX_LOG_SCALE))
        # Four comparisons, not two of a max(): NaN as its second argument does not come out of it.
        sized = half_width < 0.5 * MAX_SIDE_PX and half_height < 0.5 * MAX_SIDE_PX
        if sized and abs(x) < MAX_SIDE_PX and abs(y) < MAX_SIDE_PX:
            boxes.append((x - half_width, y - half_height, x + half_width, y + half_height))
            scores.append(1.0 / (1.0 + math.exp(-max(values[k], -80.0))))
            classes.append(kind)
    return Candidates(boxes_px=boxes, scores=scores, classes=classes)


def iou_matrix(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (N, M) intersection over union of boxes given as edges; empty boxes have IoU 0."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    size = np.maximum(high - low, 0.0)
    shared = size[..., 0] * size[..., 1]
    area_first = (first[:, 2] - first[:, 0]) * (first[:, 3] - first[:, 1])
    area_second = (second[:, 2] - second[:, 0]) * (second[:, 3] - second[:, 1])
    union = area_first[:, None] + area_second[None, :] - shared
    result: NDArray[np.float32] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result


def suppress(candidates: Candidates, iou_threshold: float, max_boxes: int = 100) -> Candidates:
    """Greedy non-maximum suppression per class: a box goes when a better one of its class overlaps it more.

    Args:
        candidates: best first, as `decode` returns them.
        iou_threshold: overlap above which the weaker box is dropped.
        max_boxes: how many are kept at most.
    """
    kept = Candidates(boxes_px=[], scores=[], classes=[])
    by_class: dict[int, list[BoxPx]] = {}
    for box, score, kind in zip(candidates.boxes_px, candidates.scores, candidates.classes, strict=True):
        better = by_class.setdefault(kind, [])
        if any(_overlap_more(box, other, iou_threshold) for other in better):
            continue
        better.append(box)
        kept.boxes_px.append(box)
        kept.scores.append(score)
        kept.classes.append(kind)
        if len(kept.scores) == max_boxes:
            break
    return kept


def _overlap_more(first: BoxPx, second: BoxPx, iou_threshold: float) -> bool:
    """Whether the intersection over union of two boxes is above the threshold."""
    left, top, right, bottom = first
    other_left, other_top, other_right, other_bottom = second
    width = (right if right < other_right else other_right) - (left if left > other_left else other_left)
    if width <= 0.0:
        return False
    height = (bottom if bottom < other_bottom else other_bottom) - (top if top > other_top else other_top)
    if height <= 0.0:
        return False
    shared = width * height
    areas = (right - left) * (bottom - top) + (other_right - other_left) * (other_bottom - other_top)
    return shared > iou_threshold * (areas - shared)
