"""Augmentation: where pictures land in the network's input, what is pasted into them, how they look.

The pictures of the real set are square and small (224x224); the robot's camera gives 640x480. Zoom, shift and
collages make both fill the network's input in every size that the robot will meet, down to balls of a few pixels.
Everything random comes from the one generator passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.detection.letterbox import PAD_VALUE, placement
from perception.training.config import AugmentConfig
from perception.training.dataset import IGNORE, Sample
from perception.training.paste import Pieces, add_clutter, double_robots, log_uniform, paste_balls, paste_nothing

GOAL = 2
VISIBLE_KEPT, VISIBLE_IGNORED = 0.3, 0.08
MIN_SIDE_PX = 2.2
Draw = Callable[[], Sample]
Picture = NDArray[np.uint8]


def augment(
    draw: Draw,
    pieces: Pieces,
    config: AugmentConfig,
    size_px: tuple[int, int],
    rng: np.random.Generator,
) -> Sample:
    """Make one training picture of `size_px` (width, height) from one or several drawn samples.

    Args:
        draw: returns a random sample.
        pieces: cut-outs to paste; may be empty.
        config: chances and ranges.
        size_px: the network's input size.
        rng: source of all randomness.
    """
    compose = _as_deployed if rng.random() < config.plain else _composed
    sample = compose(_worn(draw, config, rng) if config.worn > 0 else draw, config, size_px, rng)
    if config.doubled_robots > 0 and rng.random() < config.doubled_robots:
        sample = double_robots(sample, rng)
    if rng.random() < config.clutter:
        add_clutter(sample, rng)
    if len(pieces.nothing) and rng.random() < config.paste_nothing:
        paste_nothing(sample, pieces.nothing, rng)
    if len(pieces.balls) and rng.random() < config.paste_balls:
        sample = paste_balls(sample, pieces.balls, config.pasted_ball_px, rng)
    image = change_look(sample.image_bgr, config, rng)
    return Sample(image_bgr=image, boxes_px=sample.boxes_px, classes=sample.classes)


def _worn(draw: Draw, config: AugmentConfig, rng: np.random.Generator) -> Draw:
    """Return a source whose pictures carry, now and then, grain and JPEG marks of the size of their own pixels.

    Enlarged to the input they become blobs and squares, which `change_look` on the input never makes.
    """

    def drawn() -> Sample:
        sample = draw()
        if rng.random() >= config.worn:
            return sample
        image, kind = sample.image_bgr, rng.random()
        if kind < 0.7:
            image = _grainy(image, config.noise_sigma, rng)
        if kind > 0.45:
            image = _compressed(image, rng)
        return Sample(image_bgr=image, boxes_px=sample.boxes_px, classes=sample.classes)

    return drawn


def _as_deployed(draw: Draw, config: AugmentConfig, size_px: tuple[int, int], rng: np.random.Generator) -> Sample:
    """Letterbox one picture as the running detector does; at most mirrored."""
    sample = draw()
    image, boxes = sample.image_bgr, sample.boxes_px
    if rng.random() < 0.5:
        image, boxes = np.ascontiguousarray(image[:, ::-1]), boxes.copy()
        boxes[:, [0, 2]] = image.shape[1] - boxes[:, [2, 0]]
    where = placement((image.shape[1], image.shape[0]), size_px)
    canvas = np.full((size_px[1], size_px[0], 3), PAD_VALUE, np.uint8)
    (x, y), (w, h) = where.offset_px, where.resized_px
    canvas[y : y + h, x : x + w] = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
    boxes = where.to_input(boxes)
    tiny = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) < MIN_SIDE_PX
    return Sample(image_bgr=canvas, boxes_px=boxes, classes=np.where(tiny, IGNORE, sample.classes))


def _composed(draw: Draw, config: AugmentConfig, size_px: tuple[int, int], rng: np.random.Generator) -> Sample:
    """Zoom, shift and turn one picture, or a collage of two or four."""
    width, height = size_px
    canvas = np.full((height, width, 3), PAD_VALUE, np.uint8)
    if rng.random() < 0.3:
        canvas[:] = rng.integers(0, 256, 3)
    if rng.random() < config.collage:
        x, y = round(width * rng.uniform(0.3, 0.7)), round(height * rng.uniform(0.3, 0.7))
        regions = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
        if rng.random() < 0.35:
            regions = [(0, 0, x, height), (x, 0, width, height)]
        zoom = config.collage_zoom
    else:
        regions, zoom = [(0, 0, width, height)], config.zoom
    boxes, classes = [], []
    for region in regions:
        placed = _place(canvas, region, draw(), zoom, config, rng)
        boxes.append(placed[0])
        classes.append(placed[1])
    return Sample(image_bgr=canvas, boxes_px=np.concatenate(boxes), classes=np.concatenate(classes))


def _place(
    canvas: NDArray[np.uint8],
    region: tuple[int, int, int, int],
    sample: Sample,
    zoom: tuple[float, float],
    config: AugmentConfig,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw a zoomed, shifted, slightly turned sample into a region of the canvas; returns its boxes there."""
    image = sample.image_bgr
    h, w = image.shape[:2]
    x0, y0, x1, y1 = region
    base = min(canvas.shape[1] / w, canvas.shape[0] / h)
    scale = base * log_uniform(rng, *zoom)
    stretch = float(np.sqrt(1.0 + rng.uniform(-config.aspect, config.aspect)))
    sx, sy = scale * stretch, scale / stretch
    before = np.eye(3)
    if scale < 0.6:  # bilinear sampling alone would alias, which no camera driver's scaler does as badly
        small = (max(8, round(w * sx)), max(8, round(h * sy)))
        method = cv2.INTER_AREA if rng.random() < 0.5 else cv2.INTER_LINEAR
        image = cast(Picture, cv2.resize(image, small, interpolation=method))
        before = np.diag([small[0] / w, small[1] / h, 1.0])
    angle = np.deg2rad(rng.uniform(-config.rotation_deg, config.rotation_deg))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = np.cos(angle), np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([sx * flip, sy])
    space = np.array([x1 - x0 - w * sx, y1 - y0 - h * sy])
    corner = np.array([x0, y0]) + np.sort([np.zeros(2), space], axis=0)[0] + rng.random(2) * np.abs(space)
    middle = corner + np.array([w * sx, h * sy]) / 2
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = middle - linear @ np.array([w / 2, h / 2])
    warp = matrix @ np.linalg.inv(before)
    # warpAffine counts pixel centres as whole numbers, boxes count edges
    warp[:2, 2] += warp[:2, :2] @ np.array([0.5, 0.5]) - 0.5
    warp[:2, 2] -= [x0, y0]
    view = canvas[y0:y1, x0:x1]
    view[:] = cv2.warpAffine(
        image, warp[:2], (x1 - x0, y1 - y0), dst=view.copy(), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT
    )
    return _move_boxes(sample, matrix, region)


