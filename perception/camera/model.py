"""The on-board camera: pixel -> undistorted ray -> robot frame -> field plane, with a covariance, and back again.

Pixels follow OpenCV: the centre of the first pixel is (0, 0). A box of `robot.core.messages.BoxPx` counts edges, so
0.5 is subtracted there before it comes here. The optical frame (x right, y down, z ahead) is mounted on the robot
(x ahead, y left, z up) by yaw about z, then pitch about y (positive looks down), then roll about the optical axis
(positive lowers the right side). `tilt_rad` = (pitch, roll) turns the whole body over its origin on the floor in the
same sense; what comes out is always in the level robot frame on the floor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from perception.camera.lens import distort, distortion_jacobian, undistort, valid_radius
from perception.camera.parameters import (
    BALL_ROWS,
    CalibrationUncertainty,
    CameraIntrinsics,
    CameraMounting,
    CameraNoise,
    ContactRule,
)
from robot.core.config import find_config, load
from robot.core.geometry import FloatArray
from robot.core.messages import Cov2, Vec2

Rows = tuple[float, float, float, float, float, float, float, float, float]
"""A rotation matrix, row by row."""

ContactSlopes = tuple[float, float, tuple[float, ...]]
"""How a box's point moves with the contact rule: rows (px) and plane height (m) per unit of `ball`, rows per pixel of
each of `BALL_ROWS`. Zero for what the contact rule of balls does not move."""

ROBOT_FROM_OPTICAL: Rows = (0.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
"""The optical axes in the robot frame, before the mounting turns them."""

PIXEL_CENTRE_PX = 0.5
"""Boxes count edges, cameras count pixel centres: what is taken off a box's rows and columns (see the module)."""

_LEVEL: Vec2 = (0.0, 0.0)
_NO_SLOPES: ContactSlopes = (0.0, 0.0, (0.0,) * len(BALL_ROWS))
_MIN_DROP = 1e-4
"""A ray must fall by this much per unit of focal length to count as hitting the floor (1700 m ahead at 0.17 m)."""


class GroundPoint(NamedTuple):
    """A pixel on the floor: place and covariance, both in the robot frame."""

    position_in_robot_m: Vec2
    covariance_m2: Cov2


