"""A camera that is turned sideways between two pictures: the field's heading jumps, and the gyro felt nothing.

A yaw of the camera looks like a turn of the robot. But a knock takes a moment, and over the second before and after it
a gyro hardly drifts: so every gap between two pictures of the last seconds is tried as the moment of a jump, with lines
near to it in time counting for more. What one mean heading explains nearly as well is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perception.calibration.line_attitude import Lines, LineView, heading_of, quarter_turn
from robot.core.geometry import FloatArray

_LEAST_VIEWS = 3
_LEAST_LINES = 4.0
"""Each side of a jump must hold as much as so many line pieces of a typical picture, in so many views."""

_TYPICAL_RAD = math.radians(1.0)
_ROUNDS = 6
_STRANGERS = 4
"""Learned from a robot between arcs and a goal's net: with four of ten pieces strange, jumps that were none."""
_SAME_NS, _SAME_RAD = 450_000_000, math.radians(1.5)


@dataclass(frozen=True, kw_only=True, slots=True)
class YawStepConfig:
    """What counts as a jump.

    The gyro may be off by `drift_rad_s`, and by `turn_share` of what was turned. A jump between `min_rad` and
    `max_rad` is believed that is `sigmas` away from nothing, that explains the lines better than none by `gain`
    (squared sigmas), and that another check finds at the same moment, if only with `again_share` of that certainty.
    After one, the estimator has learned false things of the gyro from it: further jumps must be at least `later_rad`,
    and `later_share` of what is believed so far.
    """

    drift_rad_s: float
    turn_share: float
    min_rad: float
    sigmas: float
    gain: float
    max_rad: float = math.radians(15.0)
    again_share: float = 0.5
    later_rad: float = math.radians(3.5)
    later_share: float = 0.6


@dataclass(frozen=True, kw_only=True, slots=True)
class YawStep:
    """The likeliest jump: of the camera's yaw (positive looks left) by `yaw_rad` at `t_ns`.

    `gain` is how much better it explains the lines than no jump, in squared sigmas of independent pieces, less where
    many agree with neither heading.
    """

    t_ns: int
    yaw_rad: float
    sigma_rad: float
    gain: float

    def counts(self, config: YawStepConfig, share: float = 1.0) -> bool:
        """Return whether this is more than lines and gyro do by themselves, by a share of the certainty wanted."""
        sized = max(config.min_rad, share * config.sigmas * self.sigma_rad) <= abs(self.yaw_rad) <= config.max_rad
        return sized and self.gain >= share * config.gain

    def is_like(self, other: YawStep) -> bool:
        """Return whether both are the same jump, seen by two checks."""
        return abs(self.t_ns - other.t_ns) < _SAME_NS and abs(self.yaw_rad - other.yaw_rad) < _SAME_RAD


def find_yaw_step(
    views: Sequence[LineView],
    turned_rad: Sequence[float],
    lines: Lines,
    pitch_rad: float,
    roll_rad: float,
    config: YawStepConfig,
) -> YawStep | None:
    """Return the likeliest jump of yaw within some views, however unlikely it is.

    Robust means (Geman-McClure) of the field's heading before and after every gap, all gaps at once.

    Args:
        views: in the order of time.
        turned_rad: (len(views),) how much the robot had turned until each, in one sense or the other.
        lines: the line pieces of these views.
        pitch_rad: by how much the camera looks lower than its file says, all the time.
        roll_rad: the same for roll.
        config: the gyro's habits.

    Returns:
        None where no gap has enough lines on both sides.
    """
    cut = np.arange(_LEAST_VIEWS, len(views) - _LEAST_VIEWS + 1)
    if len(cut) == 0 or len(lines) < 2 * _LEAST_LINES:
        return None
    time_s = np.array([(view.t_ns - views[-1].t_ns) * 1e-9 for view in views])
    turned = np.asarray(turned_rad, dtype=float)
    at_s, at_rad = (0.5 * (values[cut] + values[cut - 1])[:, None] for values in (time_s, turned))
    direction = lines.direction(pitch_rad, roll_rad)
    off = quarter_turn(direction - heading_of(direction, lines.sigma**-2.0))
    late = lines.view >= cut[:, None]
    doubt = np.hypot(
        config.drift_rad_s * np.abs(time_s[lines.view] - at_s), config.turn_share * np.abs(turned[lines.view] - at_rad)
    )
    sides = np.stack((~late, late)).astype(float)
    variance = lines.sigma**2 + doubt**2
    gate = lines.config.gate_sigmas
    mean, cost, weight, agree, drifted = _means(off, variance, doubt, sides, gate)
    _, alone, *_ = _means(off, variance, doubt, np.ones((1, *late.shape)), gate)
    seen = np.stack((cut, len(views) - cut))
    repeats = np.clip(seen / 2.0, 1.0, lines.config.repeats)
    gain = (alone[0] - cost.sum(axis=0)) / float(np.clip(len(views) / 2.0, 1.0, lines.config.repeats))
    gain *= agree.min(axis=0) ** _STRANGERS
    gain[(weight * _TYPICAL_RAD**2 < _LEAST_LINES).any(axis=0)] = -math.inf
    best = int(np.argmax(gain))
    if not math.isfinite(gain[best]):
        return None
    return YawStep(
        t_ns=views[-1].t_ns + round(float(at_s[best, 0]) * 1e9),
        yaw_rad=float(quarter_turn(mean[0, best] - mean[1, best])),
        sigma_rad=math.sqrt(float((repeats / weight + drifted**2)[:, best].sum())),
        gain=float(gain[best]),
    )


