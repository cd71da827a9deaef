"""The result of one trial."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialScore:
    """Points of one trial as the league counts them.

    `success` means every point and no deduction. `time_s` counts from FORCE START to the end of the trial (the
    league's tie-break), the ten seconds of standing still included. `events` are (seconds since FORCE START, name).
    """

    stage: int
    seed: int
    points: float
    max_points: float
    success: bool
    time_s: float
    events: tuple[tuple[float, str], ...] = ()
