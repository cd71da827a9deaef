"""Opens a frame source by name: a camera's device, a video, a folder of pictures."""

from __future__ import annotations

from pathlib import Path

from perception.capture.files import PacedFiles, open_pictures
from perception.capture.source import CaptureConfig, FrameSource
from perception.capture.v4l2 import V4l2Camera
from robot.core.clock import Clock
from robot.core.errors import CameraError


def open_source(config: CaptureConfig, clock: Clock, camera_id: str = "front") -> FrameSource:
    """Open the camera, video or folder that `config.device` names.

    Raises:
        CameraError: it does not exist, is busy, cannot be decoded, or gives another mode than asked.
    """
    if config.device.startswith("file:"):
        pictures = open_pictures(Path(config.device.removeprefix("file:")), config.rate_hz)
        return PacedFiles(pictures, clock, loop=config.loop, camera_id=camera_id)
    if not Path(config.device).exists():
        found = ", ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "none"
        raise CameraError(
            f"no camera at {config.device}",
            hint=f"video devices here: {found}; or play a file with --camera file:VIDEO_OR_FOLDER",
        )
    return V4l2Camera(config, clock, camera_id=camera_id)
