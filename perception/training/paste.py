"""What is pasted into training pictures: clutter, balls, pieces that are no object, robots beside robots.

Source of the idea: Dwibedi et al., "Cut, Paste and Learn" (2017). Boxes are edges in the pixels of the picture that
is pasted into, which is changed in place unless labels are added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.training.dataset import Sample

ROBOT, BALL = 0, 1
LEAST_TEXTURE = 22.0
"""Standard deviation of grey that a piece must have to be taken for a thing."""
Cut = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """Cut-outs (h, w, 3) to paste: `balls`, and `nothing`: shoes, people, signs, whatever nobody labelled."""

    balls: Sequence[Cut] = ()
    nothing: Sequence[Cut] = ()


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw from a range, every ratio as likely."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _overlaps(boxes: NDArray[np.float32], x0: float, y0: float, x1: float, y1: float) -> bool:
    if not len(boxes):
        return False
    wide = np.minimum(boxes[:, 2], x1) - np.maximum(boxes[:, 0], x0)
    high = np.minimum(boxes[:, 3], y1) - np.maximum(boxes[:, 1], y0)
    return bool(((wide > 0) & (high > 0)).any())


def add_clutter(sample: Sample, rng: np.random.Generator) -> None:
    """Paint coloured shapes that are no object (cones, shoes, bags, signs): often red or orange, never a round ball."""
    image = sample.image_bgr
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, 6))):
        size = log_uniform(rng, 6, 70)
        x, y = rng.uniform(0, width), rng.uniform(0, height * 0.75)
        corners = int(rng.integers(3, 6))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        reach = size / 2 * rng.uniform(0.5, 1.3, corners)
        points = np.stack([x + np.cos(angles) * reach * rng.uniform(0.4, 1.6), y + np.sin(angles) * reach], axis=1)
        low, high = points.min(axis=0), points.max(axis=0)
        if _overlaps(sample.boxes_px, low[0], low[1], high[0], high[1]):
            continue
        hue = rng.uniform(0, 12) if rng.random() < 0.5 else rng.uniform(0, 180)
        hsv = np.array([[[hue, rng.uniform(60, 255), rng.uniform(40, 255)]]]).astype(np.uint8)
        colour = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].tolist()
        cv2.fillPoly(image, [points.round().astype(np.int32)], colour, lineType=cv2.LINE_AA)


def paste_balls(
    sample: Sample, balls: Sequence[NDArray[np.uint8]], size_range_px: tuple[float, float], rng: np.random.Generator
) -> Sample:
    """Paste one to three cut-out balls, small ones too, not above the highest labelled object."""
    image = sample.image_bgr
    height, width = image.shape[:2]
    top = float(sample.boxes_px[:, 1].min()) if len(sample.boxes_px) else height * 0.45
    boxes, classes = list(sample.boxes_px), list(sample.classes)
    for _ in range(int(rng.integers(1, 4))):
        ball = balls[int(rng.integers(len(balls)))]
        size = max(3, round(log_uniform(rng, *size_range_px)))
        if size > max(ball.shape[:2]) * 1.6 or height - size <= top + 1:
            continue
        x, y = int(rng.integers(0, width - size)), int(rng.uniform(top, height - size))
        if _overlaps(np.asarray(boxes, np.float32).reshape(-1, 4), x - 1, y - 1, x + size + 1, y + size + 1):
            continue
        patch = cv2.resize(ball, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
        axis = (np.arange(size) + 0.5) / size * 2 - 1
        radius = np.sqrt(axis[None] ** 2 + axis[:, None] ** 2)
        alpha = np.clip((1.0 - radius) * size / 2 + 0.5, 0, 1)[..., None]
        view = image[y : y + size, x : x + size].astype(np.float32)
        surround = (view.mean() + 60.0) / (patch.mean() + 60.0)  # a dark place has dark balls
        patch = np.clip(patch * rng.uniform(0.85, 1.15) * min(1.3, max(0.6, surround)), 0, 255)
        image[y : y + size, x : x + size] = (alpha * patch + (1 - alpha) * view).astype(np.uint8)
        boxes.append(np.array([x, y, x + size, y + size], np.float32))
        classes.append(np.int64(BALL))
    table = np.asarray(boxes, np.float32).reshape(-1, 4)
    return Sample(image_bgr=image, boxes_px=table, classes=np.asarray(classes, np.int64))


def cut_out_balls(samples: Iterable[Sample]) -> list[NDArray[np.uint8]]:
    """Collect round, whole balls of at least 9 px for pasting."""
    balls = []
    for sample in samples:
        height, width = sample.image_bgr.shape[:2]
        for box in sample.boxes_px[sample.classes == BALL]:
            x0, y0, x1, y1 = box.round().astype(int)
            inside = x0 > 1 and y0 > 1 and x1 < width - 1 and y1 < height - 1
            if inside and min(x1 - x0, y1 - y0) >= 9 and 0.85 < (x1 - x0) / (y1 - y0) < 1.18:
                balls.append(sample.image_bgr[y0:y1, x0:x1].copy())
    return balls


def cut_out_nothing(
    samples: Iterable[Sample], objects: Callable[[Cut], NDArray[np.float32]], rng: np.random.Generator
) -> list[Cut]:
    """Collect textured pieces of pictures that show no object, out of 24 tried a picture.

    Args:
        samples: labelled pictures.
        objects: boxes (N, 4) of what might be an object in a picture, labelled or not: people leave out robots at the
            edge and behind the boards, and those must not be pasted onto the carpet as nothing.
        rng: source of all randomness.
    """
    pieces = []
    for sample in samples:
        image = sample.image_bgr
        height, width = image.shape[:2]
        taken = np.concatenate([sample.boxes_px, objects(image)])
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        for _ in range(24):
            w = round(log_uniform(rng, 8, width / 3))
            h = min(round(w * log_uniform(rng, 0.5, 2.0)), height - 1)
            x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
            if grey[y : y + h, x : x + w].std() > LEAST_TEXTURE and not _overlaps(taken, x, y, x + w, y + h):
                pieces.append(image[y : y + h, x : x + w].copy())
    return pieces


def paste_nothing(sample: Sample, pieces: Sequence[Cut], rng: np.random.Generator) -> None:
    """Paste one to four pieces without an object where no label is, with soft edges."""
    image = sample.image_bgr
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, 5))):
        piece = pieces[int(rng.integers(len(pieces)))]
        scale = log_uniform(rng, 12, 130) / max(piece.shape[:2])
        w, h = (max(4, round(side * scale)) for side in (piece.shape[1], piece.shape[0]))
        if w >= width or h >= height:
            continue
        x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
        if not _overlaps(sample.boxes_px, x, y, x + w, y + h):
            _blend(image, cv2.resize(piece, (w, h), interpolation=cv2.INTER_LINEAR), x, y, rng)  # type: ignore[arg-type]


def double_robots(sample: Sample, rng: np.random.Generator) -> Sample:
    """Put copies of robots beside robots of the picture, touching or a little in front: what a crowd looks like."""
    image = sample.image_bgr
    height, width = image.shape[:2]
    robots = np.nonzero(sample.classes == ROBOT)[0]
    boxes, classes = list(sample.boxes_px), list(sample.classes)
    for index in rng.permutation(robots)[:3]:
        x0, y0, x1, y1 = sample.boxes_px[index].round().astype(int).tolist()
        w, h = x1 - x0, y1 - y0
        whole = x0 > 1 and y0 > 1 and x1 < width - 1 and y1 < height - 1
        if not whole or min(w, h) < 12:
            continue
        side = 1.0 if rng.random() < 0.5 else -1.0
        left, top = round(x0 + side * w * rng.uniform(0.75, 1.1)), round(y0 + h * rng.uniform(-0.03, 0.15))
        others = np.asarray([b for k, b in enumerate(boxes) if k != index], np.float32).reshape(-1, 4)
        if left < 0 or left + w > width or top + h > height or _overlaps(others, left, top, left + w, top + h):
            continue
        copy = image[y0:y1, x0:x1].copy()
        if rng.random() < 0.5:
            copy = np.ascontiguousarray(copy[:, ::-1])
        image[top : top + h, left : left + w] = copy
        boxes.append(np.array([left, top, left + w, top + h], np.float32))
        classes.append(np.int64(ROBOT))
    return replace(sample, boxes_px=np.asarray(boxes, np.float32).reshape(-1, 4), classes=np.asarray(classes, np.int64))


def _blend(image: Cut, piece: Cut, x: int, y: int, rng: np.random.Generator) -> None:
    """Lay `piece` into `image` with its corner at (x, y), as a rounded shape with soft edges, lit as its place is."""
    h, w = piece.shape[:2]
    across, down = np.abs((np.arange(w) + 0.5) / w * 2 - 1), np.abs((np.arange(h) + 0.5) / h * 2 - 1)
    power = rng.uniform(2.0, 8.0)  # from an ellipse to nearly a rectangle
    inside = 1.0 - (across[None] ** power + down[:, None] ** power) ** (1.0 / power)
    alpha = np.clip(inside * min(w, h) / 4, 0, 1)[..., None]
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    view = image[y : y + h, x : x + w].astype(np.float32)
    patch = np.clip(piece * rng.uniform(0.8, 1.2), 0, 255)
    image[y : y + h, x : x + w] = (alpha * patch + (1 - alpha) * view).astype(np.uint8)
