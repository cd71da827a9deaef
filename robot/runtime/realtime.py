"""What a control process asks of the operating system: signals as a flag, regular ticks."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

_PRIORITY, _HELPER_PRIORITY = 20, 10


class StopFlag:
    """SIGINT, SIGTERM and SIGHUP as a flag: the loop ends at its next deadline and says STOP to the robot itself."""

    def __init__(self) -> None:
        self.reason = ""

    def __call__(self) -> bool:
        """True once a signal came."""
        return bool(self.reason)

    @contextlib.contextmanager
    def installed(self) -> Iterator[StopFlag]:
        """Catch the signals inside a `with`; reading a terminal from the background fails and stops nobody."""

        def note(signum: int, frame: FrameType | None) -> None:
            self.reason = signal.Signals(signum).name

        old = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        old[signal.SIGTTIN] = signal.signal(signal.SIGTTIN, signal.SIG_IGN)
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
    me = threading.get_native_id()
    reached = "normal priority (for real time: LimitRTPRIO=80 in the systemd unit)"
    if _set_priority(me, _PRIORITY):
        reached = f"real-time priority {_PRIORITY}"
    # Serial reader and recorder too, a little lower: a helper that loses its core with the GIL in hand stops this one.
    helpers = [tid for tid in _threads() if tid != me and _set_priority(tid, _HELPER_PRIORITY)]
    try:
        yield reached
    finally:
        for tid in (me, *helpers):
            _set_priority(tid, 0)
        gc.enable()
        gc.unfreeze()
        sys.setswitchinterval(interval_s)


def _threads() -> list[int]:
    """Native ids of all threads of this process; none where the system does not say."""
    try:
        return [int(name) for name in os.listdir("/proc/self/task")]
    except OSError:
        return []


def _set_priority(tid: int, priority: int) -> bool:
    """Put one thread under SCHED_FIFO (0: back to normal); True when it was allowed. What it starts is not included."""
    try:
        policy = (os.SCHED_FIFO if priority else os.SCHED_OTHER) | getattr(os, "SCHED_RESET_ON_FORK", 0x40000000)
        os.sched_setscheduler(tid, policy, os.sched_param(priority))
    except (OSError, AttributeError):
        return False
    return True
