"""From observations in the robot frame to sightings in the odometry frame: sanity, honest covariance, masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from perception.camera.model import CameraModel
from perception.camera.observe import EDGE_MARGIN_PX, side_bearings
from perception.estimation.config import EstimationConfig, TrackConfig
from perception.estimation.tracks.boundary_memory import BoundaryMemory
from perception.estimation.tracks.track import Sighting
from perception.estimation.tracks.visibility import CameraVisibility, FootprintVisibility, Occluder, Visibility, hidden
from perception.field.edge import carpet_hull
from robot.core.field import BALL_RADIUS_M, MAX_ROBOT_RADIUS_M, FieldGeometry
from robot.core.geometry import FloatArray, Pose2, Twist2, rotation
from robot.core.messages import BoxPx, DetectionBatch, FieldObservation, ObjectClass, Vec2, Verdict

MAX_RANGE_M = 15.0
TRUNCATED_RANGE_RATIO = 0.3
"""A robot or goal cut by the picture's edge: its range is worth no more than this share of itself. (A cut ball is
rebuilt from the side that is seen, and `perception.camera.observe` has widened its covariance already.)"""

HUB_PX = 1.0
"""A ball's box may reach this far below a robot's and still be a part of it."""

BLURRED = 1.6
"""Motion may stretch a box by this along its longer side."""


HALF_SEEN_SIGMA_M = 0.05
"""The middle of a box that shows a part of a robot may lie off its centre by this."""

HEIGHT_M = {ObjectClass.BALL: 2.0 * BALL_RADIUS_M, ObjectClass.ROBOT: 0.14, ObjectClass.GOAL: 0.14}


def check_observation(observation: FieldObservation) -> Verdict:
    """Say whether an observation is a place on the floor at all: finite, in range, with a positive covariance."""
    x, y = observation.position_in_robot_m
    (a, b), (c, d) = observation.covariance_m2
    if not observation.valid or not all(math.isfinite(v) for v in (x, y, a, b, c, d, observation.score)):
        return Verdict.INVALID
    if a <= 0.0 or d <= 0.0 or a * d - b * c <= 0.0 or not 0.0 <= observation.score <= 1.0:
        return Verdict.INVALID
    return Verdict.OK if math.hypot(x, y) <= MAX_RANGE_M else Verdict.OUT_OF_RANGE


class BoxSize:
    """Is a box as large as its object would be at its place? Far things are small; small things nearby are others.

    A ball that is too small for where its box stands is a mark on the carpet; one that is too large is something
    bigger, farther away, behind the boards. Likewise robots: people, tables and posters are larger.
    """

    def __init__(self, config: EstimationConfig, camera: CameraModel) -> None:
        self._limits = {
            ObjectClass.BALL: (2.0 * BALL_RADIUS_M, *config.ball_size_ratio, config.ball_size_slack_px),
            ObjectClass.ROBOT: (2.0 * MAX_ROBOT_RADIUS_M, *config.robot_size_ratio, 0.0),
        }
        m = camera.mounting
        self._camera_m = (m.x_m, m.y_m, m.height_m)
        self._focal_px, self._width_px = camera.intrinsics.fx, camera.intrinsics.width_px

    def fits(self, observation: FieldObservation, image_width_px: int) -> bool:
        """True unless the box cannot be what it claims at the observation's place."""
        limits = self._limits.get(observation.object_class)
        if limits is None:
            return True
        width_m, low, high, slack_px = limits
        x, y = observation.position_in_robot_m
        cx, cy, cz = self._camera_m
        distance_m = math.hypot(x - cx, y - cy, cz - 0.5 * HEIGHT_M[observation.object_class])
        expected = width_m * self._focal_px / distance_m * image_width_px / self._width_px
        left, top, right, bottom = observation.box_px
        smaller, larger = sorted((right - left, bottom - top))
        if observation.truncated:
            # The hidden part may be most of it, and a robot without its foot stands anywhere.
            low, high = (0.5 * low, math.inf) if observation.object_class is ObjectClass.BALL else (0.0, math.inf)
        # Motion blurs along one side only.
        fits = smaller <= high * expected + slack_px and larger <= BLURRED * high * expected + slack_px
        return low * expected <= larger + 1.0 and fits


