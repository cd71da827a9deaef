"""Hard negatives: what a detector takes for an object where there is none; counted, compared, collected to train on.

A false box lies on the background: it overlaps no label, of whatever class. Boxes that sit badly on an object, double
it or name it wrongly are other mistakes (`evaluate.operating_point` and the gallery have them).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perception.detection.decode import iou_matrix
from perception.training.dataset import Item, Sample
from perception.training.scoring.evaluate import CLASS_NAMES, operating_point
from robot.core.errors import DataError
from robot.core.messages import Detection

Results = Sequence[tuple[Item, Sequence[Detection]]]
TOUCHES = 0.1
"""Intersection over union with a label above which a box is not on the background."""


def on_background(sample: Sample, detections: Sequence[Detection], score: float) -> list[Detection]:
    """Return the detections above `score` that overlap no label, and whose centre lies in none."""
    found = []
    for d in detections:
        if d.score <= score:
            continue
        x, y = (d.box_px[0] + d.box_px[2]) / 2, (d.box_px[1] + d.box_px[3]) / 2
        boxes = sample.boxes_px
        inside = (boxes[:, 0] <= x) & (x <= boxes[:, 2]) & (boxes[:, 1] <= y) & (y <= boxes[:, 3])
        overlap = iou_matrix(np.asarray([d.box_px], np.float32), boxes)[0]
        if not inside.any() and not (overlap > TOUCHES).any():
            found.append(d)
    return found


@dataclass(frozen=True, kw_only=True)
class FalsePositives:
    """At one threshold, for each class: false boxes on the background, all false boxes (both a picture), recall."""

    pictures: int
    background: tuple[float, ...]
    all_false: tuple[float, ...]
    recall: tuple[float, ...]


def count(results: Results, score: float) -> FalsePositives:
    """Count the false boxes of a detector on labelled pictures."""
    background = np.zeros(len(CLASS_NAMES))
    for item, detections in results:
        for d in on_background(item.load(), detections, score):
            background[int(d.object_class)] += 1
    rows = [values for _, values in operating_point(results, score).per_class]
    return FalsePositives(
        pictures=len(results),
        background=tuple((background / max(1, len(results))).tolist()),
        all_false=tuple(row[2] for row in rows),
        recall=tuple(row[1] for row in rows),
    )


def comparison_table(rows: Sequence[tuple[str, str, FalsePositives]]) -> list[str]:
    """Return Markdown of (pictures, detector, counts): for each set of pictures one line a detector."""
    names = " / ".join(CLASS_NAMES)
    lines = [
        f"| pictures | detector | false boxes on the background, a picture: all, {names} | all false boxes: {names} "
        f"| recall: {names} |",
        "|---|---|---|---|---|",
    ]
    for pictures, detector, c in rows:
        parts = [" / ".join(f"{v:.3f}" for v in values) for values in (c.background, c.all_false, c.recall)]
        total = sum(c.background)
        cells = [f"{pictures} ({c.pictures})", detector, f"**{total:.3f}**, {parts[0]}", *parts[1:]]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def mine(results: Results, out: Path, score: float, limit: int) -> list[tuple[Item, list[Detection]]]:
    """Copy the pictures with the most confident false boxes on the background into a YOLO folder, labels and all.

    The folder is a source of a training recipe (`[[sources]] folder = ...`): whole pictures, because a cut-out would
    cut objects, too. `negatives.json` beside them lists the boxes. Look through them first (`--gallery`): an object
    that nobody labelled looks just like a false box, and training on it unlearns it.

    Args:
        results: a detector's results on training pictures.
        out: folder for images/, labels/ and negatives.json; it must not hold pictures of another run.
        score: false boxes above it count.
        limit: at most so many pictures, the most confident mistakes first.

    Returns:
        The pictures taken and their false boxes.

    Raises:
        DataError: `out` holds pictures already.
    """
    if any((out / "images").glob("*")):
        raise DataError(f"{out / 'images'} is not empty", hint="give another --out, or remove the folder")
    found = [(item, on_background(item.load(), detections, score)) for item, detections in results]
    found = [(item, boxes) for item, boxes in found if boxes]
    found.sort(key=lambda entry: (-max(d.score for d in entry[1]), entry[0].image.name))
    chosen = found[:limit]
    for name in ("images", "labels"):
        (out / name).mkdir(parents=True, exist_ok=True)
    listed = []
    for number, (item, boxes) in enumerate(chosen):
        stem = f"{number:05d}_{item.image.stem}"
        shutil.copyfile(item.image, out / "images" / f"{stem}{item.image.suffix}")
        shutil.copyfile(item.label, out / "labels" / f"{stem}.txt")
        entries = [
            {"class": d.object_class.name.lower(), "score": round(d.score, 4), "box": [round(v, 1) for v in d.box_px]}
            for d in boxes
        ]
        listed.append({"image": f"{stem}{item.image.suffix}", "false": entries})
    (out / "negatives.json").write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    return chosen
