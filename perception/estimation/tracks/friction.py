"""A ball on carpet: it slides after a kick, then rolls. Both decelerate it; the switch follows from its spin.

The two-phase model of the Small Size League's teams: TIGERs Mannheim's ball models (slide -3.0, roll -0.26 m/s^2,
switch at 0.64 of the kick's speed) and ER-Force's simulator (slide -3.9, roll -0.35, switch at 0.69 to 0.70); see the
table in docs/simulator.md. Here the spin is kept, so that the switch (5/7 for a kick without spin, after a solid
sphere's inertia) holds for bounces too. Mathematics of the sliding sphere: Coriolis, "Theorie mathematique des effets
du jeu de billard" (1835).
"""

from __future__ import annotations

import math

from robot.core.messages import Vec2

SPIN_GAIN = 2.5
"""A force at the contact changes a solid sphere's surface speed 2.5 times as much as its travel, and against it."""


def slide(velocity_m_s: Vec2, surface_m_s: Vec2, deceleration_m_s2: float, dt_s: float) -> tuple[Vec2, Vec2, float]:
    """Let a ball slide until it rolls, or until the time is over.

    Args:
        velocity_m_s: of its centre.
        surface_m_s: radius times spin, as the velocity at which it would roll with this spin.
        deceleration_m_s2: of sliding, mu g.
        dt_s: how long at most.

    Returns:
        The change of velocity, the new surface velocity, and how long it slid, s; the mean of the velocities before
        and after is exact for the way. Once it rolls, surface and centre move alike.
    """
    ux, uy = velocity_m_s[0] - surface_m_s[0], velocity_m_s[1] - surface_m_s[1]
    slip = math.hypot(ux, uy)
    if slip < 1e-6:
        return (0.0, 0.0), surface_m_s, 0.0
    time_s = min(dt_s, slip / ((1.0 + SPIN_GAIN) * deceleration_m_s2))
    change = deceleration_m_s2 * time_s / slip
    dx, dy = -change * ux, -change * uy
    return (dx, dy), (surface_m_s[0] - SPIN_GAIN * dx, surface_m_s[1] - SPIN_GAIN * dy), time_s
