"""The live camera of `calibrate intrinsics`: asked for a rate that cameras have, looked at ten times a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from perception.capture.source import CaptureConfig
from robot.cli import _calibrate_intrinsics as live
from robot.core.errors import CameraError, ConfigError
from robot.core.messages import CameraFrame


class ThirtyFrames:
    """A camera that is unplugged after 30 frames."""

    ended = False

    def __init__(self) -> None:
        self.given = 0

    def next_frame(self, timeout_s: float) -> CameraFrame | None:
        if self.given == 30:
            self.ended = True
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
    def camera(config: CaptureConfig, clock: object) -> Iterator[ThirtyFrames]:
        asked.append(config.rate_hz)
        yield ThirtyFrames()

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
