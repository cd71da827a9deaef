"""Lines for whoever watches, from a thread of their own: a screen that takes none must not hold up a control loop."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable
from types import TracebackType

_WAITING = 1000
_CLOSE_S = 1.0


class Console(logging.Handler):
    """Call it with a line, which goes to standard error; it never waits. Inside a `with` warnings are its lines, too.

    A terminal over a lost radio link, Ctrl-S, or a pager takes nothing for minutes. Lines that find no room are dropped
    and counted, and those that nobody reads any more are thrown away.

    Attributes:
        dropped: lines that found no room.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.dropped = 0
        self._lines: queue.Queue[str | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._print, name="console", daemon=True)

    def __call__(self, line: str) -> None:
        """Print a line, in a moment."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        self(self.format(record))

    def __enter__(self) -> Console:
        """Begin to print."""
        self._thread.start()
        logging.getLogger().addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Print what waits, for a second at the most."""
        logging.getLogger().removeHandler(self)
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
            self._thread.join(_CLOSE_S)

    def _print(self) -> None:
        write = _writer()
        while (line := self._lines.get()) is not None:
            with contextlib.suppress(OSError):  # nobody reads any more
                write(f"{line}\n")


def _writer() -> Callable[[str], None]:
    """Return what writes past Python's buffer: Python aborts when it ends while a thread holds that lock."""
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # none, or a test's
        return lambda text: print(text, end="", file=sys.stderr, flush=True)

    def write(text: str) -> None:
        data = text.encode(errors="replace")
        while data:
            data = data[os.write(descriptor, data) :]

    return write
