"""Losses of the SSD: quality focal loss for classes, GIoU for boxes, and the matching of anchors to objects.

Sources: Li et al., "Generalized Focal Loss" (2020), equation 5 (the class target is the IoU of the predicted box);
Rezatofighi et al., "Generalized Intersection over Union" (2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perception.detection.decode import MAX_LOG_SCALE
from perception.training.dataset import IGNORE

POSITIVE_IOU = 0.5
NEAR_BEST = 0.85
IGNORE_IOU = 0.4
SMALL_SIDE_PX = 28.0
SMALL_WEIGHT = 2.0


def to_edges(anchors: Tensor, offsets: Tensor) -> Tensor:
    """Decode offsets (..., A, 4) on anchors (A, 4) into edges, as `detection.decode.decode` does."""
    centre = anchors[:, :2] + offsets[..., :2] * anchors[:, 2:]
    half = 0.5 * anchors[:, 2:] * offsets[..., 2:].clamp(max=MAX_LOG_SCALE).exp()
    return torch.cat([centre - half, centre + half], dim=-1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]).clamp_min(0) * (boxes[..., 3] - boxes[..., 1]).clamp_min(0)


def pair_iou(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return IoU and GIoU of boxes (..., 4) paired row by row (shapes broadcast)."""
    size = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    shared = size.clamp_min(0).prod(-1)
    union = (_area(first) + _area(second) - shared).clamp_min(1e-6)
    hull = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])
    outer = hull.prod(-1).clamp_min(1e-6)
    iou = shared / union
    return iou, iou - (outer - union) / outer


def match(anchor_edges: Tensor, boxes: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Match anchors to objects.

    An anchor is positive for an object with IoU >= 0.5, or >= 0.85 of what that object's best anchor has, so that no
    object goes without. It is ignored when it lies mostly on a box of class IGNORE.

    Args:
        anchor_edges: (A, 4) in input pixels.
        boxes: (N, 4) in input pixels.
        classes: (N,), IGNORE allowed.

    Returns:
        index (A,) of the object for positive anchors, -1 for background, and ignored (A,) bool.
    """
    count = len(anchor_edges)
    index = torch.full((count,), -1, dtype=torch.long)
    ignored = torch.zeros(count, dtype=torch.bool)
    if not len(boxes):
        return index, ignored
    iou, _ = pair_iou(boxes[:, None], anchor_edges[None])
    unsure = classes == IGNORE
    if unsure.any():
        size = torch.minimum(boxes[unsure][:, None, 2:], anchor_edges[None, :, 2:]) - torch.maximum(
            boxes[unsure][:, None, :2], anchor_edges[None, :, :2]
        )
        inside = size.clamp_min(0).prod(-1) / _area(anchor_edges)
        ignored = ((inside > 0.6) | (iou[unsure] > IGNORE_IOU)).any(0)
    iou = iou.masked_fill(unsure[:, None], 0.0)
    best = iou.amax(1, keepdim=True)
    positive = ((iou >= POSITIVE_IOU) | (iou >= NEAR_BEST * best)) & (iou > 0)
    value, owner = iou.masked_fill(~positive, -1.0).max(0)
    index[value > 0] = owner[value > 0]
    return index, ignored & (index < 0)


def detection_loss(
    logits: Tensor,
    offsets: Tensor,
    anchors: Tensor,
    boxes: Sequence[Tensor],
    classes: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """Return (class loss, box loss), each summed over the batch and divided by its number of positive anchors.

    Args:
        logits: (B, A, C).
        offsets: (B, A, 4).
        anchors: (A, 4) centre and size.
        boxes: per picture (N, 4) edges in input pixels.
        classes: per picture (N,), IGNORE allowed.
    """
    edges = to_edges(anchors, torch.zeros_like(anchors))
    target = torch.zeros_like(logits)
    weight = torch.ones_like(logits[..., :1])
    box_loss = logits.new_zeros(())
    positives = 0
    for b, (object_boxes, object_classes) in enumerate(zip(boxes, classes, strict=True)):
        index, ignored = match(edges, object_boxes, object_classes)
        weight[b, ignored] = 0.0
        rows = torch.nonzero(index >= 0).squeeze(1)
        if not len(rows):
            continue
        wanted = object_boxes[index[rows]]
        iou, giou = pair_iou(to_edges(anchors[rows], offsets[b, rows]), wanted)
        small = (wanted[:, 2:] - wanted[:, :2]).amin(1) < SMALL_SIDE_PX
        box_loss = box_loss + ((1.0 - giou) * torch.where(small, SMALL_WEIGHT, 1.0)).sum()
        target[b, rows, object_classes[index[rows]]] = iou.detach().clamp(0.0, 1.0)
        positives += len(rows)
    score = logits.sigmoid()
    cross = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    class_loss = ((score.detach() - target).square() * cross * weight).sum()
    return class_loss / max(1, positives), box_loss / max(1, positives)
