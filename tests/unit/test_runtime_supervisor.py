"""The supervisor's transitions: what stops the robot, what slows it, what it takes to come back."""

from __future__ import annotations

import dataclasses

import pytest

from robot.core.messages import Mode, RefereeCode
from robot.runtime.supervisor import Inputs, Supervisor, SupervisorConfig

GOOD = Inputs(
    t_now_ns=0,
    referee=RefereeCode.FORCE_START,
    link_up=True,
    telemetry_alive=True,
    vision_alive=True,
    estimate_ok=True,
)
TICK_NS = 10_000_000


class Bench:
    """Runs the supervisor tick by tick."""

    def __init__(self) -> None:
        self.supervisor = Supervisor(SupervisorConfig(recover_s=0.3, vision_recover_s=0.2))
        self.tick = 0

    def run(self, ticks: int = 1, **changes: object) -> Mode:
        """Advance with `changes` against all-good inputs; return the last mode."""
        mode = Mode.BOOT
        for _ in range(ticks):
            inputs = dataclasses.replace(GOOD, t_now_ns=self.tick * TICK_NS, **changes)  # type: ignore[arg-type]
            self.verdict = self.supervisor.update(inputs)
            mode = self.verdict.mode
            self.tick += 1
        return mode


def test_boot_waits_for_link_and_telemetry_without_calling_it_a_fault() -> None:
    bench = Bench()
    assert bench.run(50, link_up=False, telemetry_alive=False, vision_alive=False, estimate_ok=False) is Mode.BOOT
    assert bench.run(50, telemetry_alive=False) is Mode.BOOT
    assert bench.verdict.reasons == ()
    assert bench.run(1, referee=None) is Mode.READY
    assert bench.verdict.reasons == ()


@pytest.mark.parametrize("referee", [None, RefereeCode.HALT, RefereeCode.STOP])
def test_only_force_start_lets_it_play(referee: RefereeCode | None) -> None:
    bench = Bench()
    assert bench.run(1, referee=referee) is Mode.READY
    assert bench.run(1) is Mode.ACTIVE
    assert bench.run(1, referee=referee) is Mode.READY


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"link_up": False}, "link_lost"),
        ({"telemetry_alive": False}, "telemetry_lost"),
        ({"estimate_ok": False}, "estimate_bad"),
        ({"estop": True}, "emergency_stop"),
    ],
)
def test_each_danger_stops_at_once_and_needs_a_while_of_good_inputs(change: dict[str, bool], reason: str) -> None:
    bench = Bench()
    bench.run(5)
    assert bench.run(1, **change) is Mode.SAFE_STOP
    assert bench.verdict.reasons == (reason,)
    assert bench.run(30) is Mode.SAFE_STOP  # 0.29 s of good inputs are not enough
    assert bench.run(1) is Mode.ACTIVE


def test_a_flickering_link_keeps_it_stopped() -> None:
    bench = Bench()
    bench.run(5)
    for _ in range(10):
        assert bench.run(1, link_up=False) is Mode.SAFE_STOP
        assert bench.run(20) is Mode.SAFE_STOP


def test_lost_vision_degrades_and_returning_vision_must_last() -> None:
    bench = Bench()
    bench.run(5)
    assert bench.run(1, vision_alive=False) is Mode.DEGRADED
    assert bench.verdict.reasons == ("vision_lost",)
    assert bench.run(20) is Mode.DEGRADED
    assert bench.run(1) is Mode.ACTIVE


def test_danger_outranks_lost_vision_and_a_missing_start() -> None:
    bench = Bench()
    bench.run(5)
    assert bench.run(1, vision_alive=False, link_up=False, referee=RefereeCode.HALT) is Mode.SAFE_STOP
    assert set(bench.verdict.reasons) == {"link_lost", "vision_lost"}


def test_a_senseless_config_is_refused() -> None:
    with pytest.raises(ValueError, match="recovery"):
        SupervisorConfig(recover_s=-1.0)
