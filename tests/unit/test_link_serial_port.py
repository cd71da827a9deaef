"""How a serial device is opened, and what unplugging looks like; a pipe stands in for the driver."""

from __future__ import annotations

import contextlib
import errno
import os
import termios
from collections.abc import Iterator
from typing import Any

import pytest

from firmware_bridge.config import LinkConfig
from firmware_bridge.transport import serial_port
from firmware_bridge.transport.serial_port import SerialTransport
from robot.core.errors import LinkError


class Port:
    """What pyserial gives back, over the reading end of a pipe."""

    made: Port
    low_latency_error: Exception | None = None

    def __init__(self, name: str, **settings: Any) -> None:
        self.name, self.settings = name, settings
        self.reader, self.writer = os.pipe2(os.O_NONBLOCK)
        self.low_latency = False
        self.closed = False
        Port.made = self

    def set_low_latency_mode(self, wanted: bool) -> None:
        if self.low_latency_error is not None:
            raise self.low_latency_error
        self.low_latency = wanted

    def reset_input_buffer(self) -> None:
        pass

    def fileno(self) -> int:
        return self.reader

    def close(self) -> None:
        if not self.closed:
            os.close(self.reader)
        self.closed = True


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Port]]:
    monkeypatch.setattr(serial_port.serial, "Serial", Port)
    monkeypatch.setattr(Port, "low_latency_error", None)
    yield Port
    with contextlib.suppress(OSError):  # a test may have closed it
        os.close(Port.made.writer)


def test_the_line_is_opened_as_configured_and_for_us_alone(port: type[Port]) -> None:
    config = LinkConfig(port="/dev/ttyTHS1", baud=2_000_000, parity="E", stop_bits=2)
    transport = SerialTransport(config)
    settings = port.made.settings
    assert (settings["baudrate"], settings["parity"], settings["stopbits"]) == (2_000_000, "E", 2)
    assert settings["exclusive"] is True
    assert (settings["timeout"], settings["write_timeout"]) == (0, 0)
    assert port.made.low_latency
    transport.close()
    assert port.made.closed


@pytest.mark.parametrize("error", [ValueError("no such mode"), OSError(25, "ENOTTY"), NotImplementedError()])
def test_a_driver_without_low_latency_is_used_as_it_is(
    port: type[Port], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Port, "low_latency_error", error)
    transport = SerialTransport(LinkConfig())
    assert transport.read_available() == b""
    transport.close()


def test_low_latency_is_not_asked_for_when_it_is_not_wanted(port: type[Port]) -> None:
    SerialTransport(LinkConfig(low_latency=False)).close()
    assert not port.made.low_latency


def test_bytes_come_at_once_and_a_pulled_plug_is_an_error_that_can_be_mended(port: type[Port]) -> None:
    transport = SerialTransport(LinkConfig())
    assert transport.read_available() == b""
    os.write(port.made.writer, b"abc")
    assert transport.read_available() == b"abc"
    assert transport.read_available() == b""
    os.write(port.made.writer, b"last words")
    os.close(port.made.writer)  # the driver is readable and has nothing: unplugged
    assert transport.read_available() == b"last words"
    with pytest.raises(LinkError, match="gone") as caught:
        transport.read_available()
    assert caught.value.recoverable
    assert port.made.closed
    for call in (transport.read_available, lambda: transport.write(b"x"), transport.fileno):
        with pytest.raises(LinkError, match="closed"):
            call()


@pytest.mark.parametrize(
    "wrong", [{"baud": 10}, {"parity": "X"}, {"stop_bits": 3}, {"lost_after_ms": 0}, {"hello_interval_ms": 10**6}]
)
def test_settings_that_no_line_has_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        LinkConfig(**wrong)


@pytest.mark.parametrize("step", ["__init__", "reset_input_buffer"])
def test_a_plug_that_goes_again_while_it_is_opened_is_an_error_that_can_be_mended(
    port: type[Port], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """termios.error is no OSError: it ended the thread that gets a lost port back, and the robot stood for ever."""

    def gone(*_: object, **__: object) -> None:
        raise termios.error(errno.EIO, "Input/output error")

    SerialTransport(LinkConfig(port="/dev/ttyUSB0")).close()
    monkeypatch.setattr(port, step, gone)
    with pytest.raises(LinkError, match="cannot open /dev/ttyUSB0"):
        SerialTransport(LinkConfig(port="/dev/ttyUSB0"))
