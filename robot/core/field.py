"""The field's dimensions, as numbers. What is drawn from them lives in `perception.field` and `sim.world`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldGeometry:
    """Dimensions of a field in metres; the default is Division B (RoboCup SSL rules 2022).

    Origin at the centre, x towards the goal the robot attacks. `length_m` runs along x between the goal lines,
    `width_m` along y between the touch lines; walls stand `boundary_m` outside of the lines, unless
    `walls_x_m` / `walls_y_m` (lower, upper) say otherwise (half fields in a laboratory).
    """

    length_m: float = 9.0
    width_m: float = 6.0
    boundary_m: float = 0.3
    goal_width_m: float = 1.0
    goal_depth_m: float = 0.18
    goal_height_m: float = 0.16
    defense_depth_m: float = 1.0
    defense_width_m: float = 2.0
    centre_circle_radius_m: float = 0.5
    line_width_m: float = 0.01
    walls_x_m: tuple[float, float] | None = None
    walls_y_m: tuple[float, float] | None = None

    def wall_bounds_m(self) -> tuple[float, float, float, float]:
        """Return the walls as (x_min, x_max, y_min, y_max) in the field frame."""
        half_x, half_y = self.length_m / 2 + self.boundary_m, self.width_m / 2 + self.boundary_m
        x_min, x_max = self.walls_x_m or (-half_x, half_x)
        y_min, y_max = self.walls_y_m or (-half_y, half_y)
        return x_min, x_max, y_min, y_max

    def goal_posts_m(self) -> tuple[tuple[float, float], ...]:
        """Return the four posts on the goal lines: (+x, left), (+x, right), (-x, left), (-x, right) by field y."""
        x, y = self.length_m / 2, self.goal_width_m / 2
        return ((x, y), (x, -y), (-x, y), (-x, -y))


BALL_RADIUS_M = 0.0215
BALL_MASS_KG = 0.046
MAX_ROBOT_RADIUS_M = 0.09
"""The rules allow 180 mm across: what is assumed of robots that are not ours."""
