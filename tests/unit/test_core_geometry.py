"""Poses compose, invert and integrate as rigid transforms do."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot.core.geometry import (
    Pose2,
    Twist2,
    exponential_map,
    rotate_covariance,
    rotation,
    wrap_angle,
    wrap_angles,
)

metres = st.floats(-20, 20)
angles = st.floats(-50, 50)
poses = st.builds(Pose2, metres, metres, st.floats(-math.pi, math.pi))


@given(angles)
def test_wrapped_angle_is_the_same_direction_in_the_half_open_interval(angle: float) -> None:
    wrapped = wrap_angle(angle)
    assert -math.pi < wrapped <= math.pi
    assert math.cos(wrapped - angle) == pytest.approx(1.0, abs=1e-9)


def test_minus_pi_becomes_pi() -> None:
    assert wrap_angle(-math.pi) == math.pi
    assert math.isnan(wrap_angle(math.nan))


@given(poses, poses, poses)
def test_composition_is_associative(a: Pose2, b: Pose2, c: Pose2) -> None:
    left, right = (a @ b) @ c, a @ (b @ c)
    assert left.distance_to(right) < 1e-9
    assert math.cos(left.theta_rad - right.theta_rad) == pytest.approx(1.0, abs=1e-12)


@given(poses)
def test_a_pose_times_its_inverse_is_the_identity(pose: Pose2) -> None:
    identity = pose @ pose.inverse()
    assert math.hypot(identity.x_m, identity.y_m) < 1e-9
    assert abs(identity.theta_rad) < 1e-9


@given(poses, metres, metres)
def test_transform_agrees_with_composition(pose: Pose2, x: float, y: float) -> None:
    moved = pose @ Pose2(x, y, 0.0)
    assert pose.transform((x, y)) == pytest.approx((moved.x_m, moved.y_m), abs=1e-12)


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-10, 10), st.floats(0, 0.5))
def test_exponential_map_is_the_limit_of_small_steps(vx: float, vy: float, omega: float, dt: float) -> None:
    steps, pose = 2000, Pose2()
    small = Pose2(vx * dt / steps, vy * dt / steps, omega * dt / steps)
    for _ in range(steps):
        pose = pose @ small
    exact = exponential_map(Twist2(vx, vy, omega), dt)
    assert exact.distance_to(pose) < 1e-2 * max(1.0, math.hypot(vx, vy)) * max(dt, 1e-6)
    assert abs(wrap_angle(exact.theta_rad - pose.theta_rad)) < 1e-6


@given(st.floats(-math.pi, math.pi))
def test_rotating_a_covariance_keeps_its_eigenvalues(theta: float) -> None:
    covariance = np.array([[4.0, 1.0], [1.0, 2.0]])
    turned = rotate_covariance(covariance, theta)
    np.testing.assert_allclose(np.linalg.eigvalsh(turned), np.linalg.eigvalsh(covariance), rtol=1e-12)
    np.testing.assert_allclose(rotation(theta) @ rotation(-theta), np.eye(2), atol=1e-12)


def test_arrays_of_angles_wrap_as_single_ones_do() -> None:
    angles = np.linspace(-20.0, 20.0, 801)
    wrapped = wrap_angles(angles)
    assert (wrapped >= -math.pi).all()
    assert (wrapped < math.pi).all()
    assert wrapped == pytest.approx([wrap_angle(a) for a in angles.tolist()], abs=1e-12)