@dataclass(frozen=True, kw_only=True)
class CameraModel:
    """Intrinsics, mounting, contact rules and noise of one camera. Immutable; all methods are pure."""

    intrinsics: CameraIntrinsics
    mounting: CameraMounting
    contact: ContactRule = field(default_factory=ContactRule)
    noise: CameraNoise = field(default_factory=CameraNoise)
    uncertainty: CalibrationUncertainty = field(default_factory=CalibrationUncertainty)

    @cached_property
    def _calibration_covariance(self) -> FloatArray | None:
        rows = self.uncertainty.covariance
        return np.array(rows, dtype=float) if rows else None

    @cached_property
    def _axes(self) -> tuple[tuple[float, float, float], ...]:
        """The axes about which pitch, roll and yaw of the mounting turn the camera, robot frame."""
        m = self.mounting
        ahead = yaw_pitch_roll(m.yaw_rad, m.pitch_rad, 0.0)
        return (-math.sin(m.yaw_rad), math.cos(m.yaw_rad), 0.0), (ahead[0], ahead[3], ahead[6]), (0.0, 0.0, 1.0)

    @cached_property
    def _robot_from_optical(self) -> Rows:
        m = self.mounting
        turn = yaw_pitch_roll(m.yaw_rad, m.pitch_rad, m.roll_rad)
        return _multiply(turn, ROBOT_FROM_OPTICAL)

    @cached_property
    def _sigma_px(self) -> Vec2:
        return (self.noise.column_px, self.noise.row_px)

    @cached_property
    def _valid_radius(self) -> float:
        return valid_radius(self.intrinsics.distortion)

    def _pose(self, tilt_rad: Vec2) -> tuple[Rows, tuple[float, float, float]]:
        """Return (robot_from_optical, camera centre in the robot frame) of a tilted body."""
        m = self.mounting
        centre = (m.x_m, m.y_m, m.height_m)
        if tilt_rad[0] == 0.0 and tilt_rad[1] == 0.0:
            return self._robot_from_optical, centre
        tilt = yaw_pitch_roll(0.0, tilt_rad[0], tilt_rad[1])
        moved = tuple(sum(tilt[3 * i + k] * centre[k] for k in range(3)) for i in range(3))
        return _multiply(tilt, self._robot_from_optical), (moved[0], moved[1], moved[2])

    def _ideal(self, u: Any, v: Any) -> tuple[Any, Any]:
        k = self.intrinsics
        return undistort((u - k.cx) / k.fx, (v - k.cy) / k.fy, k.distortion)

    # --- pixel -> world ---------------------------------------------------------------------------------------

    def rays_in_robot(self, pixels_px: ArrayLike, tilt_rad: Vec2 = _LEVEL) -> FloatArray:
        """Return the unit directions (N, 3), robot frame, in which the pixels (N, 2) look."""
        pixels = _pairs(pixels_px)
        x, y = self._ideal(pixels[:, 0], pixels[:, 1])
        rows, _ = self._pose(tilt_rad)
        rays = np.stack(_turn(rows, x, y), axis=1)
        unit: FloatArray = rays / np.linalg.norm(rays, axis=1, keepdims=True)
        return unit

    def ground_points(self, pixels_px: ArrayLike, tilt_rad: Vec2 = _LEVEL, plane_z_m: float = 0.0) -> FloatArray:
        """Return where the pixels (N, 2) meet the plane z = `plane_z_m`: (N, 2) metres, robot frame.

        Rows are NaN for pixels at or above the horizon.
        """
        pixels = _pairs(pixels_px)
        x, y = self._ideal(pixels[:, 0], pixels[:, 1])
        rows, centre = self._pose(tilt_rad)
        dx, dy, dz = _turn(rows, x, y)
        reach = (centre[2] - plane_z_m) / np.where(dz < -_MIN_DROP, -dz, np.nan)
        return np.stack((centre[0] + reach * dx, centre[1] + reach * dy), axis=1)

    def ground_covariance(
        self,
        pixels_px: ArrayLike,
        tilt_rad: Vec2 = _LEVEL,
        plane_z_m: float = 0.0,
        sigma_px: ArrayLike | None = None,
    ) -> FloatArray:
        """Return the covariances (N, 2, 2), square metres, robot frame, of `ground_points`; NaN above the horizon.

        Args:
            pixels_px: (N, 2).
            tilt_rad: (pitch, roll) of the body.
            plane_z_m: height of the plane.
            sigma_px: noise of the pixels, (N, 2) or (2,) or a number; the camera's own by default.
        """
        pixels = _pairs(pixels_px)
        sigma = np.broadcast_to(np.asarray(self._sigma_px if sigma_px is None else sigma_px, float), pixels.shape)
        x, y = self._ideal(pixels[:, 0], pixels[:, 1])
        rows, centre = self._pose(tilt_rad)
        drop = np.where(_turn(rows, x, y)[2] < -_MIN_DROP, 1.0, np.nan)
        xx, xy, yy = self._covariance(x, y, rows, centre[2] - plane_z_m, sigma[:, 0], sigma[:, 1], _NO_SLOPES)
        return np.stack((np.stack((xx, xy), axis=-1), np.stack((xy, yy), axis=-1)), axis=-2) * drop[:, None, None]

    def ground_point(
        self,
        u: float,
        v: float,
        tilt_rad: Vec2 = _LEVEL,
        plane_z_m: float = 0.0,
        sigma_px: Vec2 | None = None,
        slopes: ContactSlopes = _NO_SLOPES,
    ) -> GroundPoint | None:
        """Place one pixel on the plane, with its covariance; None at or above the horizon. The fast path.

        `slopes` says how the pixel depends on the contact rule, whose fitted error then counts, too.
        """
        x, y = self._ideal(float(u), float(v))
        rows, centre = self._pose(tilt_rad)
        dx, dy, dz = _turn(rows, x, y)
        if not dz < -_MIN_DROP:
            return None
        height = centre[2] - plane_z_m
        reach = -height / dz
        su, sv = sigma_px or self._sigma_px
        xx, xy, yy = self._covariance(x, y, rows, height, su, sv, slopes)
        return GroundPoint((centre[0] + reach * dx, centre[1] + reach * dy), ((xx, xy), (xy, yy)))

    def _covariance(
        self, x: Any, y: Any, rows: Rows, height: float, su: Any, sv: Any, slopes: ContactSlopes
    ) -> tuple[Any, Any, Any]:
        """First-order covariance (xx, xy, yy) of h * d_xy / -d_z under errors of pixel, attitude, height and place,
        and of the calibration, whose errors are correlated (`uncertainty`).
        """
        k, n = self.intrinsics, self.noise
        dx, dy, dz = _turn(rows, x, y)
        ax, ay = dx / -dz, dy / -dz
        gain = height / -dz
        # A change e of the ray moves the point by gain * (e_xy + a e_z).
        if any(k.distortion):
            a, b, c, d = distortion_jacobian(x, y, k.distortion)
            det = a * d - b * c
            ux, uy, vx, vy = d / (det * k.fx), -c / (det * k.fx), -b / (det * k.fy), a / (det * k.fy)
        else:
            ux, uy, vx, vy = 1.0 / k.fx, 0.0, 0.0, 1.0 / k.fy
        c0x, c0y = rows[0] + ax * rows[6], rows[3] + ay * rows[6]
        c1x, c1y = rows[1] + ax * rows[7], rows[4] + ay * rows[7]
        px, py = su * gain * (c0x * ux + c1x * uy), su * gain * (c0y * ux + c1y * uy)
        rowx, rowy = gain * (c0x * vx + c1x * vy), gain * (c0y * vx + c1y * vy)
        qx, qy = sv * rowx, sv * rowy
        # Small turns of the ray about the robot's axes: pitch e_y x d, roll e_x x d, yaw e_z x d.
        pitch, roll = n.pitch_rad * gain, n.roll_rad * gain
        tx, ty = pitch * (dz - ax * dx), -pitch * ay * dx
        rx, ry = roll * ax * dy, roll * (ay * dy - dz)
        wx, wy = -n.yaw_rad * gain * dy, n.yaw_rad * gain * dx
        hx, hy = n.height_m * ax, n.height_m * ay
        place = n.position_m * n.position_m
        xx = px * px + qx * qx + tx * tx + rx * rx + wx * wx + hx * hx + place
        xy = px * py + qx * qy + tx * ty + rx * ry + wx * wy + hx * hy
        yy = py * py + qy * qy + ty * ty + ry * ry + wy * wy + hy * hy + place
        known = self._calibration_covariance
        if known is None:
            return xx, xy, yy
        jx: list[Any] = [1.0, 0.0, ax]
        jy: list[Any] = [0.0, 1.0, ay]
        for ex, ey, ez in self._axes:
            lift = ex * dy - ey * dx
            jx.append(gain * (ey * dz - ez * dy + ax * lift))
            jy.append(gain * (ez * dx - ex * dz + ay * lift))
        row_per_ball, plane_per_ball, row_per_px = slopes
        jx += [row_per_ball * rowx - plane_per_ball * ax, *(per_px * rowx for per_px in row_per_px)]
        jy += [row_per_ball * rowy - plane_per_ball * ay, *(per_px * rowy for per_px in row_per_px)]
        if isinstance(gain, float):
            both = np.array((jx, jy))
            extra = both @ known @ both.T
            return xx + float(extra[0, 0]), xy + float(extra[0, 1]), yy + float(extra[1, 1])
        both = np.stack([np.stack([np.broadcast_to(c, gain.shape) for c in j], axis=-1) for j in (jx, jy)], axis=-2)
        extra = both @ known @ both.swapaxes(-1, -2)
        return xx + extra[..., 0, 0], xy + extra[..., 0, 1], yy + extra[..., 1, 1]

    # --- world -> pixel ---------------------------------------------------------------------------------------

    def project(self, points_in_robot_m: ArrayLike, tilt_rad: Vec2 = _LEVEL) -> FloatArray:
        """Return the pixels (N, 2) of points (N, 3), robot frame, metres; NaN behind the camera or beyond the lens."""
        points = np.asarray(points_in_robot_m, dtype=float).reshape(-1, 3)
        rows, centre = self._pose(tilt_rad)
        optical = (points - centre) @ np.array(rows).reshape(3, 3)
        ahead = np.where(optical[:, 2] > 1e-6, optical[:, 2], np.nan)
        x, y = optical[:, 0] / ahead, optical[:, 1] / ahead
        limit = self._valid_radius
        if math.isfinite(limit):
            x = np.where(x * x + y * y < limit * limit, x, np.nan)
        k = self.intrinsics
        xd, yd = distort(x, y, k.distortion)
        return np.stack((k.fx * xd + k.cx, k.fy * yd + k.cy), axis=1)

    def robot_from_optical(self, tilt_rad: Vec2 = _LEVEL) -> tuple[FloatArray, FloatArray]:
        """Return (R (3, 3), t (3,)): a point of the optical frame is at R @ p + t in the robot frame."""
        rows, centre = self._pose(tilt_rad)
        return np.array(rows).reshape(3, 3), np.array(centre)


