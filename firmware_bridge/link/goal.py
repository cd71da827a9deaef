"""Where the microcontroller is to drive on its own, instead of following a twist."""

from __future__ import annotations

import math
from dataclasses import dataclass

from firmware_bridge.protocol.generated import GoalKind


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionGoal:
    """A motion target for `Link.on_tick`, in the robot's frame at the moment when the device first hears its `number`.

    It has to be repeated like every command (the watchdog stops the robot otherwise); the same number goes on to the
    same place, another number is a new target from where the robot then is. Stop is `on_tick(now, None)`.

    Attributes:
        kind: POSE (to x, y, turning by theta on the way), ROTATE (by theta on the spot), ORBIT (around the point x, y,
            which stays where the robot sees it, until it has turned by theta).
        number: 0..65535; tells one target from the next.
        x_m: forward.
        y_m: to the left.
        theta_rad: counter-clockwise positive, up to five turns.
        max_speed_m_s: at most so fast, as far as the robot's own limits allow.
        max_omega_rad_s: at most so fast.
        accel_m_s2: speeding up and slowing down.
        accel_rad_s2: speeding up and slowing down, rotation.
        dribbler_rad_s: bar speed, positive pulls the ball in.
        kick_speed_m_s: > 0: kick as soon as the break-beam sees the ball.
        chip: the kick is a chip.
        valid_for_ms: it ends itself after this time, and after 100 ms at the latest.

    Raises:
        ValueError: a number is not finite or out of its range.
    """

    kind: GoalKind
    number: int
    x_m: float = 0.0
    y_m: float = 0.0
    theta_rad: float = 0.0
    max_speed_m_s: float = 1.0
    max_omega_rad_s: float = 6.0
    accel_m_s2: float = 2.5
    accel_rad_s2: float = 25.0
    dribbler_rad_s: float = 0.0
    kick_speed_m_s: float = 0.0
    chip: bool = False
    valid_for_ms: int = 100

    def __post_init__(self) -> None:
        way = math.hypot(self.x_m, self.y_m)
        if not (way <= 30.0 and abs(self.theta_rad) <= 10.0 * math.pi):  # False for NaN too
            raise ValueError(f"a goal is at most 30 m and five turns away, not {way:g} m and {self.theta_rad:g} rad")
        for name in ("max_speed_m_s", "max_omega_rad_s"):
            if not 0.0 <= getattr(self, name) <= 1000.0:
                raise ValueError(f"{name} must be 0..1000, not {getattr(self, name)}")
        for name in ("accel_m_s2", "accel_rad_s2"):
            if not 0.01 <= getattr(self, name) <= 1000.0:
                raise ValueError(f"{name} must be 0.01..1000, not {getattr(self, name)}")
        if not (math.isfinite(self.dribbler_rad_s) and math.isfinite(self.kick_speed_m_s)):
            raise ValueError("dribbler and kick speeds must be finite")
        if not 0 <= self.number <= 0xFFFF:
            raise ValueError(f"number must be 0..65535, not {self.number}")
