"""Runs against the picture itself: they go on as far as it shows their line, and what has two unlike sides is no line.

Scan lines stop where two lines meet, the paint does not. Paint lies on one carpet: the light rim of a board is brighter
than both sides, too, but by far less on one of them (seen in a simulated trial: grey boards on a carpet of the same
grey, whose rims led the pose astray).
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.camera.lens import distort
from perception.camera.model import CameraModel
from perception.field.segments import Points, Run
from robot.core.geometry import FloatArray

Image = NDArray[np.uint8]

_WINDOW_PX = 10.0
_WINDOWS = 6
_SAMPLES = 3
"""Per window."""
_STEPS = (np.arange(_WINDOWS * _SAMPLES) + 0.5) * (_WINDOW_PX / _SAMPLES)
_LEAST_SHARE = 0.55
_EVEN = 0.45
_EVEN_WITHIN_M = 1.8
"""Farther away, a wall's foot is too near to lines to judge what is beside them."""


def extended(runs: list[Run], points: Points, camera: CameraModel, grey: Image, floor: NDArray[np.bool_]) -> list[Run]:
    """Return the runs that are lines, with their ends moved outward by up to 60 px, while the line shows.

    A line shows where it is brighter than both sides by nearly half of what it is within the run's last 60 px. (Sum
    along a known line: one pixel of it may be less than the noise, ten are not.) Within 1.8 m it must also be brighter
    than its darker side by less than about twice what it is than the other.

    Args:
        runs: in the undistorted picture.
        points: that they are made of.
        camera: for its lens.
        grey: (H, W).
        floor: (rows, columns) any resolution: where nothing but carpet and paint is.
    """
    if not runs:
        return runs
    ends = np.array([end for run in runs for end in (run.start, run.end)])
    along = np.array([(run.end - run.start) / np.hypot(*(run.end - run.start)) for run in runs])
    outward = np.repeat(along, 2, axis=0) * np.tile((-1.0, 1.0), len(runs))[:, None]
    half = np.array([0.5 * max(float(np.median(points.width_px[run.chosen])), 3.0) for run in runs])
    half = np.repeat(half, 2)[:, None]
    normal = np.stack((-outward[:, 1], outward[:, 0]), axis=1)
    steps = np.concatenate((-_STEPS[::-1], _STEPS))
    spots = ends[:, None] + steps[:, None] * outward[:, None]
    nothing = 0.0 * half
    sides = (-half - 3.0, nothing - 1.0, nothing, nothing + 1.0, half + 3.0)
    aside = np.concatenate(sides, axis=1)
    flat = spots[:, None] + aside[..., None, None] * normal[:, None, None]
    values = _sample(camera, grey, flat).reshape(len(ends), len(sides), 2 * _WINDOWS, _SAMPLES).mean(axis=3)
    drops = values[:, 1:4].mean(axis=1)[:, None] - values[:, (0, 4)]
    contrast = drops.min(axis=1)
    # The right side of one end is the left side of the other.
    beside = drops[:, :, :_WINDOWS].mean(axis=2)
    beside = beside[0::2] + beside[1::2, ::-1]
    even = beside.min(axis=1) > _EVEN * beside.max(axis=1)
    even |= np.array([np.median(np.hypot(*points.ground_m[run.chosen].T)) > _EVEN_WITHIN_M for run in runs])
    usual = contrast[:, :_WINDOWS].mean(axis=1, keepdims=True)
    beyond = contrast[:, _WINDOWS:]
    smooth = 0.5 * (beyond + np.concatenate((beyond[:, 1:], beyond[:, -1:]), axis=1))
    shows = (smooth > _LEAST_SHARE * usual) & (beyond > 0.25 * usual) & (usual > 0.0)
    shows &= (
        _floor_at(camera, floor, spots[:, _WINDOWS * _SAMPLES :]).reshape(len(ends), _WINDOWS, _SAMPLES).all(axis=2)
    )
    more = np.logical_and.accumulate(shows, axis=1).sum(axis=1) * _WINDOW_PX
    ends = ends + more[:, None] * outward
    return [replace(run, start=ends[2 * k], end=ends[2 * k + 1]) for k, run in enumerate(runs) if even[k]]


def _pixels(camera: CameraModel, flat: FloatArray) -> tuple[FloatArray, FloatArray]:
    k = camera.intrinsics
    x, y = distort(flat[..., 0] / k.fx, flat[..., 1] / k.fy, k.distortion)
    return x * k.fx + k.cx, y * k.fy + k.cy


def _sample(camera: CameraModel, grey: Image, flat: FloatArray) -> FloatArray:
    """Return the picture's brightness at points (..., 2) of the undistorted picture."""
    u, v = _pixels(camera, flat)
    u, v = u.reshape(len(flat), -1).astype(np.float32), v.reshape(len(flat), -1).astype(np.float32)
    return np.asarray(cv2.remap(grey, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float64)


def _floor_at(camera: CameraModel, floor: NDArray[np.bool_], flat: FloatArray) -> NDArray[np.bool_]:
    k = camera.intrinsics
    u, v = _pixels(camera, flat)
    inside: NDArray[np.bool_] = (u >= 2.0) & (u <= k.width_px - 3.0) & (v >= 2.0) & (v <= k.height_px - 3.0)
    rows = np.clip((v + 0.5) * floor.shape[0] / k.height_px, 0, floor.shape[0] - 1).astype(np.intp)
    columns = np.clip((u + 0.5) * floor.shape[1] / k.width_px, 0, floor.shape[1] - 1).astype(np.intp)
    inside &= floor[rows, columns]
    return inside
