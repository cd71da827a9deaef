"""What a control process asks of the operating system: signals as a flag, regular ticks."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

_PRIORITY = 20


class StopFlag:
    """SIGINT, SIGTERM and SIGHUP as a flag: the loop ends at its next deadline and says STOP to the robot itself."""

    def __init__(self) -> None:
        self.reason = ""

    def __call__(self) -> bool:
        """True once a signal came."""
        return bool(self.reason)

    @contextlib.contextmanager
    def installed(self) -> Iterator[StopFlag]:
        """Catch the signals inside a `with`."""

        def note(signum: int, frame: FrameType | None) -> None:
            self.reason = signal.Signals(signum).name

        old = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            yield self
        finally:
            for signum, handler in old.items():
                signal.signal(signum, handler)


@contextlib.contextmanager
def realtime() -> Iterator[str]:
    """Make this thread's ticks regular: short GIL slices, no collector pauses, real-time priority where allowed.

    Yields:
        What was reached, for the log.
    """
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)  # another thread may hold the GIL for 5 ms by default: half a period
    gc.collect()
    gc.freeze()
    gc.disable()  # messages hold no cycles; the collector would only pause the loop
    reached = "normal priority (for real time: LimitRTPRIO=80 in the systemd unit)"
    with contextlib.suppress(OSError, AttributeError):
        # For this thread alone, and not for what it starts.
        policy = os.SCHED_FIFO | getattr(os, "SCHED_RESET_ON_FORK", 0x40000000)
        os.sched_setscheduler(0, policy, os.sched_param(_PRIORITY))
        reached = f"real-time priority {_PRIORITY}"
    try:
        yield reached
    finally:
        with contextlib.suppress(OSError, AttributeError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        gc.enable()
        gc.unfreeze()
        sys.setswitchinterval(interval_s)
