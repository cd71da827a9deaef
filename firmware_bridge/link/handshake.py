"""The host's word in the handshake, and how its own echo is told from a device's answer."""

from __future__ import annotations

from firmware_bridge.protocol.generated import SCHEMA_HASH, Hello

PROTOCOL_VERSION = 1
_REVISION = b"host"
"""No device says so: its revision is hexadecimal digits."""
ECHO_MESSAGE = "this port gives back what is sent"
ECHO_HINT = "is TX wired to RX, or is the other end a console that echoes?"


def host_hello(boot_id: int = 0) -> Hello:
    """Return what the host says; `boot_id` tells its starts apart, for the device's log."""
    return Hello(SCHEMA_HASH, boot_id, PROTOCOL_VERSION, 0, 0, _REVISION)


def is_echo(hello: Hello) -> bool:
    """True for a HELLO that a host has sent: a loop in the wiring brought it back."""
    return hello.revision.rstrip(b"\0") == _REVISION
