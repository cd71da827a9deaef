"""Where to look next: which way to spin here, and which place to drive to when nothing is left to see from here."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from control.config import SearchConfig
from control.planning.memory import CELL_M, FieldMemory
from robot.core.geometry import Pose2, wrap_angle
from robot.core.messages import Vec2

_SECTORS = 24
_DIRECTIONS = 32
_HOP_STEP_M = 0.45
_CORRIDOR_M = 0.2
_WORTH_M2 = 0.1
_CLEARLY_M = 0.3
_RAY_START_M = 0.5
_SECTOR_UNSEEN_M = 0.5
_CLOSE_M = 1.0
_TURN_RATE_RAD_S = 2.4
_SPIN_S = 1.5
"""What a look around at the end of a drive costs, for weighing near against far places; about half a turn."""


def unseen_bearings(memory: FieldMemory, pose: Pose2) -> list[float]:
    """Return the bearings (robot frame, (-pi, pi]) that are worth a look from here.

    These are bearings in which carpet lies within look range that was not looked at yet, and those that the camera
    has never shown (unknown ground close by). Unknown ground far off is none of them: it lies behind a wall.
    """
    headings = (np.arange(_SECTORS) + 0.5) * math.tau / _SECTORS
    distances = np.arange(_RAY_START_M, memory.look_range_m, CELL_M)
    x = pose.x_m + np.outer(np.cos(headings), distances)
    y = pose.y_m + np.outer(np.sin(headings), distances)
    carpet, looked = memory.state_at(np.column_stack([x.ravel(), y.ravel()]))
    carpet, looked = carpet.reshape(x.shape), looked.reshape(x.shape)
    reachable = np.logical_and.accumulate(carpet >= 0, axis=1)
    known = carpet > 0 if memory.has_edges else carpet >= 0
    unseen_m = np.count_nonzero(reachable & known & ~looked, axis=1) * CELL_M
    close = distances < _RAY_START_M + _CLOSE_M
    unknown_m = np.count_nonzero((reachable & (carpet == 0) & ~looked)[:, close], axis=1) * CELL_M
    wanted = (unseen_m > _SECTOR_UNSEEN_M) | (unknown_m > _SECTOR_UNSEEN_M)
    return [wrap_angle(float(h) - pose.theta_rad) for h in headings[wanted]]


def spin_sign(bearings: list[float], now: float) -> float:
    """Return +1 (counter-clockwise) or -1: the way round that covers the bearings with the smaller turn.

    Args:
        bearings: what is still to be looked at, robot frame.
        now: the sign of the present turn, kept unless the other way is clearly shorter (a turning robot is not
            stopped for a few degrees).
    """
    if not bearings:
        return now
    left = max(b % math.tau for b in bearings)
    right = max((-b) % math.tau for b in bearings)
    if abs(left - right) < 0.6:
        return now
    return 1.0 if left < right else -1.0


def open_side(free_range_m: Sequence[Vec2], otherwise: float) -> float:
    """Return +1 (left) or -1: the side on which the picture shows more floor, where more of the field must lie.

    Args:
        free_range_m: (bearing, range) of the carpet's edge, robot frame.
        otherwise: the answer when there is no clear difference.
    """
    left = [r for b, r in free_range_m if b > 0.0]
    right = [r for b, r in free_range_m if b < 0.0]
    if not left or not right:
        return otherwise
    difference = sum(left) / len(left) - sum(right) / len(right)
    return math.copysign(1.0, difference) if abs(difference) > _CLEARLY_M else otherwise


def free_way_m(memory: FieldMemory, pose: Pose2, heading_rad: float, reach_m: float) -> float:
    """Return how far known carpet goes from the robot in a world heading, over a corridor as wide as the robot."""
    distances = np.arange(_RAY_START_M, reach_m, CELL_M / 2)
    c, s = math.cos(heading_rad), math.sin(heading_rad)
    across = np.array([-_CORRIDOR_M, 0.0, _CORRIDOR_M])
    x = pose.x_m + distances[:, None] * c - across[None, :] * s
    y = pose.y_m + distances[:, None] * s + across[None, :] * c
    carpet, _ = memory.state_at(np.column_stack([x.ravel(), y.ravel()]))
    known = carpet > 0 if memory.has_edges else carpet >= 0
    clear = known.reshape(x.shape).all(axis=1)
    blocked = np.flatnonzero(~clear)
    return float(distances[blocked[0]]) if blocked.size else reach_m


def next_viewpoint(memory: FieldMemory, pose: Pose2, config: SearchConfig) -> Vec2 | None:
    """Return the place with the most unseen carpet per second of driving and looking, or None where there is none.

    Places lie on straight, known ways and keep `wall_distance_m` from the carpet's end. Ties go to the smaller turn.
    """
    places: list[Vec2] = []
    costs_s: list[float] = []
    for step in range(_DIRECTIONS):
        # nearest turns first: with equal worth the robot goes on forwards
        turn = math.tau / _DIRECTIONS * ((step + 1) // 2) * (1.0 if step % 2 else -1.0)
        heading = pose.theta_rad + turn
        way = free_way_m(memory, pose, heading, config.hop_max_m + config.wall_distance_m) - config.wall_distance_m
        for hop in np.arange(config.hop_min_m, way + 1e-9, _HOP_STEP_M).tolist():
            places.append((pose.x_m + hop * math.cos(heading), pose.y_m + hop * math.sin(heading)))
            costs_s.append(hop / config.travel_speed_m_s + abs(turn) / _TURN_RATE_RAD_S + _SPIN_S)
    if not places:
        return None
    gains = memory.unseen_areas_m2(np.array(places), memory.look_range_m)
    best = int(np.argmax(gains / np.array(costs_s)))
    return places[best] if gains[best] > _WORTH_M2 else None


def longest_way(memory: FieldMemory, pose: Pose2, config: SearchConfig) -> Vec2 | None:
    """Return the farthest place on a straight known way: where to go when all known carpet was looked at."""
    best: Vec2 | None = None
    best_m = config.hop_min_m
    for step in range(_DIRECTIONS):
        heading = pose.theta_rad + math.tau * step / _DIRECTIONS
        way = free_way_m(memory, pose, heading, config.hop_max_m + config.wall_distance_m) - config.wall_distance_m
        if way > best_m + 1e-9:
            place = (pose.x_m + way * math.cos(heading), pose.y_m + way * math.sin(heading))
            best, best_m = place, way
    return best
