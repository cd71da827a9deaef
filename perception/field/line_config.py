"""What counts as a line: one configuration for points, segments, the circle and goal posts."""

from __future__ import annotations

from dataclasses import dataclass, field

from perception.field.circle import CircleConfig
from perception.field.posts import PostConfig
from perception.field.ridges import RidgeConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class LineConfig:
    """How points become segments; lengths in pixels of the full picture.

    `tolerance_px` is how far off a line its points may be; a segment has at least `min_points` points, `min_length_px`,
    no gap above `max_gap_px`, points on at least `min_fill` of the scan lines that cross it, and `min_strength` as the
    sum of its points' strengths in sigmas, and is at most `max_width_m` wide on the floor. `max_points` bounds the
    work, and `shown_points` the message.
    """

    ridges: RidgeConfig = field(default_factory=RidgeConfig)
    circle: CircleConfig = field(default_factory=CircleConfig)
    posts: PostConfig = field(default_factory=PostConfig)
    tolerance_px: float = 1.3
    min_points: int = 6
    min_length_px: float = 30.0
    max_gap_px: float = 45.0
    min_fill: float = 0.4
    min_strength: float = 42.0
    max_width_m: float = 0.045
    max_segments: int = 12
    max_points: int = 400
    shown_points: int = 60

    def __post_init__(self) -> None:
        if self.tolerance_px <= 0.0 or self.min_points < 3 or self.max_points < 20 or self.shown_points < 0:
            raise ValueError("tolerance_px > 0, min_points >= 3, max_points >= 20 and shown_points >= 0 are needed")