def _means(
    off: FloatArray, variance: FloatArray, doubt: FloatArray, sides: FloatArray, gate: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return robust means of headings (S, G), their costs, weights, shares that agree, and mean doubt by the gyro.

    `off` is (N,), `variance` and `doubt` are (G, N), `sides` (S, G, N) which pieces belong.
    """
    start = sides / variance
    mean = np.angle((start * np.exp(4j * off)).sum(axis=-1)) / 4.0
    for _ in range(_ROUNDS):
        away = quarter_turn(off - mean[..., None])
        robust = start * (1.0 + away**2 / (gate**2 * variance)) ** -2
        total = np.maximum(robust.sum(axis=-1), 1e-9)
        mean = mean + (robust * away).sum(axis=-1) / total
    away2 = quarter_turn(off - mean[..., None]) ** 2 / variance
    cost = (sides * np.minimum(away2, gate**2)).sum(axis=-1)
    agree = (sides * (away2 < 9.0)).sum(axis=-1) / np.maximum(sides.sum(axis=-1), 1.0)
    return mean, cost, total, agree, (robust * doubt).sum(axis=-1) / total


class YawSteps:
    """Adds up the jumps that are believed: found twice at the same moment, with the same size."""

    def __init__(self, config: YawStepConfig) -> None:
        self.config = config
        self.suspected: YawStep | None = None
        """Found once; None while nothing is suspected."""
        self._believed: list[YawStep] = []

    @property
    def yaw_rad(self) -> float:
        """How far the camera is turned since the start; 0 while nothing was believed."""
        return sum(step.yaw_rad for step in self._believed)

    @property
    def sigma_rad(self) -> float:
        """One sigma of `yaw_rad`."""
        return math.sqrt(sum(step.sigma_rad**2 for step in self._believed))

    @property
    def turned(self) -> bool:
        """Whether the camera is turned now: jumps may have undone each other."""
        return abs(self.yaw_rad) >= self.config.min_rad

    def offer(self, step: YawStep | None) -> bool:
        """Take what one check has found; returns whether a new jump is believed now."""
        c = self.config
        before, self.suspected = self.suspected, None
        if step is None or not step.counts(c, c.again_share):
            return False
        if self._believed:
            last = self._believed[-1]
            if abs(step.t_ns - last.t_ns) < _SAME_NS:
                if step.gain > last.gain:
                    self._believed[-1] = step
                return False
            if abs(step.yaw_rad) < max(c.later_rad, c.later_share * abs(self.yaw_rad)):
                return False
        if before is not None and before.is_like(step) and (step.counts(c) or before.counts(c)):
            self._believed.append(max(before, step, key=lambda s: s.gain))
            return True
        self.suspected = step
        return False

    def withdraw(self, since_ns: int) -> None:
        """Take back what was believed of jumps since then: a tilt has turned up that looks like one at first."""
        self._believed = [step for step in self._believed if step.t_ns < since_ns]
        self.suspected = None

    def forget(self) -> None:
        """Drop what is only suspected: the times have moved."""
        self.suspected = None
