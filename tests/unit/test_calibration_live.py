"""The live camera of `calibrate intrinsics`: asked for a rate that cameras have, looked at ten times a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from perception.calibration.board_finder import BoardView
from perception.capture.source import CaptureConfig
from robot.cli import _calibrate_intrinsics as live
from robot.core.clock import ManualClock
from robot.core.errors import CalibrationError, CameraError, ConfigError
from robot.core.messages import CameraFrame


class Unplugged:
    """A camera that is unplugged after so many frames: it has ended, or, as V4L2 does, only says nothing (a clock)."""

    def __init__(self, frames: int = 30, clock: ManualClock | None = None) -> None:
        self.frames, self.clock = frames, clock
        self.given = 0
        self.ended = False

    def next_frame(self, timeout_s: float) -> CameraFrame | None:
        if self.given == self.frames:
            if self.clock is None:
                self.ended = True
            else:
                self.clock.advance_ns(round(timeout_s * 1e9))
            return None
        self.given += 1
        image = np.zeros((480, 640, 3), np.uint8)
        return CameraFrame(
            seq=self.given - 1, t_capture_ns=0, t_receive_ns=0, valid=True, image_bgr=image, camera_id="c"
        )


@pytest.mark.parametrize(("rate_hz", "looked_at"), [(30.0, 10), (10.0, 30), (60.0, 5)])
def test_about_ten_pictures_a_second_are_looked_at(
    rate_hz: float, looked_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    names: list[str] = []

    @contextmanager
    def camera(config: CaptureConfig, clock: object) -> Iterator[Unplugged]:
        asked.append(config.rate_hz)
        yield Unplugged()

    monkeypatch.setattr(live, "open_source", camera)
    monkeypatch.setattr(live, "find_board", lambda image, board, name: names.append(name))
    with pytest.raises(CameraError, match="no more pictures"):
        live.run_intrinsics(live.Intrinsics("/dev/video0", out=tmp_path / "lens.toml", rate_hz=rate_hz))
    assert asked == [rate_hz]
    assert len(names) == looked_at


def test_the_rate_that_is_asked_for_is_one_that_cameras_have() -> None:
    assert live.Intrinsics("/dev/video0").rate_hz == CaptureConfig().rate_hz == 30.0


def test_no_rate_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rate_hz"):
        live.run_intrinsics(live.Intrinsics("/dev/video0", out=tmp_path / "lens.toml", rate_hz=0.0))


@pytest.mark.parametrize("seconds", [0.0, float("nan"), float("inf")])
def test_no_time_is_wrong_usage(seconds: float, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no time"):
        live.run_intrinsics(live.Intrinsics("/dev/video0", out=tmp_path / "lens.toml", seconds=seconds))


@pytest.mark.parametrize("ends", [True, False])
def test_a_camera_that_is_unplugged_keeps_the_views_taken(
    ends: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twelve views are enough, and fitted; nine are not, and it is the camera that is named, not the views."""
    fitted: list[int] = []

    def a_new_view(image: object, board: object, name: str) -> BoardView:
        return BoardView(
            name=name,
            size_px=(640, 480),
            corners_px=np.array([[100.0, 100.0], [140.0, 130.0]]),
            board_m=np.zeros((2, 3)),
            edge_px=2.0,
            fill=0.2 * float(name.split()[1]),
            tilt_rad=0.0,
            lean_rad=0.0,
        )

    def fit(views: list[BoardView], size_px: tuple[int, int]) -> None:
        fitted.append(len(views))
        raise CalibrationError("the fit was asked for")

    def unplugged_after(frames: int) -> None:
        clock = ManualClock()

        @contextmanager
        def camera(config: CaptureConfig, _: object) -> Iterator[Unplugged]:
            yield Unplugged(frames, None if ends else clock)

        monkeypatch.setattr(live, "open_source", camera)
        monkeypatch.setattr(live, "MonotonicClock", lambda: clock)
        live.run_intrinsics(live.Intrinsics("/dev/video0", out=tmp_path / "lens.toml", rate_hz=10.0))

    monkeypatch.setattr(live, "find_board", a_new_view)
    monkeypatch.setattr(live, "fit_intrinsics", fit)
    with pytest.raises(CalibrationError, match="the fit was asked for"):
        unplugged_after(12)
    assert fitted == [12]
    assert "no more pictures: is it still plugged in? Fitting the 12 views" in capsys.readouterr().out
    with pytest.raises(CameraError, match="no more pictures after 9 views, 10 are needed") as refused:
        unplugged_after(9)
    assert "plugged in" in refused.value.hint
    assert fitted == [12]
