"""The whole mounting from field lines seen while the robot turns on the spot (and drives a little): no tape measure.

First the directions of all lines give pitch and roll (`line_attitude`). Then the points of all pictures, carried
together by wheels and gyro, are laid on the field's markings; known distances between those tell the height. At last
everything is fitted at once: mounting and the pose of each picture, held together by the odometry between them
(bundle adjustment with known structure; Triggs et al. 2000). Which of the field's mirror images the robot stands in
does not matter here.

Yaw shows only in how the camera's place ahead of the robot's centre circles while the robot turns, and in how
the lines move when it drives straight ahead; its uncertainty says how well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from perception.calibration.line_attitude import QUARTER, Attitude, AttitudeConfig, LineView, fit_attitude
from perception.calibration.line_map import LineMap
from perception.camera.model import CameraModel
from perception.camera.parameters import CALIBRATED, HEIGHT_LIMITS_M, CalibrationUncertainty
from perception.field.model import FieldModel
from robot.core.errors import CalibrationError
from robot.core.geometry import FloatArray, Pose2

MOUNTING = CALIBRATED[:6]
_STEP = 1e-4


@dataclass(frozen=True, kw_only=True)
class LineFitConfig:
    """What is known beforehand (one sigma each), and the noise.

    The camera's place ahead of the centre comes from the drawing; height and angles are to be found. `point_px` is
    a line point's noise, `point_m` what the markings themselves may be off; odometry drifts by `slip_share` of the
    way and `turn_share` of the turn. Points beyond `max_range_m` say little and are left out. `repeats` pictures
    with the same errors count as one. What is known worse than `max_sigma` would make a camera file worse:
    yaw is then kept as in the file, anything else is refused.
    """

    prior_sigma: dict[str, float] = field(
        default_factory=lambda: {
            "x_m": 0.003,
            "y_m": 0.002,
            "height_m": 0.02,
            "pitch_rad": 0.15,
            "roll_rad": 0.1,
            "yaw_rad": 0.1,
        }
    )
    attitude: AttitudeConfig = field(default_factory=AttitudeConfig)
    point_px: float = 0.8
    point_m: float = 0.006
    slip_share: float = 0.03
    slip_m: float = 0.0006
    turn_share: float = 0.01
    turn_rad: float = 0.001
    max_range_m: float = 3.0
    max_views: int = 80
    repeats: float = 4.0
    min_headings: int = 6
    max_error_m: float = 0.03
    max_sigma: dict[str, float] = field(
        default_factory=lambda: {
            "height_m": 0.005,
            "pitch_rad": math.radians(1.0),
            "roll_rad": math.radians(1.0),
            "yaw_rad": math.radians(2.0),  # a turn and a metre ahead and back: 1.2 to 1.8
        }
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
            hint="put the robot 1 to 2 m from several lines (a corner, a defense area) and turn once around, slowly",
        )
    turned = _shifted(start, attitude)
    markings = LineMap.of(model)
    height, field_from_odom = _find_place(views, turned, attitude, markings, config)
    turned = replace(turned, mounting=replace(turned.mounting, height_m=height))
    problem = _Problem(views, start, turned, markings, config)
    theta, poses, covariance, errors, used = problem.solve(field_from_odom)
    typical = float(np.sqrt(np.mean(errors[used] ** 2))) if used.any() else math.inf
    if used.mean() < 0.5 or typical > config.max_error_m:
        raise CalibrationError(
            f"the lines fit no place on this field: {used.mean():.0%} of the points lie on markings, to "
            f"{1000 * typical:.0f} mm",
            hint="check --field (its lines and sizes), and that nothing but the robot moved",
        )
    yaw_sigma = math.sqrt(covariance[5, 5])
    yaw_kept = yaw_sigma > config.max_sigma.get("yaw_rad", math.inf)
    if yaw_kept:  # the other five fitted again to the file's yaw
        fixed = replace(config, prior_sigma={**config.prior_sigma, "yaw_rad": 1e-5})
        problem = _Problem(views, start, turned, markings, fixed)
        theta, poses, covariance, errors, used = problem.solve(field_from_odom)
        theta[5], covariance[5, 5] = start.mounting.yaw_rad, yaw_sigma**2
    sigmas = np.sqrt(np.diag(covariance))
    _require_known(sigmas[:5], config)
    camera = _camera(start, theta)
    full = np.zeros((len(CALIBRATED), len(CALIBRATED)))
    full[:6, :6] = covariance
    uncertainty = CalibrationUncertainty(covariance=tuple(tuple(float(v) for v in row) for row in full))
    return LineFit(
        camera=replace(camera, uncertainty=uncertainty),
        attitude=attitude,
        values=theta,
        sigmas=sigmas,
        field_from_odom=poses[0] @ views[0].odom_from_robot.inverse(),
        points_m=problem.points(theta, poses),
        before_m=problem.points(_theta(start), poses),
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
    """Take views that show lines, evenly over the drive, and see that there are enough headings."""
    good = [view for view in views if len(view.points_px) >= 8]
    headings = {round(view.odom_from_robot.theta_rad / (math.pi / 6)) % 12 for view in good}
    if len(headings) < config.min_headings:
        raise CalibrationError(
            f"lines were seen at {len(headings)} of 12 headings only",
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


def _theta(camera: CameraModel) -> FloatArray:
    return np.array([getattr(camera.mounting, name) for name in MOUNTING])


def _camera(base: CameraModel, theta: FloatArray) -> CameraModel:
    try:
        return replace(base, mounting=replace(base.mounting, **dict(zip(MOUNTING, theta.tolist(), strict=True))))
    except ValueError as error:
        raise CalibrationError(
            f"the lines put the camera where none can be: {error}", hint="check --field, and the camera's [mounting]"
        ) from error


class _Problem:
    """Mounting (6) and the pose of each view (3 each): Gauss-Newton with robust weights, dense (a few hundred)."""

    def __init__(
        self,
        views: Sequence[LineView],
        start: CameraModel,
        first: CameraModel,
        markings: LineMap,
        config: LineFitConfig,
    ) -> None:
        self.views, self.base, self.markings, self.config = views, start, markings, config
        self.first = _theta(first)
        self.prior = _theta(start)
        self.prior_sigma = np.array([config.prior_sigma[name] for name in MOUNTING])
        self.pixels = []
        for view in views:
            pixels = np.array(view.points_px, dtype=float)
            near = np.hypot(*first.ground_points(pixels, view.tilt_rad).T) < config.max_range_m
            self.pixels.append(pixels[near])
        self.owner = np.concatenate([np.full(len(p), i) for i, p in enumerate(self.pixels)])

    def _local(self, theta: FloatArray) -> FloatArray:
        camera = _camera(self.base, theta)
        parts = [camera.ground_points(p, v.tilt_rad) for p, v in zip(self.pixels, self.views, strict=True)]
        return np.concatenate(parts)

    def points(self, theta: FloatArray, poses: Sequence[Pose2]) -> FloatArray:
        """Return all line points on the field (N, 2)."""
        return self._place(self._local(theta), poses)

    def _place(self, local: FloatArray, poses: Sequence[Pose2]) -> FloatArray:
        table = np.array([(p.x_m, p.y_m, math.cos(p.theta_rad), math.sin(p.theta_rad)) for p in poses])[self.owner]
        c, s = table[:, 2], table[:, 3]
        x, y = c * local[:, 0] - s * local[:, 1], s * local[:, 0] + c * local[:, 1]
        return np.stack((x + table[:, 0], y + table[:, 1]), axis=1)

    def solve(self, field_from_odom: Pose2) -> tuple[FloatArray, list[Pose2], FloatArray, FloatArray, np.ndarray]:
        """Return (mounting, poses, covariance (6, 6), errors (N,), used (N,))."""
        theta = self.first
        poses = [field_from_odom @ view.odom_from_robot for view in self.views]
        for gate in (0.25, 0.25, 0.15, 0.15, 0.1, 0.1, 0.06, 0.06, 0.06, 0.06):
            theta, poses, normal = self._step(theta, poses, gate)
        placed = self.points(theta, poses)
        errors = self.markings.nearest(placed)[0]
        used = np.isfinite(errors) & (np.abs(errors) < 0.06)
        scale = max(1.0, self._chi2(theta, poses, errors, used)) * self.config.repeats
        covariance = np.asarray(np.linalg.inv(normal)[:6, :6] * scale, dtype=float)
        return theta, poses, covariance, errors, used

    def _sigmas(self, theta: FloatArray, normals: FloatArray, poses: Sequence[Pose2]) -> FloatArray:
        """Return the noise of each point across its marking, metres (N,)."""
        camera = replace(_camera(self.base, theta), uncertainty=CalibrationUncertainty())
        quiet = replace(camera.noise, pitch_rad=0.0, roll_rad=0.0, yaw_rad=0.0, height_m=0.0, position_m=0.0)
        camera = replace(camera, noise=quiet)
        parts = [
            camera.ground_covariance(p, v.tilt_rad, sigma_px=self.config.point_px)
            for p, v in zip(self.pixels, self.views, strict=True)
        ]
        heading = np.array([p.theta_rad for p in poses])[self.owner]
        c, s = np.cos(heading), np.sin(heading)
        local = np.stack((c * normals[:, 0] + s * normals[:, 1], -s * normals[:, 0] + c * normals[:, 1]), axis=1)
        spread = np.einsum("ni,nij,nj->n", local, np.concatenate(parts), local)
        return np.asarray(np.sqrt(np.nan_to_num(spread, nan=1e6) + self.config.point_m**2))

    def _chi2(self, theta: FloatArray, poses: Sequence[Pose2], errors: FloatArray, used: np.ndarray) -> float:
        _, normals = self.markings.nearest(self.points(theta, poses))
        return float(np.mean((errors[used] / self._sigmas(theta, normals, poses)[used]) ** 2))

    def _step(self, theta: FloatArray, poses: list[Pose2], gate: float) -> tuple[FloatArray, list[Pose2], FloatArray]:
        local = self._local(theta)
        placed = self._place(local, poses)
        off, normals = self.markings.nearest(np.nan_to_num(placed, nan=1e3))
        sigma = self._sigmas(theta, normals, poses)
        weight = (1.0 + (off / np.maximum(0.4 * gate, 2.0 * sigma)) ** 2) ** -2 / sigma**2
        weight = np.where(np.abs(off) < np.maximum(gate, 3.0 * sigma), weight, 0.0) * (sigma < 0.1)
        size = 6 + 3 * len(poses)
        normal, right = np.zeros((size, size)), np.zeros(size)
        by_mounting = np.stack([self._by_mounting(theta, k, normals, poses, local) for k in range(6)], axis=1)
        middle = np.array([(p.x_m, p.y_m) for p in poses])[self.owner]
        arm = placed - middle
        by_pose = np.stack((normals[:, 0], normals[:, 1], -arm[:, 1] * normals[:, 0] + arm[:, 0] * normals[:, 1]), 1)
        for i in range(len(poses)):
            mine = (self.owner == i) & (weight > 0.0)
            rows = np.concatenate((by_mounting[mine], by_pose[mine]), axis=1)
            at = np.r_[0:6, 6 + 3 * i : 9 + 3 * i]
            normal[np.ix_(at, at)] += rows.T @ (weight[mine, None] * rows)
            right[at] -= rows.T @ (weight[mine] * off[mine])
        normal[:6, :6] += np.diag(self.prior_sigma**-2.0)
        right[:6] -= (theta - self.prior) / self.prior_sigma**2
        self._odometry(poses, normal, right)
        move = np.linalg.solve(normal + 1e-9 * np.eye(size), right)
        moved = [
            Pose2(p.x_m + move[k], p.y_m + move[k + 1], p.theta_rad + move[k + 2])
            for p, k in zip(poses, range(6, size, 3), strict=True)
        ]
        return theta + np.clip(move[:6], -0.05, 0.05), moved, normal

    def _by_mounting(
        self, theta: FloatArray, index: int, normals: FloatArray, poses: Sequence[Pose2], local: FloatArray
    ) -> FloatArray:
        step = np.zeros(6)
        step[index] = _STEP
        change = (self._local(theta + step) - local) / _STEP
        heading = np.array([p.theta_rad for p in poses])[self.owner]
        c, s = np.cos(heading), np.sin(heading)
        x, y = c * change[:, 0] - s * change[:, 1], s * change[:, 0] + c * change[:, 1]
        return np.asarray(np.nan_to_num(x * normals[:, 0] + y * normals[:, 1]))

    def _odometry(self, poses: Sequence[Pose2], normal: FloatArray, right: FloatArray) -> None:
        """Tie neighbouring poses together by the odometry between them."""
        c = self.config
        for i in range(len(poses) - 1):
            was = self.views[i].odom_from_robot.inverse() @ self.views[i + 1].odom_from_robot
            now = poses[i].inverse() @ poses[i + 1]
            off = np.array(
                (now.x_m - was.x_m, now.y_m - was.y_m, math.remainder(now.theta_rad - was.theta_rad, math.tau))
            )
            way, turn = math.hypot(was.x_m, was.y_m), abs(was.theta_rad)
            # A turn on the spot slips sideways, too: a millimetre or two for each radian.
            sigma_m = math.hypot(c.slip_m, c.slip_share * way + 0.002 * turn)
            sigma = np.array((sigma_m, sigma_m, math.hypot(c.turn_rad, c.turn_share * turn)))
            cos, sin = math.cos(poses[i].theta_rad), math.sin(poses[i].theta_rad)
            back = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
            first = -back
            first[0, 2], first[1, 2] = now.y_m, -now.x_m
            rows = np.concatenate((first, back), axis=1) / sigma[:, None]
            at = np.r_[6 + 3 * i : 12 + 3 * i]
            normal[np.ix_(at, at)] += rows.T @ rows
            right[at] -= rows.T @ (off / sigma)


__all__ = ["MOUNTING", "QUARTER", "LineFit", "LineFitConfig", "fit_lines"]
