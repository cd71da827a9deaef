"""The whole mounting from field lines seen while the robot turns on the spot (and drives a little): no tape measure.

First the directions of all lines give pitch and roll (`line_attitude`). Then the points of all pictures, carried
together by wheels and gyro, are laid on the field's markings; known distances between those tell the height. At last
everything is fitted at once (`line_bundle`). In which of the field's mirror images the robot stands does not matter.

Yaw shows only in how the camera's place ahead of the robot's centre circles while the robot turns, and in how
the lines move when it drives straight ahead; its uncertainty says how well.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from perception.calibration.line_attitude import Attitude, LineView, fit_attitude
from perception.calibration.line_bundle import LineBundle, LineFitConfig, mounting_values, with_mounting
from perception.calibration.line_map import LineMap
from perception.camera.model import CameraModel
from perception.camera.parameters import HEIGHT_LIMITS_M, MOUNTING
from perception.field.model import FieldModel
from robot.core.errors import CalibrationError
from robot.core.geometry import FloatArray, Pose2

ROUGHLY_RIGHT = (
    "the camera file's [mounting] must be right to 3 cm in height_m and 5 degrees in pitch_rad to begin with"
)


@dataclass(frozen=True, kw_only=True)
class LineFit:
    """The fitted camera and what it rests on.

    `values` and `sigmas` are those of `MOUNTING`. `points_m` (N, 2) are the line points on the field under the fit,
    `before_m` (N, 2) the same under the camera file as it was; `errors_m` (N,) their distances to the markings,
    `used` (N,) those that count. `yaw_kept`: the lines left yaw open, it is the file's; its sigma is what they left.
    """

    camera: CameraModel
    attitude: Attitude
    values: FloatArray
    sigmas: FloatArray
    field_from_odom: Pose2
    points_m: FloatArray
    before_m: FloatArray
    errors_m: FloatArray
    used: np.ndarray
    views: int
    yaw_kept: bool = False


def fit_lines(
    views: Sequence[LineView], start: CameraModel, model: FieldModel, config: LineFitConfig | None = None
) -> LineFit:
    """Fit the mounting to line points of many headings.

    Args:
        views: in the order of time, with odometry.
        start: the camera file: intrinsics, and the mounting as far as it is known.
        model: the field's markings.
        config: see there.

    Raises:
        CalibrationError: too few headings or lines, lines that fit no place on this field, or a parameter that they
            leave too uncertain.
    """
    config = config or LineFitConfig()
    views = _chosen(views, config)
    attitude = fit_attitude(views, start, config.attitude)
    if attitude is None or attitude.inliers < 20 or attitude.inliers < 0.4 * attitude.segments:
        seen = 0 if attitude is None else attitude.inliers
        raise CalibrationError(
            f"only {seen} line pieces agree on one direction of the field",
            hint="put the robot 1 to 2 m from several lines (a corner, a defense area) and turn once around, slowly; "
            f"{ROUGHLY_RIGHT}",
        )
    turned = _shifted(start, attitude)
    markings = LineMap.of(model)
    height, field_from_odom = _find_place(views, turned, attitude, markings, config)
    turned = replace(turned, mounting=replace(turned.mounting, height_m=height))
    problem = LineBundle(views, start, turned, markings, config)
    theta, poses, covariance, errors, used = problem.solve(field_from_odom)
    typical = float(np.sqrt(np.mean(errors[used] ** 2))) if used.any() else math.inf
    if used.mean() < 0.5 or typical > config.max_error_m:
        raise CalibrationError(
            f"the lines fit no place on this field: {used.mean():.0%} of the points lie on markings, to "
            f"{1000 * typical:.0f} mm",
            hint=f"check --field (its lines and sizes), and that nothing but the robot moved; {ROUGHLY_RIGHT}",
        )
    yaw_sigma = math.sqrt(covariance[5, 5])
    yaw_kept = yaw_sigma > config.max_sigma.get("yaw_rad", math.inf)
    if yaw_kept:  # the other five fitted again to the file's yaw
        fixed = replace(config, prior_sigma={**config.prior_sigma, "yaw_rad": 1e-5})
        problem = LineBundle(views, start, turned, markings, fixed)
        theta, poses, covariance, errors, used = problem.solve(field_from_odom)
        theta[5], covariance[5, 5] = start.mounting.yaw_rad, yaw_sigma**2
    sigmas = np.sqrt(np.diag(covariance))
    _require_known(sigmas[:5], config)
    camera = with_mounting(start, theta)
    uncertainty = start.uncertainty.with_mounting(MOUNTING, covariance)
    return LineFit(
        camera=replace(camera, uncertainty=uncertainty),
        attitude=attitude,
        values=theta,
        sigmas=sigmas,
        field_from_odom=poses[0] @ views[0].odom_from_robot.inverse(),
        points_m=problem.points(theta, poses),
        before_m=problem.points(mounting_values(start), poses),
        errors_m=errors,
        used=used,
        views=len(views),
        yaw_kept=yaw_kept,
    )


def _require_known(sigmas: FloatArray, config: LineFitConfig) -> None:
    vague = []
    for name, sigma in zip(MOUNTING[:5], sigmas, strict=True):
        if sigma > config.max_sigma.get(name, math.inf):
            size = f"{math.degrees(sigma):.1f} degrees" if name.endswith("_rad") else f"{1000 * sigma:.0f} mm"
            vague.append(f"{name.rpartition('_')[0]} is known to {size} only")
    if vague:
        raise CalibrationError(
            f"these lines do not tell the mounting: {', '.join(vague)}",
            hint="turn on the spot once around, slowly, 1 to 2 m from several lines, then drive a metre ahead and back",
        )


def _chosen(views: Sequence[LineView], config: LineFitConfig) -> list[LineView]:
    """Take views that show lines, evenly over the drive, and see that there are enough headings.

    Only those of the longest stretch without an interruption: how the robot moved in between nobody knows.
    """
    good = [view for view in views if len(view.points_px) >= 8]
    stretches = Counter(view.breaks for view in good)
    good = [view for view in good if view.breaks == stretches.most_common(1)[0][0]]
    headings = {round(view.odom_from_robot.theta_rad / (math.pi / 6)) % 12 for view in good}
    if len(headings) < config.min_headings:
        raise CalibrationError(
            f"lines were seen at {len(headings)} of 12 headings only"
            + (", between interruptions of the telemetry" if len(stretches) > 1 else ""),
            hint="turn once around on the spot, slowly (0.6 rad/s), where lines are within 3 m on most sides",
        )
    every = max(1, -(-len(good) // config.max_views))
    return good[::every]


def _shifted(camera: CameraModel, attitude: Attitude) -> CameraModel:
    m = camera.mounting
    return replace(
        camera,
        mounting=replace(m, pitch_rad=m.pitch_rad + attitude.pitch_rad, roll_rad=m.roll_rad + attitude.roll_rad),
    )


def _find_place(
    views: Sequence[LineView], camera: CameraModel, attitude: Attitude, markings: LineMap, config: LineFitConfig
) -> tuple[float, Pose2]:
    """Return the height and the place (`field_from_odom`) at which most line points lie on markings."""
    best = (math.inf, camera.mounting.height_m, Pose2())
    sigma = config.prior_sigma["height_m"]
    # The attitude's heading is that at the last view's time; its drift takes it back to each view.
    for share in (-1.0, -0.5, 0.0, 0.5, 1.0):
        height = camera.mounting.height_m + share * sigma
        if not HEIGHT_LIMITS_M[0] <= height <= HEIGHT_LIMITS_M[1]:
            continue
        trial = replace(camera, mounting=replace(camera.mounting, height_m=height))
        cloud = []
        for view in views:
            local = trial.ground_points(view.points_px, view.tilt_rad)
            keep = np.hypot(*local.T) < min(2.2, config.max_range_m)
            late_s = (view.t_ns - views[-1].t_ns) * 1e-9
            pose = view.odom_from_robot
            pose = Pose2(pose.x_m, pose.y_m, pose.theta_rad - attitude.drift_rad_s * late_s)
            cloud.append(_moved(local[keep], pose))
        points = np.concatenate(cloud)
        few = points[:: max(1, len(points) // 160)]
        if len(few) < 30:
            raise CalibrationError(
                f"only {len(points)} line points lie within 2.2 m", hint="turn nearer to the lines (1 to 2 m)"
            )
        place = markings.place(few, -attitude.heading_rad)
        off = np.abs(markings.nearest(_moved(points, place))[0])
        cost = float(np.minimum(off, 0.15).mean())
        if cost < best[0]:
            best = (cost, height, place)
    return best[1], best[2]


def _moved(points: FloatArray, pose: Pose2) -> FloatArray:
    c, s = math.cos(pose.theta_rad), math.sin(pose.theta_rad)
    return np.asarray(points @ np.array([[c, s], [-s, c]]) + (pose.x_m, pose.y_m))
