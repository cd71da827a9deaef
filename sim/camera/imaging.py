"""From light to JPEG: vignetting, exposure, white balance, curve, lens softness, noise, compression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from robot.core.errors import SimulationError

_LUMA_BGR = np.array([0.114, 0.587, 0.299], np.float32)
Image = NDArray[Any]
"""uint8 pixels; OpenCV's type stubs promise nothing narrower."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SensorStyle:
    """How one camera turns light into numbers; gains are in BGR order."""

    exposure_s: float = 0.006
    readout_s: float = 0.015
    brightness: float = 115.0
    white_balance_bgr: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    vignette: float = 0.15
    slope_x: float = 0.0
    slope_y: float = 0.0
    softness_px: float = 0.6
    noise: float = 3.0
    jpeg_quality: int = 85


def sample_sensor_style(rng: np.random.Generator, spread: float = 1.0) -> SensorStyle:
    """Draw a camera's settings: mostly neutral, sometimes with the cyan or yellow casts of the real pictures.

    Args:
        rng: the source of randomness.
        spread: 1 for training; less keeps nearer to a camera that somebody has adjusted.
    """
    cast = rng.normal(0.0, 0.06, 3)
    if rng.random() < 0.2:
        cast += np.array([0.22, 0.16, -0.3]) * float(rng.uniform(0.3, 1.0))  # cyan
    elif rng.random() < 0.2:
        cast += np.array([-0.22, -0.03, 0.05]) * float(rng.uniform(0.3, 1.0))  # yellow
    gains = np.exp(spread * cast)

    def about(middle: float, reach: float) -> float:
        return middle + spread * reach * float(rng.uniform(-1.0, 1.0))

    return SensorStyle(
        exposure_s=float(rng.uniform(0.002, 0.012)),
        readout_s=float(rng.uniform(0.008, 0.022)),
        brightness=about(112.0, 35.0),
        white_balance_bgr=(float(gains[0]), float(gains[1]), float(gains[2])),
        gamma=float(np.exp(spread * rng.normal(0.0, 0.15))),
        contrast=about(1.05, 0.2),
        saturation=about(0.9, 0.35),
        vignette=float(rng.uniform(0.0, 0.35)),
        slope_x=spread * float(rng.normal(0.0, 0.12)),
        slope_y=spread * float(rng.normal(0.0, 0.12)),
        softness_px=float(rng.uniform(0.35, 1.1)),
        noise=float(rng.uniform(1.0, 7.0)),
        jpeg_quality=int(rng.integers(60, 96)),
    )


class ImagePipeline:
    """The electronics of one camera. Holds its exposure gain and its noise generator: the order of frames matters."""

    def __init__(self, style: SensorStyle, size_px: tuple[int, int], rng: np.random.Generator) -> None:
        """Prepare maps and a bank of noise.

        Args:
            style: the camera's settings.
            size_px: (width, height) of the pictures.
            rng: this sensor's own generator.
        """
        self.style = style
        self._rng = rng
        width, height = size_px
        x, y = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
        shade = 1.0 - style.vignette * 0.5 * (x * x + y * y) + style.slope_x * x + style.slope_y * y
        self._shade = cv2.merge([np.clip(shade / shade.max() * 255.0, 0, 255).astype(np.uint8)] * 3)
        bank = cv2.GaussianBlur(rng.standard_normal((height + 64, width + 64, 3)).astype(np.float32), (0, 0), 0.5)
        self._noise = np.clip(bank / bank.std() * style.noise, -127, 127).astype(np.int8)
        self._gain: float | None = None
        grey = np.array([[0.114, 0.587, 0.299]] * 3)
        self._colour = (style.saturation * np.eye(3) + (1.0 - style.saturation) * grey).astype(np.float32)

    def meter(self, picture_bgr: Image) -> float:
        """Move the exposure gain a tenth towards the wanted brightness (at once on the first frame), and return it."""
        sparse = picture_bgr[::16, ::16].reshape(-1, 3).astype(np.float32)
        # Luma, and the strongest channel half and half: luma alone burns out a green carpet.
        mean = 0.5 * float((sparse @ _LUMA_BGR).mean()) + 0.5 * float(sparse.mean(axis=0).max())
        wanted = float(np.clip(self.style.brightness / max(mean, 4.0), 0.4, 5.0))
        self._gain = wanted if self._gain is None else self._gain + 0.1 * (wanted - self._gain)
        return self._gain

    def develop(self, picture_bgr: Image) -> bytes:
        """Return the JPEG that the camera sends for one exposed picture, (height, width, 3) BGR uint8."""
        style = self.style
        picture = cv2.multiply(picture_bgr, self._shade, scale=1.0 / 255.0)
        gain = self.meter(picture)
        level = np.arange(256, dtype=np.float32)[:, None] / 255.0 * gain * np.array(style.white_balance_bgr, np.float32)
        curve = np.clip(level, 0.0, 1.0) ** style.gamma
        curve = np.clip((curve - 0.45) * style.contrast + 0.45, 0.0, 1.0)
        picture = cv2.LUT(picture, (curve * 255.0).astype(np.uint8)[None])
        if abs(style.saturation - 1.0) > 0.02:
            picture = cv2.transform(picture, self._colour)
        if style.softness_px > 0.3:
            picture = cv2.GaussianBlur(picture, (0, 0), style.softness_px)
        if style.noise > 0.0:
            dy, dx = (int(v) for v in self._rng.integers(0, 64, 2))
            height, width = picture.shape[:2]
            picture = cv2.add(picture, self._noise[dy : dy + height, dx : dx + width], dtype=cv2.CV_8U)
        ok, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, style.jpeg_quality])
        if not ok:
            raise SimulationError("cannot encode a rendered picture as JPEG")
        return bytes(data)
