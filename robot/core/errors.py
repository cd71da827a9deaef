"""Errors raised at the edges and at start. While playing, bad data is a verdict and a counter, never an exception.

Each error has a `code` (stable, for scripts), a sentence, and a `hint`: the command or edit that mends it.
"""

from __future__ import annotations


class RobotError(Exception):
    """Base of every error that the project raises on purpose.

    Args:
        message: one sentence that says what is wrong, with the value and where it came from.
        hint: what to type or edit to mend it; empty when there is nothing to be done.
    """

    code = "robot_error"
    recoverable = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  mend: {self.hint}" if self.hint else self.message


class ConfigError(RobotError):
    """A TOML file or flag is missing, unreadable, unknown or out of range."""

    code = "config"


class CalibrationError(RobotError):
    """A calibration cannot be fitted or does not belong to this camera."""

    code = "calibration"


class DataError(RobotError):
    """An input file (log, table, picture) is missing, cut or foreign."""

    code = "data"


class OutputError(RobotError):
    """A file or folder that was asked for cannot be written."""

    code = "output"


class CameraError(RobotError):
    """A camera is absent, gives another mode than asked, or has stalled."""

    code = "camera"
    recoverable = True


class DetectorError(RobotError):
    """A model or engine is missing, does not fit, or its backend is not the one that was allowed."""

    code = "detector"


class LinkError(RobotError):
    """A port is missing or busy, or the microcontroller speaks another protocol version."""

    code = "link"
    recoverable = True


class RecordingError(RobotError):
    """A recording cannot be written, is cut, or was not written by Blackout."""

    code = "recording"


class MissingExtraError(RobotError):
    """An optional dependency is not installed."""

    code = "missing_extra"


class SimulationError(RobotError):
    """The simulator cannot start (no headless renderer, impossible scene)."""

    code = "simulation"
