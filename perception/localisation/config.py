"""What can be set in localisation by markings: noise of line points, when a pose is contradicted, how to search."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkingConfig:
    """How line points correct a pose that is known, and contradict one that is wrong.

    `sigma_px` is the noise of one point; points of one picture lie on few lines and err together, so they count as
    `independent_points` at most, and errors repeat for `correlation_s`. `readout_s`: time from the first row to the
    last. A point is explained when its marking is within `gate_sigmas` and `max_offset_m`. A pose is contradicted
    when the share of explained points, smoothed over `doubt_s` of pictures, falls below `lost_share`. With `posts`,
    goal posts correct it, too: `post_sigma_px` is the noise of a foot, `post_sigma_m` that of where a goal stands.
    """

    max_range_m: float = 4.0
    sigma_px: float = 0.8
    readout_s: float = 0.015
    independent_points: float = 24.0
    correlation_s: float = 0.08
    camera_sigma_rad: float = 0.004
    camera_walk_rad_per_rts: float = 0.0001
    gate_sigmas: float = 3.0
    max_offset_m: float = 0.35
    min_points: int = 8
    trust_sigma_m: float = 0.2
    doubt_s: float = 0.35
    lost_share: float = 0.5
    posts: bool = True
    post_sigma_px: float = 1.5
    post_sigma_m: float = 0.015

    def __post_init__(self) -> None:
        if min(self.sigma_px, self.max_range_m, self.doubt_s, self.independent_points) <= 0.0:
            raise ValueError("sigma_px, max_range_m, doubt_s and independent_points must be positive")
        if min(self.camera_sigma_rad, self.post_sigma_px) <= 0.0 or self.min_points < 1:
            raise ValueError("camera_sigma_rad and post_sigma_px must be positive, min_points at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchConfig:
    """The search over all poses.

    Views are kept when the robot has turned by `view_turn_rad` or moved by `view_move_m`, at most `max_views` and
    none older than `max_age_s`. One step of the search scores one slice of `headings_per_step` headings over all
    places. The best pose is believed when it beats every other (its mirror twin apart) by `margin` in log-likelihood
    and explains `found_share` of all points, and is known to `found_sigma_m`.
    """

    enabled: bool = True
    place_step_m: float = 0.2
    headings: int = 72
    headings_per_step: int = 4
    coarse_points: int = 24
    view_points: int = 16
    view_turn_rad: float = math.radians(10.0)
    view_move_m: float = 0.12
    max_views: int = 30
    max_age_s: float = 6.0
    min_views: int = 3
    min_points: int = 40
    kept: int = 240
    refined: int = 24
    rounds: int = 4
    point_weight: float = 0.25
    margin: float = 8.0
    found_share: float = 0.75
    found_sigma_m: float = 0.15
    same_m: float = 0.3
    same_rad: float = math.radians(15.0)
    twin_log_odds: float = 4.0

    def __post_init__(self) -> None:
        if self.headings % 4 or self.headings < 8 or self.headings_per_step < 1:
            raise ValueError("headings must be a multiple of 4, 8 at least, and headings_per_step at least 1")
        if not 0.05 <= self.place_step_m <= 1.0:
            raise ValueError("place_step_m must be in 0.05..1")
        if min(self.coarse_points, self.view_points, self.max_views, self.kept, self.refined) < 1:
            raise ValueError("coarse_points, view_points, max_views, kept and refined must be at least 1")
