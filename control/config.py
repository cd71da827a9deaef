"""Every number of the control room, with its unit in its name. Defaults are those of the simulated robot."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass, field

_UNIT = re.compile(r"_(m_s2|m_s|m|rad_s|rad|s)$")
_MOST = {"m": 20.0, "m_s": 10.0, "m_s2": 200.0, "rad": math.tau, "rad_s": 2000.0, "s": 600.0}
"""More than any robot of this league has or does, by the unit in the name; most often the unit is wrong."""


def _require_positive(owner: object, *but: str) -> None:
    """Refuse numbers of a dataclass that are not finite, not positive or too large; fields in `but` may be zero."""
    for item in dataclasses.fields(owner):  # type: ignore[arg-type]
        value = getattr(owner, item.name)
        if isinstance(value, bool) or not isinstance(value, (int, float, tuple)):
            continue
        unit = _UNIT.search(item.name)
        most = _MOST[unit[1]] if unit is not None else math.inf
        for number in value if isinstance(value, tuple) else (value,):
            if not math.isfinite(number) or number < 0.0 or (number == 0.0 and item.name not in but):
                raise ValueError(f"{item.name} should be {'>= 0' if item.name in but else '> 0'}, is {value}")
            if number > most:
                raise ValueError(f"{item.name} should be at most {most:.4g}, is {value}: is it in SI units?")


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionLimits:
    """What no command may exceed, whatever a skill asks for.

    `response_s` is the time between deciding a speed and the body having it (link, wheel loop, motor): profiles
    brake that much earlier. `creep_speed_m_s` is always allowed towards a wall, so that a ball there can be taken.
    A specific force above `bump_accel_m_s2` (0: never) means that the body has run into something.
    While the ball is carried, speed falls linearly with turn rate, to `carry_turning_share` of it at full rate.
    """

    max_speed_m_s: float = 2.5
    max_omega_rad_s: float = 8.0
    max_accel_m_s2: float = 3.0
    max_brake_m_s2: float = 3.5
    max_jerk_m_s3: float = 60.0
    max_angular_accel_rad_s2: float = 50.0
    max_angular_jerk_rad_s3: float = 2500.0
    max_wheel_speed_rad_s: float = 110.0
    response_s: float = 0.04
    profile_share: float = 0.8
    carry_speed_m_s: float = 1.0
    carry_omega_rad_s: float = 3.0
    carry_accel_m_s2: float = 1.5
    carry_turning_share: float = 0.3
    bump_accel_m_s2: float = 20.0
    wall_margin_m: float = 0.15
    creep_speed_m_s: float = 0.4
    free_range_max_age_s: float = 0.5
    nominal_tick_s: float = 0.01
    max_tick_s: float = 0.05
    valid_for_ms: int = 100

    def __post_init__(self) -> None:
        """Check the values."""
        _require_positive(self, "wall_margin_m", "bump_accel_m_s2")
        if self.profile_share > 1.0 or self.carry_turning_share > 1.0:
            raise ValueError("profile_share and carry_turning_share are shares of 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchConfig:
    """Looking for the ball: spin, then drive to where most unseen carpet can be seen, and spin again.

    The robot looks around in steps, as an eye does: `turn_s` at `turn_rate_rad_s`, then `look_s` (per pass over the
    field; the last one repeats) at `look_rate_rad_s`, a step of about 40 degrees in a picture of 52. Turning evenly
    takes as long, but then every frame is smeared (2.4 rad/s and 8 ms of exposure: 12 pixels, more than a ball at
    3 m), and balls beyond 5 m are missed.

    `look_ranges_m` is how far ground counts as looked at, per pass: in a sharp picture as far as a ball is surely
    detected, on the next pass closer, for the ball that was missed. A picture taken while turning faster than
    `sharp_rad_s` counts to `blurred_range_m`, one faster than `blind_rad_s` not at all. `half_view_rad` is the half
    angle that is trusted.
    """

    turn_rate_rad_s: float = 5.0
    turn_s: float = 0.13
    look_rate_rad_s: float = 0.8
    look_s: tuple[float, ...] = (0.19, 0.26)
    look_ranges_m: tuple[float, ...] = (5.0, 3.0, 2.0)
    sharp_rad_s: float = 1.4
    blurred_range_m: float = 3.0
    blind_rad_s: float = 3.0
    half_view_rad: float = 0.40
    confirm_sightings: int = 3
    confirm_age_s: float = 0.35
    candidate_lost_s: float = 0.6
    ignore_s: float = 4.0
    ignore_radius_m: float = 0.35
    travel_speed_m_s: float = 2.5
    travel_accel_m_s2: float = 3.0
    travel_arrive_m: float = 0.25
    wall_distance_m: float = 0.6
    hop_min_m: float = 0.8
    hop_max_m: float = 3.5
    hint_look_s: float = 0.6

    def __post_init__(self) -> None:
        """Check the values."""
        _require_positive(self)
        if not self.look_s or not self.look_ranges_m:
            raise ValueError("look_s and look_ranges_m need at least one value")
        if self.hop_max_m < self.hop_min_m:
            raise ValueError("hop_max_m is below hop_min_m")


@dataclass(frozen=True, kw_only=True, slots=True)
class ApproachConfig:
    """Driving to the place from which the ball is docked. Distances are from the robot's centre to the ball's.

    A ball that was not seen for `look_s` is driven on to at `coast_speed_m_s` for up to `coast_s` while it is further
    than `sure_m`, where a detector may miss many frames; then the robot stands and looks for `lost_s` before giving up.
    `ball_edge_m` is how far around a ball edges of the carpet are its own.
    """

    speed_m_s: float = 2.5
    accel_m_s2: float = 3.0
    pre_dock_m: float = 0.45
    lateral_tolerance_m: float = 0.02
    heading_tolerance_rad: float = 0.10
    turn_first_rad: float = 0.5
    blind_m: float = 0.40
    sure_m: float = 1.0
    look_s: float = 0.5
    coast_s: float = 2.0
    coast_speed_m_s: float = 1.2
    lost_s: float = 0.8
    timeout_s: float = 15.0
    moving_ball_m_s: float = 0.15
    ball_decel_m_s2: float = 0.35
    wall_clearance_m: float = 0.04
    wall_reach_m: float = 0.8
    ball_edge_m: float = 0.09
    retry_offset_rad: float = 0.2

    def __post_init__(self) -> None:
        """Check the values."""
        _require_positive(self, "retry_offset_rad", "wall_clearance_m")
        if self.pre_dock_m <= self.blind_m:
            raise ValueError(f"pre_dock_m should lie outside blind_m, {self.pre_dock_m} <= {self.blind_m}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DockConfig:
    """The last straight: dribbler on, slowly onto the ball, the last part blind."""

    speed_m_s: float = 0.60
    contact_speed_m_s: float = 0.35
    slow_zone_m: float = 0.10
    wall_zone_m: float = 0.12
    wall_speed_m_s: float = 0.20
    accel_m_s2: float = 2.0
    dribbler_rad_s: float = 300.0
    lateral_gain_per_s: float = 3.0
    max_lateral_m_s: float = 0.20
    overshoot_m: float = 0.07
    seat_s: float = 0.12
    seat_speed_m_s: float = 0.15
    escaped_m: float = 0.20
    timeout_s: float = 4.0
    retry_speed_share: float = 0.85

    def __post_init__(self) -> None:
        """Check the values."""
        _require_positive(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldConfig:
    """Standing still with the ball; and what to do when the break-beam loses it."""

    brake_m_s2: float = 1.0
    lost_s: float = 0.25
    regrip_speed_m_s: float = 0.25
    regrip_m: float = 0.09
    regrip_s: float = 0.6
    back_off_m: float = 0.40
    back_off_speed_m_s: float = 0.8
    look_s: float = 0.6
    first_move_m: float = 0.08

    def __post_init__(self) -> None:
        """Check the values."""
        _require_positive(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class CoordinatesConfig:
    """Finding the robot's place on the field, and standing at a target on it (stage 3).

    The robot turns at `turn_rate_rad_s`; a whole turn in vain is followed by a hop of `hop_s` where the picture shows
    `hop_clear_m` of free carpet ahead. At the target it turns round while its place is not known to `sure_m` (one
    sigma), and drives again when the pose, `settle_s` later, is more than `again_m` off, `corrections` times at most.
    """

    turn_rate_rad_s: float = 2.0
    hop_speed_m_s: float = 0.8
    hop_s: float = 1.0
    hop_clear_m: float = 1.2
    sure_m: float = 0.01
    settle_s: float = 0.5
    again_m: float = 0.03
    corrections: int = 4

    def __post_init__(self) -> None:
        """Check the values."""
        _require_positive(self, "corrections")


@dataclass(frozen=True, kw_only=True, slots=True)
class PlayConfig:
    """What concerns all plays: how slow is DEGRADED, when a break-beam is believed, when a place is given up.

    A ball that is seen within `unmoved_m` of its old place after the robot has driven over it `drives_over_a_mark`
    times is none (a mark on the carpet, a reflection): that place is ignored for `ignore_after_misses_s`, and so is
    any place after `misses_until_ignored` empty docks in a row. A break-beam that is closed for `beam_stuck_s`
    while the ball is seen further than `beam_trust_range_m` away is stuck (dirt, a bent sensor).
    """

    degraded_speed_share: float = 0.5
    beam_trust_s: float = 0.06
    beam_trust_range_m: float = 0.35
    beam_stuck_s: float = 0.3
    misses_until_ignored: int = 4
    ignore_after_misses_s: float = 15.0
    unmoved_m: float = 0.06
    drives_over_a_mark: int = 2

    def __post_init__(self) -> None:
        """Check the values."""
        _require_positive(self, "beam_trust_s")


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlConfig:
    """All of the control room: one table in the robot's TOML file."""

    motion: MotionLimits = field(default_factory=MotionLimits)
    search: SearchConfig = field(default_factory=SearchConfig)
    approach: ApproachConfig = field(default_factory=ApproachConfig)
    dock: DockConfig = field(default_factory=DockConfig)
    hold: HoldConfig = field(default_factory=HoldConfig)
    coordinates: CoordinatesConfig = field(default_factory=CoordinatesConfig)
    play: PlayConfig = field(default_factory=PlayConfig)
