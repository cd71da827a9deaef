"""Dribbler, kicker and break-beam: everything that happens in the robot's mouth, in the robot frame."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from robot.core.body import RobotBody
from sim.setup import BallConfig, MouthConfig

_REACH_M = 0.017
"""How far before its hold point a ball starts to feel the dribbler's bar."""
_FULL_CHARGE_V = 180.0


class Mouth:
    """The mouth of one robot: the bar's speed, the capacitor's voltage, the delayed break-beam."""

    def __init__(self, config: MouthConfig, ball: BallConfig, body: RobotBody) -> None:
        self._config = config
        self.hold_x_m = body.ball_hold_x_m(ball.radius_m) - 0.001
        self._half_width = 0.5 * body.mouth_width_m
        self._ball_radius = ball.radius_m
        self.bar_rad_s = 0.0
        self.kicker_v = 0.0
        self._beam = deque([False] * max(1, config.beam_latency_ms), maxlen=max(1, config.beam_latency_ms))

    def step_bar(self, duty: float, supply: float, dt: float) -> None:
        """Let the bar follow its motor (first order); `supply` is the battery's share of its nominal voltage."""
        wanted = duty * supply * self._config.bar_no_load_rad_s
        self.bar_rad_s += (wanted - self.bar_rad_s) * dt / self._config.bar_time_constant_s

    def pull(self, x: float, y: float, z: float, vx: float, vy: float) -> tuple[float, float]:
        """Return the bar's force on the ball (N, robot frame); the body feels the opposite.

        A spring-damper towards the hold point, bounded by the friction that this bar has on this ball.

        Args:
            x: centre of the ball ahead of the robot's centre, m.
            y: the same to the left.
            z: its height.
            vx: its velocity relative to the robot's mouth, forward, m/s.
            vy: the same to the left.
        """
        if self.bar_rad_s <= 0.0 or z > 2.0 * self._ball_radius or abs(y) > self._half_width:
            return 0.0, 0.0
        ahead = x - self.hold_x_m
        if not -0.02 < ahead < _REACH_M:
            return 0.0, 0.0
        c = self._config
        fx = -c.hold_stiffness_n_m * ahead - c.hold_damping_n_s_m * vx
        fy = -c.hold_stiffness_n_m * y - c.hold_damping_n_s_m * vy
        limit = c.hold_force_n * min(1.0, self.bar_rad_s / c.bar_full_grip_rad_s)
        size = math.hypot(fx, fy)
        if size > limit:
            fx, fy = fx * limit / size, fy * limit / size
        return fx, fy

    def step_beam(self, x: float, y: float, z: float) -> bool:
        """Return what the break-beam's receiver says now: the truth of `beam_latency_ms` steps ago."""
        offset = x - self._config.beam_x_m
        cut = abs(offset) < 0.8 * self._ball_radius and abs(y) < self._half_width + self._ball_radius
        late = self._beam[0]
        self._beam.append(cut and z < 0.06)
        return late

    def step_charger(self, charging: bool, dt: float) -> None:
        """Charge the capacitor."""
        if charging:
            self.kicker_v = min(_FULL_CHARGE_V + 1.0, self.kicker_v + _FULL_CHARGE_V * dt / self._config.charge_time_s)

    def kick(
        self, speed_m_s: float, x: float, y: float, z: float, rng: np.random.Generator
    ) -> tuple[float, float] | None:
        """Fire: return the ball's speed (m/s) and direction (rad, robot frame), or None when no ball is there."""
        self.kicker_v *= math.sqrt(max(0.0, 1.0 - 0.9 * (speed_m_s / 6.5) ** 2))
        speed = speed_m_s * (1.0 + self._config.kick_speed_error * float(rng.standard_normal()))
        angle = self._config.kick_angle_error_rad * float(rng.standard_normal())
        hit = x < self.hold_x_m + 0.012 and abs(y) < self._half_width and z < 2.0 * self._ball_radius and x > 0.0
        return (speed, angle) if hit else None
