"""What the robot has seen of the field so far, as a grid in the world frame: carpet, its end, and where was looked."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from control.config import SearchConfig
from robot.core.clock import NS_PER_S
from robot.core.geometry import FloatArray, Pose2
from robot.core.messages import WorldModel

Vec2 = tuple[float, float]
BoolArray = NDArray[np.bool_]

CELL_M = 0.2
_HALF_SIDE_M = 12.0
_CELLS = int(2 * _HALF_SIDE_M / CELL_M)
_POSE_HISTORY_S = 0.6
_UPDATE_PERIOD_S = 0.02
_EDGE_TRUST_M = 7.0
"""Beyond this one pixel of the carpet's edge is more than half a metre of ground: no edge is believed out there."""
_BEHIND_EDGE_M = 0.6
_EVIDENCE_MAX = 6
_NEAR_WALL_M = 2.2
_WALL_GRID_M = 0.04
_WALL_GAP_M = 0.8
_GRAZING_RAD = math.radians(4.0)
_WALL_POINTS_MAX = 4000
_OWN_RADIUS_M = 0.45
_UNDER_ROBOT_M = 0.12
_WALL_LENGTH_M = 2.0
_WALL_DEPTH_M = 1.0


class FieldMemory:
    """Evidence of carpet (> 0) and of its end (< 0) per cell, and which cells a ball would have been seen in.

    The idea is that of exploration by next-best view (Gonzalez-Banos and Latombe 2002): remember what was seen, go
    where most of the rest can be seen. World frame = the estimator's, so odometry drift smears it slowly; that is
    enough for a trial of a minute.

    Args:
        config: view angle and detection range.
    """

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._poses: deque[tuple[int, Pose2, float]] = deque()
        self._walls: dict[tuple[int, int], int] = {}
        self._last_capture_ns: int | None = None
        self._origin: Vec2 | None = None
        self.has_edges = False
        self.look_range_m = config.look_ranges_m[0]
        self.carpet: NDArray[np.int8] = np.zeros((_CELLS, _CELLS), dtype=np.int8)
        self.looked: BoolArray = np.zeros((_CELLS, _CELLS), dtype=np.bool_)
        self._blocked: BoolArray = np.zeros((_CELLS, _CELLS), dtype=np.bool_)

    def update(self, world: WorldModel, t_now_ns: int) -> None:
        """Take in one world model; a picture's free range is placed with the pose of its capture time."""
        pose = world.robot.world_from_robot
        if not world.robot.valid or not pose.is_finite():
            return
        if self._origin is None:
            self._origin = (pose.x_m, pose.y_m)
        self._poses.append((t_now_ns, pose, abs(world.robot.twist_in_robot.omega_rad_s)))
        while self._poses and self._poses[0][0] < t_now_ns - int(_POSE_HISTORY_S * NS_PER_S):
            self._poses.popleft()
        capture_ns = t_now_ns - world.free_range_age_ns
        due_ns = (self._last_capture_ns or 0) + int(_UPDATE_PERIOD_S * NS_PER_S)
        if self._last_capture_ns is not None and capture_ns < due_ns:
            return
        ranges = sorted((b, r) for b, r in world.free_range_m if math.isfinite(b) and math.isfinite(r) and r > 0.0)
        then = self._pose_at(capture_ns)
        if len(ranges) < 2 or then is None:
            if not world.free_range_m:  # vision gives no carpet's edge: only "looked at" can be kept
                self._last_capture_ns = t_now_ns
                half = self._config.half_view_rad
                turning = abs(world.robot.twist_in_robot.omega_rad_s)
                self._see(pose, turning, np.array([-half, half]), np.full(2, self.look_range_m), edges=False)
            return
        self._last_capture_ns = capture_ns
        self.has_edges = True
        table = np.array(ranges, dtype=np.float64)
        pose_then, turning = then
        self._see(pose_then, turning, table[:, 0], table[:, 1], edges=True)
        self._remember_walls(pose_then, table)

    def forget_looks(self, look_range_m: float) -> None:
        """Start a new pass over the field: the carpet stays known, looking starts again, out to another range."""
        self.looked[:] = False
        self.look_range_m = look_range_m

    def forget_around(self, place_world_m: Vec2, radius_m: float) -> None:
        """Look again around a place: the ball was lost there and may have rolled where nothing was before."""
        rows, cols, x, y = self._window(place_world_m, radius_m)
        near = (x - place_world_m[0]) ** 2 + (y - place_world_m[1]) ** 2 <= radius_m**2
        self.looked[rows, cols] &= ~near

    def block(self, place_world_m: Vec2, radius_m: float) -> None:
        """Note, until `forget_blocks`, that something has stopped the robot there which the camera does not show."""
        rows, cols, x, y = self._window(place_world_m, radius_m)
        near = (x - place_world_m[0]) ** 2 + (y - place_world_m[1]) ** 2 <= radius_m**2
        self._blocked[rows, cols] |= near

    def block_wall(self, contact_world_m: Vec2, normal: Vec2) -> None:
        """Note until `forget_blocks` a wall that the robot has run into: walls are straight and long.

        Args:
            contact_world_m: where the hull touched it.
            normal: unit vector away from the wall.
        """
        rows, cols, x, y = self._window(contact_world_m, _WALL_LENGTH_M)
        dx, dy = x - contact_world_m[0], y - contact_world_m[1]
        behind, along = -(dx * normal[0] + dy * normal[1]), dx * normal[1] - dy * normal[0]
        self._blocked[rows, cols] |= (behind > 0.0) & (behind < _WALL_DEPTH_M) & (np.abs(along) < _WALL_LENGTH_M)

    def forget_blocks(self) -> None:
        """Forget all that `block` and `block_wall` have noted: what shuts the robot in on every side cannot be true."""
        self._blocked[:] = False

    def wall_points(self, near_world_m: Vec2, reach_m: float, apart_m: float = 0.0) -> FloatArray:
        """Return the (N, 2) points of the carpet's edge, seen from close by, within reach of a point.

        Args:
            near_world_m: the point.
            reach_m: half the side of the square around it.
            apart_m: points nearer than this are left out: a ball hides carpet, and so makes an edge of its own.
        """
        x, y = near_world_m
        steps = int(reach_m / _WALL_GRID_M) + 1
        col, row = round(x / _WALL_GRID_M), round(y / _WALL_GRID_M)
        found = [
            (c * _WALL_GRID_M, r * _WALL_GRID_M)
            for (c, r), hits in self._walls.items()
            if hits >= 2 and abs(c - col) <= steps and abs(r - row) <= steps
        ]
        points = np.array(found, dtype=np.float64).reshape(-1, 2)
        return points[np.hypot(points[:, 0] - x, points[:, 1] - y) >= apart_m]

    def state_at(self, points_world_m: FloatArray) -> tuple[NDArray[np.int8], BoolArray]:
        """Return carpet evidence and looked-at flags at (N, 2) points; outside of the grid: edge, looked at."""
        index = self._index(points_world_m)
        inside: BoolArray = np.logical_and.reduce((index >= 0) & (index < _CELLS), axis=1)
        safe = np.where(inside[:, None], index, 0)
        open_ground = inside & ~self._blocked[safe[:, 0], safe[:, 1]]
        carpet = np.where(open_ground, self.carpet[safe[:, 0], safe[:, 1]], -1).astype(np.int8)
        looked = ~inside | self.looked[safe[:, 0], safe[:, 1]]
        return carpet, looked

    def unseen_areas_m2(self, around_world_m: FloatArray, radius_m: float) -> FloatArray:
        """Return how much carpet near each of (N, 2) points was not looked at yet, m^2.

        Near is a square with the area of the circle of `radius_m`: sums over squares come from one table of running
        sums (Crow 1984), so that hundreds of places can be weighed within a tick. Unknown ground counts as carpet
        while no edge is known.
        """
        ground = self.carpet > 0 if self.has_edges else self.carpet >= 0
        table = np.zeros((_CELLS + 1, _CELLS + 1))
        table[1:, 1:] = np.cumsum(np.cumsum(ground & ~self.looked & ~self._blocked, axis=0), axis=1)
        half = 0.5 * math.sqrt(math.pi) * radius_m
        low = np.clip(self._index(around_world_m - half), 0, _CELLS)
        high = np.clip(self._index(around_world_m + half) + 1, 0, _CELLS)
        cells = (
            table[high[:, 0], high[:, 1]]
            - table[low[:, 0], high[:, 1]]
            - table[high[:, 0], low[:, 1]]
            + table[low[:, 0], low[:, 1]]
        )
        areas: FloatArray = cells * CELL_M**2
        return areas

    def _index(self, points: FloatArray) -> NDArray[np.int64]:
        x0, y0 = self._origin or (0.0, 0.0)
        shifted = (np.asarray(points, dtype=np.float64) - (x0, y0) + _HALF_SIDE_M) / CELL_M
        return np.floor(shifted).astype(np.int64)

    def _window(self, centre: Vec2, radius_m: float) -> tuple[slice, slice, FloatArray, FloatArray]:
        """Return the slices of the grid around a point and the cells' centres in world coordinates."""
        low, high = self._index(np.array([[c - radius_m for c in centre], [c + radius_m for c in centre]]))
        first, last = np.clip(low, 0, _CELLS), np.clip(high + 1, 0, _CELLS)
        x0, y0 = self._origin or (0.0, 0.0)
        x = x0 - _HALF_SIDE_M + (np.arange(first[0], last[0]) + 0.5) * CELL_M
        y = y0 - _HALF_SIDE_M + (np.arange(first[1], last[1]) + 0.5) * CELL_M
        return slice(int(first[0]), int(last[0])), slice(int(first[1]), int(last[1])), x[:, None], y[None, :]

    def _see(self, pose: Pose2, turning_rad_s: float, bearings: FloatArray, ranges: FloatArray, *, edges: bool) -> None:
        config = self._config
        reach = min(_EDGE_TRUST_M, float(ranges.max()) + _BEHIND_EDGE_M) if edges else self.look_range_m
        rows, cols, x, y = self._window((pose.x_m, pose.y_m), reach)
        dx, dy = x - pose.x_m, y - pose.y_m
        distance = np.hypot(dx, dy)
        bearing = np.arctan2(dy, dx) - pose.theta_rad
        bearing = np.remainder(bearing + math.pi, math.tau) - math.pi
        edge = np.interp(bearing, bearings, ranges)
        in_view = (bearing >= bearings[0]) & (bearing <= bearings[-1])
        carpet = self.carpet[rows, cols]
        if edges:
            trusted = in_view & (distance <= _EDGE_TRUST_M)
            free = trusted & (distance < edge - 0.5 * CELL_M)
            ended = trusted & (distance > edge + 0.5 * CELL_M) & (distance < edge + _BEHIND_EDGE_M)
            change = free.astype(np.int8) - ended.astype(np.int8)
            np.clip(carpet + change, -_EVIDENCE_MAX, _EVIDENCE_MAX, out=carpet)
        carpet[distance < _OWN_RADIUS_M] = _EVIDENCE_MAX
        look_m = self._look_range_at(turning_rad_s)
        seen = in_view & (np.abs(bearing) <= config.half_view_rad) & (distance <= look_m)
        self.looked[rows, cols] |= seen | (distance < _UNDER_ROBOT_M)

    def _look_range_at(self, turning_rad_s: float) -> float:
        """Return how far a picture taken at this turn rate would have shown a ball."""
        if turning_rad_s > self._config.blind_rad_s:
            return 0.0
        blurred = turning_rad_s > self._config.sharp_rad_s
        return min(self.look_range_m, self._config.blurred_range_m) if blurred else self.look_range_m

    def _remember_walls(self, pose: Pose2, table: FloatArray) -> None:
        if len(self._walls) > _WALL_POINTS_MAX:
            self._walls.clear()
        near = table[table[:, 1] < _NEAR_WALL_M]
        for x, y in _filled(near).tolist():
            place = pose.transform((x, y))
            key = (round(place[0] / _WALL_GRID_M), round(place[1] / _WALL_GRID_M))
            self._walls[key] = self._walls.get(key, 0) + 1

    def _pose_at(self, t_ns: int) -> tuple[Pose2, float] | None:
        """Return the remembered pose and turn rate nearest to a time, or None before the history begins."""
        if not self._poses or t_ns < self._poses[0][0] - int(0.02 * NS_PER_S):
            return None
        _, pose, turning = min(self._poses, key=lambda entry: abs(entry[0] - t_ns))
        return pose, turning


def _filled(edge: FloatArray) -> FloatArray:
    """Return (N, 2) robot-frame points of a carpet's edge, with stretches along walls filled in.

    A wall seen along its length has few points. A jump in range that no wall at more than `_GRAZING_RAD` to the ray
    explains is left open: it is the outline of something that stands in front of the wall, a ball for instance.

    Args:
        edge: (N, 2) bearing and range, sorted by bearing.
    """
    points = np.column_stack([edge[:, 1] * np.cos(edge[:, 0]), edge[:, 1] * np.sin(edge[:, 0])])
    if len(points) < 2:
        return points
    steps = np.hypot(*np.diff(points, axis=0).T)
    jumps = np.abs(np.diff(edge[:, 1])) / np.minimum(edge[1:, 1], edge[:-1, 1])
    joined = (steps <= _WALL_GAP_M) & (jumps <= np.diff(edge[:, 0]) / math.tan(_GRAZING_RAD))
    counts = np.where(joined, np.ceil(steps / _WALL_GRID_M), 1).astype(np.int64)
    parts = [a + (b - a) * np.arange(n)[:, None] / n for a, b, n in zip(points, points[1:], counts, strict=False) if n]
    return np.vstack([*parts, points[-1:]])
