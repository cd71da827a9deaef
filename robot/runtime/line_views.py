"""What a recording shows of the field's lines, picture by picture, with the robot's dead reckoning at each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from firmware_bridge.link.link import Link
from firmware_bridge.link.parameters import body_parameters
from perception.calibration.line_attitude import LineView
from perception.camera.model import CameraModel
from perception.estimation.estimator import Estimator
from perception.field.boundary import CarpetConfig, CarpetScanner
from perception.field.lines import LineConfig, LineFinder
from robot.core.clock import NS_PER_S
from robot.core.errors import DataError
from robot.core.messages import CameraFrame, DetectionBatch, Vec2
from robot.recording.reader import Recording
from robot.runtime.robot_config import Robot
from robot.runtime.vision_input import stamped_at_exposure

_LATE_NS = 60_000_000
"""A picture is looked at so long after it was taken: by then the telemetry of that moment has come."""


class PictureLines:
    """Finds the lines of single pictures."""

    def __init__(
        self, camera: CameraModel, carpet: CarpetConfig | None = None, lines: LineConfig | None = None
    ) -> None:
        self._scanner, self._finder = CarpetScanner(carpet, camera), LineFinder(lines or LineConfig(), camera)
        self._camera = camera

    def find(
        self, image_bgr: np.ndarray, tilt_rad: Vec2 = (0.0, 0.0)
    ) -> tuple[tuple[tuple[float, float, float, float], ...], tuple[Vec2, ...]]:
        """Return (segments, points), pixels.

        Raises:
            DataError: the picture has not the size of the camera that it is read by.
        """
        require_size((image_bgr.shape[1], image_bgr.shape[0]), self._camera)
        edge, mask = self._scanner.scan_with_mask(image_bgr)
        found = self._finder.find(image_bgr, mask, edge, (), tilt_rad)
        return tuple((*s.ends_px[0], *s.ends_px[1]) for s in found.segments), tuple(p.pixel_px for p in found.points)


def require_size(size_px: tuple[int, int], camera: CameraModel) -> None:
    """Refuse pictures that are not as large as those that the camera was calibrated with.

    Raises:
        DataError: says both sizes.
    """
    k = camera.intrinsics
    if size_px != (k.width_px, k.height_px):
        raise DataError(
            f"the pictures are {size_px[0]}x{size_px[1]}, but the camera file is for {k.width_px}x{k.height_px}",
            hint="give the camera file of the camera that took them, at the size at which it was calibrated",
        )


def line_views(
    recording: Recording, robot: Robot, camera: CameraModel, *, localise: bool = False
) -> Iterator[LineView]:
    """Yield the views of a recording in the order of time.

    Lines are those that were found on board; where none were (line finding was off), they are found in the recorded
    pictures.

    Args:
        recording: opened.
        robot: its configuration (`robot.runtime.replay.robot_of`).
        camera: the camera file to find lines with, where pictures are recorded.
        localise: let lines found on board correct the pose, as in play: what that teaches of the gyro's bias and scale
            makes dead reckoning better, as long as the camera file is right.

    Raises:
        DataError: the pictures have another size than the camera's.
    """
    link = Link(robot.config.link, body_parameters(robot.config.body))
    estimator = Estimator(robot.config.estimation, robot.config.body, robot.field, camera)
    pictures = None if _has_lines(recording) else recording.frames()
    finder = PictureLines(camera, robot.config.carpet, robot.config.lines)
    delay_s = robot.config.estimation.vision.delay_s
    delay_ns = int(delay_s * NS_PER_S)
    waiting: CameraFrame | None = next(pictures, None) if pictures is not None else None
    pending: list[DetectionBatch] = []
    for tick in recording.ticks():
        batch = tick.batch
        for chunk in batch.serial:
            for frame in link.on_bytes(chunk.data, chunk.t_receive_ns):
                estimator.on_telemetry(frame)
        if localise:
            estimator.locate()
        if pictures is None:
            pending += [stamped_at_exposure(d, delay_s) for d in batch.detections if d.valid]
            while pending and pending[0].t_capture_ns <= batch.t_now_ns - _LATE_NS:
                seen = pending.pop(0)
                if localise:
                    estimator.on_observations(seen, ())
                motion = estimator.dead_reckoning_at(seen.t_capture_ns)
                if motion is not None:
                    if seen.line_segments_px or seen.line_points_px:
                        require_size(seen.image_size_px, camera)
                    yield LineView.seen(seen.t_capture_ns, seen.line_segments_px, seen.line_points_px, motion)
            continue
        while waiting is not None and waiting.t_capture_ns - delay_ns <= batch.t_now_ns - _LATE_NS:
            taken_ns = waiting.t_capture_ns - delay_ns
            motion = estimator.dead_reckoning_at(taken_ns)
            if motion is not None:
                segments, points = finder.find(waiting.image_bgr, motion.tilt.angles_rad)
                yield LineView.seen(taken_ns, segments, points, motion)
            waiting = next(pictures, None)


def _has_lines(recording: Recording) -> bool:
    return any(d.line_segments_px for tick in recording.ticks() for d in tick.batch.detections)
