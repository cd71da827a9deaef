"""Questions to a microcontroller outside of play: who it is, and its parameters. It is never armed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from firmware_bridge.config import LinkConfig
from firmware_bridge.link.framing import DELIMITER, FrameDecoder, FrameEncoder
from firmware_bridge.link.handshake import ECHO_HINT, ECHO_MESSAGE, host_hello, is_echo
from firmware_bridge.protocol.generated import (
    SCHEMA_HASH,
    AnyMessage,
    Hello,
    Parameter,
    ParamGet,
    ParamSet,
    ParamStatus,
    ParamValue,
)
from firmware_bridge.transport.base import Transport, open_transport
from robot.core.errors import LinkError

_POLL_S, _RETRY_S = 0.002, 0.05
_FLASH_HINT = "blackout firmware flash"
_ATTEMPT = 8
"""Parameters asked for in one go: their answers fit any device's sending ring."""


class Inquiry:
    """A conversation by question and answer; a question without an answer is asked again.

    Args:
        transport: to the device; it stays the caller's.
        patience_s: how long one question may take.
    """

    def __init__(self, transport: Transport, patience_s: float = 1.0) -> None:
        self._transport = transport
        self._patience_s = patience_s
        self._encoder, self._decoder = FrameEncoder(), FrameDecoder()

    def hello(self) -> Hello:
        """Shake hands; returns what the device says of itself, whatever its schema.

        Raises:
            LinkError: no answer, or nothing but our own words.
        """
        own, echoes = host_hello(), 0
        found: list[Hello] = []

        def take(message: AnyMessage) -> bool:
            nonlocal echoes
            if isinstance(message, Hello):
                echoes += is_echo(message)
                found.extend([] if is_echo(message) else [message])
            return bool(found)

        try:
            self._ask(lambda: DELIMITER + self._encoder.encode(own), take, "HELLO")
        except LinkError as error:
            raise LinkError(ECHO_MESSAGE, hint=ECHO_HINT) if echoes else error from None
        return found[0]

    def read(self, wanted: tuple[Parameter, ...] = tuple(Parameter)) -> dict[Parameter, float]:
        """Read parameters.

        Raises:
            LinkError: no answer, or another schema.
        """
        self._agree()
        values: dict[Parameter, float] = {}
        for at in range(0, len(wanted), _ATTEMPT):
            part = wanted[at : at + _ATTEMPT]

            def ask(part: tuple[Parameter, ...] = part) -> bytes:
                return b"".join(self._encoder.encode(ParamGet(p)) for p in part if p not in values)

            def take(message: AnyMessage, part: tuple[Parameter, ...] = part) -> bool:
                if isinstance(message, ParamValue) and message.id in part:
                    values[Parameter(message.id)] = message.value
                return all(p in values for p in part)

            self._ask(ask, take, "PARAM_GET")
        return values

    def write(self, wanted: Mapping[Parameter, float]) -> dict[Parameter, ParamValue]:
        """Set parameters; returns the device's answers: the value in force, and whether it is the one asked for.

        They last until the device is switched off, and `play` sets those that follow from the robot's body anyway.

        Raises:
            LinkError: no answer, or another schema.
        """
        self._agree()
        answers: dict[Parameter, ParamValue] = {}
        for parameter, value in wanted.items():

            def take(message: AnyMessage, parameter: Parameter = parameter) -> bool:
                if isinstance(message, ParamValue) and message.id == parameter:
                    answers[parameter] = message
                return parameter in answers

            frame = ParamSet(parameter, value)
            self._ask(lambda frame=frame: self._encoder.encode(frame), take, "PARAM_SET")  # type: ignore[misc]
        return answers

    def _agree(self) -> None:
        theirs = self.hello().schema_hash
        if theirs != SCHEMA_HASH:
            raise LinkError(
                f"the microcontroller speaks schema 0x{theirs:08X}, this computer 0x{SCHEMA_HASH:08X}",
                hint=_FLASH_HINT,
            )

    def _ask(self, question: Callable[[], bytes], take: Callable[[AnyMessage], bool], name: str) -> None:
        end, again = time.monotonic() + self._patience_s, 0.0
        while (now := time.monotonic()) < end:
            if now >= again:
                self._transport.write(question())
                again = now + _RETRY_S
            messages = self._decoder.feed(self._transport.read_available())
            taken = [take(message) for message in messages]  # all of them, not only up to the first
            if any(taken):
                return
            time.sleep(_POLL_S)
        raise LinkError(f"no answer to {name}", hint="is it powered, and are link.port and link.baud right?")


def describe(hello: Hello) -> str:
    """One line about a device."""
    revision = hello.revision.rstrip(b"\0").decode(errors="replace")
    build = "test build" if hello.lockstep else "match build"
    if hello.schema_hash == SCHEMA_HASH:
        return f"Blackout firmware {revision}, {build}, boot 0x{hello.boot_id:08X}"
    return f"Blackout firmware {revision} of another schema, 0x{hello.schema_hash:08X}; mend: {_FLASH_HINT}"


def who_is(config: LinkConfig) -> str:
    """Open a port, ask who is there, close it; one line in any case."""
    try:
        transport = open_transport(config)
    except LinkError as error:
        return error.message
    try:
        return describe(Inquiry(transport, 0.5).hello())
    except LinkError as error:
        return error.message
    finally:
        transport.close()


def refusal(answer: ParamValue) -> str:
    """Why a parameter was not set; empty when it was."""
    if answer.status == ParamStatus.OK:
        return ""
    return ParamStatus(answer.status).name.lower().replace("_", " ")
