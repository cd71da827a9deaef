"""Whether recorded trials are those that this robot would play: a recording of another detector judges that one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from robot.core.errors import ConfigError, RecordingError
from robot.recording.reader import Recording
from robot.runtime.challenge import shared_detector
from robot.runtime.replay import robot_of
from robot.runtime.robot_config import Robot

_JUDGED = ("name", "camera", "field", "estimation", "bump", "recording")
"""Tables that do not shape the inputs, but what is made of them; camera and field are compared by what they hold."""


def model_text(robot: Robot) -> str:
    """Return the robot's detector as recordings name it: `full.int8 (54ec4a36cb70)`.

    Raises:
        DetectorError: the model is missing.
    """
    detector = shared_detector(robot.config.detection)
    return _model_text(detector.model_name, detector.sha256)


def check_recorded(paths: Iterable[Path], robot: Robot) -> None:
    """Compare the recordings that are there with the robot that would play them today; missing ones are passed over.

    Args:
        paths: of recorded trials.
        robot: the configuration under test; `estimation` and `bump` may differ, since trials are for judging those.

    Raises:
        RecordingError: played by another detector, camera, field or configuration; or cut, or foreign.
        DetectorError: the model is missing.
    """
    there = [path for path in paths if path.is_file()]
    detector = shared_detector(robot.config.detection) if there else None
    for path in there:
        try:
            recording = Recording(path)
        except RecordingError as error:
            raise RecordingError(error.message, hint=f"delete {path}: it is recorded again") from error
        model = recording.header.model
        if detector is not None and model.get("sha256") != detector.sha256:
            played = _model_text(model.get("name", "an unknown model"), model.get("sha256", "?"))
            raise _foreign(path, f"trials played with {played}, not with {model_text(robot)}")
        try:
            then = robot_of(recording)
        except ConfigError as error:
            raise _foreign(path, f"trials of another version ({error.message})") from error
        different = [
            field.name
            for field in dataclasses.fields(robot.config)
            if field.name not in _JUDGED and getattr(then.config, field.name) != getattr(robot.config, field.name)
        ]
        different += [name for name in ("camera", "field") if getattr(then, name) != getattr(robot, name)]
        if different:
            raise _foreign(path, f"trials played with another {', '.join(different)}")


def _model_text(name: str, sha256: str) -> str:
    return f"{name} ({sha256[:12]})"


def _foreign(path: Path, what: str) -> RecordingError:
    return RecordingError(
        f"{path.parent} holds {what}: {path.name}", hint=f"delete {path.parent} or choose another folder"
    )
