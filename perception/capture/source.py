"""What every frame source is: one protocol, one configuration, one set of counters."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from robot.core.messages import CameraFrame


@dataclass(frozen=True, kw_only=True)
class CaptureConfig:
    """How the camera is opened; what is asked for is read back and checked.

    Attributes:
        device: `/dev/video0`, better a stable name under `/dev/v4l/by-id/`, or `file:PATH` of a video or a folder.
        width_px: picture width.
        height_px: picture height.
        rate_hz: frames per second; for a folder of pictures, the rate at which they are played.
        fourcc: pixel format on the wire; MJPG is what lets a USB 2 camera give 640 x 480 at 30 Hz and more.
        exposure: the driver's exposure value with automatic exposure off; None leaves the automatic on, which in
            dim light lowers the frame rate.
        capture_offset_ms: added to the driver's time stamp; half the exposure time makes it the middle of exposure.
        stall_s: no frame for this long and the camera is closed and opened again.
        reopen_max_s: longest pause between attempts to reopen; it starts at 0.1 s and doubles.
        loop: start a file again at its end.
    """

    device: str = "/dev/video0"
    width_px: int = 640
    height_px: int = 480
    rate_hz: float = 30.0
    fourcc: str = "MJPG"
    exposure: float | None = None
    capture_offset_ms: float = 0.0
    stall_s: float = 1.0
    reopen_max_s: float = 2.0
    loop: bool = True

    def __post_init__(self) -> None:
        if len(self.fourcc) != 4:
            raise ValueError(f"fourcc should have four letters, e.g. MJPG, not {self.fourcc!r}")
        for name in ("width_px", "height_px", "rate_hz", "stall_s", "reopen_max_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} should be above 0, not {getattr(self, name)}")


@dataclass(slots=True)
class CaptureStats:
    """Counters of one source since it was opened.

    Attributes:
        frames: frames that the source gave.
        dropped: frames that were replaced by a newer one before anybody took them.
        bad: reads or pictures that could not be decoded.
        stalls: times the camera was given up and opened again.
        stamped_at_grab: frames whose driver time was not usable and that got the time of the grab instead.
    """

    frames: int = 0
    dropped: int = 0
    bad: int = 0
    stalls: int = 0
    stamped_at_grab: int = 0


class FrameSource(Protocol):
    """Gives the newest picture; never an old one when a newer is there."""

    stats: CaptureStats

    @property
    def ended(self) -> bool:
        """True when no frame will ever come again (a file's end without loop)."""
        ...

    def next_frame(self, timeout_s: float) -> CameraFrame | None:
        """Wait for the next unseen frame; None when none came within `timeout_s`."""
        ...

    def close(self) -> None:
        """Release the device or file; calling it again does nothing."""
        ...

    def __enter__(self) -> FrameSource: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
