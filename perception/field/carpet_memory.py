"""The carpet keeps its colour from frame to frame; what one picture shows most of need not be carpet.

`CarpetScanner` takes the most common colour of the picture's lower part for the carpet. Close to a low board most of
that is the hall's floor behind it, and everything that stands there would count as on the field (seen in a simulated
trial: a ball on the hall's floor held the ball's track for 2.7 s). So the colour is remembered, and a picture whose
"carpet" has another one tells nothing about the floor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot.core.messages import Vec2


@dataclass(frozen=True, kw_only=True, slots=True)
class CarpetMemoryConfig:
    """What still is the same carpet.

    Colours are logarithms of red to green, blue to green, and brightness. A picture teaches only if at most
    `teach_footless` of its columns show no carpet at their foot, where the robot's own place is nearest. After
    `relearn_frames` such pictures in a row of another colour the light has changed, and it is learned anew.
    """

    chroma: float = 0.16
    brightness: float = 0.7
    teach_footless: float = 0.2
    known_after: int = 3
    average_over: int = 60
    relearn_frames: int = 60
    samples: int = 400

    def __post_init__(self) -> None:
        if min(self.chroma, self.brightness) <= 0.0 or min(self.known_after, self.average_over, self.samples) < 1:
            raise ValueError("chroma, brightness, known_after, average_over and samples must be positive")


class CarpetMemory:
    """Remembers one carpet; one instance per camera."""

    def __init__(self, config: CarpetMemoryConfig | None = None) -> None:
        self._config = config or CarpetMemoryConfig()
        self._colour = np.zeros(3)
        self._count = 0
        self._strange = 0

    def agrees(self, image_bgr: NDArray[np.uint8], mask: NDArray[np.bool_], edge_px: tuple[Vec2, ...]) -> bool:
        """Say whether what was taken for carpet in this picture is the carpet, and learn from it.

        Args:
            image_bgr: the picture.
            mask: what the scanner calls carpet, in its reduced picture.
            edge_px: the edge that came from it, in the picture's pixels.
        """
        cfg = self._config
        cells = np.flatnonzero(mask)
        if not edge_px or not cells.size:
            return False
        colour = _colour(image_bgr, mask.shape, cells[:: max(1, cells.size // cfg.samples)])
        bottom = image_bgr.shape[0] - 1.0
        teaches = sum(v >= bottom for _, v in edge_px) <= cfg.teach_footless * len(edge_px)
        if self._count < cfg.known_after:
            if not teaches:
                return False
            if self._count and not self._same(colour):
                self._count = 0
            self._learn(colour)
            return True
        if self._same(colour):
            self._strange = 0
            if teaches:
                self._learn(colour)
            return True
        self._strange += teaches
        if self._strange >= cfg.relearn_frames:
            self._count = self._strange = 0
        return False

    def _same(self, colour: NDArray[np.float64]) -> bool:
        off = np.abs(colour - self._colour)
        return math.hypot(off[0], off[1]) <= self._config.chroma and bool(off[2] <= self._config.brightness)

    def _learn(self, colour: NDArray[np.float64]) -> None:
        self._count += 1
        self._colour += (colour - self._colour) / min(self._count, self._config.average_over)


def _colour(image_bgr: NDArray[np.uint8], shape: tuple[int, ...], cells: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the mean colour of some cells of the reduced picture, as logarithms."""
    (rows, columns), (height, width) = shape, image_bgr.shape[:2]
    v = ((cells // columns + 0.5) * height / rows).astype(np.intp)
    u = ((cells % columns + 0.5) * width / columns).astype(np.intp)
    blue, green, red = np.log(image_bgr[v, u].mean(axis=0) + 12.0).tolist()
    return np.array([red - green, blue - green, (red + green + blue) / 3.0])
