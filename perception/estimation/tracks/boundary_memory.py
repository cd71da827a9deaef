"""Where the field was seen to end, close by and a moment ago: what lies behind it then is not on the field now.

A camera 9 cm ahead of the robot's centre looks over a low board when the robot stands against it. The whole picture is
the hall's floor then, and where that has the carpet's colour nothing in the picture says so (seen in a simulated trial:
spare balls 0.7 m ahead, behind a board of 5 cm). But the board was seen on the way. Without a pose on the field this
is all that is known of the walls.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from perception.estimation.config import BoundaryConfig
from perception.field.edge import carpet_hull
from robot.core.clock import NS_PER_S
from robot.core.geometry import FloatArray, Pose2
from robot.core.messages import DetectionBatch, Vec2


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """The near boundary in one frame: rising bearings (N,) and ranges (N,), from the robot as it stood then."""

    t_ns: int
    robot_from_odom: Pose2
    bearings_rad: FloatArray
    ranges_m: FloatArray


class BoundaryMemory:
    """Keeps the near boundary of the last seconds, in the odometry frame."""

    def __init__(self, config: BoundaryConfig) -> None:
        self._config = config
        self._views: deque[_View] = deque()

    def note(self, t_ns: int, odom_from_robot: Pose2, batch: DetectionBatch) -> None:
        """Remember where this frame shows the carpet to end, if that is near and straight.

        Only what lies on the edge's hull counts: dips are robots and balls.
        """
        cfg, views = self._config, self._views
        if views and t_ns < views[-1].t_ns:
            views.clear()  # the clock has jumped
        while views and views[0].t_ns < t_ns - int(cfg.span_s * NS_PER_S):
            views.popleft()
        edge, ranges = batch.carpet_edge_px, batch.free_range_m
        recent = views and t_ns - views[-1].t_ns < int(cfg.every_s * NS_PER_S)
        if recent or not edge or len(edge) != len(ranges) or min(r for _, r in ranges) > cfg.near_m:
            return
        hull = np.array(carpet_hull(edge))
        at, field = np.array(edge), np.array(ranges)
        bottom = batch.image_size_px[1] - 1.0
        on_hull = np.abs(at[:, 1] - np.interp(at[:, 0], hull[:, 0], hull[:, 1])) <= cfg.on_hull_px
        near = on_hull & (field[:, 1] < cfg.near_m) & (at[:, 1] < bottom)
        if np.mean(near) < cfg.least_share:
            return
        order = np.argsort(field[near, 0])
        views.append(_View(t_ns, odom_from_robot.inverse(), field[near, 0][order], field[near, 1][order]))

    def outside(self, position_in_odom_m: Vec2) -> bool:
        """True when several frames of the last seconds saw the field end well before that place."""
        cfg, votes = self._config, 0
        for view in self._views:
            x, y = view.robot_from_odom.transform(position_in_odom_m)
            bearing, range_m = math.atan2(y, x), math.hypot(x, y)
            k = int(np.searchsorted(view.bearings_rad, bearing))
            around = [i for i in (k - 1, k) if 0 <= i < len(view.bearings_rad)]
            nearest = min(around, key=lambda i: abs(float(view.bearings_rad[i]) - bearing))
            if abs(float(view.bearings_rad[nearest]) - bearing) > cfg.bearing_rad:
                continue
            end_m = float(view.ranges_m[nearest])
            votes += 1 if range_m > end_m * (1.0 + cfg.margin[1]) + cfg.margin[0] else -1
        return votes >= cfg.least_frames
