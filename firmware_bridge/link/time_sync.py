"""Maps the microcontroller's clock to the host's from round trips: least delay tells most.

Each TELEMETRY echoes the stamp of the last COMMAND and how long it was held, which gives the delay of the round
trip and, as in NTP (Mills 1991), an estimate of the offset with an error of at most half of it. Delays only ever add,
so the quickest trip of each second is kept and a line is laid through the last sixteen: its slope is the drift.
"""

from __future__ import annotations

from dataclasses import dataclass, field

US = 1_000
_BUCKET_US = 1_000_000
_BUCKETS = 16
_LINE_NEEDS = 4
_DRIFT_LIMIT = 300e-6
"""Two crystals of 100 ppm each, and room; a steeper line is noise."""
_DELAY_FLOOR_NS = 50_000
"""Differences in delay below this say nothing about which sample is better."""


@dataclass(frozen=True, slots=True)
class _Sample:
    t_mcu_us: int
    offset_ns: int
    round_trip_ns: int


@dataclass(slots=True)
class TimeSync:
    """The offset `host - device` as a line over device time. Pure: times come with the samples."""

    round_trip_ns: int = 0
    drift: float = 0.0
    _best: list[_Sample] = field(default_factory=list)
    _anchor_us: int = 0
    _anchor_offset_ns: int = 0
    _last_ns: int = -(1 << 62)
    _one_way_ns: int | None = None

    def on_arrival(self, t_mcu_us: int, now_ns: int) -> None:
        """Note that something measured at `t_mcu_us` was here at `now_ns`: an upper bound of the offset."""
        bound = now_ns - t_mcu_us * US
        if self._one_way_ns is None or bound < self._one_way_ns:
            self._one_way_ns = bound

    def on_round_trip(self, t_mcu_us: int, host_stamp_ns: int, hold_us: int, now_ns: int) -> None:
        """Note one round trip.

        Args:
            t_mcu_us: device time at which the answer left.
            host_stamp_ns: host time at which the question left.
            hold_us: device time between the question's arrival and `t_mcu_us`.
            now_ns: host time at which the answer was here.
        """
        round_trip_ns = now_ns - host_stamp_ns - hold_us * US
        if round_trip_ns < 0:  # an echo of something that this link did not send
            return
        self.round_trip_ns = round_trip_ns
        sample = _Sample(t_mcu_us, now_ns - round_trip_ns // 2 - t_mcu_us * US, round_trip_ns)
        if self._best and t_mcu_us // _BUCKET_US == self._best[-1].t_mcu_us // _BUCKET_US:
            if round_trip_ns >= self._best[-1].round_trip_ns:
                return
            self._best[-1] = sample
        else:
            self._best.append(sample)
            del self._best[:-_BUCKETS]
        self._fit()

    def offset_ns(self, t_mcu_us: int) -> int:
        """Host minus device time at that device time; before the first round trip, the one-way bound."""
        if not self._best:
            return self._one_way_ns or 0
        return self._anchor_offset_ns + round(self.drift * (t_mcu_us - self._anchor_us) * US)

    def to_host_ns(self, t_mcu_us: int, now_ns: int) -> int:
        """Map a device time to the host clock; never later than now, never before an earlier answer."""
        t_ns = min(t_mcu_us * US + self.offset_ns(t_mcu_us), now_ns)
        self._last_ns = max(t_ns, self._last_ns)
        return self._last_ns

    def _fit(self) -> None:
        best = self._best
        least = min(s.round_trip_ns for s in best)
        newest = best[-1].t_mcu_us
        # Offsets relative to the newest, so that nothing is lost in floating point.
        origin_ns = best[-1].offset_ns
        weights = [(_DELAY_FLOOR_NS / (_DELAY_FLOOR_NS + s.round_trip_ns - least)) ** 2 for s in best]
        ages = [float(s.t_mcu_us - newest) for s in best]
        offsets = [float(s.offset_ns - origin_ns) for s in best]
        total = sum(weights)
        mean_age = sum(w * a for w, a in zip(weights, ages, strict=True)) / total
        mean_offset = sum(w * o for w, o in zip(weights, offsets, strict=True)) / total
        spread = sum(w * (a - mean_age) ** 2 for w, a in zip(weights, ages, strict=True))
        self.drift = 0.0
        if len(best) >= _LINE_NEEDS and spread > 0.0:
            slope = sum(w * (a - mean_age) * (o - mean_offset) for w, a, o in zip(weights, ages, offsets, strict=True))
            self.drift = min(max(slope / spread / US, -_DRIFT_LIMIT), _DRIFT_LIMIT)
        self._anchor_us = newest + round(mean_age)
        self._anchor_offset_ns = origin_ns + round(mean_offset)
