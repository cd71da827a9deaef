"""Which pictures of a board are worth keeping, and what is still missing: coverage, tilts, distances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perception.calibration.board_finder import BoardView
from robot.core.geometry import FloatArray

_COLUMNS, _ROWS = 4, 3
_PLACES = (
    ("upper left", "upper middle left", "upper middle right", "upper right"),
    ("left edge", "middle left", "middle right", "right edge"),
    ("lower left", "lower middle left", "lower middle right", "lower right"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewConfig:
    """What makes a good set of pictures.

    `max_edge_px` is how wide a blurred edge may be. A cell of the picture counts as seen with `cell_corners` corners.
    `tilt_rad` is what counts as leaning; `near_fill` and `far_fill` are shares of the picture that a near and a
    far board take. `min_views` are needed, `max_views` used.
    """

    max_edge_px: float = 5.5
    cell_corners: int = 8
    tilt_rad: float = math.radians(18.0)
    near_fill: float = 0.6
    far_fill: float = 0.4
    min_views: int = 10
    max_views: int = 40
    min_novelty: float = 0.12


class ViewCollector:
    """Keeps the sharp pictures that show something new; asks for what is missing."""

    def __init__(self, config: ViewConfig, size_px: tuple[int, int]) -> None:
        self.config, self.size_px = config, size_px
        self.views: list[BoardView] = []
        self.blurred = self.repeated = 0

    def offer(self, view: BoardView) -> str | None:
        """Take a view, or say why not: "blurred", "nothing new"."""
        if view.edge_px > self.config.max_edge_px:
            self.blurred += 1
            return "blurred"
        if self.views and min(_apart(view, other) for other in self.views) < self.config.min_novelty:
            self.repeated += 1
            return "nothing new"
        self.views.append(view)
        return None

    def chosen(self) -> list[BoardView]:
        """Return at most `max_views`: each next one the farthest from all chosen before (in place, size and lean)."""
        left = sorted(self.views, key=lambda view: view.edge_px)
        if len(left) <= self.config.max_views:
            return left
        taken = [left.pop(0)]
        gaps = np.array([_apart(view, taken[0]) for view in left])
        while len(taken) < self.config.max_views:
            best = int(np.argmax(gaps))
            taken.append(left[best])
            gaps = np.minimum(gaps, [_apart(view, left[best]) for view in left])
            gaps[best] = -1.0
        return taken

    def missing(self) -> list[str]:
        """Return what is still to be shown to the camera, most important first; empty when all is there."""
        return missing(self.views, self.size_px, self.config)


def cells(views: Sequence[BoardView], size_px: tuple[int, int]) -> NDArray[np.int_]:
    """Return how many corners lie in each of 3 x 4 parts of the picture."""
    count = np.zeros((_ROWS, _COLUMNS), int)
    for view in views:
        column = np.clip(view.corners_px[:, 0] * _COLUMNS / size_px[0], 0, _COLUMNS - 1).astype(int)
        row = np.clip(view.corners_px[:, 1] * _ROWS / size_px[1], 0, _ROWS - 1).astype(int)
        np.add.at(count, (row, column), 1)
    return count


def missing(views: Sequence[BoardView], size_px: tuple[int, int], config: ViewConfig) -> list[str]:
    """Return what a set of views lacks, as sentences for a person with a board in the hand."""
    wishes = []
    count = cells(views, size_px)
    empty = [_PLACES[r][c] for r in range(_ROWS) for c in range(_COLUMNS) if count[r, c] < config.cell_corners]
    if empty:
        wishes.append(f"board at the picture's {', '.join(empty)}")
    leaning = [view for view in views if view.tilt_rad >= config.tilt_rad]
    ways = {"left or right edge nearer": 0, "top or bottom edge nearer": 0}
    for view in leaning:
        sideways = abs(math.cos(view.lean_rad)) >= abs(math.sin(view.lean_rad))
        ways["left or right edge nearer" if sideways else "top or bottom edge nearer"] += 1
    for name, times in ways.items():
        if times < 2:
            wishes.append(f"board tilted by 20 to 45 degrees, its {name}")
    if not any(view.fill >= config.near_fill for view in views):
        wishes.append("board nearer, so that it fills the picture's width or height")
    if not any(view.fill <= config.far_fill for view in views):
        wishes.append("board farther away, a third of the picture")
    if len(views) < config.min_views:
        wishes.append(f"{config.min_views - len(views)} more pictures, each from somewhere else")
    return wishes


def _features(view: BoardView) -> FloatArray:
    centre = view.centre_px() / view.size_px
    lean = math.sin(view.tilt_rad)
    return np.array([*centre, view.fill, lean * math.cos(view.lean_rad), lean * math.sin(view.lean_rad)])


def _apart(a: BoardView, b: BoardView) -> float:
    return float(np.linalg.norm(_features(a) - _features(b)))
