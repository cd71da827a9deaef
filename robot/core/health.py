"""Which inputs are alive, by the age of the last good message of each. Pure; time comes with the messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from robot.core.clock import NS_PER_S


@dataclass(frozen=True, slots=True)
class InputHealth:
    """One input at one moment: `alive` = heard, and not longer ago than its limit; `age_s` is inf before."""

    name: str
    alive: bool
    age_s: float
    count: int


@dataclass(slots=True)
class HealthMonitor:
    """Remembers when each input was last heard.

    Attributes:
        max_age_s: per input, the silence after which it counts as lost.
    """

    max_age_s: Mapping[str, float]
    _last_ns: dict[str, int] = field(default_factory=dict)
    _count: dict[str, int] = field(default_factory=dict)

    def heard(self, name: str, t_receive_ns: int) -> None:
        """Note one message of the input `name`."""
        self._last_ns[name] = max(t_receive_ns, self._last_ns.get(name, t_receive_ns))
        self._count[name] = self._count.get(name, 0) + 1

    def check(self, name: str, t_now_ns: int) -> InputHealth:
        """Return the state of one input at `t_now_ns`.

        Raises:
            KeyError: no limit was given for it.
        """
        limit_s, last = self.max_age_s[name], self._last_ns.get(name)
        age_s = float("inf") if last is None else (t_now_ns - last) / NS_PER_S
        return InputHealth(name, age_s <= limit_s, age_s, self._count.get(name, 0))
