"""Inputs die at the age that they were given, and come back; the stream table names what a recording holds."""

import pytest

from robot.core.clock import NS_PER_S, ManualClock
from robot.core.health import HealthMonitor
from robot.core.streams import STREAMS

LIMIT_NS = NS_PER_S // 10


def test_an_input_is_alive_until_its_maximum_age_and_again_after_news() -> None:
    monitor = HealthMonitor({"telemetry": 0.1, "detections": 0.5})
    assert not monitor.check("telemetry", 0).alive
    monitor.heard("telemetry", 1000)
    assert monitor.check("telemetry", 1000 + LIMIT_NS).alive
    assert not monitor.check("telemetry", 1001 + LIMIT_NS).alive
    monitor.heard("telemetry", 2000 + LIMIT_NS)
    assert monitor.check("telemetry", 2000 + LIMIT_NS).alive
    assert monitor.check("telemetry", 0).count == 2
    assert not monitor.check("detections", 0).alive
    with pytest.raises(KeyError):
        monitor.check("sonar", 0)


def test_late_news_does_not_make_an_input_younger() -> None:
    monitor = HealthMonitor({"telemetry": 0.1})
    monitor.heard("telemetry", 5 * NS_PER_S)
    monitor.heard("telemetry", 1 * NS_PER_S)
    assert monitor.check("telemetry", 5 * NS_PER_S).age_s == 0.0


def test_stream_names_are_unique_and_inputs_live_in_the_batch() -> None:
    names = [row.name for row in STREAMS]
    assert len(names) == len(set(names))
    assert {row.name for row in STREAMS if row.is_input} == {"batch", "detections", "serial", "referee", "team"}


def test_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(5)
    clock.sleep_until_ns(3)
    assert clock.now_ns() == 5
    clock.sleep_until_ns(9)
    clock.advance_ns(1)
    assert clock.now_ns() == 10
