"""One tick of a velocity that may change only within acceleration and jerk limits, in the plane or on a line."""

from __future__ import annotations

import math
from dataclasses import dataclass

Vec2 = tuple[float, float]

_BISECTIONS = 12
_SETTLED = 1e-9


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Bounds of a velocity (any unit u): speed in u/s, speeding up and braking in u/s^2, jerk in u/s^3."""

    speed: float
    accel: float
    brake: float
    jerk: float


@dataclass(frozen=True, slots=True)
class RateState:
    """A velocity and its acceleration at one tick."""

    velocity: Vec2 = (0.0, 0.0)
    accel: Vec2 = (0.0, 0.0)

    def turned(self, angle_rad: float) -> RateState:
        """Return the same state seen from axes turned by `angle_rad`."""
        c, s = math.cos(angle_rad), math.sin(angle_rad)
        (vx, vy), (ax, ay) = self.velocity, self.accel
        return RateState((c * vx + s * vy, -s * vx + c * vy), (c * ax + s * ay, -s * ax + c * ay))


def clip_norm(vector: Vec2, limit: float) -> Vec2:
    """Return the vector shortened to `limit`, direction kept."""
    norm = math.hypot(*vector)
    return vector if norm <= limit else (vector[0] * limit / norm, vector[1] * limit / norm)


def next_rate(state: RateState, goal: Vec2, limits: RateLimits, dt_s: float) -> RateState:
    """Move the velocity towards `goal` by one tick of `dt_s` > 0, never leaving the limits.

    The acceleration follows the jerk-limited ramp that reaches the goal with no acceleration left. What makes the
    speed bound hold for any sequence of goals: with v the velocity and a the acceleration, ramping a to zero at full
    jerk ends at w = v + a |a| / (2 jerk); a state with |v| and |w| inside the bound can always be continued inside
    it (the way from v to w is straight, the bound convex), so the new acceleration is pulled back towards the pure
    ramp-down until its own w is inside.

    Args:
        state: the velocity commanded last, and its acceleration, inside the limits.
        goal: wanted velocity; longer than `limits.speed` is shortened.
        limits: the bounds.
        dt_s: time since the last command.
    """
    goal = clip_norm(goal, limits.speed)
    (vx, vy), (ax, ay) = state.velocity, state.accel
    dx, dy = goal[0] - vx, goal[1] - vy
    gap = math.hypot(dx, dy)
    bound = limits.brake if dx * vx + dy * vy < 0.0 else limits.accel
    wanted: Vec2 = (0.0, 0.0)
    if gap > _SETTLED:
        half = 0.5 * dt_s
        ramp = limits.jerk * (-half + math.sqrt(half * half + 2.0 * gap / limits.jerk))
        size = min(bound, ramp, gap / dt_s) / gap
        wanted = (dx * size, dy * size)
    # straight towards the wanted acceleration: between two that are inside a bound there is none outside
    step = clip_norm((wanted[0] - ax, wanted[1] - ay), limits.jerk * dt_s)
    accel = (ax + step[0], ay + step[1])
    if not _continuable((vx, vy), accel, limits, dt_s):
        accel = _pull_back(state, accel, limits, dt_s)
    velocity = (vx + accel[0] * dt_s, vy + accel[1] * dt_s)
    if math.hypot(goal[0] - velocity[0], goal[1] - velocity[1]) < _SETTLED:
        velocity = goal
    return RateState(clip_norm(velocity, limits.speed), accel)


def _continuable(velocity: Vec2, accel: Vec2, limits: RateLimits, dt_s: float) -> bool:
    reach = dt_s + math.hypot(*accel) / (2.0 * limits.jerk)
    return math.hypot(velocity[0] + accel[0] * reach, velocity[1] + accel[1] * reach) <= limits.speed


def _pull_back(state: RateState, accel: Vec2, limits: RateLimits, dt_s: float) -> Vec2:
    """Return the acceleration nearest to `accel`, on the way from the pure ramp-down, that can be continued."""
    size = math.hypot(*state.accel)
    left = max(0.0, size - limits.jerk * dt_s) / size if size > 0.0 else 0.0
    safe = (state.accel[0] * left, state.accel[1] * left)
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        share = 0.5 * (low + high)
        tried = (safe[0] + share * (accel[0] - safe[0]), safe[1] + share * (accel[1] - safe[1]))
        if _continuable(state.velocity, tried, limits, dt_s):
            low = share
        else:
            high = share
    return safe[0] + low * (accel[0] - safe[0]), safe[1] + low * (accel[1] - safe[1])
