"""The first difference is found, at the right path, also where == would see none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from robot.recording.compare import first_difference


def text(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


BASE = {"mode": "active", "world": {"x": [1.0, 2.0], "t": None}, "n": 3}


@pytest.mark.parametrize(
    ("changed", "path", "now"),
    [
        ({**BASE, "mode": "ready"}, "mode", "ready"),
        ({**BASE, "world": {"x": [1.0, 2.0000000000000004], "t": None}}, "world.x[1]", 2.0000000000000004),
        ({**BASE, "world": {"x": [1.0], "t": None}}, "len(world.x)", 1),
        ({**BASE, "world": {"x": [1.0, 2.0], "t": 0}}, "world.t", 0),
        ({**BASE, "extra": 1}, "extra", 1),
        ({**BASE, "n": 3.0}, "n", 3.0),
    ],
)
def test_the_first_difference_is_named(changed: dict[str, Any], path: str, now: Any) -> None:
    found = first_difference(7, text(BASE), text(changed))
    assert found is not None
    assert (found.tick, found.path, found.replayed) == (7, path, now)
    assert path in str(found)


def test_negative_zero_is_a_difference_and_equal_is_none() -> None:
    assert first_difference(0, text({"v": 0.0}), text({"v": -0.0})) is not None
    assert first_difference(0, text(BASE), text(BASE)) is None
