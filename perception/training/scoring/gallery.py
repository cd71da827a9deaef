"""An HTML page of a detector's mistakes: the confusion of classes, and the pictures on which it does worst."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path

import cv2

from perception.training.dataset import Item
from perception.training.scoring.confusion import as_html, confusion_matrix
from perception.training.scoring.evaluate import CLASS_NAMES, verdicts
from robot.core.messages import Detection

RIGHT, FALSE, MISSED = (80, 200, 0), (0, 0, 255), (255, 120, 0)
SCALE = 2


def draw(item: Item, detections: Sequence[Detection], score: float) -> tuple[bytes, int]:
    """Return a PNG with right (green), false (red) and missed (blue) boxes, and the number of mistakes."""
    sample = item.load()
    image = cv2.resize(sample.image_bgr, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)
    right, found = verdicts(item, detections, score)
    for d, ok in zip([d for d in detections if d.score > score], right, strict=True):
        _box(image, d.box_px, RIGHT if ok else FALSE, f"{CLASS_NAMES[int(d.object_class)][0]} {d.score:.2f}")
    for box, kind, hit in zip(sample.boxes_px.tolist(), sample.classes.tolist(), found, strict=True):
        if not hit:
            _box(image, box, MISSED, CLASS_NAMES[kind])
    mistakes = right.count(False) + found.count(False)
    return cv2.imencode(".png", image)[1].tobytes(), mistakes


def _box(image: object, box: Sequence[float], colour: tuple[int, int, int], text: str) -> None:
    x0, y0, x1, y1 = (round(v * SCALE) for v in box)
    cv2.rectangle(image, (x0, y0), (x1, y1), colour, 1)  # type: ignore[call-overload]
    cv2.putText(image, text, (x0, max(9, y0 - 2)), cv2.FONT_HERSHEY_PLAIN, 0.8, colour)  # type: ignore[call-overload]


def write_gallery(
    results: Sequence[tuple[Item, Sequence[Detection]]], folder: Path, score: float, count: int = 60
) -> Path:
    """Write `index.html` with the `count` pictures that have most mistakes; returns its path."""
    drawn = [(*draw(item, detections, score), item.image.name) for item, detections in results]
    drawn.sort(key=lambda entry: (-entry[1], entry[2]))
    parts = [
        "<!doctype html><meta charset=utf-8><title>Detector failures</title>",
        "<style>figure{display:inline-block;margin:4px;font:12px sans-serif}</style>",
        as_html(confusion_matrix(results, score), score),
        f"<h1>Worst pictures at score {score:g}</h1><p>green: right, red: false, blue: missed</p>",
    ]
    for png, mistakes, name in drawn[:count]:
        if mistakes:
            code = base64.b64encode(png).decode()
            caption = f"{html.escape(name)}: {mistakes} mistakes"
            parts.append(f'<figure><img src="data:image/png;base64,{code}"><figcaption>{caption}</figcaption></figure>')
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "index.html"
    page.write_text("\n".join(parts), encoding="utf-8")
    return page
