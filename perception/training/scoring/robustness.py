"""How a detector's scores fall when the pictures get worse: fixed degradations of labelled pictures, as a table.

Strengths are for pictures of a few hundred pixels (the SSL set has 224). Every degradation is a function of picture and
generator; the generator is seeded by the picture's place in the list, so that two models see the same noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.training.dataset import Item
from perception.training.scoring.evaluate import Detect, Scores, evaluate
from robot.core.messages import Detection

Picture = NDArray[np.uint8]
Degrade = Callable[[Picture, np.random.Generator], Picture]


def gains(blue: float, green: float, red: float) -> Degrade:
    """Multiply the channels: dimmed light (all the same, below 1) or a colour cast."""
    factors = np.array([blue, green, red], np.float32)

    def degrade(image: Picture, rng: np.random.Generator) -> Picture:
        return _picture(np.clip(image * factors + 0.5, 0, 255))

    return degrade


def blurred(sigma_px: float) -> Degrade:
    """Blur as out of focus: a Gaussian."""
    return lambda image, rng: _picture(cv2.GaussianBlur(image, (0, 0), sigma_px))


def moved(length_px: int) -> Degrade:
    """Blur as of a turning robot: a horizontal box."""
    return lambda image, rng: _picture(cv2.blur(image, (length_px, 1)))


def noisy(sigma: float) -> Degrade:
    """Add Gaussian noise, independent for pixels and channels, in grey levels."""

    def degrade(image: Picture, rng: np.random.Generator) -> Picture:
        return _picture(np.clip(image + rng.normal(0, sigma, image.shape) + 0.5, 0, 255))

    return degrade


def compressed(quality: int) -> Degrade:
    """Save as JPEG and read again."""

    def degrade(image: Picture, rng: np.random.Generator) -> Picture:
        code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return _picture(cv2.imdecode(code, cv2.IMREAD_COLOR))

    return degrade


def low_passed(factor: float) -> Degrade:
    """Shrink by the factor (area) and enlarge again (bilinear): the details of a smaller camera."""

    def degrade(image: Picture, rng: np.random.Generator) -> Picture:
        height, width = image.shape[:2]
        small = max(1, round(width / factor)), max(1, round(height / factor))
        shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        return _picture(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR))

    return degrade


def _picture(array: object) -> Picture:
    return np.asarray(array, np.uint8)


DEGRADATIONS: dict[str, Degrade] = {
    "as taken": gains(1, 1, 1),
    "light dimmed to 50 %": gains(0.5, 0.5, 0.5),
    "light dimmed to 25 %": gains(0.25, 0.25, 0.25),
    "warm cast (red x 1.3, blue x 0.6)": gains(0.6, 1.0, 1.3),
    "cyan cast (red x 0.6, blue x 1.2)": gains(1.2, 1.0, 0.6),
    "blur, sigma 1 px": blurred(1.0),
    "blur, sigma 2 px": blurred(2.0),
    "motion blur, 7 px": moved(7),
    "noise, sigma 12": noisy(12.0),
    "noise, sigma 25": noisy(25.0),
    "JPEG 30": compressed(30),
    "low-pass: half the pixels a side": low_passed(2.0),
    "low-pass: a third of the pixels a side": low_passed(3.0),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """Scores under one degradation."""

    name: str
    scores: Scores


def measure(detect: Detect, items: Sequence[Item], seed: int = 1) -> list[Row]:
    """Score a detector on the pictures under each of `DEGRADATIONS`, the first being none."""
    rows = []
    for name, degrade in DEGRADATIONS.items():
        results: list[tuple[Item, tuple[Detection, ...]]] = []
        for number, item in enumerate(items):
            rng = np.random.default_rng((seed, number))
            results.append((item, tuple(detect(degrade(item.load().image_bgr, rng)))))
        rows.append(Row(name=name, scores=evaluate(results)))
    return rows


def table(rows: Sequence[Row]) -> list[str]:
    """Return the rows as Markdown, with what each costs against the first."""
    first = rows[0].scores
    lines = [
        "| pictures | AP50 | change | AP | change | AP50 robot / ball / goal |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        s = row.scores
        classes = " / ".join(f"{values[1]:.3f}" for _, values in s.per_class)
        changes = [f"{now - before:+.3f}" for now, before in ((s.ap50, first.ap50), (s.ap, first.ap))]
        lines.append(f"| {row.name} | {s.ap50:.3f} | {changes[0]} | {s.ap:.3f} | {changes[1]} | {classes} |")
    return lines
