"""What is seen of the field's markings, in pixels and on the floor."""

from __future__ import annotations

from dataclasses import dataclass

from perception.field.model import JunctionKind
from robot.core.messages import Cov2, Vec2


@dataclass(frozen=True, kw_only=True, slots=True)
class LinePoint:
    """The centre of a line where a scan line crosses it: pixels, and on the floor (robot frame)."""

    pixel_px: Vec2
    position_in_robot_m: Vec2


@dataclass(frozen=True, kw_only=True, slots=True)
class LineSegment:
    """A straight piece of a line: its two ends in pixels and on the floor (robot frame, level body).

    The ends are where the sight of it ends, not where the line does. Their covariances are those of a pixel by the
    camera model; of these only the part across the segment says something about the line.
    """

    ends_px: tuple[Vec2, Vec2]
    ends_in_robot_m: tuple[Vec2, Vec2]
    covariances_m2: tuple[Cov2, Cov2]
    points: int
    strength: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenJunction:
    """A meeting of two segments: pixels, floor (robot frame), and kind and heading as in `perception.field.model`."""

    kind: JunctionKind
    pixel_px: Vec2
    position_in_robot_m: Vec2
    covariance_m2: Cov2
    heading_in_robot_rad: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenCircle:
    """The centre circle: its centre in pixels and on the floor (robot frame), the points on it; the share of its length
    in the picture that shows a line, and the angle of that.

    `tilt_rad` is the body's (pitch, roll) under which it is round; the centre on the floor is meant with that tilt.
    """

    centre_px: Vec2
    centre_in_robot_m: Vec2
    covariance_m2: Cov2
    tilt_rad: Vec2
    points: int
    share: float
    turn_rad: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenPost:
    """A goal post: the foot of the goal's front corner in pixels and on the floor (robot frame, level body), with the
    covariance of a pixel by the camera model; its upper end in pixels, None where that is not clear.

    `strength` is by how much it stands nearer than what is beside it, as a multiple of what is needed (1 at least).
    """

    foot_px: Vec2
    top_px: Vec2 | None
    position_in_robot_m: Vec2
    covariance_m2: Cov2
    strength: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldFeatures:
    """All that was found in one picture."""

    points: tuple[LinePoint, ...] = ()
    segments: tuple[LineSegment, ...] = ()
    junctions: tuple[SeenJunction, ...] = ()
    circle: SeenCircle | None = None
    posts: tuple[SeenPost, ...] = ()
