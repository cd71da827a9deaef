"""Starts vision again when it has died: a robot that sees nothing for the rest of a match is of no use."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import fields, replace

from firmware_bridge.transport.reconnect import Backoff
from perception.capture.source import CaptureStats
from robot.core.errors import RobotError
from robot.core.messages import DetectionBatch
from robot.runtime.vision_loop import Vision, VisionReport

_LOOK_S = 0.1
_JOIN_S = 5.0
_STEADY_S = 20.0
"""Vision that has lived so long is started again at once; one that dies young waits longer each time."""


class KeptVision:
    """A `Vision` that comes back. A film that is over stays over.

    Starting takes seconds, so a thread of its own does it; the control loop plays on without frames meanwhile.

    Args:
        start: starts vision; is told how often it has been started before, and what to ask whether it is to give up.
        said: is told about changes, one line each, from that thread.
        backoff: the pauses before each attempt.

    Raises:
        whatever `start` raises the first time.
    """

    def __init__(
        self,
        start: Callable[[int, Callable[[], bool]], Vision],
        said: Callable[[str], None] = lambda _: None,
        backoff: Backoff | None = None,
    ) -> None:
        self._start, self._said = start, said
        self._backoff = backoff or Backoff(0.2, 10.0)
        self._closing = threading.Event()
        self._past: list[VisionReport] = []
        self._result: VisionReport | None = None
        self._vision = start(0, self._closing.is_set)
        self.model = self._vision.model
        self._thread = threading.Thread(target=self._keep, name="vision-keeper", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """See `Vision.alive`; False while it is being started again."""
        return self._vision.alive

    def take(self) -> list[DetectionBatch]:
        """See `Vision.take`."""
        return self._vision.take()

    def close(self) -> VisionReport:
        """See `Vision.close`; the sum of all that ran. `failure` is set if it was dead at the end."""
        if self._result is None:
            self._closing.set()
            self._thread.join(_JOIN_S)
            self._result = _sum([*self._past, self._vision.close()])
        return self._result

    def _keep(self) -> None:
        begun_s = time.monotonic()
        while not self._closing.wait(_LOOK_S):
            if self._vision.alive:
                if time.monotonic() - begun_s > _STEADY_S:
                    self._backoff.reset()
                continue
            report = self._vision.close()
            if not report.failure:
                self._said("vision has ended")
                return
            self._said(f"vision died ({report.failure}): starting it again")
            vision = self._started_again(len(self._past) + 1)
            if vision is None:
                return
            self._past.append(report)
            self._vision, begun_s = vision, time.monotonic()
            self._said("vision is back")

    def _started_again(self, before: int) -> Vision | None:
        """Try until it stands; None when all is to end."""
        told = ""
        while not self._closing.wait(self._backoff.next_s()):
            try:
                vision = self._start(before, self._closing.is_set)
            except Exception as error:  # noqa: BLE001 - whatever it is: this thread is all that brings vision back
                text = str(error) if isinstance(error, RobotError) else f"{type(error).__name__}: {error}"
                if text != told:
                    told = text
                    self._said(f"vision cannot start: {told}")
                continue
            if not self._closing.is_set():
                return vision
            vision.close()
        return None


def _sum(reports: list[VisionReport]) -> VisionReport:
    """Add up what was done in several lives; the last one's `failure` counts."""
    captures = [r.capture for r in reports if r.capture is not None]
    total = CaptureStats(**{f.name: sum(getattr(c, f.name) for c in captures) for f in fields(CaptureStats)})
    return replace(
        reports[-1],
        analysed=sum(r.analysed for r in reports),
        duration_s=sum(r.duration_s for r in reports),
        capture=total if captures else None,
        frames_not_recorded=sum(r.frames_not_recorded for r in reports),
        recorder_failure=next((r.recorder_failure for r in reports if r.recorder_failure), ""),
        died=tuple(r.failure for r in reports if r.failure),
    )
