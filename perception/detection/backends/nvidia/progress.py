"""How far a build has come: TensorRT's progress monitor where there is one (10 and later)."""

from __future__ import annotations

import threading
from typing import Any


class BuildProgress:
    """Written by the builder's thread, read by whoever prints; `stop()` asks the builder to end early."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._phases: dict[str, tuple[int, int]] = {}
        self._stopping = False

    @property
    def text(self) -> str:
        """The phases that run, outermost first: `Building Engine 3/7, Tactic Selection 41/212`; empty if unknown."""
        with self._lock:
            return ", ".join(f"{name} {step}/{steps}" for name, (step, steps) in self._phases.items())

    def stop(self) -> None:
        """Let the build end at its next step."""
        self._stopping = True

    def start(self, phase: str, steps: int) -> None:
        """A phase begins."""
        with self._lock:
            self._phases[phase] = (0, steps)

    def step(self, phase: str, done: int) -> bool:
        """A step (counted from 0) of a phase is done; returns whether to go on."""
        with self._lock:
            if phase in self._phases:
                self._phases[phase] = (done + 1, self._phases[phase][1])
        return not self._stopping

    def finish(self, phase: str) -> None:
        """A phase ends."""
        with self._lock:
            self._phases.pop(phase, None)

    def attach(self, trt: Any, options: Any) -> Any:
        """Give the builder's options a monitor; returns it (keep it until the build ends), or None."""
        if not hasattr(trt, "IProgressMonitor") or not hasattr(options, "progress_monitor"):
            return None
        progress = self

        class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
            """Called by TensorRT from its own threads."""

            def __init__(self) -> None:
                trt.IProgressMonitor.__init__(self)

            def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
                progress.start(phase_name, num_steps)

            def step_complete(self, phase_name: str, step: int) -> bool:
                return progress.step(phase_name, step)

            def phase_finish(self, phase_name: str) -> None:
                progress.finish(phase_name)

        options.progress_monitor = Monitor()
        return options.progress_monitor
