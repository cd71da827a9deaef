"""What is painted and built on a field, as plain numbers: lines, the centre circle, junctions, goal posts.

One list for everybody: localisation matches it, the simulator paints it, evaluation projects it. Field frame, metres
(see `FieldGeometry`). What lies behind the walls of a half field is not there, what crosses a wall is cut.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from robot.core.field import FieldGeometry
from robot.core.geometry import FloatArray
from robot.core.messages import Vec2

_SAME_M = 1e-6


class JunctionKind(Enum):
    """How lines meet: the letter says it."""

    L = "L"
    T = "T"
    X = "X"


@dataclass(frozen=True, kw_only=True, slots=True)
class Marking:
    """A straight line on the field between the centres of its ends."""

    name: str
    start_m: Vec2
    end_m: Vec2

    def length_m(self) -> float:
        """Return its length."""
        return math.dist(self.start_m, self.end_m)


@dataclass(frozen=True, kw_only=True, slots=True)
class Arc:
    """A part of a circle from `start_rad`, counter-clockwise over `sweep_rad` (a full circle: 2 pi)."""

    name: str
    centre_m: Vec2
    radius_m: float
    start_rad: float = 0.0
    sweep_rad: float = math.tau


@dataclass(frozen=True, kw_only=True, slots=True)
class Junction:
    """Where lines meet. `heading_rad` is the direction of the L's bisector or of the T's stem; an X repeats every
    quarter turn and has 0.
    """

    kind: JunctionKind
    position_m: Vec2
    heading_rad: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldModel:
    """All markings of one field."""

    lines: tuple[Marking, ...]
    arcs: tuple[Arc, ...]
    junctions: tuple[Junction, ...]
    goal_posts_m: tuple[Vec2, ...]

    def sample(self, step_m: float) -> tuple[FloatArray, FloatArray, list[str]]:
        """Return points along all markings, about `step_m` apart.

        Returns:
            Points (N, 2); unit directions of the marking there (N, 2); the marking's name per point.
        """
        points, directions, names = [], [], []
        for line in self.lines:
            count = max(2, math.ceil(line.length_m() / step_m) + 1)
            share = np.linspace(0.0, 1.0, count)[:, None]
            start, end = np.array(line.start_m), np.array(line.end_m)
            points.append(start + share * (end - start))
            directions.append(np.tile((end - start) / line.length_m(), (count, 1)))
            names += [line.name] * count
        for arc in self.arcs:
            count = max(8, math.ceil(arc.radius_m * arc.sweep_rad / step_m))
            angle = arc.start_rad + arc.sweep_rad * np.arange(count) / count
            ring = np.stack((np.cos(angle), np.sin(angle)), axis=1)
            points.append(np.array(arc.centre_m) + arc.radius_m * ring)
            directions.append(np.stack((-ring[:, 1], ring[:, 0]), axis=1))
            names += [arc.name] * count
        return np.concatenate(points), np.concatenate(directions), names


def field_model(field: FieldGeometry) -> FieldModel:
    """Return the markings of a Division A or B field, cut at the walls: the lines are centre lines."""
    hx, hy = 0.5 * field.length_m, 0.5 * field.width_m
    rows = [
        ("touch-right", -hx, -hy, hx, -hy),
        ("touch-left", -hx, hy, hx, hy),
        ("goal-own", -hx, -hy, -hx, hy),
        ("goal-their", hx, -hy, hx, hy),
        ("halfway", 0.0, -hy, 0.0, hy),
        ("goal-to-goal", -hx, 0.0, hx, 0.0),
    ]
    for side, whose in ((-1.0, "own"), (1.0, "their")):
        x0, x1, y = side * hx, side * (hx - field.defense_depth_m), 0.5 * field.defense_width_m
        rows += [
            (f"defense-{whose}-right", x0, -y, x1, -y),
            (f"defense-{whose}-left", x0, y, x1, y),
            (f"defense-{whose}-front", x1, -y, x1, y),
        ]
    cut = [(name, _cut(field, (xa, ya), (xb, yb))) for name, xa, ya, xb, yb in rows]
    lines = tuple(Marking(name=name, start_m=ends[0], end_m=ends[1]) for name, ends in cut if ends is not None)
    bounds = field.wall_bounds_m()
    posts = tuple(p for p in field.goal_posts_m() if _inside(bounds, p))
    return FieldModel(lines=lines, arcs=_circle(field), junctions=_junctions(lines), goal_posts_m=posts)


def _inside(bounds: tuple[float, float, float, float], point: Vec2) -> bool:
    x_min, x_max, y_min, y_max = bounds
    return x_min <= point[0] <= x_max and y_min <= point[1] <= y_max


def _cut(field: FieldGeometry, a: Vec2, b: Vec2) -> tuple[Vec2, Vec2] | None:
    """Cut an axis-parallel line at the walls; None where it lies behind one."""
    x_min, x_max, y_min, y_max = field.wall_bounds_m()
    if max(a[0], b[0]) < x_min or min(a[0], b[0]) > x_max or max(a[1], b[1]) < y_min or min(a[1], b[1]) > y_max:
        return None
    (xa, xb), (ya, yb) = (
        [min(max(p[k], lo), hi) for p in (a, b)] for k, lo, hi in ((0, x_min, x_max), (1, y_min, y_max))
    )
    return (xa, ya), (xb, yb)


def _circle(field: FieldGeometry) -> tuple[Arc, ...]:
    """Return the centre circle, or the arc of it on this side of a half field's wall across the x axis."""
    r = field.centre_circle_radius_m
    x_min, x_max, _, _ = field.wall_bounds_m()
    if x_min <= -r and x_max >= r:
        return (Arc(name="circle", centre_m=(0.0, 0.0), radius_m=r),)
    if -r < x_min < r:
        half = math.acos(x_min / r)
        return (Arc(name="circle", centre_m=(0.0, 0.0), radius_m=r, start_rad=-half, sweep_rad=2.0 * half),)
    if -r < x_max < r:
        half = math.acos(x_max / r)
        return (Arc(name="circle", centre_m=(0.0, 0.0), radius_m=r, start_rad=half, sweep_rad=math.tau - 2.0 * half),)
    return ()


