"""Watches whether the camera still sits as it was calibrated: vision results and dead reckoning in, news out."""

from __future__ import annotations

import math

from perception.calibration.bump import BumpConfig, BumpMonitor, BumpReport
from perception.calibration.line_attitude import LineView
from perception.camera.model import CameraModel
from perception.estimation.ego.trail import DeadReckoning
from robot.core.messages import DetectionBatch

CODE = "camera_bumped"
_OTHER_RAD = math.radians(0.7)
"""A bump that has changed by this much is told again."""


class CameraWatch:
    """Tells once when a bump begins, when its size changes, and when it is over. Pure."""

    def __init__(self, config: BumpConfig, camera: CameraModel) -> None:
        self._monitor = BumpMonitor(config, camera) if config.enabled else None
        self._size = (camera.intrinsics.width_px, camera.intrinsics.height_px)
        self._told: BumpReport | None = None
        self._news: list[str] = []

    @property
    def report(self) -> BumpReport | None:
        """How the camera sits by the last check that said something."""
        return self._monitor.report if self._monitor is not None else None

    def on_detections(self, batch: DetectionBatch, motion: DeadReckoning | None) -> None:
        """Look at one vision result; `motion` is dead reckoning at its capture time, None when that is not known."""
        if self._monitor is None or motion is None or not batch.line_segments_px or batch.image_size_px != self._size:
            return
        if not all(math.isfinite(v) for segment in batch.line_segments_px for v in segment):
            return
        view = LineView.seen(batch.t_capture_ns, batch.line_segments_px, batch.line_points_px, motion)
        self._monitor.add_view(view)

    def work(self) -> None:
        """Go on with a check that waits, by one fit: a millisecond or two."""
        if self._monitor is None:
            return
        report = self._monitor.work()
        if report is None:
            return
        if not report.bumped:
            if self._told is not None:
                self._news.append("ended")
            self._told = None
        elif self._told is None or _apart(report, self._told) > _OTHER_RAD:
            self._told = report
            self._news.append(f"{report.text()}; mend: blackout calibrate lines (docs/calibration.md)")

    def take_news(self) -> list[str]:
        """Return what is new since the last call."""
        news, self._news = self._news, []
        return news


def _apart(a: BumpReport, b: BumpReport) -> float:
    return max(abs(a.pitch_rad - b.pitch_rad), abs(a.roll_rad - b.roll_rad), abs(a.yaw_jump_rad - b.yaw_jump_rad))
