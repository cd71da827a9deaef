"""The centre circle among points on the floor: the one marking that says where along the halfway line the robot is.

Each point votes for all centres one radius away from it, spread by what a pixel is worth there; the fullest cells
are tried. The fit's unknowns are the centre and a small nod of the body (pitch and roll): half a degree stretches the
far side of a circle 3 m away by 10 cm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.camera.model import CameraModel
from perception.field.edge import floor_is_seen
from perception.field.features import SeenCircle
from robot.core.geometry import FloatArray
from robot.core.messages import Vec2

Image = NDArray[np.uint8]

_SECTORS = 16
_LEAST_SECTORS = 4
_BESIDE_M = 0.045
_NEAR_M = 0.95
"""So near, a pixel is millimetres, and a third of the circle is unlike anything else."""
_BESIDE_PX = 4.0
_CELL_M = 0.08
_APART = np.ones((7, 7), np.uint8)
_ANGLES = np.arange(24) * (math.tau / 24)
_AROUND = np.stack((np.cos(_ANGLES), np.sin(_ANGLES)), axis=1)
_TURNS = np.arange(0.5, 96.0) * (math.tau / 96)
_RING = np.stack((np.cos(_TURNS), np.sin(_TURNS)), axis=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class CircleConfig:
    """The circle to look for.

    `radius_m` is its radius (0: none). At least `min_points` points, `min_share` of its length in the picture where
    floor is seen and `min_turn_rad` of its angle must show a line; points weaker than `min_strength` sigmas do not
    count unless a segment has them. `tolerance_px` is how far off the circle points may be, `max_straight` which share
    of them may lie on two straight lines, `nod_rad` one sigma of the body's pitch and roll beyond the given tilt, also
    fitted. `tries` and `max_points` bound the work.
    """

    radius_m: float = 0.5
    tolerance_px: float = 1.6
    min_points: int = 10
    min_strength: float = 3.6
    min_share: float = 0.75
    min_turn_rad: float = 1.4
    max_straight: float = 0.7
    nod_rad: float = 0.006
    tries: int = 2
    max_points: int = 70


@dataclass(frozen=True, slots=True)
class _Pool:
    """Points on the floor (N, 2), their covariance there, how they move with pitch and roll (N, 2, 2)."""

    places: FloatArray
    spread: FloatArray
    nod: FloatArray


def find_circle(
    config: CircleConfig,
    camera: CameraModel,
    pixels_px: FloatArray,
    ground_m: FloatArray,
    grey: Image,
    mask: NDArray[np.bool_],
    tilt_rad: Vec2 = (0.0, 0.0),
) -> tuple[SeenCircle | None, NDArray[np.bool_]]:
    """Look for a circle of known radius among points on the floor.

    Args:
        config: radius and gates.
        camera: turns pixels into metres.
        pixels_px: (N, 2) points that no long segment explains.
        ground_m: (N, 2) the same, robot frame.
        grey: (H, W) the picture.
        mask: carpet mask.
        tilt_rad: of the body.

    Returns:
        The circle or None, and which of the N points lie on it.
    """
    nobody = np.zeros(len(ground_m), bool)
    finite = np.flatnonzero(np.isfinite(ground_m).all(axis=1))
    if config.radius_m <= 0.0 or len(finite) < config.min_points:
        return None, nobody
    few = finite[:: -(-len(finite) // config.max_points)]
    # A pixel's reach on the floor, and the least that matters: 15 mm.
    spread = camera.ground_covariance(pixels_px[few], tilt_rad, sigma_px=config.tolerance_px) + 0.015**2 * np.eye(2)
    pool = _Pool(ground_m[few], spread, _nod_jacobian(camera, pixels_px[few], ground_m[few], tilt_rad))
    for centre in _candidates(pool, config.radius_m, config.tries):
        fitted = _fit(config, pool, centre)
        if fitted is None:
            continue
        state, covariance = fitted
        tilted = (tilt_rad[0] + float(state[2]), tilt_rad[1] + float(state[3]))
        share, turn = _shown(config, camera, grey, mask, state[:2], tilted)
        near = float(np.hypot(state[0], state[1])) < _NEAR_M
        if share < config.min_share - (0.1 if turn > 3.5 else 0.0):
            continue
        if turn < config.min_turn_rad + (0.0 if near else 0.8):
            continue
        outline = camera.project(
            np.column_stack((state[:2] + config.radius_m * _AROUND, np.zeros(len(_AROUND)))), tilted
        )
        nobody[finite] = _near_outline(pixels_px[finite], outline, 1.25 * config.tolerance_px)
        pixel = camera.project([[state[0], state[1], 0.0]], tilted)[0]
        # The fit's noise, and what all points share: pitch, roll, height.
        common = camera.ground_covariance(pixel[None], tilt_rad, sigma_px=0.3)[0] if np.isfinite(pixel).all() else 0.0
        total = covariance[:2, :2] + common
        return (
            SeenCircle(
                centre_px=(float(pixel[0]), float(pixel[1])),
                centre_in_robot_m=(float(state[0]), float(state[1])),
                covariance_m2=((float(total[0, 0]), float(total[0, 1])), (float(total[1, 0]), float(total[1, 1]))),
                tilt_rad=tilted,
                points=int(nobody.sum()),
                share=share,
                turn_rad=turn,
            ),
            nobody,
        )
    return None, nobody


def _candidates(pool: _Pool, radius: float, most: int) -> list[FloatArray]:
    """Return the centres that most points are one radius away from, best first."""
    # One pixel is worth much more along the view than across it.
    reach = np.sqrt(pool.spread[:, 0, 0] + pool.spread[:, 1, 1])
    away = pool.places / np.maximum(np.hypot(pool.places[:, 0], pool.places[:, 1]), 1e-6)[:, None]
    smear = np.where(reach > 0.5 * _CELL_M, 0.7 * reach, 0.0)[:, None] * away
    votes = (
        np.stack((pool.places - smear, pool.places, pool.places + smear))[:, :, None, :] + radius * _AROUND
    ).reshape(-1, 2)
    low = votes.min(axis=0) - 2.0 * _CELL_M
    cell = ((votes - low) / _CELL_M).astype(np.intp)
    size = cell.max(axis=0) + 3
    # Where points lie close on the floor, each says less.
    worth = np.broadcast_to(np.clip(reach, 0.03, 0.12)[None, :, None], (3, len(reach), len(_AROUND))).ravel()
    count = np.bincount(cell[:, 0] * size[1] + cell[:, 1], worth, int(size[0] * size[1])).reshape(size)
    smooth = np.asarray(cv2.GaussianBlur(count.astype(np.float32), (3, 3), 0.0))
    full = smooth.ravel() > 0.4 * float(smooth.max())
    peaks = np.flatnonzero(full & (smooth >= np.asarray(cv2.dilate(smooth, _APART))).ravel())
    peaks = peaks[np.argsort(-smooth.ravel()[peaks], kind="stable")[:most]]
    return [low + _CELL_M * (np.array(divmod(p, int(size[1]))) + 0.5) for p in peaks.tolist()]


def _fit(config: CircleConfig, pool: _Pool, centre: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """Return centre, pitch and roll (4,) and their covariance; None where it does not settle on a circle's points."""
    # The body nods: a small error of pitch stretches the floor ahead. First look with room for it, then fit it too.
    state, covariance = np.array([*centre, 0.0, 0.0]), np.eye(4)
    prior = np.diag([1e-6, 1e-6, config.nod_rad**-2, config.nod_rad**-2])
    for room in (9.0, 3.0, 1.0):
        on_it, off, outward, sigma = _on_circle(pool, state, room, config.radius_m)
        # Crossing lines make fuller cells than a circle does, but from few directions.
        if on_it.sum() < config.min_points or _sectors(outward[on_it]) < _LEAST_SECTORS:
            return None
        rows = np.column_stack((outward[on_it], -np.einsum("ni,nij->nj", outward[on_it], pool.nod[on_it])))
        rows /= sigma[on_it, None]
        covariance = np.linalg.inv(rows.T @ rows + prior)
        state = state + covariance @ (rows.T @ (off[on_it] / sigma[on_it]) - prior @ (0.0, 0.0, state[2], state[3]))
    on_it, _, outward, _ = _on_circle(pool, state, 1.0, config.radius_m)
    if on_it.sum() < config.min_points or _sectors(outward[on_it]) < _LEAST_SECTORS:
        return None
    return state, covariance


