"""The stream table: one row per stream of messages. Health checks, recording and tests are driven by it."""

from __future__ import annotations

from dataclasses import dataclass

from robot.core import messages as m


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream.

    Attributes:
        name: its channel in a recording.
        message: its type.
        rate_hz: nominal rate; 0 for events.
        max_age_s: older than this, an input counts as lost; 0 for events.
        recorded: whether the recorder keeps it.
        is_input: part of a `TickBatch` (inputs are recorded before use; outputs are compared in replay).
    """

    name: str
    message: type
    rate_hz: float
    max_age_s: float
    recorded: bool = True
    is_input: bool = False


STREAMS: tuple[Stream, ...] = (
    Stream("camera/frames", m.CameraFrame, 30.0, 0.5),
    Stream("batch", m.TickBatch, 100.0, 0.0, is_input=True),
    Stream("detections", m.DetectionBatch, 30.0, 0.5, recorded=False, is_input=True),
    Stream("serial", m.SerialChunk, 100.0, 0.1, recorded=False, is_input=True),
    Stream("referee", m.RefereeCommand, 0.0, 0.0, recorded=False, is_input=True),
    Stream("team", m.TeamMessage, 10.0, 0.0, recorded=False, is_input=True),
    Stream("telemetry", m.TelemetryFrame, 200.0, 0.1, recorded=False),
    Stream("result", m.TickResult, 100.0, 0.0),
)
"""The batch holds the other inputs, so they are not recorded twice; the frames are recorded by the vision process."""


def stream(name: str) -> Stream:
    """Return the row of that name.

    Raises:
        KeyError: there is none.
    """
    for row in STREAMS:
        if row.name == name:
            return row
    raise KeyError(name)
