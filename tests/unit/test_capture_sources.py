"""Frame sources: true rate, physical times, drops counted, a stalled camera comes back, clear errors."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from perception.capture.files import PacedFiles, PictureFolder, VideoFile, open_pictures, unpaced_frames
from perception.capture.opening import open_source
from perception.capture.source import CaptureConfig
from perception.capture.v4l2 import V4l2Camera
from robot.core.clock import ManualClock, MonotonicClock
from robot.core.errors import CameraError


def grey(level: int) -> np.ndarray:
    return np.full((48, 64, 3), level, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in (0, 1, 2, 10, 11):
        cv2.imwrite(str(tmp_path / f"frame{index}.png"), grey(index * 10))
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "run.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
    for index in range(20):
        writer.write(grey(index * 10))
    writer.release()
    return path


def test_a_folder_plays_in_natural_order_at_its_rate(folder: Path) -> None:
    clock = ManualClock(5_000)
    source = PacedFiles(PictureFolder(folder, 10.0), clock, loop=False)
    seen = []
    while not source.ended:
        frame = source.next_frame(timeout_s=1.0)
        assert frame is not None
        seen.append((int(frame.image_bgr[0, 0, 0]), frame.t_capture_ns))
    assert [level for level, _ in seen] == [0, 10, 20, 100, 110]
    assert [t for _, t in seen] == [5_000 + i * 100_000_000 for i in range(5)]
    assert source.next_frame(timeout_s=1.0) is None


def test_a_slow_reader_gets_the_newest_frame_and_the_drops_are_counted(folder: Path) -> None:
    clock = ManualClock()
    source = PacedFiles(PictureFolder(folder, 10.0), clock, loop=False)
    assert source.next_frame(1.0) is not None
    clock.advance_ns(320_000_000)  # frames 1, 2 and 3 were due meanwhile
    frame = source.next_frame(1.0)
    assert frame is not None
    assert frame.seq == 3
    assert frame.t_capture_ns == 300_000_000  # exposed then, not when it was read
    assert frame.t_receive_ns == 320_000_000
    assert source.stats.dropped == 2


def test_a_short_timeout_gives_none_and_loses_nothing(folder: Path) -> None:
    clock = ManualClock()
    source = PacedFiles(PictureFolder(folder, 10.0), clock, loop=False)
    assert source.next_frame(1.0) is not None
    assert source.next_frame(0.03) is None
    assert clock.now_ns() == 30_000_000
    frame = source.next_frame(1.0)
    assert frame is not None
    assert frame.seq == 1
    assert source.stats.dropped == 0


def test_a_loop_goes_on_with_rising_times(folder: Path) -> None:
    clock = ManualClock()
    source = PacedFiles(PictureFolder(folder, 10.0), clock, loop=True)
    frames = [source.next_frame(1.0) for _ in range(12)]
    assert [f.seq for f in frames if f] == list(range(12))
    assert [int(f.image_bgr[0, 0, 0]) for f in frames[4:7] if f] == [110, 0, 10]
    assert frames[11] is not None
    assert frames[11].t_capture_ns == 1_100_000_000


def test_a_broken_picture_is_skipped_and_counted(folder: Path) -> None:
    (folder / "frame2.png").write_bytes(b"\x89PNG broken")
    source = PacedFiles(PictureFolder(folder, 10.0), ManualClock(), loop=False)
    levels = []
    while not source.ended:
        frame = source.next_frame(1.0)
        if frame:
            levels.append(int(frame.image_bgr[0, 0, 0]))
    assert levels == [0, 10, 100, 110]
    assert source.stats.bad == 1


def test_a_video_has_its_own_rate_and_can_skip_and_rewind(video: Path) -> None:
    pictures = VideoFile(video)
    assert pictures.rate_hz == pytest.approx(25.0)
    assert pictures.count == 20
    for index in (0, 7, 3):  # forward, skipping, back
        image = pictures.read(index)
        assert image is not None
        assert abs(int(image.mean()) - index * 10) <= 3
    times = [f.t_capture_ns for f in unpaced_frames(VideoFile(video), start_ns=100)]
    assert len(times) == 20
    assert times[5] == 100 + 200_000_000


def test_a_video_in_real_time_takes_its_true_time(video: Path) -> None:
    clock = MonotonicClock()
    with open_source(CaptureConfig(device=f"file:{video}", loop=False), clock) as source:
        first = source.next_frame(1.0)
        start_s = time.monotonic()
        for _ in range(5):
            assert source.next_frame(1.0) is not None
        elapsed_s = time.monotonic() - start_s
    assert first is not None
    assert 0.15 <= elapsed_s <= 0.6  # 5 frames at 25 Hz


@pytest.mark.parametrize(("name", "message"), [("none.avi", "no such video"), ("empty", "no pictures")])
def test_missing_and_empty_files_are_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CameraError, match=message):
        open_pictures(tmp_path / name, 30.0)


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    path = tmp_path / "text.avi"
    path.write_text("hello")
    with pytest.raises(CameraError, match=r"text\.avi"):
        open_pictures(path, 30.0)


def test_an_absent_camera_is_named_with_the_way_out() -> None:
    with pytest.raises(CameraError, match="no camera at /dev/video-none") as caught:
        open_source(CaptureConfig(device="/dev/video-none"), ManualClock())
    assert "file:" in caught.value.hint


class FakeCapture:
    """Behaves like cv2.VideoCapture on a camera whose world the test writes."""

    opened = 0
    forced: dict[int, float] | None = None

    def __init__(self, frames: int, *, works: bool = True, driver_age_ms: float | None = 8.0) -> None:
        self.left = frames
        self.works = works
        self.driver_age_ms = driver_age_ms
        self.released = False
        self.values: dict[int, float] = {}
        self.order: list[int] = []
        self.go = threading.Event()

    def isOpened(self) -> bool:
        return self.works

    def set(self, key: int, value: float) -> bool:
        self.values[key] = value
        self.order.append(key)
        return True

    def get(self, key: int) -> float:
        if key == cv2.CAP_PROP_POS_MSEC:
            return time.monotonic() * 1e3 - self.driver_age_ms if self.driver_age_ms is not None else 0.0
        return (self.forced or {}).get(key, self.values.get(key, 0.0))

    def grab(self) -> bool:
        if self.left <= 0:
            return False
        time.sleep(0.003)
        self.left -= 1
        return True

    def retrieve(self) -> tuple[bool, Any]:
        return True, grey(50)

    def release(self) -> None:
        self.released = True


CONFIG = CaptureConfig(stall_s=0.08, reopen_max_s=0.2)


def camera(*captures: FakeCapture, **options: Any) -> V4l2Camera:
    queue = list(captures)
    return V4l2Camera(CONFIG, MonotonicClock(), open_capture=lambda _: queue.pop(0), **options)


def test_the_format_is_set_before_size_and_rate() -> None:
    capture = FakeCapture(1000)
    with camera(capture):
        pass
    wanted = [cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS]
    assert [key for key in capture.order if key in wanted] == wanted
    assert capture.values[cv2.CAP_PROP_BUFFERSIZE] == 1.0
    assert capture.released


@pytest.mark.parametrize(
    ("key", "value"),
    [(cv2.CAP_PROP_FRAME_WIDTH, 1280.0), (cv2.CAP_PROP_FPS, 15.0), (cv2.CAP_PROP_FOURCC, float(0x56595559))],
)
def test_another_mode_than_asked_is_refused_with_the_real_one(key: int, value: float) -> None:
    capture = FakeCapture(1000)
    capture.forced = {key: value}
    with pytest.raises(CameraError, match="not 640 x 480 MJPG at 30 Hz"):
        camera(capture)
    assert capture.released


def test_a_busy_camera_and_a_mute_camera_are_told_apart() -> None:
    with pytest.raises(CameraError, match="absent, busy"):
        camera(FakeCapture(0, works=False))
    mute = [FakeCapture(0) for _ in range(50)]
    with pytest.raises(CameraError, match="no frame within"):
        camera(*mute, start_timeout_s=0.2)


def test_driver_time_is_used_where_plausible_and_grab_time_otherwise() -> None:
    with camera(FakeCapture(1000, driver_age_ms=8.0)) as source:
        frame = source.next_frame(1.0)
        assert frame is not None
        assert 7e6 <= frame.t_receive_ns - frame.t_capture_ns <= 30e6
        assert source.stats.stamped_at_grab == 0
    with camera(FakeCapture(1000, driver_age_ms=None)) as source:
        frame = source.next_frame(1.0)
        assert frame is not None
        assert frame.t_receive_ns - frame.t_capture_ns < 20e6
        assert source.stats.stamped_at_grab >= 1


def test_only_the_newest_frame_waits_and_drops_are_counted() -> None:
    with camera(FakeCapture(1000)) as source:
        assert source.next_frame(1.0) is not None
        time.sleep(0.05)  # about fifteen frames pass
        frame = source.next_frame(1.0)
        newest = source.next_frame(1.0)
        assert frame is not None
        assert newest is not None
        assert newest.seq - frame.seq <= 2
        assert source.stats.dropped >= 5


def test_a_stalled_camera_is_opened_again_and_frames_go_on() -> None:
    first, busy, second = FakeCapture(5), FakeCapture(0, works=False), FakeCapture(10_000)
    with camera(first, busy, second) as source:
        deadline_s = time.monotonic() + 5.0
        while source.stats.stalls == 0 and time.monotonic() < deadline_s:
            source.next_frame(0.05)
        frame = None
        while (frame is None or frame.seq < 6) and time.monotonic() < deadline_s:
            frame = source.next_frame(0.05) or frame
        assert frame is not None
        assert frame.seq >= 6  # numbers go on over the gap
        assert source.stats.stalls == 1
        assert first.released
        assert busy.released
        assert second.left < 10_000


def test_a_bad_capture_config_is_refused() -> None:
    with pytest.raises(ValueError, match="fourcc"):
        CaptureConfig(fourcc="MJPEG")
    with pytest.raises(ValueError, match="rate_hz"):
        CaptureConfig(rate_hz=0.0)
