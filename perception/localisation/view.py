"""What one picture says about the floor, as numbers: line points in the robot frame with noise, goals' bearings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perception.camera.model import PIXEL_CENTRE_PX, CameraModel
from perception.localisation.config import MarkingConfig
from robot.core.geometry import FloatArray, Pose2, Twist2, wrap_angle
from robot.core.messages import DetectionBatch, ObjectClass, Vec2

_MOST_GOALS = 4
"""A field has two; every one costs the search time, and the surest come first."""


@dataclass(frozen=True, slots=True, eq=False)
class LinePoints:
    """Centres of field lines on the floor, robot frame at the capture time.

    Attributes:
        places_m: (N, 2).
        covariances_m2: (N, 2, 2), of each by itself: pixel noise and shaking.
        by_tilt: (N, 2, 3): how a place moves (m/rad) when the camera pitches, rolls and yaws by more than is known.
    """

    places_m: FloatArray
    covariances_m2: FloatArray
    by_tilt: FloatArray

    def __len__(self) -> int:
        """How many."""
        return len(self.places_m)

    def __getitem__(self, chosen: slice | NDArray[np.bool_]) -> LinePoints:
        """Some of them."""
        return LinePoints(self.places_m[chosen], self.covariances_m2[chosen], self.by_tilt[chosen])


@dataclass(frozen=True, slots=True, eq=False)
class GoalBearings:
    """One goal: bearings of its left and right edge from the camera (robot frame, rad), NaN where not seen."""

    left_rad: float
    right_rad: float


def line_points(
    batch: DetectionBatch,
    camera: CameraModel,
    config: MarkingConfig,
    tilt_rad: Vec2,
    camera_tilt_rad: FloatArray,
    twist: Twist2,
) -> LinePoints | None:
    """Place a picture's line points on the floor; see `floor_points`."""
    return floor_points(batch.line_points_px, batch.image_size_px, camera, config, tilt_rad, camera_tilt_rad, twist)


def floor_points(
    pixels_px: tuple[Vec2, ...],
    image_size_px: tuple[int, int],
    camera: CameraModel,
    config: MarkingConfig,
    tilt_rad: Vec2,
    camera_tilt_rad: FloatArray,
    twist: Twist2,
) -> LinePoints | None:
    """Place pixels on the floor.

    Args:
        pixels_px: line points of a picture, or the feet of posts.
        image_size_px: (width, height) of that picture; they are scaled to the camera's own size.
        camera: as calibrated.
        config: ranges and noise.
        tilt_rad: (pitch, roll) of the body at capture time.
        camera_tilt_rad: (3,) pitch, roll, yaw by which the camera stands off its calibration, as believed.
        twist: the body's motion: rows are taken one after the other.

    Returns:
        The points within range, or None when there are none.
    """
    if not pixels_px:
        return None
    k, mounting = camera.intrinsics, camera.mounting
    pixels = np.array(pixels_px, dtype=float)
    pixels[:, 0] *= k.width_px / image_size_px[0]
    pixels[:, 1] *= k.height_px / image_size_px[1]
    pitch, roll, yaw = camera_tilt_rad.tolist()
    tilt = (tilt_rad[0] + pitch, tilt_rad[1] + roll)
    places = camera.ground_points(pixels, tilt)
    near = np.hypot(places[:, 0], places[:, 1]) < config.max_range_m  # NaN is not near
    if not near.any():
        return None
    pixels, places = pixels[near], places[near]
    covariances = camera.ground_covariance(pixels, tilt, sigma_px=config.sigma_px)
    foot = np.array([mounting.x_m, mounting.y_m])
    from_camera = places - foot
    c, s = math.cos(yaw), math.sin(yaw)
    from_camera = from_camera @ np.array([[c, s], [-s, c]])
    by_yaw = np.stack((-from_camera[:, 1], from_camera[:, 0]), axis=1)
    places = from_camera + foot
    # Turning the ray about the robot's y (x) axis slides its place along the line of sight: see `ground_points`.
    by_pitch = from_camera * (-places[:, :1] / mounting.height_m)
    by_roll = from_camera * (places[:, 1:] / mounting.height_m)
    if config.readout_s > 0.0:
        # A row that is read out late was seen from where the robot was then.
        late_s = (pixels[:, 1] / k.height_px - 0.5)[:, None] * config.readout_s
        turning = np.stack((-places[:, 1], places[:, 0]), axis=1) * twist.omega_rad_s
        places = places + late_s * (turning + np.array([twist.vx_m_s, twist.vy_m_s]))
    return LinePoints(places, covariances, np.stack((by_pitch, by_roll, by_yaw), axis=2))


def away_from_goals(seen: list[GoalBearings], field_from_camera: Pose2, goals_m: list[FloatArray]) -> float | None:
    """Return by how much the goals seen miss every goal of the field, at best, rad; None where none is seen.

    Args:
        seen: of one picture.
        field_from_camera: where the camera is believed to be; heading of the robot frame.
        goals_m: posts (2, 2) per goal of the field, the +y one first.
    """
    best: float | None = None
    for goal in seen:
        for posts in goals_m:
            angles = np.arctan2(posts[:, 1] - field_from_camera.y_m, posts[:, 0] - field_from_camera.x_m).tolist()
            left, right = angles if posts[0, 0] > 0 else angles[::-1]
            pairs = ((left, goal.left_rad), (right, goal.right_rad))
            misses = [
                abs(wrap_angle(post - field_from_camera.theta_rad - edge))
                for post, edge in pairs
                if not math.isnan(edge)
            ]
            best = max(misses) if best is None else min(best, max(misses))
    return best


def goal_bearings(
    batch: DetectionBatch, camera: CameraModel, padding_px: float, min_score: float
) -> list[GoalBearings]:
    """Return the bearings of the goals' edges that the picture's border does not cut, of `_MOST_GOALS` at most."""
    k = camera.intrinsics
    across = k.width_px / batch.image_size_px[0]
    down = k.height_px / batch.image_size_px[1]
    found = []
    for detection in batch.detections:
        if detection.object_class is not ObjectClass.GOAL or detection.score < min_score:
            continue
        x_min, _, x_max, y_max = detection.box_px
        left, right, foot = across * x_min + padding_px, across * x_max - padding_px, down * y_max
        if right - left < 8.0:
            continue
        rays = camera.rays_in_robot([[left - PIXEL_CENTRE_PX, foot], [right - PIXEL_CENTRE_PX, foot]])
        angles = np.arctan2(rays[:, 1], rays[:, 0]).tolist()
        seen_left, seen_right = left > 8.0, right < k.width_px - 8.0
        if seen_left or seen_right:
            found.append(GoalBearings(angles[0] if seen_left else math.nan, angles[1] if seen_right else math.nan))
        if len(found) == _MOST_GOALS:
            break
    return found
