"""Small helpers shared by verbs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from robot.core.errors import ConfigError


def parse_overrides(pairs: Iterable[str]) -> dict[str, Any]:
    """Return `{"motion.max_speed_m_s": 1.5}` of `["motion.max_speed_m_s=1.5"]`; values are JSON, or else plain text.

    Raises:
        ConfigError: no `=` in one of them.
    """
    overrides: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"not key=value: {pair!r}", hint="for example --override control.dock.speed_m_s=0.3")
        try:
            overrides[key] = json.loads(text)
        except json.JSONDecodeError:
            overrides[key] = text
    return overrides
