"""Track trials from pixels to figures: recorded once, judged again, refused when they cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robot.cli import evaluate_tracks
from robot.core.errors import ConfigError, RecordingError
from robot.runtime import track_trials
from robot.runtime.robot_config import open_robot


@pytest.mark.timeout(300)
def test_a_kick_from_pixels_to_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ball of a kicked trial is followed under one number; the second run only judges, and judges the same."""
    folder, out = tmp_path / "trials", tmp_path / "figures.json"
    args = evaluate_tracks.Args(trials=1, cluttered=0, kinds=("kicked",), seed=1, recordings=folder, json=out)
    assert evaluate_tracks.run(args) == 0
    first = json.loads(out.read_text())
    ball = first["kicked"]["ball"]
    assert ball["error_m"]["median"] < 0.25
    assert ball["believed"] > 0.9
    assert ball["renamed_in_trials"] == 0
    assert first["kicked"]["outside"]["trials_reaching_the_ball"] == 0
    assert "kicked" in capsys.readouterr().out

    def played_again(*_: object) -> Path:
        raise AssertionError("a trial that is recorded was played again")

    monkeypatch.setattr(evaluate_tracks, "record_track_trial", played_again)
    assert evaluate_tracks.run(args) == 0
    assert json.loads(out.read_text()) == first
    # Telemetry that cannot be read is no robot that sees nothing.
    monkeypatch.setattr(track_trials.Pipeline, "_on_serial", lambda self, chunks: None)
    with pytest.raises(RecordingError, match="protocol"):
        track_trials.judge_track_trial(folder / "kicked-1.mcap", open_robot("default"))


def test_unknown_kinds_are_named() -> None:
    with pytest.raises(ConfigError, match="no kind named flying"):
        evaluate_tracks.run(evaluate_tracks.Args(kinds=("flying",)))
