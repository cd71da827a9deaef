"""Says while playing that the camera was bumped, and by how much: pitch, roll, and a sudden yaw.

Every second the lines of the last seconds are asked for the camera's pitch and roll (`line_attitude`): no pose on the
field is needed, so it works before the robot knows where it is, and a wrong pose cannot hide a bump nor feign one.
Yaw alone looks like a turn of the robot; but the gyro did not feel it (`yaw_step`).
Pure: times come with the views.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from perception.calibration.field_heading import FieldHeading
from perception.calibration.line_attitude import (
    Attitude,
    AttitudeConfig,
    Heading,
    Lines,
    LineView,
    fit_attitude,
    heading_given,
)
from perception.calibration.yaw_step import YawStepConfig, YawSteps, find_yaw_step
from perception.camera.model import CameraModel
from robot.core.clock import NS_PER_S
from robot.core.messages import Vec2

_UNUSUAL_SIGMAS = 3.0
_MAX_STEP_SEGMENTS = 200
"""More make a check longer than a tick can bear."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BumpConfig:
    """When to look, and what counts.

    Views of the last `window_s` seconds, at least `gap_s` apart, are fitted every `period_s`. A fit says something if
    pitch and roll are known to `max_sigma_rad`. A bump is a shift of at least `min_shift_rad` that is also `sigmas`
    away from nothing, calibration's own doubt `slack_rad` included, in `confirm` fits one after the other.
    It needs `min_pieces` different line pieces: those of a picture, times the headings seen, `apart_rad` apart.
    `min_yaw_rad`, `yaw_sigmas` and `yaw_gain` are the same for a jump of yaw (see `YawStepConfig`); the gyro may be off
    by `turn_share` of what was turned and by `drift_rad_s`.
    """

    enabled: bool = True
    window_s: float = 4.0
    gap_s: float = 0.12
    period_s: float = 1.1
    max_turn_rate_rad_s: float = 3.5
    max_sigma_rad: float = math.radians(0.5)
    min_shift_rad: float = math.radians(0.6)
    slack_rad: float = math.radians(0.12)
    sigmas: float = 4.0
    confirm: int = 2
    min_pieces: float = 6.0
    apart_rad: float = 0.2
    min_inliers: int = 10
    min_agreement: float = 0.5
    min_margin: float = 12.0
    """The next best explanation must be worse by this (squared sigmas), or the lines say nothing."""

    clean_agreement: float = 0.85
    """Of the segments so many agree when nothing happened inside the window."""

    heading_doubt_rad: float = math.radians(0.6)
    """What a field's heading that was known before may be off by, when it helps to tell a tilt."""

    min_yaw_rad: float = math.radians(1.5)
    yaw_sigmas: float = 2.2
    yaw_gain: float = 5.0
    turn_share: float = 0.006
    drift_rad_s: float = 0.003
    attitude: AttitudeConfig = field(default_factory=lambda: AttitudeConfig(drift_sigma_rad_s=0.003, max_segments=90))

    def __post_init__(self) -> None:
        if min(self.window_s, self.gap_s, self.period_s) <= 0.0 or self.confirm < 1:
            raise ValueError("window_s, gap_s and period_s must be positive, confirm at least 1")

    @property
    def yaw(self) -> YawStepConfig:
        """What counts as a jump of yaw."""
        return YawStepConfig(
            drift_rad_s=self.drift_rad_s,
            turn_share=self.turn_share,
            min_rad=self.min_yaw_rad,
            sigmas=self.yaw_sigmas,
            gain=self.yaw_gain,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class BumpReport:
    """How the camera sits against its calibration, by the lines up to `t_ns`.

    Angles in radians, as in `CameraMounting`; `yaw_jump_rad` is the sum of all jumps of yaw since the start, 0 where
    nothing did. `bumped` is the verdict, confirmed.
    """

    t_ns: int
    bumped: bool
    pitch_rad: float
    roll_rad: float
    yaw_jump_rad: float
    pitch_sigma_rad: float
    roll_sigma_rad: float
    yaw_sigma_rad: float
    segments: int

    def text(self) -> str:
        """Return the shift in words, degrees."""
        angles = (
            ("pitch", self.pitch_rad, self.pitch_sigma_rad),
            ("roll", self.roll_rad, self.roll_sigma_rad),
            ("yaw", self.yaw_jump_rad, self.yaw_sigma_rad),
        )
        parts = [f"{name} {math.degrees(v):+.1f} +- {math.degrees(s):.1f}" for name, v, s in angles if v != 0.0]
        return ", ".join(parts) + " degrees"


@dataclass(frozen=True, slots=True)
class _Window:
    """What one check looks at: the views of the last seconds, and how much had been turned at each."""

    t_ns: int
    views: tuple[LineView, ...]
    turns_rad: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Usual:
    """Pitch and roll as most checks find them."""

    count: float = 0.0
    tilt: Vec2 = (0.0, 0.0)

    def with_one_more(self, pitch_rad: float, roll_rad: float) -> _Usual:
        """Return the mean with one more fit in it; old ones fade."""
        count = min(self.count + 1.0, 20.0)
        pitch, roll = self.tilt
        return _Usual(count, (pitch + (pitch_rad - pitch) / count, roll + (roll_rad - roll) / count))


class BumpMonitor:
    """One per camera. Feed it every view; it answers now and then."""

    def __init__(self, config: BumpConfig, camera: CameraModel) -> None:
        self.config, self.camera = config, camera
        self.report: BumpReport | None = None
        """The last answer that said something."""
        self.checks = 0
        """How many fits said something."""
        self._views: deque[tuple[LineView, float]] = deque()
        self._next_ns = 0
        self._suspicions = 0
        self._yaw = YawSteps(config.yaw)
        self._tilted = False
        self._usual, self._usual_shifted = _Usual(), False
        self._level = _Usual()
        self._usual_since_ns = 0
        self._heading = FieldHeading(config.drift_rad_s, config.turn_share)
        self._last_heading: float | None = None
        self._turned_rad = 0.0
        self._check: Generator[None, None, BumpReport | None] | None = None

    def on_view(self, view: LineView) -> BumpReport | None:
        """Take one picture's lines and check at once; returns a new report, once a second at most, or None."""
        self.add_view(view)
        report = None
        while self.busy:
            report = self.work()
        return report

    @property
    def busy(self) -> bool:
        """Whether a check waits for `work`."""
        return self._check is not None

    def add_view(self, view: LineView) -> None:
        """Take one picture's lines; now and then that begins a check."""
        theta = view.odom_from_robot.theta_rad
        if self._last_heading is not None:
            self._turned_rad += math.remainder(theta - self._last_heading, math.tau)
        self._last_heading = theta
        last = self._views[-1][0] if self._views else view
        if view.t_ns < last.t_ns or view.breaks != last.breaks:
            self.forget()  # the clock has jumped back, or nobody knows how the robot turned: what was seen has no place
        if self._keep(view) and not self.busy and view.t_ns >= self._next_ns and len(self._views) >= 4:
            self._next_ns = view.t_ns + round(self.config.period_s * NS_PER_S)
            views, turns = zip(*self._views, strict=True)
            self._check = self._look(_Window(view.t_ns, views, turns))

    def work(self) -> BumpReport | None:
        """Go on with the check that waits, by one fit: a millisecond or two. Returns its report at its end."""
        if self._check is None:
            return None
        try:
            next(self._check)
        except StopIteration as done:
            self._check = None
            report: BumpReport | None = done.value
            return report
        return None

    def _keep(self, view: LineView) -> bool:
        """Put the view into the window if it shows lines and is not too soon after the last one; returns whether."""
        c = self.config
        if not view.segments_px or abs(view.turn_rate_rad_s) > c.max_turn_rate_rad_s:
            return False
        if self._views and view.t_ns < self._views[-1][0].t_ns + round(c.gap_s * NS_PER_S):
            return False
        self._views.append((view, self._turned_rad))
        while self._views[0][0].t_ns < view.t_ns - round(c.window_s * NS_PER_S):
            self._views.popleft()
        return True

    def _look(self, window: _Window) -> Generator[None, None, BumpReport | None]:
        """One check, a fit at a time."""
        fit = yield from self._fit(window)
        if fit is None:
            return None
        yield
        shifted = self._shifted(fit)
        self._suspicions = self._suspicions + 1 if shifted else 0
        self._tilted = self._suspicions >= self.config.confirm or (self._tilted and shifted)
        self._watch_yaw(fit, window, shifted)
        return self._judge(fit, window)

    def _fit(self, window: _Window) -> Generator[None, None, Attitude | None]:
        """Ask the lines in the window; failing that the newest of them, failing that with the heading that we know."""
        c = self.config
        fit = fit_attitude(window.views, self.camera, c.attitude)
        if fit is not None and not self._says_something(fit, window.views):
            fit = None
        if fit is not None and fit.inliers >= c.clean_agreement * fit.segments:
            return fit
        # Perhaps the bump lies inside the window: what came after it agrees with itself.
        newest = [v for v in window.views if v.t_ns > window.t_ns - round(0.5 * c.window_s * NS_PER_S)]
        for known in (None, self._known_heading(window)):
            if known is None and len(newest) < 4:
                continue
            yield
            later = fit_attitude(newest, self.camera, c.attitude, known)
            if later is not None and self._says_something(later, newest):
                return later
        return fit

    def _known_heading(self, window: _Window) -> Heading | None:
        """Return what earlier windows let expect of the field's heading; a slow drift of it is allowed for."""
        found = self._heading.expected(window.t_ns, window.turns_rad[-1])
        if found is None or self._yaw.suspected is not None:
            return None
        return found[0], math.hypot(found[1], self.config.heading_doubt_rad)

    def _says_something(self, fit: Attitude, views: Sequence[LineView]) -> bool:
        c = self.config
        agreed = fit.inliers >= max(c.min_inliers, c.min_agreement * fit.segments)
        sure = agreed and max(fit.sigma_rad()) <= c.max_sigma_rad and fit.margin >= c.min_margin
        return sure and (not self._shifted(fit) or self._pieces(fit, views) >= c.min_pieces)

    def _pieces(self, fit: Attitude, views: Sequence[LineView]) -> float:
        """Return how many different line pieces agree.

        A robot that stands before a ball sees the same two for seconds, and two can always be explained by a tilt.
        """
        headings = np.unwrap([view.odom_from_robot.theta_rad for view in views])
        return fit.inliers / len(views) * (1.0 + float(np.ptp(headings)) / self.config.apart_rad)

    def _shifted(self, fit: Attitude) -> bool:
        """Judge pitch and roll of one fit; what was called a bump stays one until it is clearly less."""
        c = self.config
        share = 0.6 if self._tilted else 1.0
        away = math.hypot(*(v / s for v, s in zip((fit.pitch_rad, fit.roll_rad), self._sigmas(fit), strict=True)))
        return math.hypot(fit.pitch_rad, fit.roll_rad) > share * c.min_shift_rad and away > share * c.sigmas

    def _sigmas(self, fit: Attitude) -> Vec2:
        pitch, roll = fit.sigma_rad()
        return math.hypot(pitch, self.config.slack_rad), math.hypot(roll, self.config.slack_rad)

    def _judge(self, fit: Attitude, window: _Window) -> BumpReport:
        self.checks += 1
        sigma_pitch, sigma_roll = self._sigmas(fit)
        self.report = BumpReport(
            t_ns=window.t_ns,
            bumped=self._tilted or self._yaw.turned,
            pitch_rad=fit.pitch_rad,
            roll_rad=fit.roll_rad,
            yaw_jump_rad=self._yaw.yaw_rad,
            pitch_sigma_rad=sigma_pitch,
            roll_sigma_rad=sigma_roll,
            yaw_sigma_rad=self._yaw.sigma_rad,
            segments=fit.inliers,
        )
        return self.report

    def _watch_yaw(self, fit: Attitude, window: _Window, shifted: bool) -> None:
        """Look for a jump of yaw, and learn where the field's heading is while there is none."""
        clean = fit.inliers >= self.config.clean_agreement * fit.segments
        if shifted != self._usual_shifted:
            if shifted:
                self._level = self._usual
                self._yaw.withdraw(window.t_ns - round(2.0 * self.config.window_s * NS_PER_S))
            self._usual, self._usual_shifted = (_Usual() if shifted else self._level), shifted
            self._usual_since_ns = window.t_ns
        if clean or not self._usual.count:
            # With pitch and roll as they usually are the heading is known far better than with those of one window.
            self._usual = self._usual.with_one_more(fit.pitch_rad, fit.roll_rad)
        pitch, roll = self._usual.tilt
        off = (fit.pitch_rad - pitch, fit.roll_rad - roll)
        unusual = math.hypot(*(v / s for v, s in zip(off, self._sigmas(fit), strict=True))) > _UNUSUAL_SIGMAS
        if unusual or window.views[0].t_ns < self._usual_since_ns:
            self._yaw.offer(None)  # a change of tilt inside the window would be taken for yaw
            return
        lines = Lines(window.views, self.camera, replace(self.config.attitude, max_segments=_MAX_STEP_SEGMENTS))
        step = find_yaw_step(window.views, window.turns_rad, lines, pitch, roll, self._yaw.config)
        if self._yaw.offer(step):
            self._heading.clear()
        elif clean and self._yaw.suspected is None:
            found = heading_given(lines, pitch, roll)
            if found is not None:
                sigma = math.hypot(found[1], self.config.slack_rad)
                self._heading.add(window.t_ns, (found[0], sigma), window.turns_rad[-1])

    def forget(self) -> None:
        """Begin anew, but for what is known to be bumped: times or headings before now mean nothing any more."""
        self._views.clear()
        self._heading.clear()
        self._next_ns = 0
        self._suspicions = 0
        self._yaw.forget()
        self._check = None


def mended(camera: CameraModel, report: BumpReport) -> CameraModel:
    """Return the camera as the report says that it sits now: for looking at, and for the next calibration's start."""
    m = camera.mounting
    return replace(
        camera,
        mounting=replace(
            m,
            pitch_rad=m.pitch_rad + report.pitch_rad,
            roll_rad=m.roll_rad + report.roll_rad,
            yaw_rad=m.yaw_rad + report.yaw_jump_rad,
        ),
    )
