"""Reads recordings back, in the order in which they were written, and says clearly what is wrong with a bad one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mcap.exceptions import McapError
from mcap.records import Channel, Message, Metadata
from mcap.stream_reader import StreamReader

from robot.core.clock import NS_PER_S
from robot.core.errors import RecordingError
from robot.core.messages import CameraFrame, TickBatch
from robot.recording.codec import from_json
from robot.recording.header import METADATA_NAME, RunHeader
from robot.recording.writer import END_METADATA_NAME, FRAMES

MAGIC = b"\x89MCAP0\r\n"
_LIMIT_BYTES = 2**32
_TICK = re.compile(rb'\{"tick":(\d+),')


@dataclass(frozen=True)
class RecordedTick:
    """One tick as recorded: the batch, and the result's JSON text (None: never recorded)."""

    batch: TickBatch
    result_json: bytes | None


class Recording:
    """An opened recording. Frames of an onboard run lie beside it in `<name>.frames.mcap` and are found there.

    Raises:
        RecordingError: missing, cut (unless `salvage`), not MCAP, or not written by Blackout.
    """

    def __init__(self, path: Path, *, salvage: bool = False) -> None:
        """Open `path`; with `salvage` a cut file is read as far as it goes."""
        self.path = path
        self.salvage = salvage
        _check_head(path)
        if not salvage and not _has_tail(path):
            raise RecordingError(
                f"the recording {path} is cut: {_count_readable(path)} of its messages are readable",
                hint="add --salvage to this command: what is there is read",
            )
        self.header = self._read_header()

    def messages(self, *topics: str) -> Iterator[tuple[str, int, bytes]]:
        """Yield (topic, log time in ns, bytes) in file order; all topics when none is named."""
        return _messages(self.path, topics, salvage=self.salvage)

    def ticks(self) -> Iterator[RecordedTick]:
        """Yield each recorded batch with its own result, by tick number; None where that was never recorded.

        Results whose batch the recorder dropped are left out; `rows` shows them.

        Raises:
            RecordingError: see `rows`.
        """
        for _, batch, result_json in self.rows():
            if batch is not None:
                yield RecordedTick(batch, result_json)

    def rows(self) -> Iterator[tuple[int, TickBatch | None, bytes | None]]:
        """Yield (tick, batch, result's JSON) of each tick of which at least one was recorded.

        Raises:
            RecordingError: ticks do not rise: not a file of the one pipeline.
        """
        pending: TickBatch | None = None
        last = -1
        for topic, _, data in self.messages("batch", "result"):
            batch = from_json(TickBatch, data) if topic == "batch" else None
            tick = batch.tick if batch is not None else _tick_of(data)
            if batch is None and pending is not None and pending.tick == tick:
                yield tick, pending, data
                pending = None
                continue
            if tick <= last:
                raise RecordingError(
                    f"{self.path}: the {topic} of tick {tick} comes after tick {last}",
                    hint="give a file that one run of Blackout wrote",
                )
            last = tick
            if pending is not None:
                yield pending.tick, pending, None
            pending = batch
            if batch is None:
                yield tick, None, data
        if pending is not None:
            yield pending.tick, pending, None

    def notes(self, topic: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (t_ns, data) of a free topic such as `truth/pose`."""
        for _, t_ns, data in self.messages(topic):
            yield t_ns, json.loads(data)

    def frames(self) -> Iterator[CameraFrame]:
        """Yield the recorded pictures, decoded; `seq` counts the recorded ones."""
        for seq, (_, t_receive_ns, data) in enumerate(self._frame_messages()):
            t_capture_ns, camera_id, jpeg = parse_compressed_image(data)
            image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            if image is not None:
                yield CameraFrame(
                    seq=seq,
                    t_capture_ns=t_capture_ns,
                    t_receive_ns=t_receive_ns,
                    valid=True,
                    image_bgr=np.asarray(image, dtype=np.uint8),
                    camera_id=camera_id,
                )

    def encoded_frames(self) -> Iterator[tuple[int, bytes]]:
        """Yield (capture time in ns, JPEG) of the recorded pictures, byte for byte as recorded."""
        for _, _, data in self._frame_messages():
            t_capture_ns, _, jpeg = parse_compressed_image(data)
            yield t_capture_ns, jpeg

    def _frame_messages(self) -> Iterator[tuple[str, int, bytes]]:
        # A vision process that was killed at its start leaves a file without a head: no frames, and no reason to
        # refuse the run.
        beside = list(_frames_beside(self.path))
        for path in beside or [self.path]:
            yield from _messages(path, (FRAMES,), salvage=self.salvage or path != self.path)

    def end_counts(self) -> dict[str, int]:
        """Return what the writer counted at its end (messages by topic, `dropped_*`); empty when it never ended."""
        for record in _records(self.path, salvage=self.salvage):
            if isinstance(record, Metadata) and record.name == END_METADATA_NAME:
                return {k: int(v) for k, v in record.metadata.items()}
        return {}

    def _read_header(self) -> RunHeader:
        for record in _records(self.path, salvage=self.salvage):
            if isinstance(record, Metadata) and record.name == METADATA_NAME:
                return RunHeader.from_metadata(record.metadata)
            if isinstance(record, Message):
                break
        if not _has_tail(self.path):
            raise RecordingError(f"{self.path} is cut before its first message", hint="there is nothing to be saved")
        raise RecordingError(
            f"{self.path} is an MCAP file, but not a recording of Blackout",
            hint="give a file that `blackout play`, `challenge --record` or `demo` wrote",
        )


def _messages(path: Path, topics: tuple[str, ...], *, salvage: bool) -> Iterator[tuple[str, int, bytes]]:
    names: dict[int, str] = {}
    for record in _records(path, salvage=salvage):
        if isinstance(record, Channel):
            names[record.id] = record.topic
        elif isinstance(record, Message) and (not topics or names[record.channel_id] in topics):
            yield names[record.channel_id], record.log_time, record.data


def _tick_of(result_json: bytes) -> int:
    found = _TICK.match(result_json)
    return int(found[1]) if found else int(json.loads(result_json)["tick"])


def frames_path(path: Path, before: int = 0) -> Path:
    """Return where the vision process puts the frames of the run `path`, if it was started `before` times before."""
    return path.with_suffix(f".frames-{before + 1}.mcap" if before else ".frames.mcap")


def _frames_beside(path: Path) -> Iterator[Path]:
    """Yield the files of frames of a run, in the order of time."""
    before = 0
    while (beside := frames_path(path, before)).is_file():
        yield beside
        before += 1


def parse_compressed_image(data: bytes) -> tuple[int, str, bytes]:
    """Read a foxglove.CompressedImage protobuf: (capture time in ns, camera, picture).

    The four fields are read straight from the wire format (protobuf encoding guide: tag = field << 3 | type), which
    spares the robot the protobuf package.
    """
    parts = dict(_fields(data))
    stamp = dict(_fields(parts.get(1, b"")))
    seconds, nanoseconds = stamp.get(1, 0), stamp.get(2, 0)
    camera, picture = parts.get(4, b""), parts.get(2, b"")
    if not (isinstance(seconds, int) and isinstance(nanoseconds, int)):
        raise RecordingError("a recorded frame has no time stamp")
    if not (isinstance(camera, bytes) and isinstance(picture, bytes)):
        raise RecordingError("a recorded frame has no picture")
    return seconds * NS_PER_S + nanoseconds, camera.decode(), picture


def _fields(data: bytes | int) -> Iterator[tuple[int, bytes | int]]:
    """Yield (field number, value) of the varint and length-delimited fields of a protobuf message."""
    at, raw = 0, data if isinstance(data, bytes) else b""
    while at < len(raw):
        tag, at = _varint(raw, at)
        value, at = _varint(raw, at)
        if tag & 7 == 2:
            yield tag >> 3, raw[at : at + value]
            at += value
        elif tag & 7 == 0:
            yield tag >> 3, value
        else:
            raise RecordingError(f"a recorded frame is not a compressed image (wire type {tag & 7})")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _check_head(path: Path) -> None:
    if not path.is_file():
        raise RecordingError(f"no such recording: {path}", hint="check the path; runs lie under runs/")
    with path.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            raise RecordingError(f"{path} is not an MCAP file", hint="give a .mcap file that Blackout wrote")


def _has_tail(path: Path) -> bool:
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - len(MAGIC)))
        return size >= 2 * len(MAGIC) and stream.read() == MAGIC


def _count_readable(path: Path) -> int:
    return sum(isinstance(record, Message) for record in _records(path, salvage=True))


def _records(path: Path, *, salvage: bool) -> Iterator[Any]:
    """Yield MCAP records in file order; `salvage` ends quietly where the file stops making sense."""
    with path.open("rb") as stream:
        records = StreamReader(stream, validate_crcs=True, record_size_limit=_LIMIT_BYTES).records
        while True:
            try:
                record = next(records)
            except StopIteration:
                return
            except Exception as error:
                # The mcap package raises struct.error, zstd errors and its own ones, depending on where the cut is.
                if salvage:
                    return
                kind = "damaged" if isinstance(error, McapError) else "cut or damaged"
                raise RecordingError(
                    f"{path} is {kind}: {error!r}", hint="add --salvage to this command: what is there is read"
                ) from error
            yield record
