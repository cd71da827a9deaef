"""Where each pixel of the real picture comes from in the ideal render: lens, rolling shutter, motion blur.

One warp serves all three. For every pixel its ray is undistorted, moved by the robot's motion between the reference
moment and the moment at which its row was exposed (as if it hit the floor; above the horizon only the turn matters),
and projected into the ideal render. It is computed on a coarse grid and interpolated: the error is below 0.02 px.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.camera.lens import undistort
from perception.camera.model import CameraModel
from robot.core.geometry import Twist2
from sim.camera.renderer import Pinhole

_CELL_PX = 20
_FAR_M = 30.0
_MAX_SUB_FRAMES = 3
_BLUR_STEP_PX = 4.0

FloatMap = NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraMotion:
    """How the body moves while the shutter is open: twist on the floor and the rates of pitch and roll (rad/s)."""

    twist_in_robot: Twist2 = Twist2()
    pitch_rate_rad_s: float = 0.0
    roll_rate_rad_s: float = 0.0


STILL = CameraMotion()


class ShutterWarp:
    """The warp of one camera. `margin_px` is how much wider than the picture the ideal render is, on each side."""

    def __init__(self, camera: CameraModel, margin_px: tuple[int, int] = (16, 8)) -> None:
        k = camera.intrinsics
        self._camera = camera
        self._size = (k.width_px, k.height_px)
        ideal = Pinhole(width_px=k.width_px, height_px=k.height_px, fx_px=k.fx, fy_px=k.fy, cx_px=k.cx, cy_px=k.cy)
        self.pinhole = ideal.grown(*margin_px)
        # One cell more on each side, since cv2.resize repeats the outermost half cell.
        u = (np.arange(-1, -(-k.width_px // _CELL_PX) + 1) + 0.5) * _CELL_PX - 0.5
        v = (np.arange(-1, -(-k.height_px // _CELL_PX) + 1) + 0.5) * _CELL_PX - 0.5
        uu, vv = np.meshgrid(u, v)
        x, y = undistort((uu - k.cx) / k.fx, (vv - k.cy) / k.fy, k.distortion)
        self._rays = np.stack([x, y, np.ones_like(x)], axis=-1)
        self._row_phase = (vv + 0.5) / k.height_px - 0.5
        self._still = self._maps(self._rays)

    def _maps(self, rays: NDArray[np.float64]) -> tuple[FloatMap, FloatMap]:
        """Project rays of the reference camera into the render, and fill the grid up to every pixel."""
        pin = self.pinhole
        full = (self._rays.shape[1] * _CELL_PX, self._rays.shape[0] * _CELL_PX)
        width, height = self._size
        out = []
        for axis, (f, c) in enumerate(((pin.fx_px, pin.cx_px), (pin.fy_px, pin.cy_px))):
            coarse = (f * rays[..., axis] / rays[..., 2] + c).astype(np.float32)
            fine = cv2.resize(coarse, full, interpolation=cv2.INTER_LINEAR)
            out.append(np.ascontiguousarray(fine[_CELL_PX : _CELL_PX + height, _CELL_PX : _CELL_PX + width]))
        return out[0], out[1]

    def _moved_rays(
        self, motion: CameraMotion, offset_s: float, readout_s: float, tilt_rad: tuple[float, float]
    ) -> NDArray[np.float64]:
        """Return, in the reference camera, the rays to what each grid pixel sees at its own moment."""
        turn, centre = self._camera.robot_from_optical(tilt_rad)
        dt = self._row_phase * readout_s + offset_s
        seen = self._rays @ turn.T
        # Small turns of pitch and roll: seen' = seen + w x seen.
        pitch, roll = motion.pitch_rate_rad_s * dt, motion.roll_rate_rad_s * dt
        dx, dy, dz = seen[..., 0], seen[..., 1], seen[..., 2]
        seen = np.stack([dx + pitch * dz, dy - roll * dz, dz - pitch * dx + roll * dy], axis=-1)
        reach = np.minimum(centre[2] / np.maximum(-seen[..., 2], 1e-6), _FAR_M)
        points = centre + reach[..., None] * seen
        twist = motion.twist_in_robot
        angle = twist.omega_rad_s * dt
        half = 0.5 * angle  # the chord of a short arc points half the turn on
        sx = (twist.vx_m_s * np.cos(half) - twist.vy_m_s * np.sin(half)) * dt
        sy = (twist.vx_m_s * np.sin(half) + twist.vy_m_s * np.cos(half)) * dt
        c, s = np.cos(angle), np.sin(angle)
        px = c * points[..., 0] - s * points[..., 1] + sx
        py = s * points[..., 0] + c * points[..., 1] + sy
        moved: NDArray[np.float64] = (np.stack([px, py, points[..., 2]], axis=-1) - centre) @ turn
        return moved

    def maps(
        self, motion: CameraMotion, offset_s: float, readout_s: float, tilt_rad: tuple[float, float]
    ) -> tuple[FloatMap, FloatMap]:
        """Return the (x, y) source maps of one instant of the exposure.

        Args:
            motion: of the body.
            offset_s: time from mid-exposure.
            readout_s: time from the first row's exposure to the last row's; the middle row is the reference.
            tilt_rad: (pitch, roll) at the reference moment.
        """
        if motion == STILL:
            return self._still
        return self._maps(self._moved_rays(motion, offset_s, readout_s, tilt_rad))

    def expose(
        self,
        render: NDArray[Any],
        motion: CameraMotion = STILL,
        *,
        exposure_s: float = 0.0,
        readout_s: float = 0.0,
        tilt_rad: tuple[float, float] = (0.0, 0.0),
    ) -> NDArray[Any]:
        """Turn the ideal render of the mid-exposure pose into the picture, blurred as far as the motion asks."""
        count, gap_px = 1, 0
        if motion != STILL and exposure_s > 0.0:
            first = self._moved_rays(motion, -0.5 * exposure_s, readout_s, tilt_rad)
            last = self._moved_rays(motion, 0.5 * exposure_s, readout_s, tilt_rad)
            smear = self.pinhole.fx_px * np.abs(first[..., :2] / first[..., 2:] - last[..., :2] / last[..., 2:])
            count = int(np.clip(np.ceil(smear.max() / _BLUR_STEP_PX), 1, _MAX_SUB_FRAMES))
            gap_px = round(float(smear[..., 0].mean()) / count)
        picture: NDArray[Any] | None = None
        for k in range(count):
            offset = ((k + 0.5) / count - 0.5) * exposure_s
            mx, my = self.maps(motion, offset, readout_s, tilt_rad)
            part = cv2.remap(render, mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            # Running mean: the k-th part counts 1/(k+1).
            picture = part if picture is None else cv2.addWeighted(picture, k / (k + 1), part, 1 / (k + 1), 0.0)
        assert picture is not None
        # Turning smears all rows alike: a box as wide as the gap joins the sub-frames at a tenth of the price of more.
        return cv2.blur(picture, (gap_px, 1)) if gap_px > 1 else picture

    def warp_labels(
        self,
        ids: NDArray[np.int32],
        motion: CameraMotion = STILL,
        *,
        readout_s: float = 0.0,
        tilt_rad: tuple[float, float] = (0.0, 0.0),
    ) -> NDArray[Any]:
        """Warp an id picture the same way at mid-exposure, nearest neighbour."""
        mx, my = self.maps(motion, 0.0, readout_s, tilt_rad)
        warped: NDArray[Any] = cv2.remap(
            ids.astype(np.int16), mx, my, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=-1
        )
        return warped
