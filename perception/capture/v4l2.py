"""A V4L2 camera through OpenCV: a thread keeps only the newest frame, a stalled camera is opened again.

What is asked for is read back and checked, because drivers quietly give another mode. Order matters: the pixel format
goes before size and rate (the rates on offer depend on it), and the driver's queue is one frame deep so that a frame
is never older than one period when it comes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from perception.capture.source import CaptureConfig, CaptureStats
from robot.core.clock import NS_PER_S, Clock
from robot.core.errors import CameraError
from robot.core.messages import CameraFrame

OpenCapture = Callable[[str], Any]
"""Opens a device by name and returns something like `cv2.VideoCapture`."""

_FIRST_FRAME_S = 5.0
_MAX_DRIVER_AGE_NS = 500_000_000  # an older driver stamp is of another clock (UVC hardware clocks, old kernels)
_V4L2_MANUAL_EXPOSURE, _V4L2_AUTO_EXPOSURE = 1.0, 3.0


def open_v4l2(device: str) -> Any:
    """Open `device` with OpenCV's V4L2 backend."""
    return cv2.VideoCapture(device, cv2.CAP_V4L2)


class V4l2Camera:
    """A camera with its capture thread; see `FrameSource`."""

    def __init__(
        self,
        config: CaptureConfig,
        clock: Clock,
        *,
        camera_id: str = "front",
        open_capture: OpenCapture = open_v4l2,
        start_timeout_s: float = _FIRST_FRAME_S,
    ) -> None:
        """Open the camera, check its mode, and wait for its first frame.

        Raises:
            CameraError: absent or busy, another mode than asked, or no frame within `start_timeout_s`.
        """
        self.stats = CaptureStats()
        self._config = config
        self._clock = clock
        self._camera_id = camera_id
        self._open_capture = open_capture
        self._fresh = threading.Condition()
        self._slot: CameraFrame | None = None
        self._closing = threading.Event()
        self._seq = 0
        self._last_stamp_ns = -1
        self._capture = self._open()
        self._thread = threading.Thread(target=self._run, name=f"capture-{camera_id}", daemon=True)
        self._thread.start()
        with self._fresh:
            arrived = self._fresh.wait_for(lambda: self._slot is not None, timeout=start_timeout_s)
        if not arrived:
            self.close()
            raise CameraError(
                f"{config.device} opened, but gave no frame within {start_timeout_s:g} s",
                hint="replug it; check the cable and that no other program streams from it (fuser -v /dev/video*)",
            )

    @property
    def ended(self) -> bool:
        """See `FrameSource.ended`: a camera never ends."""
        return False

    def next_frame(self, timeout_s: float) -> CameraFrame | None:
        """See `FrameSource.next_frame`."""
        with self._fresh:
            self._fresh.wait_for(lambda: self._slot is not None or self._closing.is_set(), timeout=timeout_s)
            frame, self._slot = self._slot, None
            return frame

    def close(self) -> None:
        """See `FrameSource.close`."""
        self._closing.set()
        with self._fresh:
            self._fresh.notify_all()
        self._thread.join(timeout=self._config.stall_s + 1.0)

    def _open(self) -> Any:
        config = self._config
        capture = self._open_capture(config.device)
        if not capture.isOpened():
            capture.release()
            raise CameraError(
                f"cannot open {config.device}: it is absent, busy, or you may not read it",
                hint=f"fuser -v {config.device}; sudo usermod -aG video $USER (then log in again)",
            )
        capture.set(cv2.CAP_PROP_FOURCC, float(cv2.VideoWriter.fourcc(*config.fourcc)))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, float(config.width_px))
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, float(config.height_px))
        capture.set(cv2.CAP_PROP_FPS, config.rate_hz)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1.0)
        capture.set(cv2.CAP_PROP_READ_TIMEOUT_MSEC, config.stall_s * 1e3)  # else a dead camera blocks for 10 s
        if config.exposure is None:
            capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _V4L2_AUTO_EXPOSURE)
        else:
            capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _V4L2_MANUAL_EXPOSURE)
            capture.set(cv2.CAP_PROP_EXPOSURE, config.exposure)
        try:
            self._check_mode(capture)
        except CameraError:
            capture.release()
            raise
        return capture

    def _check_mode(self, capture: Any) -> None:
        config = self._config
        width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        code = int(capture.get(cv2.CAP_PROP_FOURCC))
        fourcc = "".join(chr((code >> shift) & 0xFF) for shift in (0, 8, 16, 24))
        rate_hz = float(capture.get(cv2.CAP_PROP_FPS))
        wrong = (width, height, fourcc) != (config.width_px, config.height_px, config.fourcc)
        if wrong or abs(rate_hz - config.rate_hz) > 0.1 * config.rate_hz:
            raise CameraError(
                f"{config.device} gives {width} x {height} {fourcc} at {rate_hz:g} Hz, not "
                f"{config.width_px} x {config.height_px} {config.fourcc} at {config.rate_hz:g} Hz",
                hint=f"choose a mode that it has ([capture] in the robot's TOML): "
                f"v4l2-ctl -d {config.device} --list-formats-ext",
            )

    def _run(self) -> None:
        last_good_ns = self._clock.now_ns()
        while not self._closing.is_set():
            frame = self._read()
            now_ns = self._clock.now_ns()
            if frame is not None:
                last_good_ns = now_ns
                with self._fresh:
                    self.stats.frames += 1
                    self.stats.dropped += self._slot is not None
                    self._slot = frame
                    self._fresh.notify_all()
                continue
            self.stats.bad += 1
            if now_ns - last_good_ns >= self._config.stall_s * NS_PER_S:
                self._reopen()
                last_good_ns = self._clock.now_ns()
            else:
                self._closing.wait(0.01)  # a failing driver returns at once: do not spin on it
        self._capture.release()

    def _read(self) -> CameraFrame | None:
        try:
            if not self._capture.grab():
                return None
            t_grab_ns = self._clock.now_ns()
            driver_ms = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
            good, image = self._capture.retrieve()
        except cv2.error:
            return None
        if not good or image is None:
            return None
        t_capture_ns = self._stamp(driver_ms, t_grab_ns)
        self._last_stamp_ns = t_capture_ns
        self._seq += 1
        return CameraFrame(
            seq=self._seq - 1,
            t_capture_ns=t_capture_ns,
            t_receive_ns=self._clock.now_ns(),
            valid=True,
            image_bgr=np.asarray(image, dtype=np.uint8),
            camera_id=self._camera_id,
        )

    def _stamp(self, driver_ms: float, t_grab_ns: int) -> int:
        """Return the capture time: the driver's buffer time (CLOCK_MONOTONIC) where it is plausible."""
        offset_ns = round(self._config.capture_offset_ms * 1e6)
        stamp_ns = round(driver_ms * 1e6) + offset_ns
        if 0 <= t_grab_ns - stamp_ns <= _MAX_DRIVER_AGE_NS and stamp_ns > self._last_stamp_ns:
            return stamp_ns
        self.stats.stamped_at_grab += 1
        return t_grab_ns

    def _reopen(self) -> None:
        """Close the camera and try to open it until it is back or the source is closed."""
        self.stats.stalls += 1
        self._capture.release()
        pause_s = 0.1
        while not self._closing.wait(pause_s):
            pause_s = min(2.0 * pause_s, self._config.reopen_max_s)
            try:
                self._capture = self._open()
            except CameraError:
                continue
            return

    def __enter__(self) -> V4l2Camera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
