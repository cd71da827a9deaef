"""Frames of a recording become a YOLO folder: chosen, unchanged, with guesses that training can read."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from perception.training.dataset import items_of
from robot.cli.main import main
from robot.core.messages import CameraFrame
from robot.recording.header import make_header
from robot.recording.reader import Recording, frames_path
from robot.recording.writer import Recorder, RecordingConfig


def frame(number: int, image: np.ndarray, t_s: float) -> CameraFrame:  # type: ignore[type-arg]
    t_ns = round(t_s * 1e9)
    return CameraFrame(seq=number, t_capture_ns=t_ns, t_receive_ns=t_ns, valid=True, image_bgr=image)


def picture(column: int) -> np.ndarray:  # type: ignore[type-arg]
    """A carpet with a bright wall that begins at a column, and an orange ball."""
    image = np.full((480, 640, 3), (40, 120, 40), np.uint8)
    image[:, column:] = (230, 230, 230)
    cv2.circle(image, (120, 300), 30, (0, 110, 255), -1)
    return image


@pytest.fixture(params=["one file", "frames beside the run"])
def recording(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Twenty frames, ten a second; the scene changes with frames 8 and 15."""
    header = make_header(kind="simulation", robot={}, camera={}, field_geometry={}, model={}, run={})
    run = tmp_path / "play" / "run.mcap"
    config = RecordingConfig(frame_rate_hz=0.0 if request.param != "one file" else 100.0)
    recorder = Recorder(run, header, config)
    frames = recorder
    if request.param != "one file":
        frames = Recorder(frames_path(run), header, RecordingConfig(frame_rate_hz=100.0))
    for k in range(20):
        frames.frame(frame(k, picture(600 if k < 8 else 400 if k < 15 else 200), 5.0 + 0.1 * k))
    recorder.close()
    if frames is not recorder:
        frames.close()
    return run


def test_pictures_are_chosen_by_time_and_change_and_kept_as_recorded(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "own"
    assert main(["export-frames", str(recording), "--out", str(out), "--every-s", "0.5"]) == 0
    items = items_of(out)
    assert [i.image.name for i in items] == [f"play_run_{k:05d}.jpg" for k in (0, 8, 15)]
    jpegs = [jpeg for _, jpeg in Recording(recording).encoded_frames()]
    assert [i.image.read_bytes() for i in items] == [jpegs[0], jpegs[8], jpegs[15]]
    sample = items[0].load()  # training reads what was written
    balls = sample.boxes_px[sample.classes == 1]
    assert any(box[0] < 120 < box[2] and box[1] < 300 < box[3] for box in balls), "the ball was guessed"
    assert "correct them before training" in capsys.readouterr().out
    assert main(["export-frames", str(recording), "--out", str(out)]) == 2, "corrected labels are not overwritten"


def test_every_frame_without_guesses_and_a_recording_without_frames(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "all"
    flags = ["--every-s", "0", "--change", "0", "--model", ""]
    assert main(["export-frames", str(recording), "--out", str(out), *flags]) == 0
    assert len(list((out / "images").iterdir())) == 20
    assert [p.name for p in (out / "labels").iterdir()] == ["classes.txt"]
    header = make_header(kind="simulation", robot={}, camera={}, field_geometry={}, model={}, run={})
    Recorder(tmp_path / "empty.mcap", header, RecordingConfig()).close()
    assert main(["export-frames", str(tmp_path / "empty.mcap"), "--out", str(tmp_path / "none")]) == 2
