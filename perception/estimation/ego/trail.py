"""Dead reckoning that never jumps: the odometry frame in which tracks live, and its recent past.

The pose filter may be corrected or reseeded; what stands on the floor has not moved for that. So tracks are kept in
the odometry frame ("odom" of ROS REP-105) and are carried into the world frame only when they are shown.
"""

from __future__ import annotations

import bisect
from collections import deque
from dataclasses import dataclass, replace

from perception.estimation.ego.tilt import Tilt
from robot.core.clock import NS_PER_S
from robot.core.geometry import Pose2, Twist2, exponential_map


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadReckoning:
    """Where wheels and gyro say that the robot was, how fast it turned, and how its body leaned.

    `breaks` counts silences of the telemetry that nothing bridged: poses before and after one have nothing in common.
    """

    odom_from_robot: Pose2
    turn_rate_rad_s: float
    tilt: Tilt
    breaks: int = 0


MAX_GAPS = 64
"""More silences than these, and no thing was seen between them: any track has died of the first ones."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A silence that nothing bridged, over at `t_ns`: variances of the way and the turn that the robot made in it."""

    t_ns: int
    way_m2: float
    turn_rad2: float


class OdometryTrail:
    """Poses of the robot in the odometry frame over the last `span_s` seconds."""

    def __init__(self, t_ns: int, span_s: float) -> None:
        self._span_ns = int(span_s * NS_PER_S)
        self._times_ns: list[int] = [t_ns]
        self._poses: list[Pose2] = [Pose2()]
        self._twists: list[Twist2] = [Twist2()]
        self._tilts: list[Tilt] = [Tilt()]
        self.path_m = 0.0
        self.turn_rad = 0.0
        self.breaks = 0
        self.gaps: deque[Gap] = deque(maxlen=MAX_GAPS)

    @property
    def t_ns(self) -> int:
        """Time of the newest pose."""
        return self._times_ns[-1]

    @property
    def pose(self) -> Pose2:
        """The newest `odom_from_robot`."""
        return self._poses[-1]

    @property
    def twist(self) -> Twist2:
        """Body twist over the last stretch."""
        return self._twists[-1]

    def advance(self, t_ns: int, twist: Twist2, tilt: Tilt) -> None:
        """Drive on with a constant body twist until `t_ns`, with this tilt there."""
        dt_s = (t_ns - self._times_ns[-1]) / NS_PER_S
        self._poses.append(self._poses[-1] @ exponential_map(twist, dt_s))
        self._times_ns.append(t_ns)
        self._twists.append(twist)
        self._tilts.append(tilt)
        self.path_m += twist.speed_m_s() * dt_s
        self.turn_rad += abs(twist.omega_rad_s) * dt_s
        if self._times_ns[8 if len(self._times_ns) > 16 else 0] < t_ns - self._span_ns and len(self._times_ns) > 16:
            keep = bisect.bisect_left(self._times_ns, t_ns - self._span_ns)
            del self._times_ns[:keep], self._poses[:keep], self._twists[:keep], self._tilts[:keep]

    def lose(self, way_m2: float, turn_rad2: float) -> None:
        """Say that the stretch up to now was not heard of, with the variances of what the robot did in it."""
        self.breaks += 1
        self.gaps.append(Gap(self.t_ns, way_m2, turn_rad2))

    def rebase(self, t_ns: int) -> None:
        """Continue from the present pose on another time base (the clock of the telemetry has jumped)."""
        self.breaks += 1
        self.gaps = deque((replace(gap, t_ns=gap.t_ns + t_ns - self.t_ns) for gap in self.gaps), MAX_GAPS)
        self._times_ns, self._poses, self._twists = [t_ns], [self._poses[-1]], [Twist2()]
        self._tilts = [self._tilts[-1]]

    def at(self, t_ns: int) -> Pose2 | None:
        """Return `odom_from_robot` at a past time (constant twist between samples); None when that is forgotten.

        A time after the newest pose gives the newest pose.
        """
        index = bisect.bisect_right(self._times_ns, t_ns) - 1
        if index < 0:
            return None
        if index == len(self._times_ns) - 1:
            return self._poses[index]
        dt_s = (t_ns - self._times_ns[index]) / NS_PER_S
        return self._poses[index] @ exponential_map(self._twists[index + 1], dt_s)

    def tilt_at(self, t_ns: int) -> Tilt:
        """Return the body's tilt at a time, the oldest or newest known where it is outside."""
        return self._tilts[max(0, bisect.bisect_right(self._times_ns, t_ns) - 1)]

    def turn_rate_at(self, t_ns: int) -> float:
        """Return the turn rate around a past time, rad/s."""
        index = min(bisect.bisect_right(self._times_ns, t_ns), len(self._times_ns) - 1)
        return self._twists[index].omega_rad_s
