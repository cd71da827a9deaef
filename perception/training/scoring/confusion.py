"""Confusion of classes at one score threshold: what labelled objects were called, and what was made up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perception.detection.decode import iou_matrix
from perception.training.dataset import Item
from perception.training.scoring.evaluate import CLASS_NAMES
from robot.core.messages import Detection

NOTHING = len(CLASS_NAMES)
"""The row of made-up objects and the column of missed ones."""
NAMES = (*CLASS_NAMES, "nothing")


def confusion_matrix(results: Sequence[tuple[Item, Sequence[Detection]]], score: float) -> NDArray[np.int64]:
    """Return (4, 4) counts: rows what was labelled, columns what was detected; the last of each is nothing.

    Detections above `score`, best first, take the label that they overlap most, of whatever class, at IoU >= 0.5;
    each label is taken once.
    """
    table = np.zeros((NOTHING + 1, NOTHING + 1), np.int64)
    for item, detections in results:
        sample = item.load()
        free = np.ones(len(sample.classes), bool)
        for d in sorted((d for d in detections if d.score > score), key=lambda d: -d.score):
            overlap = iou_matrix(np.asarray([d.box_px], np.float32), sample.boxes_px)[0]
            overlap = np.where(free, overlap, 0.0)
            best = int(overlap.argmax()) if len(overlap) else -1
            if best >= 0 and overlap[best] >= 0.5:
                free[best] = False
                table[int(sample.classes[best]), int(d.object_class)] += 1
            else:
                table[NOTHING, int(d.object_class)] += 1
        for kind in sample.classes[free].tolist():
            table[kind, NOTHING] += 1
    return table


def as_html(table: NDArray[np.int64], score: float) -> str:
    """Return the matrix as an HTML table."""
    head = "".join(f"<th>{name}</th>" for name in NAMES)
    rows = []
    for name, row in zip(NAMES, table.tolist(), strict=True):
        cells = "".join(f"<td>{value}</td>" for value in row)
        rows.append(f"<tr><th>{name}</th>{cells}</tr>")
    return (
        f"<h2>Confusion at score {score:g}</h2><p>rows: labelled, columns: detected; matched at IoU 0.5</p>"
        f"<table border=1 cellpadding=4><tr><th></th>{head}</tr>{''.join(rows)}</table>"
    )
