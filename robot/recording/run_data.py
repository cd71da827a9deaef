"""A whole run in memory, as the report draws it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from robot.core.clock import NS_PER_S
from robot.core.errors import RecordingError
from robot.core.geometry import Pose2
from robot.core.messages import DetectionBatch, TickResult, Vec2
from robot.recording.codec import from_json
from robot.recording.reader import Recording

TRUTH_TOPIC, SCORE_TOPIC = "truth/state", "score"
"""Notes that the simulation leaves for reports; the pipeline never reads them. The first is
{"robot": {x_m, y_m, theta_rad}, "ball_in_field_m": [x, y, ...] or null}, the second the referee's score."""


@dataclass
class RunData:
    """What the report draws, taken from a recording in one pass. Times are seconds since the first tick."""

    t0_ns: int
    results: list[TickResult] = field(default_factory=list)
    detections: list[DetectionBatch] = field(default_factory=list)
    truth: list[tuple[float, Pose2, tuple[float, float] | None]] = field(default_factory=list)
    score: dict[str, Any] = field(default_factory=dict)
    target_in_field_m: Vec2 | None = None
    """Where the referee wants the robot to be at the end (stage 3)."""

    def seconds(self, t_ns: int) -> float:
        """Seconds since the first tick."""
        return (t_ns - self.t0_ns) / NS_PER_S

    @property
    def t_end_s(self) -> float:
        """Duration of the run."""
        return self.seconds(self.results[-1].t_now_ns)


def load_run(recording: Recording) -> RunData:
    """Read ticks, truth (if any) and score (if any).

    Raises:
        RecordingError: no tick in it.
    """
    data: RunData | None = None
    for tick in recording.ticks():
        if data is None:
            data = RunData(t0_ns=tick.batch.t_now_ns)
        data.detections.extend(tick.batch.detections)
        for command in tick.batch.referee:
            data.target_in_field_m = command.target_in_field_m or data.target_in_field_m
        if tick.result_json is not None:
            data.results.append(from_json(TickResult, tick.result_json))
    if data is None or not data.results:
        raise RecordingError(f"{recording.path} has no finished tick", hint="nothing to report: record a longer run")
    for t_ns, truth in recording.notes(TRUTH_TOPIC):
        ball = truth.get("ball_in_field_m")
        pose = Pose2(**truth["robot"])
        data.truth.append((data.seconds(t_ns), pose, (ball[0], ball[1]) if ball else None))
    for _, score in recording.notes(SCORE_TOPIC):
        data.score = score
    return data
