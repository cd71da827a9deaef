"""One hypothesis about one thing on the floor, and what may feed it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from perception.estimation.ego.trail import Gap
from perception.estimation.tracks.point import PointFilter
from robot.core.geometry import FloatArray
from robot.core.messages import BoxPx, Vec2


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """One detection on the floor, in the odometry frame.

    `covariance_m2` is what changes from frame to frame; `bias_m2` what is the same in all frames from about here
    (calibration), which no number of sightings can average away. `birth` False: it may feed a track but not found
    one; `feed` False: not even that. `box_px` tells two detections of one thing from two things; None where it is not
    known.
    """

    position_m: FloatArray
    covariance_m2: FloatArray
    bias_m2: FloatArray
    score: float
    birth: bool = True
    feed: bool = True
    box_px: BoxPx | None = None

    def same_thing_as(self, other: Sighting) -> bool:
        """True when both boxes show one thing: they overlap by half of the smaller one, or nothing is known of them."""
        if self.box_px is None or other.box_px is None:
            return True
        a, b = self.box_px, other.box_px
        width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        if width <= 0.0 or height <= 0.0:
            return False
        smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
        return width * height > 0.5 * smaller


@dataclass(slots=True, eq=False)
class Track:
    """One hypothesis. `t_ns` is where its filter stands, `seen_ns` when it was last sighted."""

    track_id: int
    filter: PointFilter
    t_ns: int
    seen_ns: int
    log_odds: float
    seen_m: Vec2 = (0.0, 0.0)
    """Where the belief was right after the last sighting: a kick begins there."""

    nis: float = 0.0
    """Normalised innovation squared of the last sighting: chi-square with two degrees of freedom, if all is well."""

    born_ns: int = 0
    sightings: int = 1
    confirm_sightings: int = 2
    confirmed: bool = False
    visible: bool = True
    path_m: float = 0.0
    turn_rad: float = 0.0
    """The robot's path and turn when the filter last advanced."""

    bias_m2: FloatArray = field(default_factory=lambda: np.zeros((2, 2)))
    """What calibration may be wrong by at the last sighting, (2, 2)."""

    parent: Track | None = None
    """The confirmed track that this one may be the continuation of, after a kick or a bounce."""

    def age_ns(self, t_ns: int) -> int:
        """Time since the last sighting."""
        return max(0, t_ns - self.seen_ns)


@dataclass(frozen=True, slots=True)
class EgoPath:
    """What the robot has driven since start, and the noise that it costs a track that is not seen meanwhile.

    `gaps` are the silences in which it may have driven anywhere: the odometry frame has moved by that over the floor.
    """

    path_m: float
    turn_rad: float
    position_m: Vec2
    noise_m_per_sqrt_m: float
    noise_rad_per_sqrt_rad: float
    gaps: Sequence[Gap] = ()

    def variance_m2(self, track: Track, t_ns: int) -> float:
        """Position variance that own motion adds from where the track's filter stands until `t_ns`."""
        path, turn = max(0.0, self.path_m - track.path_m), max(0.0, self.turn_rad - track.turn_rad)
        range_m = math.hypot(track.filter.x[0] - self.position_m[0], track.filter.x[1] - self.position_m[1])
        known = self.noise_m_per_sqrt_m**2 * path + (self.noise_rad_per_sqrt_rad * range_m) ** 2 * turn
        lost = (gap.way_m2 + gap.turn_rad2 * range_m**2 for gap in self.gaps if track.t_ns < gap.t_ns <= t_ns)
        return known + sum(lost)