def _sectors(outward: FloatArray) -> int:
    """Return in how many sixteenths of the circle there are points."""
    sector = ((np.arctan2(outward[:, 1], outward[:, 0]) % math.tau) * (_SECTORS / math.tau)).astype(np.intp) % _SECTORS
    return int(np.count_nonzero(np.bincount(sector, minlength=_SECTORS)))


def _on_circle(
    pool: _Pool, state: FloatArray, room: float, radius: float
) -> tuple[NDArray[np.bool_], FloatArray, FloatArray, FloatArray]:
    """Return for each point: on it?, distance outward, unit outward (N, 2), sigma of the distance."""
    away = pool.places + pool.nod @ state[2:] - state[:2]
    length = np.hypot(away[:, 0], away[:, 1])
    outward = away / np.maximum(length, 1e-9)[:, None]
    sigma = np.sqrt(room * np.einsum("ni,nij,nj->n", outward, pool.spread, outward))
    off = length - radius
    return (np.abs(off) < np.minimum(sigma, 0.7 * radius)) & (sigma < 0.7 * radius), off, outward, sigma


def _nod_jacobian(camera: CameraModel, pixels: FloatArray, ground: FloatArray, tilt_rad: Vec2) -> FloatArray:
    """Return how points on the floor move with pitch and roll (N, 2, 2): metres per radian."""
    step = 1e-3
    pitched = camera.ground_points(pixels, (tilt_rad[0] + step, tilt_rad[1]))
    rolled = camera.ground_points(pixels, (tilt_rad[0], tilt_rad[1] + step))
    jacobian: FloatArray = np.nan_to_num(np.stack((pitched - ground, rolled - ground), axis=-1)) / step
    return jacobian


