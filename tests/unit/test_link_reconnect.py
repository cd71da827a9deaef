"""A lost port comes back: under its stable name, after pauses that grow."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware_bridge.config import LinkConfig
from firmware_bridge.transport import ports
from firmware_bridge.transport.base import Transport
from firmware_bridge.transport.reconnect import FIRST_S, LONGEST_S, Backoff, StablePort
from robot.core.errors import LinkError


class Devices:
    """Which names are here; opening one gives a transport that knows its name."""

    def __init__(self, *names: str) -> None:
        self.here = set(names)
        self.opened: list[str] = []

    def open(self, config: LinkConfig) -> Transport:
        if config.port not in self.here:
            raise LinkError(f"cannot open {config.port}", hint="plug it in")
        self.opened.append(config.port)
        return object()  # type: ignore[return-value]


@pytest.fixture
def by_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "by-id"
    folder.mkdir()
    monkeypatch.setattr(ports, "BY_ID", folder)
    return folder


def test_pauses_grow_and_start_again() -> None:
    backoff = Backoff()
    pauses = [backoff.next_s() for _ in range(8)]
    assert pauses[0] == FIRST_S
    assert pauses == sorted(pauses)
    assert pauses[1] == 2 * FIRST_S
    assert pauses[-1] == LONGEST_S
    backoff.reset()
    assert backoff.next_s() == FIRST_S


def test_a_replugged_device_with_another_number_is_found_by_its_name(by_id: Path) -> None:
    stable = by_id / "usb-STMicroelectronics_Blackout_0042-if00"
    stable.symlink_to("/dev/null")  # stands for ttyACM0
    devices = Devices("/dev/null", str(stable))
    port = StablePort(LinkConfig(port="/dev/null"), devices.open)
    port.open()
    assert port.name == str(stable)
    devices.here = {"/dev/full", str(stable)}  # it came back as another number
    port.open()
    assert devices.opened == ["/dev/null", str(stable)]


def test_without_a_stable_name_the_configured_one_is_used_again(by_id: Path) -> None:
    devices = Devices("/dev/null")
    port = StablePort(LinkConfig(port="/dev/null"), devices.open)
    port.open()
    assert port.name == "/dev/null"
    devices.here.clear()
    with pytest.raises(LinkError, match="cannot open /dev/null"):
        port.open()
    devices.here.add("/dev/null")
    port.open()
    assert devices.opened == ["/dev/null", "/dev/null"]


def test_another_unit_on_the_configured_port_is_taken_too(by_id: Path) -> None:
    """A spare robot's board has another serial number, so another stable name; the port was asked for."""
    stable = by_id / "usb-first"
    stable.symlink_to("/dev/null")
    devices = Devices("/dev/null", str(stable))
    port = StablePort(LinkConfig(port="/dev/null"), devices.open)
    port.open()
    stable.unlink()
    (by_id / "usb-second").symlink_to("/dev/null")
    devices.here = {"/dev/null"}
    port.open()
    assert port.name == str(by_id / "usb-second")


@pytest.mark.parametrize("name", ["pty", "tcp://host:1"])
def test_what_is_no_device_keeps_its_name(by_id: Path, name: str) -> None:
    assert ports.stable_name(name) == name
