"""TELEMETRY from the wire as the project's `TelemetryFrame`, after a check that its numbers can be true."""

from __future__ import annotations

import math

from firmware_bridge.protocol.generated import StateFlag, Telemetry
from robot.core.geometry import Pose2, Twist2
from robot.core.messages import TelemetryFrame

_ARMED, _ESTOP, _BEAM = StateFlag.ARMED.value, StateFlag.ESTOP.value, StateFlag.BREAK_BEAM.value

GYRO_LIMIT_RAD_S = 70.0
"""4000 degrees a second: no gyro of this class measures more."""
ACCEL_LIMIT_M_S2 = 320.0
WHEEL_LIMIT_RAD_S = 1000.0
BATTERY_LIMIT_V = 70.0


def telemetry_frame(t: Telemetry, seq: int, t_capture_ns: int, t_receive_ns: int) -> TelemetryFrame | None:
    """Return the frame, or None when a value is not finite or beyond what the robot could do.

    This is the last net below the CRC: of a million damaged frames about fifteen have a matching CRC-16.
    """
    wheels = (t.wheel_rad_s_0, t.wheel_rad_s_1, t.wheel_rad_s_2, t.wheel_rad_s_3)
    plausible = (
        abs(t.gyro_z_rad_s) <= GYRO_LIMIT_RAD_S
        and abs(t.accel_m_s2_0) <= ACCEL_LIMIT_M_S2
        and abs(t.accel_m_s2_1) <= ACCEL_LIMIT_M_S2
        and max(map(abs, wheels)) <= WHEEL_LIMIT_RAD_S
        and 0.0 <= t.battery_v <= BATTERY_LIMIT_V
        and 0.0 <= t.kicker_charge <= 1.0
        and math.isfinite(sum(t[4:17]))  # the rest of the floats; a sum of finite float32 cannot overflow
    )
    if not plausible:  # comparisons with NaN are False
        return None
    return TelemetryFrame(
        seq=seq,
        t_capture_ns=t_capture_ns,
        t_receive_ns=t_receive_ns,
        valid=True,
        t_mcu_us=t.t_mcu_us,
        gyro_z_rad_s=t.gyro_z_rad_s,
        accel_in_robot_m_s2=(t.accel_m_s2_0, t.accel_m_s2_1),
        wheel_speed_rad_s=wheels,
        odometry_twist=Twist2(t.odometry_twist_0, t.odometry_twist_1, t.odometry_twist_2),
        odometry_pose=Pose2(t.odometry_pose_0, t.odometry_pose_1, t.odometry_pose_2),
        break_beam=bool(t.flags & _BEAM),
        dribbler_rad_s=t.dribbler_rad_s,
        kicker_charge=t.kicker_charge,
        battery_v=t.battery_v,
        armed=bool(t.flags & _ARMED),
        estop=bool(t.flags & _ESTOP),
        fault_bits=t.faults,
        last_command_seq=t.last_command_seq,
    )
