"""The ball on carpet: Coulomb friction at the contact point while it slides, rolling resistance always."""

from __future__ import annotations

import math

from sim.setup import BallConfig
from sim.world.drive import GRAVITY_M_S2

_SPHERE = 3.5
"""A force F at the contact changes the slip speed of a solid sphere by 3.5 F / m: 1/m plus r^2 / (2/5 m r^2)."""


def floor_friction(
    config: BallConfig, vx: float, vy: float, wx: float, wy: float, wz: float, dt: float
) -> tuple[float, float, float, float, float]:
    """Return force (x, y) in N and torque (x, y, z) in Nm of the floor on the ball, all in the field frame.

    Args:
        config: the ball.
        vx: velocity of its centre, m/s.
        vy: the same along y.
        wx: spin, rad/s.
        wy: the same about y.
        wz: the same about z.
        dt: the step in seconds: friction never does more than stop the slip within it.
    """
    m, r = config.mass_kg, config.radius_m
    weight = m * GRAVITY_M_S2
    ux, uy = vx - r * wy, vy + r * wx
    slip = math.hypot(ux, uy)
    fx = fy = tx = ty = tz = 0.0
    if slip > 1e-9:
        push = min(config.sliding_friction * weight, m * slip / (_SPHERE * dt)) / slip
        fx, fy = -push * ux, -push * uy
        tx, ty = r * fy, -r * fx
    speed = math.hypot(vx, vy)
    if speed > 1e-9:  # rolling resistance: slows travel and spin together, so that it makes no slip
        share = min(config.rolling_resistance * GRAVITY_M_S2, speed / dt) / speed
        fx -= m * share * vx
        fy -= m * share * vy
    spin = math.hypot(wx, wy)
    inertia = 0.4 * m * r * r
    if spin > 1e-9:
        share = min(config.rolling_resistance * GRAVITY_M_S2 / r, spin / dt) / spin
        tx -= inertia * share * wx
        ty -= inertia * share * wy
    tz -= inertia * max(-5.0, min(5.0, wz / dt))
    return fx, fy, tx, ty, tz
