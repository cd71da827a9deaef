"""Writes a run into one MCAP file: every tick's batch before it is used, its result after, frames, truth, events.

Two writers with the same methods: `Recorder` writes at once and loses nothing (simulation, tests);
`BackgroundRecorder` hands everything to a thread through a bounded queue that drops and counts, and so never makes
a control loop or a camera wait for a disk. MCAP opens in Foxglove and Rerun; frames are standard compressed images.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import weakref
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import cv2
import foxglove
from foxglove.channels import CompressedImageChannel
from foxglove.mcap import MCAPWriteOptions, MCAPWriter
from foxglove.messages import CompressedImage, Timestamp
from numpy.typing import NDArray

from robot.core.clock import NS_PER_S
from robot.core.errors import RecordingError
from robot.core.messages import CameraFrame, TickBatch, TickResult
from robot.core.streams import STREAMS, stream
from robot.recording.codec import json_schema, to_json
from robot.recording.disk import DiskFile
from robot.recording.header import METADATA_NAME, RunHeader

END_METADATA_NAME = "blackout_end"
FRAMES = stream("camera/frames").name
_CLOSE_S = 10.0


@dataclass(frozen=True, kw_only=True)
class RecordingConfig:
    """How much of the camera is kept, and how much may wait for the disk.

    Attributes:
        frame_rate_hz: at most this many frames a second are kept; 0 keeps none. Detections are always kept.
        jpeg_quality: 1 to 100.
        chunk_bytes: a cut recording loses at most the last chunk; smaller chunks compress less.
        queue_messages: what may wait in a `BackgroundRecorder` before it drops.
    """

    frame_rate_hz: float = 10.0
    jpeg_quality: int = 85
    chunk_bytes: int = 262_144
    queue_messages: int = 512

    def __post_init__(self) -> None:
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"jpeg_quality should be 1 to 100, not {self.jpeg_quality}")
        if self.frame_rate_hz < 0 or self.chunk_bytes < 1024 or self.queue_messages < 1:
            raise ValueError("frame_rate_hz >= 0, chunk_bytes >= 1024 and queue_messages >= 1 are needed")


class RunRecorder(Protocol):
    """What runners need of a writer."""

    def batch(self, batch: TickBatch) -> None:
        """Keep a tick's input; called before the pipeline sees it."""
        ...

    def result(self, result: TickResult) -> None:
        """Keep a tick's output."""
        ...

    def frame(self, frame: CameraFrame) -> None:
        """Keep a picture, if one is due."""
        ...

    def note(self, topic: str, t_ns: int, data: dict[str, Any]) -> None:
        """Keep anything else that is JSON-able, e.g. `truth/pose` or `score`: never read by the pipeline."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


class Recorder:
    """Writes at once; nothing is dropped.

    Every method raises RecordingError once the disk has failed (full, quota, pulled out). What had been written until
    then can be read with `--salvage`.
    """

    def __init__(self, path: Path, header: RunHeader, config: RecordingConfig) -> None:
        """Open `path` for writing; an existing file there is replaced.

        Raises:
            RecordingError: the folder cannot be made or the file cannot be written.
        """
        self.path = path
        self.counts: Counter[str] = Counter()
        self._config = config
        self._context = foxglove.Context()
        # foxglove waits for its own lock with Python's in hand, which our file needs: two threads would wait for ever.
        self._lock = threading.Lock()
        options = MCAPWriteOptions(chunk_size=config.chunk_bytes, compression_threads=0)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._disk = DiskFile(path)
            self._file = foxglove.open_mcap(self._disk, context=self._context, writer_options=options)
        except (OSError, RuntimeError) as error:
            raise RecordingError(
                f"cannot write the recording {path}: {error}", hint="give a folder that can be written and has space"
            ) from error
        # Left to itself it closes when Python has half ended, asks for our file, and aborts the process.
        self._at_exit = weakref.finalize(self, _leave, self._file, self._disk, self._lock)
        self._file.write_metadata(METADATA_NAME, header.to_metadata())
        self._images = CompressedImageChannel(FRAMES, context=self._context)
        self._channels = {
            row.name: foxglove.Channel(
                row.name, schema=json_schema(row.message), message_encoding="json", context=self._context
            )
            for row in STREAMS
            if row.recorded and row.name != FRAMES
        }
        self._next_frame_ns: int | None = None
        self._closed = False
        if self._disk.failure is not None:
            self.close()

    def batch(self, batch: TickBatch) -> None:
        """See `RunRecorder.batch`."""
        self._check_disk()
        self._write("batch", batch.t_now_ns, to_json(batch))

    def result(self, result: TickResult) -> None:
        """See `RunRecorder.result`."""
        self._check_disk()
        self._write("result", result.t_now_ns, to_json(result))

    def frame(self, frame: CameraFrame) -> None:
        """See `RunRecorder.frame`."""
        self._check_disk()
        if not self.frame_is_due(frame.t_capture_ns):
            return
        jpeg = encode_jpeg(frame.image_bgr, self._config.jpeg_quality)
        stamp = Timestamp(frame.t_capture_ns // NS_PER_S, frame.t_capture_ns % NS_PER_S)
        message = CompressedImage(timestamp=stamp, frame_id=frame.camera_id, data=jpeg, format="jpeg")
        with self._lock:
            self._images.log(message, log_time=frame.t_receive_ns)
        self._check_disk()
        self.counts[FRAMES] += 1

    def frame_is_due(self, t_capture_ns: int) -> bool:
        """Say whether the frame of this time should be kept, at the configured rate, and remember it if so."""
        if self._config.frame_rate_hz == 0.0:
            return False
        period_ns = round(NS_PER_S / self._config.frame_rate_hz)
        due_ns = t_capture_ns if self._next_frame_ns is None else self._next_frame_ns
        if t_capture_ns < due_ns - period_ns // 8:  # cameras jitter: a frame a little early still counts
            return False
        self._next_frame_ns = max(due_ns + period_ns, t_capture_ns)
        return True

    def note(self, topic: str, t_ns: int, data: dict[str, Any]) -> None:
        """See `RunRecorder.note`."""
        if topic not in self._channels:
            self._channels[topic] = foxglove.Channel(topic, message_encoding="json", context=self._context)
        self._write(topic, t_ns, json.dumps(data, separators=(",", ":")).encode())

    def close(self) -> None:
        """See `RunRecorder.close`; also writes how much was kept. Calling it again does nothing.

        Raises:
            RecordingError: the disk has failed, now or before: the file is cut.
        """
        if not self._closed:
            self._closed = True
            with self._lock:
                self._file.write_metadata(END_METADATA_NAME, {k: str(v) for k, v in sorted(self.counts.items())})
            self._at_exit()
            self._check_disk()

    def _write(self, topic: str, t_ns: int, data: bytes) -> None:
        with self._lock:
            self._channels[topic].log(data, log_time=t_ns)
        self._check_disk()
        self.counts[topic] += 1

    def _check_disk(self) -> None:
        if self._disk.failure is not None:
            raise RecordingError(
                f"the recording {self.path} is cut, the disk failed: {self._disk.failure}",
                hint=f"make space; read what is there with: blackout replay --salvage {self.path}",
            ) from self._disk.failure

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except RecordingError:
            if error is None:  # otherwise the error that is on its way says more, or the same
                raise


class BackgroundRecorder:
    """Hands messages to a thread that owns a `Recorder`; a full queue drops the new message and counts it.

    A dropped batch shows in the file as a missing tick, which `blackout replay` reports.

    Attributes:
        dropped: messages that are not in the file, by kind.
        failure: the first error of the recorder, None while all is well. A full disk must not stop the robot: it is
            kept here, and whoever plays tells it. No method raises it.
    """

    def __init__(self, recorder: Recorder, queue_messages: int) -> None:
        self.dropped: Counter[str] = Counter()
        self.failure: BaseException | None = None
        self._recorder = recorder
        self._closed = False
        self._queue: queue.Queue[tuple[str, Any] | None] = queue.Queue(maxsize=queue_messages)
        self._thread = threading.Thread(target=self._drain, name="recorder", daemon=True)
        self._thread.start()

    @property
    def path(self) -> Path:
        """The file."""
        return self._recorder.path

    def batch(self, batch: TickBatch) -> None:
        """See `RunRecorder.batch`; never blocks."""
        self._put("batch", batch)

    def result(self, result: TickResult) -> None:
        """See `RunRecorder.result`; never blocks."""
        self._put("result", result)

    def frame(self, frame: CameraFrame) -> None:
        """See `RunRecorder.frame`; never blocks."""
        self._put("frame", frame)

    def note(self, topic: str, t_ns: int, data: dict[str, Any]) -> None:
        """See `RunRecorder.note`; never blocks."""
        self._put("note", (topic, t_ns, data))

    def close(self) -> None:
        """Write what waits, note what was dropped, finish the file; after ten seconds of a stuck disk, give up."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(queue.Full):  # then the thread still has a message that the disk does not take
            self._queue.put(None, timeout=_CLOSE_S)
            self._thread.join(timeout=_CLOSE_S)
        if self._thread.is_alive():  # it holds the file: closing that would wait as long
            self.failure = self.failure or RecordingError(
                f"the disk did not take the end of {self.path} within {_CLOSE_S:g} s", hint="use a faster disk"
            )
            return
        self._recorder.counts.update({f"dropped_{k}": v for k, v in self.dropped.items()})
        try:
            self._recorder.close()
        except RecordingError as error:
            self.failure = self.failure or error

    def _put(self, method: str, value: Any) -> None:
        try:
            self._queue.put_nowait((method, value))
        except queue.Full:
            self.dropped[method] += 1

    def _drain(self) -> None:
        while (item := self._queue.get()) is not None:
            method, value = item
            try:
                if method == "note":
                    self._recorder.note(*value)
                else:
                    getattr(self._recorder, method)(value)
            except Exception as error:  # noqa: BLE001 - a full disk must not stop the robot: kept, and told
                self.failure = self.failure or error
                self.dropped[method] += 1


def _leave(file: MCAPWriter, disk: DiskFile, lock: threading.Lock) -> None:
    if lock.acquire(timeout=_CLOSE_S):  # never, while a thread hangs in a write: it then keeps the file for itself
        file.close()
        disk.close()
        lock.release()


def encode_jpeg(image_bgr: NDArray[Any], quality: int) -> bytes:
    """Return the picture as JPEG.

    Args:
        image_bgr: (height, width, 3) uint8.
        quality: 1 to 100.
    """
    done, data = cv2.imencode(".jpg", image_bgr, (cv2.IMWRITE_JPEG_QUALITY, quality))
    if not done:
        raise RecordingError(f"OpenCV could not encode a picture of shape {image_bgr.shape}")
    return data.tobytes()
