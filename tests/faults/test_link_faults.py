"""A bad cable between the link and the firmware: nothing damaged is ever believed, and the link finds back."""

from __future__ import annotations

import numpy as np
import pytest

from firmware_bridge.link.framing import FrameDecoder, FrameEncoder
from firmware_bridge.link.link import LinkState
from firmware_bridge.protocol.generated import Command, StateFlag, Telemetry
from firmware_bridge.transport.faulty import FaultRates, FaultyStream, FaultyTransport
from firmware_bridge.transport.library import LibraryTransport
from robot.core.errors import LinkError
from tests.firmware_bench import LinkedFirmware, motion, need_gcc

RATES = {
    "flip": FaultRates(flip=1e-3),
    "drop": FaultRates(drop=1e-3),
    "duplicate": FaultRates(duplicate=1e-3),
    "everything": FaultRates(flip=1e-3, drop=1e-3, duplicate=1e-3, stall=0.02),
    "storm": FaultRates(flip=1e-2, drop=1e-2, duplicate=1e-2),
    "blackouts": FaultRates(blackout=2e-4),
    "stalls": FaultRates(stall=0.02, stall_calls=3),
    "long stalls": FaultRates(stall=0.02, stall_calls=15),  # 150 ms of commands at once: most are too old
}


class Recorder:
    """One direction of the cable that remembers which frames really went in."""

    def __init__(self, stream: FaultyStream) -> None:
        self.stream = stream
        self.decoder = FrameDecoder()
        self.sent: list[object] = []

    def __call__(self, data: bytes) -> bytes:
        self.sent += self.decoder.feed(data)
        return self.stream(data)


def ages_ms(sent: list[object]) -> list[float]:
    """How old each command was, by the clock that both ends share here, when the armed device took it."""
    start_ns = LinkedFirmware.now_ns
    return [
        m.t_mcu_us / 1e3 - m.hold_us / 1e3 - (m.host_stamp_ns - start_ns) / 1e6
        for m in sent
        if isinstance(m, Telemetry) and m.flags & StateFlag.ARMED
    ]


@pytest.mark.parametrize("name", sorted(RATES))
def test_no_damaged_frame_is_believed_and_the_link_recovers(name: str) -> None:
    """10 s under faults: every telemetry that was believed had been sent, every command that was obeyed too; then the
    cable is mended, and within 50 ms the robot is armed again and drives."""
    need_gcc()
    rates = RATES[name]
    up, down = np.random.default_rng(11).spawn(2)
    bench = LinkedFirmware()
    bench.up = recorded_up = Recorder(FaultyStream(rates, up))
    bench.down = recorded_down = Recorder(FaultyStream(rates, down))
    bench.link.request_arm(True)
    for i in range(100):
        bench.run(100, motion(0.5 + 0.001 * i))

    told = {(m.t_mcu_us, m.gyro_z_rad_s, m.last_command_seq) for m in recorded_down.sent if isinstance(m, Telemetry)}
    believed = {(t.t_mcu_us, t.gyro_z_rad_s, t.last_command_seq) for t in bench.telemetry}
    assert believed <= told, "a frame was believed that nobody sent"
    asked = {(m.seq, m.host_stamp_ns) for m in recorded_up.sent if isinstance(m, Command)} | {(0, 0)}
    obeyed = {(m.last_command_seq, m.host_stamp_ns) for m in recorded_down.sent if isinstance(m, Telemetry)}
    assert obeyed <= asked, "a command was obeyed that nobody sent"
    assert max(ages_ms(recorded_down.sent)) <= 101, "a command was obeyed that was older than the watchdog allows"
    stamps = [m.host_stamp_ns for m in recorded_down.sent if isinstance(m, Telemetry)]
    assert stamps == sorted(stamps), "an older command was obeyed after a newer one"
    assert recorded_up.stream.faults + recorded_down.stream.faults > 10, "the test must test something"
    assert len(believed) > 0.01 * len(told)

    recorded_up.stream.rates = recorded_down.stream.rates = FaultRates()
    recorded_up.stream._dark_bytes = recorded_down.stream._dark_bytes = 0
    recorded_up.stream._stalled_calls = recorded_down.stream._stalled_calls = 0
    bench.run(50, motion(0.5))
    assert bench.link.state is LinkState.ARMED
    before = bench.link.health(bench.now_ns)
    bench.run(1500, motion(0.5))
    after = bench.link.health(bench.now_ns)
    assert (after.crc_errors, after.cobs_errors, after.length_errors) == (
        before.crc_errors,
        before.cobs_errors,
        before.length_errors,
    )
    assert after.rx_ok - before.rx_ok >= 300
    assert bench.bench.twist[0] == pytest.approx(0.5, abs=0.03)


