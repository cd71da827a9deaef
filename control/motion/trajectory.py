"""Velocity profiles: how fast to go now, so that the body stops where it should. No state; called every tick."""

from __future__ import annotations

import math

from robot.core.geometry import Pose2, Twist2


def speed_to_stop(distance: float, decel: float, response_s: float, end_speed: float = 0.0) -> float:
    """Return the speed from which `distance` is just enough to slow down to `end_speed`.

    The body keeps the old speed for `response_s` and then brakes at `decel`:
    `distance = v t + (v^2 - end^2) / (2 a)`, solved for v. Far away this is the time-optimal `sqrt(2 a d)`; close by
    it becomes the proportional law `d / t`, which does not overshoot through the delay.

    Args:
        distance: what is left, in metres or radians; <= 0 gives `end_speed`.
        decel: > 0, the same unit per s^2.
        response_s: >= 0, the delay between a command and the body's speed.
        end_speed: >= 0, the speed wanted at the end.
    """
    if distance <= 0.0:
        return end_speed
    lag = decel * response_s
    # while the delay lasts the body may go on at the end speed, so only the excess pays for it
    return max(end_speed, -lag + math.sqrt(lag * lag + 2.0 * decel * distance + end_speed * (end_speed + 2.0 * lag)))


def turn_rate(error_rad: float, max_omega_rad_s: float, angular_decel_rad_s2: float, response_s: float) -> float:
    """Return the signed turn rate in rad/s that takes a heading error of `error_rad` to zero."""
    rate = speed_to_stop(abs(error_rad), angular_decel_rad_s2, response_s)
    return math.copysign(min(rate, max_omega_rad_s), error_rad)


def twist_towards(
    target_in_robot: Pose2,
    *,
    max_speed_m_s: float,
    max_omega_rad_s: float,
    decel_m_s2: float,
    angular_decel_rad_s2: float,
    response_s: float,
    ramp_s: float = 0.0,
) -> Twist2:
    """Return the body twist that drives to a pose, straight in the world, turning on the way.

    The direction is turned back by what the body will have turned when the command takes hold; without it the path
    bends into a spiral whenever translation and rotation mix.

    Args:
        target_in_robot: the goal seen from the robot now.
        max_speed_m_s: upper bound of the translation.
        max_omega_rad_s: upper bound of the turn rate.
        decel_m_s2: braking that the profile may count on.
        angular_decel_rad_s2: the same for turning.
        response_s: delay between a command and the body's speed.
        ramp_s: what the jerk limit adds to the delay of braking.
    """
    distance_m = math.hypot(target_in_robot.x_m, target_in_robot.y_m)
    omega_rad_s = turn_rate(target_in_robot.theta_rad, max_omega_rad_s, angular_decel_rad_s2, response_s + ramp_s)
    if distance_m < 1e-6:
        return Twist2(0.0, 0.0, omega_rad_s)
    speed_m_s = min(max_speed_m_s, speed_to_stop(distance_m, decel_m_s2, response_s + ramp_s))
    direction_rad = math.atan2(target_in_robot.y_m, target_in_robot.x_m) - omega_rad_s * response_s
    return Twist2(speed_m_s * math.cos(direction_rad), speed_m_s * math.sin(direction_rad), omega_rad_s)
