"""COCO-style evaluation of detections against labelled pictures: AP, AP50, AP75, per class, by size, by band.

Uses pycocotools. Sizes follow COCO (small < 32^2, medium < 96^2 pixels) in the original picture's pixels.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perception.detection.decode import iou_matrix
from perception.training.dataset import Item
from robot.core.errors import MissingExtraError
from robot.core.messages import Detection, ObjectClass

CLASS_NAMES = tuple(c.name.lower() for c in ObjectClass)
Detect = Callable[..., Sequence[Detection]]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Average precision over a set of pictures; NaN where there is no object of that kind.

    `per_class` has for each class (AP, AP50, AP75); `by_size` AP of small, medium, large objects.
    """

    pictures: int
    ap: float
    ap50: float
    ap75: float
    per_class: tuple[tuple[str, tuple[float, float, float]], ...]
    by_size: tuple[float, float, float]

    def lines(self) -> list[str]:
        """Return a small table."""
        rows = [f"  all   AP {self.ap:.3f}  AP50 {self.ap50:.3f}  AP75 {self.ap75:.3f}   ({self.pictures} pictures)"]
        rows += [f"  {n:5s} AP {a:.3f}  AP50 {b:.3f}  AP75 {c:.3f}" for n, (a, b, c) in self.per_class]
        rows.append("  by size  small {:.3f}  medium {:.3f}  large {:.3f}".format(*self.by_size))
        return rows


def collect(detect: Detect, items: Sequence[Item]) -> list[tuple[Item, tuple[Detection, ...]]]:
    """Run `detect(image_bgr)` over pictures."""
    return [(item, tuple(detect(item.load().image_bgr))) for item in items]


def evaluate(results: Sequence[tuple[Item, Sequence[Detection]]]) -> Scores:
    """Score detections of labelled pictures.

    Raises:
        MissingExtraError: pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise MissingExtraError("pycocotools is not installed", hint='pip install "blackout-robot[train]"') from error
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for number, (item, detections) in enumerate(results, start=1):
        sample = item.load()
        images.append({"id": number, "height": sample.image_bgr.shape[0], "width": sample.image_bgr.shape[1]})
        for box, kind in zip(sample.boxes_px.tolist(), sample.classes.tolist(), strict=True):
            wide, high = box[2] - box[0], box[3] - box[1]
            entry = {"bbox": [box[0], box[1], wide, high], "area": wide * high, "category_id": kind + 1}
            annotations.append({**entry, "id": len(annotations) + 1, "image_id": number, "iscrowd": 0})
        for d in detections:
            x0, y0, x1, y1 = d.box_px
            found.append({"image_id": number, "category_id": int(d.object_class) + 1, "score": d.score,
                          "bbox": [x0, y0, x1 - x0, y1 - y0]})  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": images,
            "annotations": annotations,
            "categories": [{"id": i + 1, "name": n} for i, n in enumerate(CLASS_NAMES)],
        }
        truth.createIndex()
        if not found:
            return _nothing_found(len(images), annotations)
        coco = COCOeval(truth, truth.loadRes(found), "bbox")
        coco.evaluate()
        coco.accumulate()
    # precision: (IoU thresholds, recalls, classes, areas, detections per picture); -1 where nothing is to be found
    precision = np.where(coco.eval["precision"] < 0, np.nan, coco.eval["precision"])[..., -1]

    def mean(part: np.ndarray) -> float:
        return float(np.nanmean(part)) if np.isfinite(part).any() else float("nan")

    everything = precision[..., 0]
    return Scores(
        pictures=len(images),
        ap=mean(everything),
        ap50=mean(everything[0]),
        ap75=mean(everything[5]),
        per_class=tuple(
            (n, (mean(everything[:, :, k]), mean(everything[0, :, k]), mean(everything[5, :, k])))
            for k, n in enumerate(CLASS_NAMES)
        ),
        by_size=(mean(precision[..., 1]), mean(precision[..., 2]), mean(precision[..., 3])),
    )


def _nothing_found(pictures: int, annotations: Sequence[dict[str, Any]]) -> Scores:
    """Return the scores of a detector that found nothing, of which pycocotools makes an error."""

    def zero(there: Iterable[bool]) -> float:
        return 0.0 if any(there) else float("nan")

    every = zero(True for _ in annotations)
    kinds = [zero(a["category_id"] == k + 1 for a in annotations) for k in range(len(CLASS_NAMES))]
    edges = (0.0, 32.0**2, 96.0**2, float("inf"))
    sizes = [zero(low <= a["area"] <= high for a in annotations) for low, high in itertools.pairwise(edges)]
    return Scores(
        pictures=pictures,
        ap=every,
        ap50=every,
        ap75=every,
        per_class=tuple((n, (v, v, v)) for n, v in zip(CLASS_NAMES, kinds, strict=True)),
        by_size=(sizes[0], sizes[1], sizes[2]),
    )


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What happens at one score threshold, matching at IoU 0.5: per class (precision, recall, false per picture)."""

    score: float
    per_class: tuple[tuple[str, tuple[float, float, float]], ...]

    def lines(self) -> list[str]:
        """Return a small table."""
        return [
            f"  at {self.score:.2f}: {n:5s} precision {p:.3f}  recall {r:.3f}  false per picture {f:.3f}"
            for n, (p, r, f) in self.per_class
        ]


def verdicts(item: Item, detections: Sequence[Detection], score: float) -> tuple[list[bool], list[bool]]:
    """Match the detections above `score` with the labels, best first, at IoU >= 0.5.

    Returns:
        for each such detection whether it is right, in the order given; for each label whether it was found.
    """
    sample = item.load()
    taken = [False] * len(sample.classes)
    right = []
    for d in (d for d in detections if d.score > score):
        overlap = iou_matrix(np.asarray([d.box_px], np.float32), sample.boxes_px)[0] if taken else np.empty(0)
        free = [
            (float(overlap[k]), k)
            for k in range(len(taken))
            if not taken[k] and sample.classes[k] == int(d.object_class) and overlap[k] >= 0.5
        ]
        right.append(bool(free))
        if free:
            taken[max(free)[1]] = True
    return right, taken


def operating_point(results: Sequence[tuple[Item, Sequence[Detection]]], score: float) -> OperatingPoint:
    """Count right and false detections and missed labels at one score threshold."""
    right, false, objects, found = (np.zeros(len(CLASS_NAMES)) for _ in range(4))
    for item, detections in results:
        good, taken = verdicts(item, detections, score)
        above = [d for d in detections if d.score > score]
        for d, ok in zip(above, good, strict=True):
            (right if ok else false)[int(d.object_class)] += 1
        for kind, hit in zip(item.load().classes.tolist(), taken, strict=True):
            objects[kind] += 1
            found[kind] += hit
    rows = []
    for k, name in enumerate(CLASS_NAMES):
        precision = right[k] / (right[k] + false[k]) if right[k] + false[k] else float("nan")
        recall = found[k] / objects[k] if objects[k] else float("nan")
        rows.append((name, (float(precision), float(recall), float(false[k] / max(1, len(results))))))
    return OperatingPoint(score=score, per_class=tuple(rows))
