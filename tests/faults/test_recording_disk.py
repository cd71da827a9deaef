"""A disk that is full: one error that says so, the robot plays on, and what was written can be read."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from robot.core.errors import RecordingError
from robot.recording.reader import Recording
from robot.recording.writer import BackgroundRecorder, Recorder, RecordingConfig
from tests.unit.test_recording_roundtrip import batch, header, result

ROOM = 200_000
"""Bytes that a file may have."""

CHILD = """
import sys
from pathlib import Path
from tests.faults.test_recording_disk import {name}
{name}(Path(sys.argv[1]))
"""


def small_disk() -> None:
    """Files of this process end at ROOM bytes; a write beyond fails as on a full disk (with EFBIG, not ENOSPC)."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))


def in_a_child(work: Callable[[Path], None], path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHILD.format(name=work.__name__), str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=small_disk,
        check=False,
    )


def noisy(tick: int) -> bytes:
    """What does not compress."""
    return np.random.default_rng(tick).bytes(600)


def write_until_it_fails(path: Path) -> None:
    kept = 0
    try:
        with Recorder(path, header(), RecordingConfig(chunk_bytes=8192)) as out:
            for tick in range(2000):
                out.batch(batch(tick, serial=noisy(tick)))
                out.result(result(tick))
                kept += 1
    except RecordingError as error:
        sys.stdout.write(f"{kept} kept, then {error}")


def write_in_the_background(path: Path) -> None:
    out = BackgroundRecorder(Recorder(path, header(), RecordingConfig(chunk_bytes=8192)), queue_messages=10_000)
    for tick in range(2000):
        out.batch(batch(tick, serial=noisy(tick)))
        out.result(result(tick))
    out.close()
    out.close()
    sys.stdout.write(f"{sum(out.dropped.values())} dropped, failure: {out.failure}")


@pytest.mark.parametrize("work", [write_until_it_fails, write_in_the_background])
def test_a_full_disk_is_one_error_and_what_was_written_can_be_read(
    work: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "run.mcap"
    done = in_a_child(work, path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "the disk failed: [Errno 27]" in done.stdout
    assert f"--salvage {path}" in done.stdout
    assert path.stat().st_size <= ROOM
    read = [t.batch.tick for t in Recording(path, salvage=True).ticks()]
    assert read == list(range(len(read)))
    assert len(read) > 30
    if work is write_in_the_background:
        assert 4000 - 2 * len(read) - 60 < int(done.stdout.split()[0]) < 4000
    else:
        assert len(read) <= int(done.stdout.split()[0]) + 1 < 2000  # it did not go on


def leave_it_open(path: Path) -> None:
    globals()["kept"] = open_one = Recorder(path, header(), RecordingConfig())
    open_one.batch(batch(0))
    behind = Recorder(path.with_suffix(".2.mcap"), header(), RecordingConfig(chunk_bytes=4096))
    globals()["busy"] = out = BackgroundRecorder(behind, queue_messages=3000)
    noise = [batch(tick, serial=noisy(tick)) for tick in range(100)]
    for turn in range(3000):
        out.batch(noise[turn % 100])


def test_a_recorder_that_nobody_closed_does_not_abort_or_hang_the_end(tmp_path: Path) -> None:
    path = tmp_path / "run.mcap"
    done = in_a_child(leave_it_open, path)
    assert done.returncode == 0, done.stderr
    assert [t.batch.tick for t in Recording(path).ticks()] == [0]


def play_on_a_small_disk(path: Path) -> None:
    from robot.cli.main import main

    camera = f"file:{path / 'film.avi'}"
    flags = ["--camera", camera, "--port", "pty", "--vision", "inline", "--seconds", "4", "--record", str(path)]
    chunks = ["--override", "recording.chunk_bytes=4096", "vision.scan_carpet=false"]
    sys.exit(main(["play", *flags, *chunks]))


def test_a_full_disk_does_not_end_play_and_its_report_says_so(tmp_path: Path) -> None:
    film = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (640, 480))
    for level in range(20):
        film.write(np.random.default_rng(level).integers(0, 255, (480, 640, 3), dtype=np.uint8))
    film.release()
    done = in_a_child(play_on_a_small_disk, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "McapError" not in done.stderr
    assert done.stderr.count("recording has failed") == 1
    assert "ended by --seconds 4" in done.stdout
    assert "frames not recorded" in done.stdout
    assert done.stdout.count("the disk failed: [Errno 27]") >= 1


def test_a_disk_that_is_full_at_the_start_is_refused() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(RecordingError, match="No space left"):
        Recorder(Path("/dev/full"), header(), RecordingConfig())


class StuckRecorder(Recorder):
    """Its disk does not answer."""

    def __init__(self, path: Path) -> None:
        self.gate = threading.Event()
        super().__init__(path, header(), RecordingConfig())

    def batch(self, batch: object) -> None:
        self.gate.wait(30.0)


def test_a_disk_that_hangs_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robot.recording.writer._CLOSE_S", 0.1)
    stuck = StuckRecorder(tmp_path / "run.mcap")
    out = BackgroundRecorder(stuck, queue_messages=2)
    for tick in range(5):
        out.batch(batch(tick))
    out.close()
    assert "did not take the end" in str(out.failure)
    stuck.gate.set()
    out._queue.get_nowait()  # room for the end that found none
    out._queue.put(None)
    out._thread.join(10.0)
    stuck.close()
