"""The stream table: one row per stream of messages. Recording is driven by it."""

from __future__ import annotations

from dataclasses import dataclass

from robot.core import messages as m


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream.

    Attributes:
        name: its channel in a recording.
        message: its type.
        recorded: whether the recorder keeps it.
        is_input: part of a `TickBatch` (inputs are recorded before use; outputs are compared in replay).
    """

    name: str
    message: type
    recorded: bool = True
    is_input: bool = False


STREAMS: tuple[Stream, ...] = (
    Stream("camera/frames", m.CameraFrame),
    Stream("batch", m.TickBatch, is_input=True),
    Stream("detections", m.DetectionBatch, recorded=False, is_input=True),
    Stream("serial", m.SerialChunk, recorded=False, is_input=True),
    Stream("referee", m.RefereeCommand, recorded=False, is_input=True),
    Stream("team", m.TeamMessage, recorded=False, is_input=True),
    Stream("telemetry", m.TelemetryFrame, recorded=False),
    Stream("result", m.TickResult),
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
