"""Where segments meet, and the centre circle: what a robot can tell one place of the field from another by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from perception.camera.model import CameraModel
from perception.field.model import JunctionKind, junction_of_arms
from robot.core.geometry import FloatArray
from robot.core.messages import BoxPx, Cov2, Vec2

if TYPE_CHECKING:
    from perception.field.lines import LineSegment

_ARM_M = 0.12
"""A line that goes on this far beyond a meeting point has an arm there."""
_LOOK_M = 0.18
"""How far beyond it is looked whether floor is to be seen at all."""
_SQUARE_RAD = math.radians(17.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class CircleConfig:
    """The circle to look for.

    `radius_m` is its radius (0: none). At least `min_points` points, `min_share` of its visible part and `min_turn_rad`
    of its angle must be seen; points weaker than `min_strength` sigmas do not count unless a segment has them.
    `tolerance_px` is how far off the circle points may be, `max_straight` which share of them may lie on one straight
    line, `nod_rad` one sigma of the body's pitch and roll beyond the given tilt, fitted along with the centre.
    `max_proposals` and `max_points` bound the work.
    """

    radius_m: float = 0.5
    tolerance_px: float = 1.6
    min_points: int = 14
    min_strength: float = 3.6
    min_share: float = 0.68
    min_turn_rad: float = 2.2
    max_straight: float = 0.7
    nod_rad: float = 0.006
    max_proposals: int = 90
    max_points: int = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenJunction:
    """A meeting of two segments: pixels, floor (robot frame), and kind and heading as in `perception.field.model`."""

    kind: JunctionKind
    pixel_px: Vec2
    position_in_robot_m: Vec2
    covariance_m2: Cov2
    heading_in_robot_rad: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenCircle:
    """The centre circle: its centre in pixels and on the floor (robot frame), the points on it, the share seen.

    `tilt_rad` is the body's (pitch, roll) under which it is round; the centre on the floor is meant with that tilt.
    """

    centre_px: Vec2
    centre_in_robot_m: Vec2
    covariance_m2: Cov2
    tilt_rad: Vec2
    points: int
    share: float


def find_junctions(
    segments: Sequence[LineSegment],
    camera: CameraModel,
    mask: NDArray[np.bool_],
    boxes_px: tuple[BoxPx, ...] = (),
    tilt_rad: Vec2 = (0.0, 0.0),
) -> tuple[SeenJunction, ...]:
    """Return where two segments meet at right angles on the floor, if all four directions from there can be seen.

    A direction without an arm counts only where floor is seen: what a robot hides may well go on.
    """
    found: list[SeenJunction] = []
    for i, a in enumerate(segments):
        for b in segments[i + 1 :]:
            junction = _meeting(a, b, camera, mask, boxes_px, tilt_rad)
            if junction is not None:
                found.append(junction)
    return tuple(found)


def _meeting(
    a: LineSegment,
    b: LineSegment,
    camera: CameraModel,
    mask: NDArray[np.bool_],
    boxes: tuple[BoxPx, ...],
    tilt_rad: Vec2,
) -> SeenJunction | None:
    (a0, a1), (b0, b1) = (np.array(s.ends_in_robot_m) for s in (a, b))
    ua, ub = a1 - a0, b1 - b0
    long_a, long_b = math.hypot(*ua), math.hypot(*ub)
    if min(long_a, long_b) < 0.05:
        return None
    ua, ub = ua / long_a, ub / long_b
    sine = float(ua[0] * ub[1] - ua[1] * ub[0])
    if abs(sine) < math.cos(_SQUARE_RAD):
        return None
    away = b0 - a0
    at_a = float(away[0] * ub[1] - away[1] * ub[0]) / sine
    at_b = float(away[0] * ua[1] - away[1] * ua[0]) / sine
    place = a0 + at_a * ua
    pixel = camera.project([[place[0], place[1], 0.0]], tilt_rad)[0]
    if not np.isfinite(pixel).all():
        return None
    # Metres per pixel along each segment: far segments end where the last scan line happened to see them.
    slack = [max(0.06, 12.0 * _pixel_size(camera, place, u, tilt_rad)) for u in (ua, ub)]
    if not (-slack[0] < at_a < long_a + slack[0] and -slack[1] < at_b < long_b + slack[1]):
        return None
    arms: list[Vec2] = []
    for at, length, unit, gap in ((at_a, long_a, ua, slack[0]), (at_b, long_b, ub, slack[1])):
        for sign, reach in ((-1.0, at), (1.0, length - at)):
            need = max(_ARM_M, gap)
            if reach > need:
                arms.append((sign * float(unit[0]), sign * float(unit[1])))
            elif not floor_is_seen(camera, (place + sign * max(_LOOK_M, need) * unit)[None], mask, boxes, tilt_rad)[0]:
                return None
    if len(arms) == 2 and abs(arms[0][0] * arms[1][0] + arms[0][1] * arms[1][1]) > 0.5:
        return None  # both arms of one segment: the other one ends nowhere
    junction = junction_of_arms((float(place[0]), float(place[1])), arms)
    if junction is None:
        return None
    seen = camera.ground_point(float(pixel[0]), float(pixel[1]), tilt_rad)
    if seen is None:
        return None
    heading = junction.heading_rad
    if junction.kind is JunctionKind.X:
        heading = math.atan2(ua[1], ua[0])
    return SeenJunction(
        kind=junction.kind,
        pixel_px=(float(pixel[0]), float(pixel[1])),
        position_in_robot_m=junction.position_m,
        covariance_m2=seen.covariance_m2,
        heading_in_robot_rad=heading,
    )


def _pixel_size(camera: CameraModel, place: FloatArray, unit: FloatArray, tilt_rad: Vec2) -> float:
    """Return how many metres along `unit` one pixel is at a place on the floor."""
    ends = np.array([[*(place - 0.02 * unit), 0.0], [*(place + 0.02 * unit), 0.0]])
    pixels = camera.project(ends, tilt_rad)
    apart = float(np.hypot(*(pixels[1] - pixels[0])))
    return 0.04 / max(apart, 1e-3) if math.isfinite(apart) else 1.0


def floor_is_seen(
    camera: CameraModel, places_m: FloatArray, mask: NDArray[np.bool_], boxes: tuple[BoxPx, ...], tilt_rad: Vec2
) -> NDArray[np.bool_]:
    """Tell for places (N, 2) on the floor, robot frame, whether the picture shows floor there (N,)."""
    pixels = camera.project(np.column_stack((places_m, np.zeros(len(places_m)))), tilt_rad)
    k = camera.intrinsics
    u, v = np.nan_to_num(pixels, nan=-1.0).T
    seen: NDArray[np.bool_] = (u >= 2.0) & (u <= k.width_px - 3.0) & (v >= 2.0) & (v <= k.height_px - 3.0)
    for x0, y0, x1, y1 in boxes:
        seen &= ~((u > x0 - 3.0) & (u < x1 + 3.0) & (v > y0 - 3.0) & (v < y1 + 3.0))
    rows = np.clip((v + 0.5) * mask.shape[0] / k.height_px, 0, mask.shape[0] - 1).astype(int)
    columns = np.clip((u + 0.5) * mask.shape[1] / k.width_px, 0, mask.shape[1] - 1).astype(int)
    seen &= mask[rows, columns]
    return seen


def find_circle(
    config: CircleConfig,
    camera: CameraModel,
    pixels_px: FloatArray,
    ground_m: FloatArray,
    mask: NDArray[np.bool_],
    tilt_rad: Vec2 = (0.0, 0.0),
) -> tuple[SeenCircle | None, NDArray[np.bool_]]:
    """Look for a circle of known radius among points on the floor.

    Args:
        config: radius and gates.
        camera: turns pixels into metres.
        pixels_px: (N, 2) points that no long segment explains.
        ground_m: (N, 2) the same, robot frame.
        mask: carpet mask.
        tilt_rad: of the body.

    Returns:
        The circle or None, and which of the N points lie on it.
    """
    none = np.zeros(len(ground_m), bool)
    radius = config.radius_m
    finite = np.flatnonzero(np.isfinite(ground_m).all(axis=1))
    if radius <= 0.0 or len(finite) < config.min_points:
        return None, none
    # A pixel's reach on the floor, and the least that matters: 15 mm.
    all_spread = camera.ground_covariance(pixels_px[finite], tilt_rad, sigma_px=config.tolerance_px)
    all_spread = all_spread + 0.015**2 * np.eye(2)
    all_nod = _nod_jacobian(camera, pixels_px[finite], ground_m[finite], tilt_rad)
    few = slice(None, None, -(-len(finite) // config.max_points))
    points, spread, nod = ground_m[finite][few], all_spread[few], all_nod[few]
    centres = _proposals(points, radius, config.max_proposals)
    if not len(centres):
        return None, none
    # The body nods: a small error of pitch stretches the floor ahead. First look with room for it, then fit it too.
    best = centres[int(np.argmax(_on_circle(points, 4.0 * spread, centres, radius)[0].sum(axis=1)))]
    state, covariance = np.array([*best, 0.0, 0.0]), np.eye(4)
    for room in (4.0, 2.0, 1.0):
        moved = points + nod @ state[2:]
        near, off, outward, sigma = (x[0] for x in _on_circle(moved, room * spread, state[None, :2], radius))
        if near.sum() < min(config.min_points, 8):
            return None, none
        rows = np.column_stack((outward[near], -np.einsum("ni,nij->nj", outward[near], nod[near]))) / sigma[near, None]
        prior = np.diag([1e-6, 1e-6, config.nod_rad**-2, config.nod_rad**-2])
        covariance = np.linalg.inv(rows.T @ rows + prior)
        pull = rows.T @ (off[near] / sigma[near]) - prior @ (0.0, 0.0, state[2], state[3])
        state = state + covariance @ pull
    best, nodded = state[:2], state[2:]
    tilted = (tilt_rad[0] + float(nodded[0]), tilt_rad[1] + float(nodded[1]))
    # All points say how much of the circle is there; few were enough to find it.
    everywhere = ground_m[finite] + all_nod @ nodded
    near, _, outward, _ = (x[0] for x in _on_circle(everywhere, all_spread, best[None, :], radius))
    share, turn = _seen_share(config, camera, best, outward[near], mask, tilted)
    if share < config.min_share or turn < config.min_turn_rad:
        return None, none
    pixel = camera.project([[best[0], best[1], 0.0]], tilted)[0]
    # The fit's noise, and what all points share: pitch, roll, height.
    common = camera.ground_covariance(pixel[None], tilt_rad, sigma_px=0.3)[0] if np.isfinite(pixel).all() else 0.0
    total = covariance[:2, :2] + common
    none[finite] = near
    return (
        SeenCircle(
            centre_px=(float(pixel[0]), float(pixel[1])),
            centre_in_robot_m=(float(best[0]), float(best[1])),
            covariance_m2=((float(total[0, 0]), float(total[0, 1])), (float(total[1, 0]), float(total[1, 1]))),
            tilt_rad=tilted,
            points=int(near.sum()),
            share=share,
        ),
        none,
    )


def _nod_jacobian(camera: CameraModel, pixels: FloatArray, ground: FloatArray, tilt_rad: Vec2) -> FloatArray:
    """Return how points on the floor move with pitch and roll (N, 2, 2): metres per radian."""
    step = 1e-3
    pitched = camera.ground_points(pixels, (tilt_rad[0] + step, tilt_rad[1]))
    rolled = camera.ground_points(pixels, (tilt_rad[0], tilt_rad[1] + step))
    jacobian: FloatArray = np.nan_to_num(np.stack((pitched - ground, rolled - ground), axis=-1)) / step
    return jacobian


def _proposals(points: FloatArray, radius: float, most: int) -> FloatArray:
    """Return the centres (M, 2) of circles through pairs of points 0.6 to 1.9 radii apart."""
    i, j = np.triu_indices(len(points), 1)
    chord = points[j] - points[i]
    length = np.hypot(chord[:, 0], chord[:, 1])
    apart = np.flatnonzero((length > 0.6 * radius) & (length < 1.9 * radius))
    apart = apart[:: max(1, -(-len(apart) // most))]
    chord, length = chord[apart], length[apart, None]
    middle = points[i[apart]] + 0.5 * chord
    aside = np.stack((-chord[:, 1], chord[:, 0]), axis=1) / length * np.sqrt(radius**2 - 0.25 * length**2)
    return np.concatenate((middle + aside, middle - aside))


def _on_circle(
    points: FloatArray, spread: FloatArray, centres: FloatArray, radius: float
) -> tuple[NDArray[np.bool_], FloatArray, FloatArray, FloatArray]:
    """Return for circles (M) and points (N): on it?, distance outward (M, N), unit outward (M, N, 2), sigma (M, N)."""
    away = points[None] - centres[:, None]
    length = np.hypot(away[..., 0], away[..., 1])
    outward = away / np.maximum(length, 1e-9)[..., None]
    x, y = outward[..., 0], outward[..., 1]
    variance = x * x * spread[None, :, 0, 0] + 2.0 * x * y * spread[None, :, 0, 1] + y * y * spread[None, :, 1, 1]
    sigma = np.sqrt(variance)
    off = length - radius
    return (np.abs(off) < sigma) & (sigma < 0.35 * radius), off, outward, sigma


def _seen_share(
    config: CircleConfig,
    camera: CameraModel,
    centre: FloatArray,
    outward: FloatArray,
    mask: NDArray[np.bool_],
    tilt_rad: Vec2,
) -> tuple[float, float]:
    """Return which share of the circle's visible tenths of a radian shows points, and how much that is (radians)."""
    bins = 60
    angle = (np.arange(bins) + 0.5) * math.tau / bins
    ring = centre + config.radius_m * np.stack((np.cos(angle), np.sin(angle)), axis=1)
    visible = floor_is_seen(camera, ring, mask, (), tilt_rad)
    hit = np.zeros(bins, bool)
    index = ((np.arctan2(outward[:, 1], outward[:, 0]) % math.tau) / math.tau * bins).astype(int) % bins
    for shift in (-1, 0, 1):
        hit[(index + shift) % bins] = True
    hit &= visible
    return float(hit.sum() / max(1, visible.sum())), float(hit.sum() * math.tau / bins)
