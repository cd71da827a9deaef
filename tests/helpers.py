"""Small helpers shared by the tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent


def shared_data(*parts: str) -> Path:
    """Return a path under the shared data beside the project, or skip with a printed reason where it is missing."""
    path = PROJECT.parent.joinpath("shared", "data", *parts)
    if not path.exists():
        pytest.skip(f"real data not here: {path} (see docs/training.md for what it is)")
    return path


def eventually(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until the condition holds; False when it does not within that time."""
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        if condition():
            return True
        time.sleep(0.05)
    return condition()
