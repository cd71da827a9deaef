"""Frame in, `DetectionBatch` out: detector and carpet scan. The same stage on board, in simulation and from files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from perception.detection.detector import Detector
from perception.field.boundary import CarpetScanner, free_range
from robot.core.clock import Clock
from robot.core.messages import CameraFrame, DetectionBatch, Vec2
from robot.runtime.robot_config import Robot

ScanCarpet = Callable[[NDArray[np.uint8]], tuple[tuple[Vec2, ...], tuple[Vec2, ...]]]
"""Picture to (carpet edge in pixels, free range as (bearing_rad, range_m))."""


@dataclass
class VisionStage:
    """Owns the detector; not thread-safe."""

    detector: Detector
    scan_carpet: ScanCarpet | None = None
    _seq: int = field(default=0, init=False)

    def process(
        self, frame: CameraFrame, *, latency_ns: int | None = None, clock: Clock | None = None
    ) -> DetectionBatch:
        """Return what is in the frame; also when that is nothing.

        Args:
            frame: a picture of the size that the camera model was calibrated for.
            latency_ns: the batch counts as received this long after the frame (simulation).
            clock: or when this clock says it was done (on board). Exactly one of the two.
        """
        started_ns = clock.now_ns() if clock is not None else 0
        detections = self.detector.detect(frame.image_bgr)
        detected_ns = clock.now_ns() if clock is not None else 0
        edge, ranges = self.scan_carpet(frame.image_bgr) if self.scan_carpet is not None else ((), ())
        height, width = frame.image_bgr.shape[:2]
        self._seq += 1
        return DetectionBatch(
            seq=self._seq - 1,
            t_capture_ns=frame.t_capture_ns,
            t_receive_ns=clock.now_ns() if clock is not None else frame.t_receive_ns + (latency_ns or 0),
            valid=frame.valid,
            frame_seq=frame.seq,
            image_size_px=(width, height),
            detections=detections,
            carpet_edge_px=edge,
            free_range_m=ranges,
            model_name=self.detector.model_name,
            inference_ns=detected_ns - started_ns,
        )


def make_vision(robot: Robot, detector: Detector) -> VisionStage:
    """Return the vision stage of a robot around a loaded detector."""
    if not robot.config.vision.scan_carpet:
        return VisionStage(detector)
    scanner = CarpetScanner(robot.config.carpet, robot.camera)

    def scan(image_bgr: NDArray[np.uint8]) -> tuple[tuple[Vec2, ...], tuple[Vec2, ...]]:
        edge = scanner.scan(image_bgr)
        return edge, free_range(robot.camera, edge)

    return VisionStage(detector, scan)
