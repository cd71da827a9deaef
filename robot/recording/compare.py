"""Compares what was recorded with what was computed again: bit for bit, and says where they first differ."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first difference: which tick, which field (`world.ball.ball_in_robot_m[0]`), both values as recorded."""

    tick: int
    path: str
    recorded: Any
    replayed: Any

    def __str__(self) -> str:
        return f"tick {self.tick}: {self.path} was {self.recorded!r}, is now {self.replayed!r}"


def first_difference(tick: int, recorded_json: bytes, replayed_json: bytes) -> Difference | None:
    """Return the first differing field of two results, or None when they are equal bit for bit.

    Args:
        tick: for the message.
        recorded_json: as `robot.recording.codec.to_json` wrote it; equal texts are equal messages.
        replayed_json: the same, computed again.
    """
    if recorded_json == replayed_json:
        return None
    found = _walk("", json.loads(recorded_json), json.loads(replayed_json))
    path, recorded, replayed = found or ("(text)", recorded_json.decode(), replayed_json.decode())
    return Difference(tick=tick, path=path, recorded=recorded, replayed=replayed)


def _walk(path: str, a: Any, b: Any) -> tuple[str, Any, Any] | None:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in [*a, *(k for k in b if k not in a)]:
            here = f"{path}.{key}" if path else key
            if key not in a or key not in b:
                return here, a.get(key, "(absent)"), b.get(key, "(absent)")
            if (found := _walk(here, a[key], b[key])) is not None:
                return found
        return None
    if isinstance(a, list) and isinstance(b, list):
        for index, (x, y) in enumerate(zip(a, b, strict=False)):
            if (found := _walk(f"{path}[{index}]", x, y)) is not None:
                return found
        return None if len(a) == len(b) else (f"len({path})", len(a), len(b))
    # repr tells 0.0 from -0.0 and 1 from 1.0, which == does not
    return None if repr(a) == repr(b) else (path, a, b)