def load_camera(name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> CameraModel:
    """Read a camera's TOML: a path, or a shipped one by name (`c922_640x480`).

    Args:
        name_or_path: which.
        overrides: values by dotted key that replace the file's (`mounting.height_m`).

    Raises:
        ConfigError: missing, unreadable, an unknown key or a value out of range.
    """
    return load(CameraModel, find_config(name_or_path, "cameras"), overrides)


def _pairs(pixels_px: ArrayLike) -> FloatArray:
    return np.asarray(pixels_px, dtype=float).reshape(-1, 2)


def _turn(r: Rows, x: Any, y: Any) -> tuple[Any, Any, Any]:
    """Turn the ray (x, y, 1)."""
    return r[0] * x + r[1] * y + r[2], r[3] * x + r[4] * y + r[5], r[6] * x + r[7] * y + r[8]


def _multiply(a: Rows, b: Rows) -> Rows:
    c = [sum(a[3 * i + k] * b[3 * k + j] for k in range(3)) for i in range(3) for j in range(3)]
    return (c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8])


def yaw_pitch_roll(yaw: float, pitch: float, roll: float) -> Rows:
    """Rz(yaw) Ry(pitch) Rx(roll), right-handed: positive pitch lowers the nose, positive roll lowers the right side."""
    cy, sy = math.cos(yaw), math.sin(yaw)
    cp, sp = math.cos(pitch), math.sin(pitch)
    cr, sr = math.cos(roll), math.sin(roll)
    return (
        cy * cp,
        cy * sp * sr - sy * cr,
        cy * sp * cr + sy * sr,
        sy * cp,
        sy * sp * sr + cy * cr,
        sy * sp * cr - cy * sr,
        -sp,
        cp * sr,
        cp * cr,
    )
