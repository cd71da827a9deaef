"""The whole fit of a robot from logs: odometry constants, camera's view of the goal, noise, and a cross-check.

Order: constants from all logs; camera and its lag with those; noise from held-out halves, each predicted with
constants fitted on all the others. The cross-check reports what those held-out predictions were worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from perception.camera.model import CameraModel
from perception.estimation.config import EstimationConfig, VisionConfig
from perception.estimation.logs import motion_fit, noise_fit
from perception.estimation.logs.evaluation import HEADER, nees, nees_inside, path_errors
from perception.estimation.logs.goal_fit import GoalFit, fit_goal_view
from perception.estimation.logs.motion_fit import MIN_ROWS, MotionFit, fit_motion
from perception.estimation.logs.navigation_log import NavigationLog
from perception.estimation.logs.noise_fit import NoiseCase, fit_noise
from perception.estimation.logs.offline import Seed, localize, raw_odometry
from robot.core.body import RobotBody
from robot.core.errors import CalibrationError
from robot.core.field import FieldGeometry

MIN_LEAD_SIGMA_S = 0.005
MIN_TURN_SCALE_SIGMA = 0.002
"""No fit is better than this, whatever its own covariance says."""


@dataclass(frozen=True, slots=True, eq=False)
class RobotFit:
    """The fitted configuration and camera, with what each step found and the cross-check's lines."""

    config: EstimationConfig
    camera: CameraModel
    motion: MotionFit
    goal: GoalFit | None
    held_out: tuple[str, ...]

    def text(self) -> str:
        """Return the report."""
        lines = ["odometry constants (value +- sigma):"]
        for name, value, sigma in zip(motion_fit.PARAMETERS, self.motion.values(), self.motion.sigmas, strict=True):
            lines.append(f"  {name:22s} {value:8.4f} +- {sigma:.4f}")
        before, after = (1000.0 * rms for rms in (self.motion.rms_before, self.motion.rms_after))
        lines.append(
            f"  one second of motion: {np.hypot(*before[:2]):.0f} mm, {np.degrees(before[2] / 1000):.1f} degrees RMS "
            f"before; {np.hypot(*after[:2]):.0f} mm, {np.degrees(after[2] / 1000):.1f} degrees after"
        )
        if self.goal is None:
            lines.append("camera: too few goal boxes to fit its view")
        else:
            m, v, s = self.goal.camera.mounting, self.goal.vision, self.goal.sigmas
            spread = np.degrees(self.goal.residual_rad)
            lines += [
                f"camera, from {self.goal.boxes} goal boxes:",
                f"  yaw   {np.degrees(m.yaw_rad):7.2f} +- {np.degrees(s[0]):.2f} degrees",
                f"  pitch {np.degrees(m.pitch_rad):7.2f} +- {np.degrees(s[1]):.2f} degrees",
                f"  delay {1000 * v.delay_s:7.0f} +- {1000 * s[2]:.0f} ms",
                f"  boxes reach {v.goal_padding_px:.1f} +- {s[3]:.1f} px beyond the goal",
                f"  left {spread[0]:.2f}, right {spread[1]:.2f}, foot {spread[2]:.2f} degrees of noise",
            ]
        noise = ", ".join(f"{name} = {getattr(self.config.motion, name):.4f}" for name in noise_fit.PARAMETERS)
        lines += [f"noise: {noise}", "held-out halves, predicted with constants fitted on the others:", HEADER]
        return "\n".join([*lines, *self.held_out])


def fit_robot(
    logs: Sequence[NavigationLog],
    config: EstimationConfig,
    body: RobotBody,
    field: FieldGeometry,
    camera: CameraModel,
) -> RobotFit:
    """Fit everything; see the module.

    Args:
        logs: each with a reference. Two or more of different character are better than one.
        config: start values; what is not fitted is kept.
        body: of the robot.
        field: of the logs.
        camera: start values; yaw and pitch are fitted when there are goal boxes.

    Raises:
        CalibrationError: too little motion or rows.
        DataError: a log without reference.
    """
    motion = fit_motion(logs, config.motion)
    goal: GoalFit | None
    try:
        goal = fit_goal_view(logs, motion.config, config.vision, camera, field)
    except CalibrationError:
        goal = None
    vision = _vision(config, goal)
    camera = goal.camera if goal is not None else camera
    halves = [half for log in logs for half in _halves(log)]
    cases = []
    for i, half in enumerate(halves):
        others = fit_motion([h for k, h in enumerate(halves) if k != i], config.motion).config
        others = replace(
            others,
            lead_sigma_s=max(float(motion.sigmas[0]), MIN_LEAD_SIGMA_S),
            turn_scale_sigma=max(float(motion.sigmas[-1]), MIN_TURN_SCALE_SIGMA),
        )
        cases.append(NoiseCase(half, replace(config, motion=others, vision=vision)))
    noisy = fit_noise(cases, body, field, camera)
    names = (*noise_fit.PARAMETERS, "lead_sigma_s", "turn_scale_sigma")
    noise = {name: round(float(getattr(noisy, name)), 5) for name in names}
    constants = {name: round(float(getattr(motion.config, name)), 5) for name in motion_fit.PARAMETERS}
    fitted = replace(config, motion=replace(config.motion, **{**constants, **noise}), vision=vision)
    held_out = []
    for case in cases:
        tested = replace(case.config, motion=replace(case.config.motion, **noise))
        held_out += _check(case.log, tested, body, field, camera)
    return RobotFit(fitted, camera, motion, goal, tuple(held_out))


def _vision(config: EstimationConfig, goal: GoalFit | None) -> VisionConfig:
    """Take the vision constants and the noise of the boxes from the fit of the camera's view."""
    if goal is None:
        return config.vision
    k = goal.camera.intrinsics
    return replace(
        config.vision,
        delay_s=round(goal.vision.delay_s, 4),
        goal_padding_px=round(goal.vision.goal_padding_px, 2),
        post_sigma_px=round(float(np.mean(goal.residual_rad[:2])) * k.fx, 2),
        post_sigma_ratio=0.0,
        foot_sigma_px=round(float(goal.residual_rad[2]) * k.fy, 2),
    )


def _halves(log: NavigationLog) -> list[NavigationLog]:
    middle = len(log) // 2
    if middle < MIN_ROWS:
        raise CalibrationError(f"{log.name} is too short for a cross-check", hint=f"give {2 * MIN_ROWS} rows or more")
    parts = [log.part(0, middle), log.part(middle, len(log))]
    return [replace(part, name=f"{log.name}:{i + 1}") for i, part in enumerate(parts)]


def _check(
    log: NavigationLog, config: EstimationConfig, body: RobotBody, field: FieldGeometry, camera: CameraModel
) -> list[str]:
    seed = log.reference_pose(0)
    table = localize(log, config, body, field, camera, Seed(seed))
    inside = nees_inside(nees(log, table))
    return [
        f"{path_errors(log, table.poses).line(log.name)}   NEES inside {100 * inside:.0f} %",
        path_errors(log, raw_odometry(log, seed)).line("  raw"),
    ]