def _junctions(lines: tuple[Marking, ...]) -> tuple[Junction, ...]:
    """Return where lines along x and lines along y meet, by the arms that leave the meeting point."""
    along_x = [line for line in lines if abs(line.start_m[1] - line.end_m[1]) < _SAME_M]
    along_y = [line for line in lines if abs(line.start_m[0] - line.end_m[0]) < _SAME_M]
    found = []
    for a in along_x:
        for b in along_y:
            x, y = b.start_m[0], a.start_m[1]
            xs, ys = sorted((a.start_m[0], a.end_m[0])), sorted((b.start_m[1], b.end_m[1]))
            if not (xs[0] - _SAME_M <= x <= xs[1] + _SAME_M and ys[0] - _SAME_M <= y <= ys[1] + _SAME_M):
                continue
            arms = [(-1.0, 0.0)] * (x > xs[0] + _SAME_M) + [(1.0, 0.0)] * (x < xs[1] - _SAME_M)
            arms += [(0.0, -1.0)] * (y > ys[0] + _SAME_M) + [(0.0, 1.0)] * (y < ys[1] - _SAME_M)
            junction = junction_of_arms((x, y), arms)
            if junction is not None:
                found.append(junction)
    return tuple(found)


def junction_of_arms(position_m: Vec2, arms: list[Vec2]) -> Junction | None:
    """Return the junction from which arms leave in (nearly) perpendicular directions; None for fewer than two arms."""
    kind = {2: JunctionKind.L, 3: JunctionKind.T, 4: JunctionKind.X}.get(len(arms))
    if kind is None:
        return None
    # The sum of the arms: an L's bisector; a T's stem, since its bar cancels.
    x, y = sum(arm[0] for arm in arms), sum(arm[1] for arm in arms)
    return Junction(kind=kind, position_m=position_m, heading_rad=0.0 if kind is JunctionKind.X else math.atan2(y, x))