def _near_outline(pixels: FloatArray, outline: FloatArray, limit_px: float) -> NDArray[np.bool_]:
    """Tell which pixels (N, 2) lie within a distance of a closed polygon (M, 2); its NaN corners are not there."""
    start, way = outline, np.roll(outline, -1, axis=0) - outline
    there = np.isfinite(start).all(axis=1) & np.isfinite(way).all(axis=1)
    start, way = start[there], way[there]
    away = pixels[:, None] - start
    share = np.clip((away * way).sum(axis=2) / np.maximum((way * way).sum(axis=1), 1e-9), 0.0, 1.0)
    off = away - share[..., None] * way
    near: NDArray[np.bool_] = (np.hypot(off[..., 0], off[..., 1]) < limit_px).any(axis=1)
    return near


def _shown(
    config: CircleConfig, camera: CameraModel, grey: Image, mask: NDArray[np.bool_], centre: FloatArray, tilt_rad: Vec2
) -> tuple[float, float]:
    """Look along the whole circle in the picture, found points or not: is it brighter than the floor on both sides?

    Returns:
        Which share of its length in the picture, where floor is seen, is a line; and the angle of that, in radians.
    """
    floor = np.zeros((2, len(_RING), 3))
    floor[0, :, :2] = centre + config.radius_m * _RING
    floor[1, :, :2] = centre + (config.radius_m + _BESIDE_M) * _RING
    visible = floor_is_seen(camera, floor[0, :, :2], mask, (), tilt_rad)
    middle, outer = camera.project(floor.reshape(-1, 3), tilt_rad).reshape(2, -1, 2)
    way = np.roll(middle, -1, axis=0) - np.roll(middle, 1, axis=0)
    length = np.hypot(way[:, 0], way[:, 1])
    normal = np.stack((-way[:, 1], way[:, 0]), axis=1) / np.maximum(length, 1e-6)[:, None]
    aside = np.maximum(np.abs(((outer - middle) * normal).sum(axis=1)), _BESIDE_PX)
    offset = np.concatenate(
        (np.outer((-1.0, -0.75), aside), [[-1.0], [0.0], [1.0]] + 0.0 * aside, np.outer((0.75, 1.0), aside))
    )
    at = (middle + offset[..., None] * normal).astype(np.float32)
    visible &= np.isfinite(at).all(axis=(0, 2)) & np.isfinite(length)
    at[:, ~visible] = 0.0
    seen = np.asarray(cv2.remap(grey, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), float)
    weight = np.where(visible, length, 0.0).reshape(_SECTORS, -1)
    total = weight.sum(axis=1)
    inside, on, outside = (
        (rows.mean(axis=0).reshape(_SECTORS, -1) * weight).sum(axis=1) / np.maximum(total, 1e-9)
        for rows in (seen[:2], seen[2:5], seen[5:])
    )
    contrast = on - np.maximum(inside, outside)
    there = (weight > 0.0).mean(axis=1) > 0.4
    if there.sum() < 2:
        return 0.0, 0.0
    noise = 1.4826 * float(np.median(np.abs(inside - outside)[there]))
    clear = there & (contrast > max(0.3 * float(np.quantile(contrast[there], 0.7)), 0.3 * noise, 0.3))
    return float(total[clear].sum() / total[there].sum()), float(clear.sum() * math.tau / _SECTORS)
