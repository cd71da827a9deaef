"""From raw head outputs to boxes: threshold on logits, decode the survivors, non-maximum suppression per class.

Source: Liu et al., "SSD" (2016), equation 2, without variances: centre = anchor centre + offset * anchor size,
size = anchor size * exp(offset). Thresholding logits before any exponential leaves some dozens of candidates out of
ten thousand anchors; only those are decoded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_LOG_SCALE = 4.0
"""A box is at most exp(4) = 55 times its anchor: an overflow guard, far above anything real."""
MAX_SIDE_PX = 1e5
"""Areas beyond this would overflow float32."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """N boxes: `boxes_px` (N, 4) float32 edges x_min, y_min, x_max, y_max; `scores` (N,) in (0, 1); `classes` (N,)."""

    boxes_px: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]

    def take(self, index: NDArray[np.int64]) -> Candidates:
        """Return the rows of `index`, in that order."""
        return Candidates(boxes_px=self.boxes_px[index], scores=self.scores[index], classes=self.classes[index])


def logit(score: float) -> float:
    """Return log(score / (1 - score)), with 0 and 1 mapped to minus and plus infinity."""
    if score <= 0.0:
        return -math.inf
    return math.inf if score >= 1.0 else math.log(score / (1.0 - score))


def decode(
    logits: NDArray[np.float32],
    offsets: NDArray[np.float32],
    anchors: NDArray[np.float32],
    score_threshold: float,
    max_candidates: int = 400,
) -> Candidates:
    """Decode the anchors whose score is above the threshold.

    Args:
        logits: (A, C) class logits. Values that are not numbers are never above the threshold.
        offsets: (A, 4) box offsets.
        anchors: (A, 4) x_centre, y_centre, width, height in input pixels.
        score_threshold: keep scores strictly above it.
        max_candidates: the best this many go on, which bounds the time that suppression takes.

    Returns:
        Candidates in input pixels, best first; ties keep anchor order.
    """
    classes_count = logits.shape[1]
    flat = logits.reshape(-1)
    found = np.flatnonzero(flat > np.float32(logit(score_threshold)))
    values = flat[found]
    order = np.argsort(-values, kind="stable")[:max_candidates]
    found, values = found[order], values[order]
    rows = found // classes_count
    anchor, offset = anchors[rows], offsets[rows]
    with np.errstate(over="ignore", invalid="ignore"):  # a broken network is a frame without boxes, not an exception
        centre = anchor[:, :2] + offset[:, :2] * anchor[:, 2:]
        half = np.float32(0.5) * anchor[:, 2:] * np.exp(np.minimum(offset[:, 2:], np.float32(MAX_LOG_SCALE)))
        boxes = np.concatenate([centre - half, centre + half], axis=1)
        keep = np.isfinite(boxes).all(axis=1) & ((boxes[:, 2:] - boxes[:, :2]) < MAX_SIDE_PX).all(axis=1)
    scores = np.float32(1.0) / (np.float32(1.0) + np.exp(-np.maximum(values, np.float32(-80.0))))
    return Candidates(boxes_px=boxes[keep], scores=scores[keep], classes=(found % classes_count)[keep])


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
    count = len(candidates.scores)
    if count == 0:
        return candidates
    same = candidates.classes[:, None] == candidates.classes[None, :]
    beats = (iou_matrix(candidates.boxes_px, candidates.boxes_px) > iou_threshold) & same
    alive = np.ones(count, bool)
    kept = []
    for i in range(count):
        if alive[i]:
            kept.append(i)
            if len(kept) == max_boxes:
                break
            alive &= ~beats[i]
    return candidates.take(np.asarray(kept, np.int64))
