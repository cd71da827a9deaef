"""Options of the test suite."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--port`: the tests marked `hardware` that talk to a board use it."""
    parser.addoption(
        "--port",
        default=None,
        help="serial port (or tcp://HOST:PORT) with a test build of the firmware behind it, for the hardware tests",
    )
