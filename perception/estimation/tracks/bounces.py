"""What a ball bounces off: the boards, the goals' walls, robots; in the odometry frame, as far as they are known."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from robot.core.field import BALL_RADIUS_M, FieldGeometry
from robot.core.geometry import Pose2
from robot.core.messages import Vec2


@dataclass(frozen=True, slots=True)
class Segment:
    """A straight wall, both sides; `sigma_m` is how well its place is known."""

    a: Vec2
    b: Vec2
    sigma_m: float = 0.0


@dataclass(frozen=True, slots=True)
class Disc:
    """A robot."""

    centre: Vec2
    radius_m: float
    sigma_m: float = 0.0


@dataclass(frozen=True, slots=True)
class Hit:
    """Where a way meets something: share of the way, the ball's centre then, and the unit normal against the way."""

    share: float
    place: Vec2
    normal: Vec2
    sigma_m: float


@dataclass(frozen=True, slots=True)
class Surroundings:
    """All that a ball could meet."""

    walls: tuple[Segment, ...] = ()
    discs: tuple[Disc, ...] = ()

    def first_hit(self, start: Vec2, end: Vec2) -> Hit | None:
        """Return the first thing that a ball meets on the straight way from `start` to `end`, or None."""
        best: Hit | None = None
        for wall in self.walls:
            hit = _meets_wall(start, end, wall)
            if hit is not None and (best is None or hit.share < best.share):
                best = hit
        for disc in self.discs:
            hit = _meets_disc(start, end, disc)
            if hit is not None and (best is None or hit.share < best.share):
                best = hit
        return best


OPEN = Surroundings()
"""Nothing is known to be there."""


def field_walls(field: FieldGeometry, odom_from_field: Pose2, sigma_m: float) -> tuple[Segment, ...]:
    """Return the boards and both goals' walls in the odometry frame, known as well as the pose is."""
    x0, x1, y0, y1 = field.wall_bounds_m()
    lines: list[tuple[Vec2, Vec2]] = [
        ((x0, y0), (x1, y0)),
        ((x1, y0), (x1, y1)),
        ((x1, y1), (x0, y1)),
        ((x0, y1), (x0, y0)),
    ]
    half = 0.5 * field.goal_width_m
    for side in (1.0, -1.0):
        mouth, back = side * 0.5 * field.length_m, side * (0.5 * field.length_m + field.goal_depth_m)
        if x0 <= mouth <= x1:
            lines += [((mouth, half), (back, half)), ((mouth, -half), (back, -half)), ((back, -half), (back, half))]
    return tuple(Segment(odom_from_field.transform(a), odom_from_field.transform(b), sigma_m) for a, b in lines)


def robot_discs(places: Iterable[tuple[Vec2, float]], radius_m: float) -> tuple[Disc, ...]:
    """Return robots at (place, sigma) as discs."""
    return tuple(Disc(place, radius_m, sigma_m) for place, sigma_m in places)


def surroundings(
    field: FieldGeometry,
    world_from_odom: Pose2 | None,
    sigma_m: float,
    robots: Iterable[tuple[Vec2, float]],
    radius_m: float,
) -> Surroundings:
    """Return what a ball bounces off, odometry frame: boards and goals while the pose is trusted, and tracked robots.

    Args:
        field: the map.
        world_from_odom: None while the pose on the field is not trusted.
        sigma_m: how well that pose is known.
        robots: (place, sigma) of each.
        radius_m: of a robot.
    """
    walls = field_walls(field, world_from_odom.inverse(), sigma_m) if world_from_odom is not None else ()
    return Surroundings(walls, robot_discs(robots, radius_m))


def _meets_wall(start: Vec2, end: Vec2, wall: Segment) -> Hit | None:
    wx, wy = wall.b[0] - wall.a[0], wall.b[1] - wall.a[1]
    length = math.hypot(wx, wy)
    if length < 1e-9:
        return None
    nx, ny = -wy / length, wx / length
    before = (start[0] - wall.a[0]) * nx + (start[1] - wall.a[1]) * ny
    if before < 0.0:
        nx, ny, before = -nx, -ny, -before
    after = (end[0] - wall.a[0]) * nx + (end[1] - wall.a[1]) * ny
    gap = before - BALL_RADIUS_M
    # A belief that already lies a little in the wall still bounces if it goes on into it.
    if after >= BALL_RADIUS_M or after >= before:
        return None
    share = max(0.0, gap / (before - after))
    x, y = start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
    along = ((x - wall.a[0]) * wx + (y - wall.a[1]) * wy) / length
    if not -BALL_RADIUS_M <= along <= length + BALL_RADIUS_M:
        return None
    return Hit(share, (x, y), (nx, ny), wall.sigma_m)


def _meets_disc(start: Vec2, end: Vec2, disc: Disc) -> Hit | None:
    reach = disc.radius_m + BALL_RADIUS_M
    sx, sy = start[0] - disc.centre[0], start[1] - disc.centre[1]
    dx, dy = end[0] - start[0], end[1] - start[1]
    a, b, c = dx * dx + dy * dy, sx * dx + sy * dy, sx * sx + sy * sy - reach * reach
    if a < 1e-12 or b >= 0.0 or c < 0.0:  # going away, or already inside: a belief that is wrong elsewhere
        return None
    root = b * b - a * c
    if root < 0.0:
        return None
    share = (-b - math.sqrt(root)) / a
    if not 0.0 <= share <= 1.0:
        return None
    x, y = start[0] + share * dx, start[1] + share * dy
    nx, ny = (x - disc.centre[0]) / reach, (y - disc.centre[1]) / reach
    return Hit(share, (x, y), (nx, ny), disc.sigma_m)