@dataclass(frozen=True, slots=True, eq=False)
class SightingFrame:
    """One camera frame's view: where the robot was, how it moved, and what it could see."""

    config: EstimationConfig
    odom_from_robot: Pose2
    twist: Twist2
    visibility: Visibility
    camera_height_m: float
    tilt_sigma_rad: float = 0.0
    free_range_m: tuple[Vec2, ...] = ()
    world_from_odom: Pose2 | None = None
    walls_m: tuple[float, float, float, float] | None = None
    camera: CameraModel | None = None
    height_px: float = 480.0
    hull_px: tuple[Vec2, ...] = ()
    """The carpet's edge, dips of what stands on it bridged."""

    floor_unseen: bool = False
    """The carpet's edge is usually found, and not in this frame: what is on the field cannot be told."""

    boundary: BoundaryMemory | None = None
    robots: tuple[FieldObservation, ...] = ()
    occluders: tuple[Occluder, ...] = ()

    def with_robots(self, observations: Sequence[FieldObservation]) -> SightingFrame:
        """Return the same view, knowing which robots in it hide what is behind them."""
        camera = self.camera
        robots = tuple(o for o in observations if o.object_class is ObjectClass.ROBOT)
        if camera is None or not robots:
            return self
        found = []
        for o in robots:
            left, right = side_bearings(o.box_px, camera)
            x, y = o.position_in_robot_m[0] - camera.mounting.x_m, o.position_in_robot_m[1] - camera.mounting.y_m
            found.append(
                Occluder(
                    right if right is not None else -math.pi, left if left is not None else math.pi, math.hypot(x, y)
                )
            )
        return replace(self, robots=robots, occluders=tuple(found))

    def sighting(self, observation: FieldObservation, track: TrackConfig) -> Sighting:
        """Turn one observation into the odometry frame, with what timing and floor add to its covariance."""
        x, y = observation.position_in_robot_m
        range_m, bearing = math.hypot(x, y), math.atan2(y, x)
        c, s = math.cos(bearing), math.sin(bearing)
        radial, tangential = np.array([c, s]), np.array([-s, c])
        timing = track.timing_sigma_s
        sigma_t = range_m * math.hypot(track.extra_bearing_sigma_rad, self.twist.omega_rad_s * timing)
        sigma_r = range_m * range_m / self.camera_height_m * self.tilt_sigma_rad
        shared = track.extra_sigma_m**2 + (self.twist.speed_m_s() * timing) ** 2
        covariance = np.array(observation.covariance_m2) + shared * np.eye(2)
        covariance += sigma_t**2 * np.outer(tangential, tangential) + sigma_r**2 * np.outer(radial, radial)
        robot_hidden = observation.object_class is ObjectClass.ROBOT and self._behind_a_robot(observation)
        if robot_hidden or (observation.truncated and observation.object_class is not ObjectClass.BALL):
            covariance += (TRUNCATED_RANGE_RATIO * range_m) ** 2 * np.outer(radial, radial)
            covariance += HALF_SEEN_SIGMA_M**2 * np.outer(tangential, tangential)
        r = rotation(self.odom_from_robot.theta_rad)
        position = self.odom_from_robot.transform((x, y))
        tilt = self.config.tilt
        bias_r, bias_t = range_m * range_m / self.camera_height_m * tilt.bias_rad, range_m * tilt.bearing_bias_rad
        bias = bias_r**2 * np.outer(radial, radial) + bias_t**2 * np.outer(tangential, tangential)
        on_field = self._on_field(position, math.sqrt(float(np.trace(covariance + bias))))
        return Sighting(
            np.array(position),
            r @ covariance @ r.T,
            r @ bias @ r.T,
            observation.score,
            birth=on_field and not robot_hidden and self._may_found(observation, bearing, range_m, position),
            # A faint box over a robot is more often a part of it than another robot behind it.
            feed=(on_field and not (robot_hidden and observation.score < track.birth_score))
            or observation.object_class is ObjectClass.GOAL,
            box_px=observation.box_px,
        )

    def range_if_visible(self, position_in_odom_m: FloatArray, height_m: float) -> float | None:
        """See `Visibility`, for a place in the odometry frame."""
        place = self.odom_from_robot.inverse().transform((float(position_in_odom_m[0]), float(position_in_odom_m[1])))
        range_m = self.visibility.range_if_visible(place, height_m)
        if range_m is None or not self.occluders or self.camera is None:
            return range_m
        radius_m = BALL_RADIUS_M if height_m < 3.0 * BALL_RADIUS_M else MAX_ROBOT_RADIUS_M
        mount = self.camera.mounting
        return None if hidden(place, radius_m, (mount.x_m, mount.y_m), self.occluders) else range_m

    def _may_found(self, observation: FieldObservation, bearing_rad: float, range_m: float, position: Vec2) -> bool:
        """True when something new may stand there: on the carpet, and not a part of a robot."""
        if observation.object_class is not ObjectClass.GOAL:
            if self.floor_unseen or self._above_edge_px(observation.box_px) > self.config.birth_above_edge_px:
                return False
            if observation.object_class is ObjectClass.BALL and self._part_of_a_robot(observation.box_px):
                return False
            if (
                observation.object_class is ObjectClass.ROBOT
                and observation.truncated
                and not self._foot_cut(observation)
            ):
                return False  # Cut at the side, it may be anything anywhere on that bearing.
            if self.boundary is not None and self.boundary.outside(position):
                return False
        return self._on_carpet(bearing_rad, range_m)

    def _foot_cut(self, observation: FieldObservation) -> bool:
        """True for a box that reaches out of the picture below: that robot is near, whatever it is."""
        return observation.box_px[3] >= self.height_px - EDGE_MARGIN_PX

    def _above_edge_px(self, box_px: BoxPx) -> float:
        """How far a box's foot lies above the carpet's edge in the picture; both suffer alike from tilt and pitch."""
        if not self.hull_px:
            return -math.inf
        u = 0.5 * (box_px[0] + box_px[2]) - 0.5
        edge = float(np.interp(u, [p[0] for p in self.hull_px], [p[1] for p in self.hull_px]))
        return edge - (box_px[3] - 0.5)

    def _part_of_a_robot(self, box_px: BoxPx) -> bool:
        """True for a box within a robot's box that does not reach below it: a hub, a light, a mark on its shell.

        A ball in front of a robot stands nearer than the robot, so its foot is lower.
        """
        left, top, right, bottom = box_px
        return any(
            left > r.box_px[0] and right < r.box_px[2] and top > r.box_px[1] and bottom <= r.box_px[3] + HUB_PX
            for r in self.robots
        )

    def _behind_a_robot(self, observation: FieldObservation) -> bool:
        """True for a robot whose foot another one may hide: boxes overlap, and the other's reaches lower."""
        left, _, right, bottom = observation.box_px
        return any(
            r is not observation
            and r.box_px[3] > bottom
            and r.box_px[0] < right
            and left < r.box_px[2]
            and r.box_px[1] < bottom
            for r in self.robots
        )

    def _on_carpet(self, bearing_rad: float, range_m: float) -> bool:
        """False when the carpet ends well before that place."""
        if not self.free_range_m:
            return True
        edge_bearing, edge_range = min(self.free_range_m, key=lambda edge: abs(edge[0] - bearing_rad))
        if abs(edge_bearing - bearing_rad) > 0.1 or not math.isfinite(edge_range):
            return True
        fixed, share = self.config.off_carpet_margin
        return range_m <= edge_range * (1.0 + share) + fixed

    def _on_field(self, position_in_odom_m: Vec2, sigma_m: float) -> bool:
        """False when a trusted pose puts the place well outside of the walls: by a margin and two sigma."""
        if self.world_from_odom is None or self.walls_m is None:
            return True
        x, y = self.world_from_odom.transform(position_in_odom_m)
        x_min, x_max, y_min, y_max = self.walls_m
        m = self.config.off_field_margin_m + 2.0 * sigma_m
        return x_min - m <= x <= x_max + m and y_min - m <= y <= y_max + m


