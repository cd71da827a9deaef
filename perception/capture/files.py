"""Videos and folders of pictures, played at their true rate as if a camera saw them now.

A frame's capture time is when it would have been exposed: start + its place in the file. It is not the time at which
it was read, so that a slow reader shows up as latency, as with a camera.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.capture.source import CaptureStats
from robot.core.clock import NS_PER_S, Clock
from robot.core.errors import CameraError
from robot.core.messages import CameraFrame

Image = NDArray[np.uint8]
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


class Pictures(Protocol):
    """A finite row of pictures with a fixed rate."""

    rate_hz: float
    count: int

    def read(self, index: int) -> Image | None:
        """Return picture `index` (0 <= index < count) as BGR, or None when it cannot be decoded."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class PictureFolder:
    """The pictures of a folder in natural order (`frame2` before `frame10`)."""

    def __init__(self, folder: Path, rate_hz: float) -> None:
        """List `folder`; pictures are read when asked for.

        Raises:
            CameraError: there are none.
        """
        self.rate_hz = rate_hz
        self.paths = sorted((p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES), key=_natural)
        self.count = len(self.paths)
        if not self.paths:
            raise CameraError(
                f"no pictures in {folder}", hint=f"give a folder with {', '.join(PICTURE_SUFFIXES)} files"
            )

    def read(self, index: int) -> Image | None:
        """See `Pictures.read`."""
        data = np.frombuffer(self.paths[index].read_bytes(), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        return None if image is None else np.asarray(image, dtype=np.uint8)

    def close(self) -> None:
        """See `Pictures.close`."""


class VideoFile:
    """A video file; skipping forward is cheap, jumping back reopens."""

    def __init__(self, path: Path) -> None:
        """Open `path`.

        Raises:
            CameraError: it cannot be decoded or does not say its rate.
        """
        self.path = path
        self._open()
        self.rate_hz = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if not 0.1 <= self.rate_hz <= 1000.0 or self.count < 1:
            self.close()
            raise CameraError(
                f"{path} does not say its frame rate and length (rate {self.rate_hz}, {self.count} frames)",
                hint="convert it: ffmpeg -i IN -c:v mjpeg -q:v 3 OUT.avi",
            )

    def read(self, index: int) -> Image | None:
        """See `Pictures.read`."""
        if index < self._next:
            self.close()
            self._open()
        while self._next < index:
            self._capture.grab()
            self._next += 1
        good, image = self._capture.read()
        self._next += 1
        return np.asarray(image, dtype=np.uint8) if good else None

    def close(self) -> None:
        """See `Pictures.close`."""
        self._capture.release()

    def _open(self) -> None:
        self._next = 0
        self._capture = cv2.VideoCapture(str(self.path))
        if not self._capture.isOpened():
            raise CameraError(
                f"OpenCV cannot open the video {self.path}", hint="convert it: ffmpeg -i IN -c:v mjpeg -q:v 3 OUT.avi"
            )


def open_pictures(path: Path, rate_hz: float) -> Pictures:
    """Open a video file, or a folder of pictures that has the rate `rate_hz`.

    Raises:
        CameraError: missing, empty, or not a video.
    """
    if path.is_dir():
        return PictureFolder(path, rate_hz)
    if not path.is_file():
        raise CameraError(f"no such video or folder: {path}", hint="give file:VIDEO or file:FOLDER_OF_PICTURES")
    return VideoFile(path)


class PacedFiles:
    """Plays pictures in real time: waits for the next one, skips those that are already past (and counts them)."""

    def __init__(self, pictures: Pictures, clock: Clock, *, loop: bool, camera_id: str = "front") -> None:
        self.stats = CaptureStats()
        self._pictures = pictures
        self._clock = clock
        self._loop = loop
        self._camera_id = camera_id
        self._start_ns: int | None = None
        self._next = 0

    @property
    def ended(self) -> bool:
        """See `FrameSource.ended`."""
        return not self._loop and self._next >= self._pictures.count

    def next_frame(self, timeout_s: float) -> CameraFrame | None:
        """See `FrameSource.next_frame`; the first call starts the film."""
        now_ns = self._clock.now_ns()
        limit_ns = now_ns + round(timeout_s * NS_PER_S)
        if self._start_ns is None:
            self._start_ns = now_ns
        while not self.ended:
            current = int((now_ns - self._start_ns) * self._pictures.rate_hz // NS_PER_S)
            if not self._loop:
                current = min(current, self._pictures.count - 1)
            if current > self._next:
                self.stats.dropped += current - self._next
                self._next = current
            due_ns = self._due_ns(self._next)
            self._clock.sleep_until_ns(min(due_ns, limit_ns))
            if due_ns > limit_ns:
                return None
            index, self._next = self._next, self._next + 1
            image = self._pictures.read(index % self._pictures.count)
            now_ns = self._clock.now_ns()
            if image is not None:
                self.stats.frames += 1
                return CameraFrame(
                    seq=index,
                    t_capture_ns=due_ns,
                    t_receive_ns=now_ns,
                    valid=True,
                    image_bgr=image,
                    camera_id=self._camera_id,
                )
            self.stats.bad += 1
        return None

    def close(self) -> None:
        """See `FrameSource.close`."""
        self._pictures.close()

    def _due_ns(self, index: int) -> int:
        return (self._start_ns or 0) + round(index * NS_PER_S / self._pictures.rate_hz)

    def __enter__(self) -> PacedFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def unpaced_frames(pictures: Pictures, start_ns: int = 0, camera_id: str = "front") -> Iterator[CameraFrame]:
    """Yield every picture once, stamped as a camera would have, without waiting: for offline work."""
    for index in range(pictures.count):
        image = pictures.read(index)
        if image is not None:
            t_ns = start_ns + round(index * NS_PER_S / pictures.rate_hz)
            yield CameraFrame(
                seq=index, t_capture_ns=t_ns, t_receive_ns=t_ns, valid=True, image_bgr=image, camera_id=camera_id
            )


def _natural(path: Path) -> list[tuple[int, int, str]]:
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", path.name)]
