from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.motion.kinematics import OmniKinematics
from robot.core.body import RobotBody
from robot.core.geometry import Twist2

KINEMATICS = OmniKinematics(RobotBody())
speeds = st.floats(-3.0, 3.0)
rates = st.floats(-10.0, 10.0)


@given(speeds, speeds, rates)
def test_twist_to_wheels_and_back(vx, vy, omega):
    back = KINEMATICS.twist(KINEMATICS.wheel_speeds(Twist2(vx, vy, omega)))
    assert (back.vx_m_s, back.vy_m_s, back.omega_rad_s) == pytest.approx((vx, vy, omega), abs=1e-9)


@given(speeds, speeds, rates, st.sampled_from([(30, 150, 210, 330), (45, 135, 225, 315), (62, 132, 228, 298)]))
def test_round_trip_for_other_bodies(vx, vy, omega, angles_deg):
    body = replace(RobotBody(), wheel_angles_rad=tuple(math.radians(a) for a in angles_deg))
    kinematics = OmniKinematics(body)
    back = kinematics.twist(kinematics.wheel_speeds(Twist2(vx, vy, omega)))
    assert (back.vx_m_s, back.vy_m_s, back.omega_rad_s) == pytest.approx((vx, vy, omega), abs=1e-9)


def test_signs_and_order_are_those_of_the_body():
    """Forward: the left wheels (front left, back left) run clockwise around the body, the right ones against it."""
    front_left, back_left, back_right, front_right = KINEMATICS.wheel_speeds(Twist2(1.0, 0.0, 0.0))
    assert [math.copysign(1, w) for w in (front_left, back_left, back_right, front_right)] == [-1, -1, 1, 1]
    assert front_left == pytest.approx(-math.sin(math.radians(60.0)) / 0.027)
    turning = KINEMATICS.wheel_speeds(Twist2(0.0, 0.0, 1.0))
    assert turning == pytest.approx((0.0785 / 0.027,) * 4)
    left = KINEMATICS.wheel_speeds(Twist2(0.0, 1.0, 0.0))
    assert [math.copysign(1, w) for w in left] == [1, -1, -1, 1]


def test_one_slipping_wheel_is_averaged_down():
    w = list(KINEMATICS.wheel_speeds(Twist2(1.0, 0.0, 0.0)))
    w[0] += 4.0
    assert abs(KINEMATICS.twist(tuple(w)).vx_m_s - 1.0) < 4.0 * 0.027 / 2


def test_wheels_that_cannot_steer_are_refused():
    body = replace(RobotBody(), wheel_angles_rad=(0.0, math.pi, 0.0, math.pi))
    with pytest.raises(ValueError, match="wheel angles"):
        OmniKinematics(body)
