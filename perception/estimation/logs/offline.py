"""Runs the estimator over a navigation log: the same `Estimator` that plays, fed from rows instead of a robot."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perception.camera.model import CameraModel
from perception.camera.observe import observe
from perception.estimation.config import EstimationConfig
from perception.estimation.ego.ekf import POSE
from perception.estimation.estimator import Estimator
from perception.estimation.logs.navigation_log import NavigationLog
from robot.core.body import RobotBody
from robot.core.clock import NS_PER_S
from robot.core.field import FieldGeometry
from robot.core.files import write_whole
from robot.core.geometry import FloatArray, Pose2
from robot.core.messages import BoxPx, Detection, DetectionBatch, Localisation, ObjectClass, Verdict

COLUMNS = ("t", "x_m", "y_m", "theta_rad", "sigma_x_m", "sigma_y_m", "sigma_theta_rad")
LOGGED_SCORE = 0.9
"""Logs say only that the detector reported a goal."""


@dataclass(frozen=True, slots=True, eq=False)
class Seed:
    """The pose at the first row and how well it is known."""

    pose: Pose2
    sigma_m: float = 0.02
    sigma_theta_rad: float = 0.021


@dataclass(frozen=True, slots=True, eq=False)
class PoseTable:
    """Estimates per row: `t_s` (N,), `poses` (N, 3) x, y, theta, `covariances` (N, 3, 3), state, goal verdict (None
    where the row has no goal) and whether a goal corrected the pose, (N,).
    """

    t_s: FloatArray
    poses: FloatArray
    covariances: FloatArray
    states: tuple[Localisation, ...]
    goal_verdicts: tuple[Verdict | None, ...]
    goal_used: NDArray[np.bool_]

    def sigmas(self) -> FloatArray:
        """Standard deviations (N, 3) of x, y (m) and theta (rad)."""
        return np.sqrt(np.diagonal(self.covariances, axis1=1, axis2=2))


def localize(
    log: NavigationLog,
    config: EstimationConfig,
    body: RobotBody,
    field: FieldGeometry,
    camera: CameraModel,
    seed: Seed,
) -> PoseTable:
    """Estimate the pose at the time of every row, from odometry and goal boxes up to that row.

    A row's odometry is `motion.lead_s` ahead of its time and its picture `vision.delay_s` behind; both are put where
    they belong. The reference columns are not looked at.
    """
    estimator = Estimator(config, body, field, camera)
    poses, covariances, states, verdicts, used_goal = [], [], [], [], [0]
    estimator.on_odometry(Pose2(), 0.0, log.t_ns(0))
    estimator.seed(seed.pose, seed.sigma_m, seed.sigma_theta_rad, log.t_ns(0))
    used, delay_ns = 0, int(config.vision.delay_s * NS_PER_S)
    for row in range(len(log)):
        t_ns = log.t_ns(row)
        if row:
            delta = log.odometry_pose(used).inverse() @ log.odometry_pose(row)
            verdict = estimator.on_odometry(delta, (t_ns - log.t_ns(used)) * 1e-9, t_ns)
            # A jump of the odometry (a reboot) is not motion: go on from where it jumped to.
            used = row if verdict in (Verdict.OK, Verdict.OUT_OF_RANGE) else used
        batch = _batch(row, t_ns - delay_ns, t_ns, log.boxes[row], camera)
        said = estimator.on_observations(batch, observe(batch, camera))
        belief = estimator.belief(t_ns)
        pose = belief.world_from_robot
        velocity = np.array([*pose.rotate((belief.twist.vx_m_s, belief.twist.vy_m_s)), belief.twist.omega_rad_s])
        jitter = velocity * config.motion.lead_sigma_s
        poses.append((pose.x_m, pose.y_m, pose.theta_rad))
        covariances.append(belief.covariance[POSE, POSE] + np.outer(jitter, jitter))
        states.append(estimator.localisation)
        verdicts.append(said[0] if said else None)
        used_goal.append(estimator.landmarks_used)
    return PoseTable(
        log.t_s, np.array(poses), np.array(covariances), tuple(states), tuple(verdicts), np.diff(used_goal) > 0
    )


def raw_odometry(log: NavigationLog, seed: Pose2) -> FloatArray:
    """Return the odometry as it was reported, placed at the seed: (N, 3), the baseline to beat."""
    start = log.odometry_pose(0).inverse()
    placed = [seed @ (start @ log.odometry_pose(row)) for row in range(len(log))]
    return np.array([(p.x_m, p.y_m, p.theta_rad) for p in placed])


def write_poses(path: Path, table: PoseTable) -> None:
    """Write the table as CSV; see `write_whole`.

    Raises:
        OutputError: the place cannot be written.
    """
    rows = np.column_stack([table.t_s, table.poses, table.sigmas()])
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([[f"{t:.6f}", *(f"{v:.6f}" for v in values)] for t, *values in rows.tolist()])
    write_whole(path, text.getvalue())


def _batch(row: int, t_capture_ns: int, t_receive_ns: int, box: BoxPx | None, camera: CameraModel) -> DetectionBatch:
    detections = (Detection(object_class=ObjectClass.GOAL, score=LOGGED_SCORE, box_px=box),) if box is not None else ()
    return DetectionBatch(
        seq=row,
        t_capture_ns=t_capture_ns,
        t_receive_ns=t_receive_ns,
        valid=True,
        frame_seq=row,
        image_size_px=(camera.intrinsics.width_px, camera.intrinsics.height_px),
        detections=detections,
    )
