"""Letterbox: the whole picture, its proportions kept, in the middle of the network's input; and back.

The fast path (measured in docs/results-detector.md): one bilinear resize, then per channel `extractChannel` and a
256-entry table into a preallocated float blob; about seven times faster than `cv2.dnn.blobFromImage`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

PAD_VALUE = 114
"""Grey level of the borders, as in training."""
NORMALISE = np.arange(256, dtype=np.float32) / np.float32(127.5) - np.float32(1.0)
"""Pixel value to network input: [-1, 1]."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a picture lies inside the input: input = picture * scale + offset, in continuous pixel coordinates."""

    picture_size_px: tuple[int, int]
    resized_px: tuple[int, int]
    offset_px: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Scale along x and y (they differ by less than half a pixel over the picture, from rounding)."""
        return (
            self.resized_px[0] / self.picture_size_px[0],
            self.resized_px[1] / self.picture_size_px[1],
        )

    def to_picture(self, boxes_px: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (N, 4) boxes from input pixels to picture pixels, clipped to the picture's edges."""
        scale = np.array(self.scale * 2, np.float32)
        offset = np.array(self.offset_px * 2, np.float32)
        limit = np.array(self.picture_size_px * 2, np.float32)
        result: NDArray[np.float32] = np.clip((boxes_px - offset) / scale, np.float32(0.0), limit)
        return result

    def to_input(self, boxes_px: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (N, 4) boxes from picture pixels to input pixels."""
        scale = np.array(self.scale * 2, np.float32)
        return boxes_px * scale + np.array(self.offset_px * 2, np.float32)


def placement(picture_size_px: tuple[int, int], input_size_px: tuple[int, int]) -> Placement:
    """Return where a picture of (width, height) goes in an input of (width, height)."""
    width, height = picture_size_px
    scale = min(input_size_px[0] / width, input_size_px[1] / height)
    resized = (
        min(input_size_px[0], max(1, round(width * scale))),
        min(input_size_px[1], max(1, round(height * scale))),
    )
    offset = ((input_size_px[0] - resized[0]) // 2, (input_size_px[1] - resized[1]) // 2)
    return Placement(picture_size_px=picture_size_px, resized_px=resized, offset_px=offset)


class Letterbox:
    """Turns pictures into input blobs; owns its buffers, so a result is valid until the next call.

    Args:
        input_size_px: (width, height) of the network's input.
    """

    def __init__(self, input_size_px: tuple[int, int]) -> None:
        width, height = input_size_px
        self.input_size_px = input_size_px
        self._canvas = np.full((height, width, 3), PAD_VALUE, np.uint8)
        self._blob = np.empty((1, 3, height, width), np.float32)
        self._plane = np.empty((height, width), np.uint8)
        self._placement: Placement | None = None

    def __call__(self, image_bgr: NDArray[np.uint8]) -> tuple[NDArray[np.float32], Placement]:
        """Return the (1, 3, height, width) float32 RGB blob in [-1, 1] of a (h, w, 3) uint8 BGR picture."""
        size = (image_bgr.shape[1], image_bgr.shape[0])
        if self._placement is None or self._placement.picture_size_px != size:
            self._placement = placement(size, self.input_size_px)
            self._canvas[:] = PAD_VALUE
        where = self._placement
        (x, y), (w, h) = where.offset_px, where.resized_px
        region = self._canvas[y : y + h, x : x + w]
        if size == (w, h):
            region[:] = image_bgr
        else:
            region[:] = cv2.resize(image_bgr, (w, h), interpolation=cv2.INTER_LINEAR)
        for channel in range(3):
            cv2.extractChannel(self._canvas, 2 - channel, self._plane)
            cv2.LUT(self._plane, NORMALISE, self._blob[0, channel])
        return self._blob, where
