"""The pose filter itself: its prediction, its Jacobians, its angles, its honesty."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from perception.estimation.config import MotionConfig, VisionConfig
from perception.estimation.ego.ekf import POSE, SIZE, THETA, Correction, EgoFilter, Motion, X, Y
from perception.estimation.ego.goals import GoalModel, goal_corners
from robot.core.geometry import Pose2, Twist2, exponential_map, logarithm_map, wrap_angle, wrap_angles
from tests.estimation_world import CAMERA, FIELD

STATE = np.array([1.0, -0.5, 2.8, 0.8, -0.3, 0.02, 0.01, -0.02, 0.004, -0.003, 0.002])
MOTIONS = [
    Motion(1.3, (0.7, -1.1)),
    Motion(0.0, (0.0, 0.0)),
    Motion(-2.1, None, (0.9, 0.4)),
    Motion(0.0, None, (0.5, 0.0)),
]
angles = st.floats(-math.pi, math.pi)


@pytest.mark.parametrize("motion", MOTIONS)
def test_transition_matrix_is_the_derivative_of_the_prediction(motion: Motion) -> None:
    ego = EgoFilter(MotionConfig())
    ego.x = STATE.copy()
    ego.advance(motion, 0.005)
    transition = ego.F.copy()
    numeric = np.zeros((SIZE, SIZE))
    for k in range(SIZE):
        ends = []
        for sign in (1.0, -1.0):
            ego.x = STATE.copy()
            ego.x[k] += sign * 1e-6
            ego.advance(motion, 0.005)
            ends.append(ego.x.copy())
        numeric[:, k] = (ends[0] - ends[1]) / 2e-6
    # What is left out is of second order in dt.
    assert np.abs(transition - numeric).max() < 3e-5


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_the_depth_of_a_goal_shows_beside_its_post(mirror: float) -> None:
    """Seen at an angle, the far edge is the far post and the near edge the corner behind the near post."""
    model = GoalModel(VisionConfig(), FIELD, CAMERA)
    x = np.zeros(SIZE)
    x[POSE] = 3.0, -2.0 * mirror, 1.0 * mirror
    view, _ = model.view(x, goal_corners(FIELD, 1))
    camera = Pose2(*x[POSE]).transform((CAMERA.mounting.x_m, CAMERA.mounting.y_m))

    def azimuth(corner_x: float, corner_y: float) -> float:
        return math.atan2(corner_y - camera[1], corner_x - camera[0]) - x[THETA]

    far, near = (view[0], view[1]) if mirror > 0 else (view[1], view[0])
    assert far == pytest.approx(azimuth(4.5, 0.5 * mirror), abs=1e-9)
    assert near == pytest.approx(azimuth(4.68, -0.5 * mirror), abs=1e-9)
    assert view[2] == pytest.approx(math.atan2(0.17, math.dist(camera, (4.5, -0.5 * mirror))), abs=1e-9)


def test_goal_jacobian_is_the_derivative_of_the_view() -> None:
    model = GoalModel(VisionConfig(), FIELD, CAMERA)
    corners = goal_corners(FIELD, 1)
    for pose in [(0.0, 0.0, 0.1), (2.0, -1.5, 0.6), (3.0, 2.0, -0.9)]:
        x = STATE.copy()
        x[POSE] = pose
        _, h = model.view(x, corners)
        for k in (X, Y, THETA):
            ahead, behind = x.copy(), x.copy()
            ahead[k] += 1e-6
            behind[k] -= 1e-6
            numeric = (model.view(ahead, corners)[0] - model.view(behind, corners)[0]) / 2e-6
            assert h[:, k] == pytest.approx(numeric, abs=1e-6)


@given(omega=st.floats(-8.0, 8.0), vx=st.floats(-3.0, 3.0), vy=st.floats(-3.0, 3.0), dt=st.floats(0.001, 0.3))
def test_logarithm_undoes_the_exponential(omega: float, vx: float, vy: float, dt: float) -> None:
    twist = Twist2(vx, vy, omega)
    back = logarithm_map(exponential_map(twist, dt), dt)
    assert (back.vx_m_s, back.vy_m_s, back.omega_rad_s) == pytest.approx((vx, vy, omega), abs=1e-6)


@given(omega=st.floats(-6.0, 6.0), vx=st.floats(-3.0, 3.0), parts=st.integers(2, 7))
def test_odometry_step_may_be_split(omega: float, vx: float, parts: int) -> None:
    motion = Motion(omega, None, (vx, 0.2))
    whole, split = EgoFilter(MotionConfig()), EgoFilter(MotionConfig())
    whole.advance(motion, 0.1)
    for _ in range(parts):
        split.advance(motion, 0.1 / parts)
    assert split.x == pytest.approx(whole.x, abs=1e-9)


@settings(deadline=None)
@given(theta=angles, seen=angles)
def test_heading_update_takes_the_short_way_round(theta: float, seen: float) -> None:
    ego = EgoFilter(MotionConfig())
    ego.x[THETA] = theta
    ego.P[THETA, THETA] = 0.04
    before = wrap_angle(seen - theta)
    assume(abs(before) < 3.1)  # straight behind, both ways are short
    ego.correct(_heading(seen, 0.04))
    moved = wrap_angle(float(ego.x[THETA]) - theta)
    assert moved == pytest.approx(0.5 * before, abs=1e-6)
    assert -math.pi < ego.x[THETA] <= math.pi


@settings(deadline=None, max_examples=30)
@given(turn=angles)
def test_filter_does_not_care_which_way_the_world_is_turned(turn: float) -> None:
    """Rotating the world rotates the estimate and nothing else."""
    ends = []
    for start in (Pose2(), Pose2(0.0, 0.0, turn)):
        ego = EgoFilter(MotionConfig())
        ego.reset_pose(start, 0.05, 0.05)
        for k in range(60):
            ego.advance(Motion(3.0 * math.sin(k / 9), (0.5, 0.2)), 0.005)
        ends.append((ego.pose(), float(np.trace(ego.P))))
    assert ends[1][1] == pytest.approx(ends[0][1], rel=1e-9)
    expected = Pose2(0.0, 0.0, turn) @ ends[0][0]
    assert (ends[1][0].x_m, ends[1][0].y_m) == pytest.approx((expected.x_m, expected.y_m), abs=1e-9)
    assert wrap_angle(ends[1][0].theta_rad - expected.theta_rad) == pytest.approx(0.0, abs=1e-9)


def test_gate_refuses_and_leaves_no_trace() -> None:
    ego = EgoFilter(MotionConfig())
    ego.reset_pose(Pose2(1.0, 2.0, 3.1), 0.1, 0.05)
    x, p = ego.x.copy(), ego.P.copy()
    assert ego.correct(_heading(0.5, 1e-4, gate=6.6)) > 6.6
    assert math.isinf(ego.correct(_heading(math.nan, 1e-4, gate=6.6)))
    assert np.array_equal(ego.x, x)
    assert np.array_equal(ego.P, p)


def test_errors_stay_inside_the_covariance_over_many_runs() -> None:
    """NEES and NIS on simulated noise: the averages over 40 runs lie in their chi-square bounds.

    Truth is drawn from the filter's own model (wheel scale, turn scale, bias, path noise), and posts are sighted with
    the noise that the correction states, so that any wrong Jacobian, sign or missing term shows.
    """
    config = MotionConfig(scale_sigma=0.02, turn_scale_sigma=0.01, translation_m_per_sqrt_m=0.02)
    model = GoalModel(VisionConfig(), FIELD, CAMERA)
    corners = goal_corners(FIELD, 1)
    rng = np.random.default_rng(7)
    nees, nis = [], []
    for _ in range(40):
        ego = EgoFilter(config)
        start = rng.normal(0.0, [0.05, 0.05, 0.03])
        ego.reset_pose(Pose2(), 0.05, 0.03)
        truth = Pose2(*start)
        bias = rng.normal(0.0, config.gyro_bias_sigma_rad_s)
        scale, turn_scale = rng.normal(0.0, config.scale_sigma), rng.normal(0.0, config.turn_scale_sigma)
        for k in range(120):
            vx, vy, omega = 1.0, 0.5 * math.sin(k / 10), 0.8 * math.sin(k / 25)
            dt = 0.02
            path = math.hypot(vx, vy) * dt
            sigma_turn = math.sqrt(
                config.gyro_noise_rad_s_per_rthz**2 * dt
                + config.rotation_rad_per_sqrt_rad**2 * abs(omega) * dt
                + config.rotation_rad_per_sqrt_m**2 * path
            )
            truth = truth @ exponential_map(Twist2(vx, vy, omega), dt)
            slip = rng.normal(0.0, config.translation_m_per_sqrt_m * math.sqrt(path), 2)
            truth = Pose2(truth.x_m + slip[0], truth.y_m + slip[1], truth.theta_rad + rng.normal(0.0, sigma_turn))
            reported = Motion(omega * (1 + turn_scale) + bias, None, (vx * (1 + scale), vy * (1 + scale)))
            ego.advance(reported, dt)
            if k % 30 == 29:
                x = ego.x.copy()
                x[POSE] = truth.x_m, truth.y_m, truth.theta_rad
                r = np.diag(np.square([0.015, 0.015, 0.01]))
                z = model.view(x, corners)[0] + rng.normal(0.0, [0.015, 0.015, 0.01])
                nis.append(ego.correct(_view(z, model, corners, r)))
        error = np.array([truth.x_m, truth.y_m, truth.theta_rad]) - ego.x[POSE]
        error[2] = wrap_angles(error[2:3])[0]
        nees.append(float(error @ np.linalg.solve(ego.P[POSE, POSE], error)))
    assert chi2.ppf(0.005, 3 * 40) < sum(nees) < chi2.ppf(0.995, 3 * 40)
    assert chi2.ppf(0.005, 3 * len(nis)) < sum(nis) < chi2.ppf(0.995, 3 * len(nis))


def _heading(seen: float, variance: float, gate: float = math.inf) -> Correction:
    h = np.zeros((1, SIZE))
    h[0, THETA] = 1.0
    return Correction(
        np.array([seen]), lambda x: x[THETA : THETA + 1], lambda x: h, np.array([[variance]]), _short, gate
    )


def _short(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return wrap_angles(a - b)


def _view(z: np.ndarray, model: GoalModel, corners: np.ndarray, r: np.ndarray) -> Correction:
    return Correction(z, lambda x: model.view(x, corners)[0], lambda x: model.view(x, corners)[1], r, _short)