def test_faults_are_counted_where_they_are_seen() -> None:
    need_gcc()
    bench = LinkedFirmware()
    bench.up = FaultyStream(FaultRates(flip=3e-3), np.random.default_rng(5))
    bench.run(8_000)
    device = dict(bench.link.health(bench.now_ns).device_counters)
    bad = device["crc_errors"] + device["cobs_errors"] + device["length_errors"] + device["overruns"]
    assert 0.5 * bench.up.faults < bad <= bench.up.faults + 20
    assert device["sequence_gaps"] >= 0.5 * bad


def test_commands_held_up_by_a_stall_do_not_move_the_robot_later() -> None:
    """Two seconds of commands arrive at once, after the robot has stopped: the old ones are dropped, and what counts
    is the newest."""
    need_gcc()
    bench = LinkedFirmware()
    bench.link.request_arm(True)
    bench.run(500, motion(1.0))
    held: list[bytes] = []

    def hold(data: bytes) -> bytes:
        held.append(data)
        return b""

    bench.up = hold
    for _ in range(20):
        bench.run(100, motion(2.0))
    assert bench.bench.twist[0] == pytest.approx(0.0, abs=0.02)
    bench.firmware.receive(b"".join(held))
    bench.up = lambda data: data
    top = 0.0
    for _ in range(50):
        bench.run(10, motion(0.1))
        top = max(top, float(bench.bench.twist[0]))
    assert top < 0.25


def test_a_cable_that_becomes_slow_never_drives_the_robot() -> None:
    """For 0.4 s each command takes 150 ms. The robot brakes, and what arrives late does not move it again."""
    need_gcc()
    bench = LinkedFirmware()
    bench.link.request_arm(True)
    bench.run(500, motion(1.0))
    queue: list[bytes] = []

    def delay(data: bytes) -> bytes:
        queue.append(data)
        return queue.pop(0) if len(queue) > 15 else b""

    recorder = Recorder(lambda data: data)  # type: ignore[arg-type]
    bench.up, bench.down = delay, recorder
    bench.run(550, motion(1.0))
    assert abs(bench.bench.twist[0]) < 0.05
    assert not bench.telemetry[-1].armed
    assert max(ages_ms(recorder.sent)) <= 101
    bench.up = lambda data: data
    bench.run(300, motion(1.0))
    assert bench.link.state is LinkState.ARMED
    assert dict(bench.link.health(bench.now_ns).device_counters)
    bench.run(1000, motion(1.0))
    assert dict(bench.link.health(bench.now_ns).device_counters)["stale_commands"] >= 30


def test_same_seed_same_damage() -> None:
    data = bytes(range(1, 200)) * 50
    rates = FaultRates(flip=0.01, drop=0.01, duplicate=0.01, blackout=0.001, stall=0.1)
    outs = []
    for _ in range(2):
        stream = FaultyStream(rates, np.random.default_rng(4))
        outs.append(b"".join(stream(data[i : i + 50]) for i in range(0, len(data), 50)))
    assert outs[0] == outs[1]
    assert outs[0] != data


def test_unplugged_transport_raises_a_recoverable_error_and_comes_back() -> None:
    need_gcc()
    bench = LinkedFirmware()
    transport = FaultyTransport(
        LibraryTransport(bench.firmware), FaultRates(), seed=1, reopen=lambda: LibraryTransport(bench.firmware)
    )
    transport.write(FrameEncoder().encode(Command(1, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 100, 1)))
    transport.unplug()
    for call in (transport.read_available, lambda: transport.write(b"x")):
        with pytest.raises(LinkError, match="unplugged") as caught:
            call()
        assert caught.value.recoverable
    transport.replug()
    bench.firmware.step(bench.bench.sensors())
    assert FrameDecoder().feed(transport.read_available())