def _move_boxes(
    sample: Sample, matrix: NDArray[np.float64], region: tuple[int, int, int, int]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Map boxes; round objects keep round extents when turned, goals take the hull of their corners."""
    if not len(sample.boxes_px):
        return sample.boxes_px.copy(), sample.classes.copy()
    boxes = sample.boxes_px.astype(np.float64)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 @ matrix[:2, :2].T + matrix[:2, 2]
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    linear = np.abs(matrix[:2, :2])
    hull = half @ linear.T
    ellipse = np.sqrt((half**2) @ (linear**2).T)
    half = np.where((sample.classes == GOAL)[:, None], hull, ellipse)
    full = np.concatenate([centre - half, centre + half], axis=1)
    x0, y0, x1, y1 = region
    cut = np.clip(full, [x0, y0, x0, y0], [x1, y1, x1, y1])
    area = np.prod(full[:, 2:] - full[:, :2], axis=1)
    side = cut[:, 2:] - cut[:, :2]
    visible = np.prod(side, axis=1) / np.maximum(area, 1e-6)
    classes = np.where((visible < VISIBLE_KEPT) | (side.min(axis=1) < MIN_SIDE_PX), IGNORE, sample.classes)
    keep = (visible > VISIBLE_IGNORED) & (side.min(axis=1) > 0.5)
    return cut[keep].astype(np.float32), classes[keep]


def change_look(image: NDArray[np.uint8], config: AugmentConfig, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change light, colour and quality of a picture, nothing of its geometry."""
    if rng.random() < config.colour:
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.int16)
        hsv[..., 0] = (hsv[..., 0] + int(rng.integers(-6, 7))) % 180
        hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.6, 1.4), 0, 255)
        image = cast(Picture, cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR))
        gain = rng.uniform(0.85, 1.15, 3) * rng.uniform(0.6, 1.4)
        if rng.random() < config.strong_cast:  # a camera without white balance: the set has a cyan one
            gain = gain * rng.uniform(0.6, 1.35, 3)
        levels = np.arange(256) / 255.0
        gamma, lift = log_uniform(rng, 0.7, 1.4), rng.uniform(-0.08, 0.08)
        tables = np.clip(levels[:, None] ** gamma * gain + lift, 0, 1) * 255
        image = cast(Picture, cv2.LUT(image, tables.astype(np.uint8)[None]))
    if rng.random() < config.blur:
        if rng.random() < 0.5:
            image = cast(Picture, cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4)))
        else:
            kernel = _motion_kernel(int(rng.integers(3, 9)), rng.uniform(0, np.pi))
            image = cast(Picture, cv2.filter2D(image, -1, kernel))
    if rng.random() < config.noise:
        image = _grainy(image, config.noise_sigma, rng)
    if rng.random() < config.jpeg:
        image = _compressed(image, rng)
    return image


def _grainy(image: Picture, sigma_range: tuple[float, float], rng: np.random.Generator) -> Picture:
    grain = rng.normal(0, rng.uniform(*sigma_range), image.shape).astype(np.float32)
    return cast(Picture, np.clip(image + grain, 0, 255).astype(np.uint8))


def _compressed(image: Picture, rng: np.random.Generator) -> Picture:
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))])[1]
    return cast(Picture, cv2.imdecode(coded, cv2.IMREAD_COLOR))


def _motion_kernel(length: int, angle: float) -> NDArray[np.float32]:
    kernel = np.zeros((length, length), np.float32)
    middle = (length - 1) / 2
    reach = np.array([np.cos(angle), np.sin(angle)]) * middle
    first, last = np.round(middle - reach).astype(int), np.round(middle + reach).astype(int)
    cv2.line(kernel, first.tolist(), last.tolist(), 1.0)
    result: NDArray[np.float32] = kernel / kernel.sum()
    return result