class SightingMaker:
    """Holds what does not change between frames: configuration, walls, visibility."""

    def __init__(self, config: EstimationConfig, field: FieldGeometry, camera: CameraModel | None) -> None:
        self._config = config
        self._camera = camera
        self._edge_known = False
        self._boundary = BoundaryMemory(config.boundary)
        self._walls_m = field.wall_bounds_m()
        self._camera_height_m = camera.mounting.height_m if camera is not None else config.tilt.camera_height_m
        self._size = BoxSize(config, camera) if camera is not None else None
        self._visibility: Visibility = (
            CameraVisibility(camera) if camera is not None else FootprintVisibility(config.footprint)
        )

    def check(self, observation: FieldObservation, batch: DetectionBatch) -> Verdict:
        """Say whether an observation can be what it claims: a place on the floor, a box of the right size."""
        verdict = check_observation(observation)
        if verdict is not Verdict.OK or self._size is None:
            return verdict
        return Verdict.OK if self._size.fits(observation, batch.image_size_px[0]) else Verdict.OUTLIER

    def frame(
        self,
        batch: DetectionBatch,
        odom_from_robot: Pose2,
        twist: Twist2,
        tilt_sigma_rad: float,
        world_from_odom: Pose2 | None,
    ) -> SightingFrame:
        """Return the view of one frame; `world_from_odom` None while the pose on the field is not trusted."""
        self._edge_known = self._edge_known or bool(batch.carpet_edge_px)
        self._boundary.note(batch.t_capture_ns, odom_from_robot, batch)
        return SightingFrame(
            self._config,
            odom_from_robot,
            twist,
            self._visibility,
            self._camera_height_m,
            tilt_sigma_rad,
            batch.free_range_m,
            world_from_odom,
            self._walls_m if world_from_odom is not None else None,
            self._camera,
            float(batch.image_size_px[1]),
            carpet_hull(batch.carpet_edge_px) if batch.carpet_edge_px and batch.detections else (),
            self._edge_known and not batch.carpet_edge_px,
            self._boundary,
        )
