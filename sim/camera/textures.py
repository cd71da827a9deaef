"""Procedural textures: carpet, room walls, robot shells. uint8 RGB arrays drawn from one numpy Generator.

Real carpets are dull and worn, room walls plain with sockets or tiles, and robots carry text, numbers, LEDs, gaps and
screws (seen in the pictures of RobôCIn's public data set); a detector trained on clean surfaces fails on them.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
"""uint8 pixels, RGB; OpenCV's type stubs promise nothing narrower."""
Rgb = tuple[float, float, float]

_WORDS = (
    "ROBO",
    "SSL",
    "inloco",
    "TIGERS",
    "ZJU",
    "GER",
    "7",
    "3",
    "11",
    "04",
    "RC",
    "MRL",
    "UFPE",
    "A5",
    "OMID",
    "KIKS",
)


def _to_pixels(rgb: NDArray[Any]) -> Image:
    pixels: Image = (np.clip(rgb, 0.0, 1.0) * 255.0).astype(np.uint8)
    return pixels


def _smooth_noise(rng: np.random.Generator, size: int, cells: int) -> NDArray[Any]:
    """Return a (size, size) tileable field in about [-1, 1] with features of size/cells pixels."""
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    padded = np.pad(coarse, 2, mode="wrap")
    scale = size // cells
    grown = cv2.resize(padded, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    edge = 2 * scale
    return grown[edge : edge + size, edge : edge + size]


def carpet(rng: np.random.Generator, colour: Rgb, *, size: int = 1024, grain: float, worn: float) -> Image:
    """Return a tileable carpet: fibres, worn patches, specks.

    Args:
        rng: the source of randomness.
        colour: mean colour, each channel in [0, 1].
        size: side in pixels.
        grain: standard deviation of the fibre brightness, relative.
        worn: amplitude of the patches, relative.
    """
    fibres = rng.standard_normal((size, size)).astype(np.float32)
    length = int(rng.integers(1, 5))
    fibres = cv2.blur(fibres, (length, 1 + int(rng.integers(0, 2))), borderType=cv2.BORDER_REFLECT101) * np.sqrt(length)
    field = 1.0 + grain * fibres
    field += worn * (0.6 * _smooth_noise(rng, size, 4) + 0.4 * _smooth_noise(rng, size, 16))
    tint = 1.0 + 0.5 * worn * _smooth_noise(rng, size, 8)
    rgb = np.empty((size, size, 3), np.float32)
    rgb[..., 0] = colour[0] * field * tint
    rgb[..., 1] = colour[1] * field
    rgb[..., 2] = colour[2] * field * (2.0 - tint)
    for _ in range(int(rng.integers(0, 25))):  # lint, scraps of tape, rubber marks
        centre = tuple(int(v) for v in rng.integers(0, size, 2))
        axes = tuple(int(v) for v in rng.integers(1, 6, 2))
        shade = float(rng.choice([0.15, 0.75, 0.9]))
        cv2.ellipse(rgb, centre, axes, float(rng.uniform(0, 180)), 0, 360, (shade, shade, shade), -1)
    return _to_pixels(rgb)


def room_wall(rng: np.random.Generator, colour: Rgb, *, width: int = 1024, height: int = 256) -> Image:
    """Return a room wall: plain, tiled, panelled, or a busy hall (blurred rectangles of many colours)."""
    rgb: NDArray[Any] = np.empty((height, width, 3), np.float32)
    rgb[:] = colour
    kind = rng.choice(["plain", "tiles", "panels", "busy"], p=[0.4, 0.15, 0.2, 0.25])
    if kind == "tiles":
        step = int(rng.integers(12, 40))
        joint = tuple(float(c) * float(rng.uniform(0.75, 0.95)) for c in colour)
        for x in range(0, width, step):
            cv2.line(rgb, (x, 0), (x, height), joint, 1)
        for y in range(0, height, step):
            cv2.line(rgb, (0, y), (width, y), joint, 1)
    elif kind == "panels":
        x = 0
        while x < width:
            step = int(rng.integers(40, 200))
            shade = float(rng.uniform(0.75, 1.1))
            cv2.rectangle(rgb, (x, 0), (x + step, height), tuple(float(c) * shade for c in colour), -1)
            x += step
    elif kind == "busy":
        for _ in range(int(rng.integers(60, 220))):
            x, y = int(rng.integers(-40, width)), int(rng.integers(0, height))
            w, h = int(rng.integers(4, 90)), int(rng.integers(6, 120))
            cv2.rectangle(rgb, (x, y), (x + w, y + h), tuple(float(v) for v in rng.uniform(0, 1, 3) ** 1.5), -1)
        rgb = cv2.GaussianBlur(rgb, (0, 0), float(rng.uniform(0.8, 3.0)))
    for _ in range(int(rng.integers(0, 6))):  # sockets, stickers, screws
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        w, h = int(rng.integers(4, 14)), int(rng.integers(4, 14))
        shade = float(rng.uniform(0.2, 0.95))
        cv2.rectangle(rgb, (x, y), (x + w, y + h), (shade, shade, shade), -1)
        cv2.rectangle(rgb, (x, y), (x + w, y + h), (shade * 0.6,) * 3, 1)
    rgb *= np.linspace(1.0, float(rng.uniform(0.75, 1.05)), height, dtype=np.float32)[:, None, None]
    rgb += 0.015 * rng.standard_normal((height, width, 1)).astype(np.float32)
    return _to_pixels(rgb)


def _ink(red: float, green: float, blue: float) -> tuple[float, float, float]:
    return tuple(255.0 * min(max(float(c), 0.0), 1.0) for c in (red, green, blue))  # type: ignore[return-value]


def robot_shell(
    rng: np.random.Generator, colour: Rgb, *, to_the_floor: bool, width: int = 512, height: int = 128
) -> Image:
    """Return the unrolled side of a robot: the front in the middle columns, the top in row 0.

    Args:
        rng: the source of randomness.
        colour: the shell's colour, each channel in [0, 1].
        to_the_floor: paint wheels and gaps in the lower half, where a shell that ends higher would show real ones.
        width: pixels around.
        height: pixels from bottom to top.
    """
    rgb = np.empty((height, width, 3), np.float32)
    rgb[:] = colour
    rgb *= 1.0 + 0.08 * cv2.resize(rng.standard_normal((4, 12)).astype(np.float32), (width, height))[..., None]
    canvas = (np.clip(rgb, 0.0, 1.0) * 255.0).astype(np.uint8)
    contrast = 0.9 if sum(colour) < 1.2 else 0.1
    for _ in range(int(rng.integers(0, 6))):  # openings, plates, tape
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        w, h = int(rng.integers(8, 70)), int(rng.integers(5, 40))
        shade = float(rng.choice([0.03, 0.1, 0.45, 0.8]))
        cv2.rectangle(canvas, (x, y), (x + w, y + h), _ink(shade, shade, shade * float(rng.uniform(0.9, 1.1))), -1)
    for _ in range(int(rng.integers(0, 5))):  # logos and numbers
        ink = _ink(contrast, contrast, contrast) if rng.random() < 0.6 else _ink(*rng.uniform(0, 1, 3))
        place = (int(rng.integers(0, width - 60)), int(rng.integers(height // 3, height)))
        scale, weight = float(rng.uniform(0.5, 1.7)), int(rng.integers(1, 5))
        cv2.putText(canvas, str(rng.choice(_WORDS)), place, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, weight, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 14))):  # LEDs and screws
        centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        lamp = rng.random() < 0.35
        ink = _ink(*(rng.uniform(0, 1, 3) ** 0.5 if lamp else [float(rng.uniform(0.3, 0.9))] * 3))
        cv2.circle(canvas, centre, int(rng.integers(1, 4)), ink, -1)
    if to_the_floor:
        hub = float(rng.uniform(0.25, 0.8))
        for angle_deg in (60.0, 135.0, 225.0, 300.0):
            x = int(((angle_deg + 180.0) % 360.0) / 360.0 * width)
            cv2.ellipse(canvas, (x, height - 24), (24, 25), 0, 0, 360, _ink(0.04, 0.04, 0.04), -1)
            cv2.ellipse(canvas, (x, height - 24), (16, 17), 0, 0, 360, _ink(hub, hub, hub), -1)
            cv2.circle(canvas, (x, height - 24), 5, _ink(0.1, 0.1, 0.1), -1)
        half = width // 8
        cv2.rectangle(canvas, (width // 2 - half, height - 45), (width // 2 + half, height), _ink(0.03, 0.03, 0.03), -1)
    return canvas


def speckled(rng: np.random.Generator, colour: Rgb, *, size: int = 128, amount: float = 0.06) -> Image:
    """Return a lightly uneven plain surface: balls, boards and clothes are never one value."""
    field = 1.0 + amount * (0.5 * rng.standard_normal((size, size)).astype(np.float32) + _smooth_noise(rng, size, 8))
    rgb = np.asarray(colour, np.float32) * field[..., None]
    return _to_pixels(rgb)
