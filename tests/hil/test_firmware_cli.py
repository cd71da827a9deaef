"""The verbs around the firmware: what they print, and how they end."""

from __future__ import annotations

import _ctypes
import dataclasses
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from firmware_bridge.firmware.library import LIBRARY_VARIABLE, load_library
from firmware_bridge.link.framing import FrameEncoder
from firmware_bridge.protocol.generated import SCHEMA_HASH, Hello
from firmware_bridge.transport.monitor import LinkReport
from firmware_bridge.transport.pty import FirmwareProcess
from firmware_bridge.transport.soak import SoakReport
from robot.cli import hil
from robot.cli import link as link_verb
from robot.cli.main import main
from robot.core.messages import LinkHealth
from tests.firmware_bench import need_gcc
from tests.helpers import PROJECT

COUNTERS = {  # those that the link must be able to tell
    *(
        "rx_ok",
        "crc_errors",
        "cobs_errors",
        "length_errors",
        "sequence_gaps",
        "overruns",
        "estop_cause",
        "ticks_missed",
    ),
    *("uart_overrun", "uart_framing", "uart_parity", "uart_noise", "rx_ring_overflow", "tx_dropped", "estop_cause"),
}


def test_monitor_shows_both_ends_and_never_arms(capsys: pytest.CaptureFixture[str]) -> None:
    need_gcc()
    assert main(["link", "monitor", "--port", "pty", "--seconds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ready")
    for part in ("bad 0", "telemetry ", "commands ", "round trip p50", "p99"):
        assert part in lines[0]
    table = {line.split()[0]: line.split()[1:] for line in lines[1:] if line}
    assert set(table) >= COUNTERS
    assert int(table["rx_ok"][0]) > 100
    assert "test build" in lines[-1]


def test_monitor_waits_for_a_port_that_went_away(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_gcc()
    name = tmp_path / "mcu"
    board = [FirmwareProcess(1, link=name)]
    told: list[LinkReport] = []
    line = link_verb._line

    def replug(report: LinkReport) -> str:
        told.append(report)
        if len(told) == 1:
            board[0].stop()
        if report.lost and not name.exists():
            board[0] = FirmwareProcess(2, link=name)
        return line(report)

    monkeypatch.setattr(link_verb, "_line", replug)
    try:
        assert main(["link", "monitor", "--port", str(name), "--seconds", "4"]) == 0
    finally:
        board[0].stop()
    assert "waiting for it" in capsys.readouterr().out
    assert not told[-1].lost
    assert dict(told[-1].health.device_counters)["host_reconnects"] >= 1


def test_what_has_moved_is_said() -> None:
    times = {"seq": 0, "t_capture_ns": 0, "t_receive_ns": 0, "valid": True, "state": "ready"}
    before = LinkHealth(**times, crc_errors=1, device_counters=(("ticks_missed", 5), ("uptime_ms", 100), ("kicks", 0)))
    now = LinkHealth(
        **times, crc_errors=3, rx_ok=9, device_counters=(("ticks_missed", 9), ("uptime_ms", 200), ("kicks", 0))
    )
    assert link_verb._changes(before, now) == "  [here crc_errors +2, device ticks_missed +4]"
    assert link_verb._changes(now, now) == ""


def test_a_missing_port_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["link", "monitor", "--port", "/dev/not-there", "--seconds", "1"]) == 1
    assert "mend:" in capsys.readouterr().err


class OldBoard:
    """A microcontroller with another schema: answers HELLO with it, and tells telemetry that nobody may believe."""

    def __init__(self) -> None:
        self.encoder = FrameEncoder()

    def read_available(self) -> bytes:
        return self.encoder.encode(Hello(SCHEMA_HASH ^ 0xFF, 7, 1, 0, 0, b"old"))

    def write(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("action", ["monitor", "parameters"])
def test_another_schema_prints_the_flash_command(
    action: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robot.cli.link.StablePort", lambda _: SimpleNamespace(open=OldBoard))
    monkeypatch.setattr("robot.cli.link.open_transport", lambda _: OldBoard())
    assert main(["link", action, "--seconds", "1"]) == 1
    said = capsys.readouterr()
    assert "mend: blackout firmware flash" in said.out + said.err
    assert f"0x{SCHEMA_HASH ^ 0xFF:08X}" in said.out + said.err


def test_parameters_are_read_and_set(capsys: pytest.CaptureFixture[str]) -> None:
    need_gcc()
    flags = ["--set", "wheel_kp=0.05", "--set", "torque_limit=9"]
    assert main(["link", "parameters", "--port", "pty", *flags]) == 1
    rows = {line[2:].split()[0]: line for line in capsys.readouterr().out.splitlines() if ".." in line}
    assert len(rows) == 40 - 1
    assert rows["wheel_kp"].startswith("*")
    assert "0.05" in rows["wheel_kp"]
    assert "REFUSED 9: out of range" in rows["torque_limit"]
    assert main(["link", "parameters", "--set", "wheel_kq=1"]) == 2
    assert "did you mean wheel_kp?" in capsys.readouterr().err


def test_an_echo_is_no_answer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    wire: list[bytes] = []
    echo = SimpleNamespace(read_available=lambda: wire.pop() if wire else b"", write=wire.append, close=lambda: None)
    monkeypatch.setattr("robot.cli.link.open_transport", lambda _: echo)
    assert main(["link", "parameters", "--port", "/dev/null"]) == 1
    assert "gives back what is sent" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        ["monitor", "--seconds", "-1"],
        ["soak", "--faults", "-1"],
        ["soak", "--faults", "nan"],
        ["soak", "--period-ms", "0"],
        ["soak", "--seed", "-1"],
        ["parameters", "--set", "wheel_kp=1e39"],
    ],
    ids=" ".join,
)
def test_impossible_numbers_are_wrong_usage(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Tracebacks, and a soak without any faults that said ok."""
    assert main(["link", *flags]) == 2
    assert "error [config]" in capsys.readouterr().err


def test_a_silent_port_is_no_answer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    silent = SimpleNamespace(read_available=lambda: b"", write=lambda _: None, close=lambda: None)
    monkeypatch.setattr("robot.cli.link.open_transport", lambda _: silent)
    assert main(["link", "parameters", "--port", "/dev/null"]) == 1
    err = capsys.readouterr().err
    assert "no answer to HELLO" in err
    assert "link.baud" in err


def test_find_port_asks_who_is_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    need_gcc()
    board = FirmwareProcess(5)
    here = [SimpleNamespace(path=board.port, description="ours"), SimpleNamespace(path=str(tmp_path), description="-")]
    monkeypatch.setattr("robot.cli.link.candidates", lambda: here)
    try:
        assert main(["link", "find-port", "--ask"]) == 0
    finally:
        board.stop()
    first, second = capsys.readouterr().out.splitlines()
    assert "Blackout firmware" in first
    assert "boot 0x00000005" in first
    assert "cannot open" in second
    here.clear()
    assert main(["link", "find-port"]) == 1
    assert "no serial port" in capsys.readouterr().out


def test_a_short_soak_loses_nothing_and_one_with_faults_believes_nothing_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    need_gcc()
    code = main(["link", "soak", "--seconds", "2"])
    *lines, verdict = capsys.readouterr().out.splitlines()
    figures = dict(line.split() for line in lines)
    assert {figures[n] for n in ("lost_here", "lost_device", "bad_here", "bad_device", "undetected", "stale")} == {"0"}
    assert code == (verdict != "soak: ok"), "a very busy machine may miss the rate, and says so"
    assert float(figures["telemetry_hz"]) > 800.0
    assert float(figures["commands_hz"]) > 400.0
    main(["link", "soak", "--seconds", "2", "--faults", "1e-3"])
    figures = dict(line.split() for line in capsys.readouterr().out.splitlines()[:-1])
    assert int(figures["faults"]) > 100
    assert (figures["undetected"], figures["stale"]) == ("0", "0")


def test_a_soak_says_what_was_not_good_enough() -> None:
    fields = {f.name: 0 for f in dataclasses.fields(SoakReport)}
    good = SoakReport(**{**fields, "telemetry_hz": 999.0, "commands_hz": 499.0})
    assert good.problems(0.0) == []
    for faults, wrong, words in (
        (0.0, {"lost_device": 1}, "1 frames lost"),
        (0.0, {"telemetry_hz": 970.0}, "telemetry at 970 Hz of 1000"),
        (1e-3, {"commands_hz": 480.0}, "commands at 480 Hz of 500"),
        (1e-3, {"undetected": 1}, "1 undetected"),
        (1e-3, {"stale": 2}, "2 on stale"),
        (1e-3, {"recovery_max_ms": 51.0}, "after 51 ms"),
    ):
        assert words in dataclasses.replace(good, **wrong).problems(faults)[0]


# --- firmware ---------------------------------------------------------------------------------------------------------


def test_a_named_library_that_is_none_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_elf = tmp_path / "firmware.so"
    no_elf.write_text("no", encoding="ascii")
    for path in (tmp_path / "nowhere.so", no_elf, Path(_ctypes.__file__)):
        monkeypatch.setenv(LIBRARY_VARIABLE, str(path))
        load_library.cache_clear()
        assert main(["hil", "--target", "library"]) == 1
        said = capsys.readouterr().err
        assert f"error [link]: cannot use {path} as the firmware library" in said
        assert f"unset {LIBRARY_VARIABLE}" in said


def test_build_names_what_it_built(capsys: pytest.CaptureFixture[str]) -> None:
    need_gcc()
    assert main(["firmware", "build"]) == 0
    out = capsys.readouterr().out
    assert "libblackout_firmware" in out
    assert "stm32f767" in out


@pytest.mark.parametrize(("openocd", "reason"), [(None, "openocd is not installed"), ("openocd", "Error: open failed")])
def test_flash_without_a_probe_says_what_to_type(
    openocd: str | None, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "Info : clock speed 2000 kHz\nError: open failed\n** OpenOCD init failed **\nshutdown command invoked\n"
    monkeypatch.setattr("robot.cli.firmware.build_stm32f767", lambda lockstep: Path("blackout.elf"))
    monkeypatch.setattr("firmware_bridge.firmware.flash.shutil.which", lambda _: openocd)
    monkeypatch.setattr(
        "firmware_bridge.firmware.flash.subprocess.run", lambda *_, **__: SimpleNamespace(returncode=1, stderr=said)
    )
    assert main(["firmware", "flash"]) == 1
    err = capsys.readouterr().err
    assert reason in err
    assert "st-flash --connect-under-reset --reset write blackout.bin 0x08000000" in err
    assert 'openocd -f interface/stlink.cfg -f target/stm32f7x.cfg -c "program blackout.elf verify reset exit"' in err


# --- hil --------------------------------------------------------------------------------------------------------------


@dataclass
class Played:
    command_sha256: str
    score: SimpleNamespace


@pytest.mark.parametrize(
    ("commands", "firmware", "success", "code", "words"),
    [
        ("c", "f", True, 0, "success, every byte agrees with the library"),
        ("x", "f", True, 1, "success, every byte DIFFERS from the library"),
        ("c", "x", True, 1, "success, every byte DIFFERS from the library"),
        ("c", "f", False, 1, "no success, every byte agrees with the library"),
    ],
)
def test_hil_succeeds_only_when_trial_and_hashes_do(
    commands: str,
    firmware: str,
    success: bool,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def play(_robot: object, _detector: object, _args: object, target: str) -> tuple[Played, SimpleNamespace]:
        on_target = target != "library"
        score = SimpleNamespace(success=success)
        witness = SimpleNamespace(sha256=firmware if on_target else "f", revision="r" if firmware == "f" else target)
        return Played(commands if on_target else "c", score), witness

    monkeypatch.setattr(hil, "_play", play)
    monkeypatch.setattr(hil, "load_detector", lambda _: None)
    assert main(["hil", "--target", "unicorn", "--stage", "1", "--seed", "3"]) == code
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == f"unicorn: stage 1 seed 3: {words}"
    assert ("runs another firmware" in out) == (firmware == "x")


def test_hil_knows_its_targets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hil", "--target", "nonsense"]) == 1
    assert "library, pty, unicorn, qemu" in capsys.readouterr().err


def test_a_reader_that_has_had_enough_is_no_crash() -> None:
    need_gcc()
    process = subprocess.Popen(
        [sys.executable, "-m", "robot", "link", "parameters"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()  # what `| head -0` does
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 1
    assert said == b""
