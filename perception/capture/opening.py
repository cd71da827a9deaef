"""Opens a frame source by name: a camera's device, a video, a folder of pictures."""

from __future__ import annotations

from pathlib import Path

from perception.capture.files import PacedFiles, Pictures, open_pictures
from perception.capture.source import CaptureConfig, FrameSource
from perception.capture.v4l2 import V4l2Camera
from robot.core.clock import Clock
from robot.core.errors import CameraError


def open_source(
    config: CaptureConfig, clock: Clock, camera_id: str = "front", *, size_px: tuple[int, int] | None = None
) -> FrameSource:
    """Open the camera, video or folder that `config.device` names.

    Args:
        config: names it, and says in which mode a camera is opened.
        clock: stamps frames.
        camera_id: what frames are called.
        size_px: (width, height) that a film must have: that of the camera model by which it is read. None takes any.

    Raises:
        CameraError: it does not exist, is busy, cannot be decoded, gives another mode than asked, or is a film of
            another size.
    """
    if config.device.startswith("file:"):
        pictures = open_pictures(Path(config.device.removeprefix("file:")), config.rate_hz)
        try:
            _check_size(pictures, config.device, size_px)
        except CameraError:
            pictures.close()
            raise
        return PacedFiles(pictures, clock, loop=config.loop, camera_id=camera_id)
    if not Path(config.device).exists():
        found = ", ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "none"
        raise CameraError(
            f"no camera at {config.device}",
            hint=f"video devices here: {found}; or play a file with --camera file:VIDEO_OR_FOLDER",
        )
    return V4l2Camera(config, clock, camera_id=camera_id)


def _check_size(pictures: Pictures, name: str, size_px: tuple[int, int] | None) -> None:
    """Refuse a film whose first picture has not the camera's size: every place in it would be a wrong one."""
    image = pictures.read(0) if size_px is not None else None
    if image is None or size_px is None or image.shape[1::-1] == size_px:
        return  # a picture that cannot be decoded is counted when it is played
    (height, width), (wide, high) = image.shape[:2], size_px
    raise CameraError(
        f"the pictures of {name} are {width}x{height}, but the camera file is for {wide}x{high}",
        hint=f"give a film of {wide}x{high}, or a robot whose camera file was calibrated at {width}x{height}",
    )
