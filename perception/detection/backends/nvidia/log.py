"""TensorRT's messages: forwarded to logging, and the last errors kept, because its calls only answer None or False."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Any

_LOG = logging.getLogger("perception.detection.tensorrt")
_LEVELS = {
    "INTERNAL_ERROR": logging.CRITICAL,
    "ERROR": logging.ERROR,
    "WARNING": logging.WARNING,
    "INFO": logging.INFO,
    "VERBOSE": logging.DEBUG,
}
_loggers: list[tuple[Any, Any]] = []


def tensorrt_logger(trt: Any) -> Any:
    """Return this process' only TensorRT logger, an ILogger with `take_errors()` and `messages`.

    TensorRT keeps one pointer to it for the whole process, and calls it from its own threads: so it is made once, never
    let go, and guarded by a lock.

    Args:
        trt: the `tensorrt` module.
    """
    for module, logger in _loggers:
        if module is trt:
            return logger
    _loggers.append((trt, _logger_class(trt)()))
    return _loggers[-1][1]


def _logger_class(trt: Any) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        """Forwards to logging; keeps the last eight errors."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # pybind11 demands the explicit call
            self._lock = threading.Lock()
            self._errors: deque[str] = deque(maxlen=8)
            self.messages = 0

        def log(self, severity: Any, msg: str) -> None:
            """Called by TensorRT; an exception here would cross C++, so nothing in it can raise."""
            level = _LEVELS.get(getattr(severity, "name", str(severity).rsplit(".", 1)[-1]), logging.INFO)
            with self._lock:
                self.messages += 1
                if level >= logging.ERROR:
                    self._errors.append(str(msg).strip())
            _LOG.log(level, "%s", msg)

        def take_errors(self) -> str:
            """Return the last errors on one line and forget them; a fixed phrase where there are none."""
            with self._lock:
                text = "; ".join(self._errors)
                self._errors.clear()
            return text or "TensorRT gave no reason"

    return Logger
