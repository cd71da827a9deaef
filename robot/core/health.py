"""Input health: age and rate of each stream against the stream table. Pure; time comes with the messages."""

from __future__ import annotations

from dataclasses import dataclass, field

from robot.core.clock import NS_PER_S
from robot.core.streams import Stream


@dataclass(frozen=True, slots=True)
class StreamHealth:
    """One stream at one moment: `alive` = seen, and younger than the table's `max_age_s`."""

    name: str
    alive: bool
    age_s: float
    count: int


@dataclass(slots=True)
class HealthMonitor:
    """Remembers when each stream was last heard."""

    streams: tuple[Stream, ...]
    _last_ns: dict[str, int] = field(default_factory=dict)
    _count: dict[str, int] = field(default_factory=dict)

    def heard(self, name: str, t_receive_ns: int) -> None:
        """Note one message of stream `name`."""
        self._last_ns[name] = max(t_receive_ns, self._last_ns.get(name, t_receive_ns))
        self._count[name] = self._count.get(name, 0) + 1

    def check(self, name: str, t_now_ns: int) -> StreamHealth:
        """Return the state of one stream at `t_now_ns`."""
        row = next(s for s in self.streams if s.name == name)
        last = self._last_ns.get(name)
        age_s = float("inf") if last is None else (t_now_ns - last) / NS_PER_S
        alive = last is not None and (row.max_age_s == 0.0 or age_s <= row.max_age_s)
        return StreamHealth(name, alive, age_s, self._count.get(name, 0))
