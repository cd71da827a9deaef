"""What `play` says of itself while playing reaches the screen, and never waits for it."""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import time
from types import SimpleNamespace

import pytest

from robot.cli._console import Console

PIPE_BYTES = 4096
PATIENCE_S = 10.0


def standard_error(monkeypatch: pytest.MonkeyPatch) -> int:
    """Put a small pipe in the place of standard error; returns its reading end."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(fileno=lambda: writing))
    return reading


def test_a_screen_that_takes_nothing_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-S, or ssh over a lost radio link: the control loop stood in `print`, deaf to Ctrl-C."""
    reading = standard_error(monkeypatch)
    lines = [f"line {number:04d}" for number in range(5000)]
    began_s = time.monotonic()
    with Console() as console:
        for line in lines:
            console(line)
    assert time.monotonic() - began_s < PATIENCE_S
    assert console.dropped > 0
    shown = b""
    while shown.count(b"\n") < 1000:  # it is read again: what waited comes, in order
        shown += os.read(reading, PIPE_BYTES)
    assert shown.decode().splitlines()[:1000] == lines[:1000]


def test_lines_and_warnings_are_printed_in_their_order_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = standard_error(monkeypatch)
    with Console() as console:
        console("mode active")
        logging.getLogger("robot.runtime.port").warning("serial port %s", "lost")
        logging.getLogger("robot.runtime.port").info("of no interest")
    logging.getLogger("robot.runtime.port").info("nobody's any more")
    assert os.read(reading, PIPE_BYTES) == b"mode active\nserial port lost\n"


def test_a_reader_that_has_gone_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`blackout play 2>&1 | head` was a crash in the step."""
    os.close(standard_error(monkeypatch))
    with Console() as console:
        for _ in range(10):
            console("mode active")
    assert console.dropped == 0
    assert not console._thread.is_alive()
