"""Device time on the host's clock: how close, under jitter, asymmetry of bursts and drift."""

from __future__ import annotations

import numpy as np
import pytest

from firmware_bridge.link.time_sync import TimeSync

MS = 1_000_000


def play(
    seconds: float, *, drift_ppm: float, base_ms: float, jitter_ms: float, seed: int = 1
) -> tuple[TimeSync, list[int]]:
    """A host that commands at 100 Hz, a device that answers at 200 Hz, gamma-distributed delays; the errors in ns."""
    random = np.random.default_rng(seed)
    sync = TimeSync()
    start_ns, errors = 5_000_000_000_000, []
    command_stamp = command_arrival_us = -1

    def device_us(host_ns: int) -> int:
        return int((host_ns - start_ns) * (1 + drift_ppm * 1e-6) / 1000)

    for i in range(int(seconds * 200)):
        t_ns = start_ns + i * 5 * MS
        if i % 2 == 0:
            command_stamp = t_ns
            delay = int((base_ms + random.gamma(0.5, jitter_ms)) * MS)
            command_arrival_us = device_us(t_ns + delay)
        sample_ns = t_ns + 4 * MS
        sample_us = device_us(sample_ns)
        arrival_ns = sample_ns + int((base_ms + random.gamma(0.5, jitter_ms)) * MS)
        sync.on_arrival(sample_us, arrival_ns)
        if command_arrival_us <= sample_us:
            sync.on_round_trip(sample_us, command_stamp, sample_us - command_arrival_us, arrival_ns)
        errors.append(sync.to_host_ns(sample_us, arrival_ns) - sample_ns)
    return sync, errors


@pytest.mark.parametrize("drift_ppm", [-100.0, 0.0, 60.0])
def test_settles_to_a_tenth_of_the_jitter_in_spite_of_drift(drift_ppm: float) -> None:
    sync, errors = play(40, drift_ppm=drift_ppm, base_ms=0.4, jitter_ms=2.0)
    late = np.abs(errors[200 * 10 :])
    assert np.percentile(late, 99) < 0.2 * MS
    assert sync.drift * 1e6 == pytest.approx(-drift_ppm, abs=10)


def test_usable_from_the_first_frame() -> None:
    _, errors = play(2, drift_ppm=50.0, base_ms=0.4, jitter_ms=2.0)
    assert abs(errors[0]) < 10 * MS
    assert np.abs(errors[100:]).max() < 1.0 * MS


def test_never_in_the_future_never_backwards() -> None:
    sync = TimeSync()
    random = np.random.default_rng(3)
    last = -1
    for i in range(2000):
        now = 10**12 + i * 5 * MS + int(random.exponential(1.0) * MS)
        sync.on_arrival(i * 5000, now)
        sync.on_round_trip(i * 5000, now - 3 * MS, 1000, now)
        mapped = sync.to_host_ns(i * 5000, now)
        assert last <= mapped <= now or mapped == last
        last = mapped


def test_an_echo_from_the_future_is_ignored() -> None:
    sync = TimeSync()
    sync.on_round_trip(1000, 50 * MS, 10, 20 * MS)
    assert sync.round_trip_ns == 0
    assert sync.offset_ns(1000) == 0
