"""Which device parameters follow from a robot's body: the body has one source, and the firmware is told."""

from __future__ import annotations

import struct

from firmware_bridge.protocol.generated import BODY_PARAMETERS, Parameter
from firmware_bridge.protocol.schema import body_value
from robot.core.body import RobotBody

ParameterValues = tuple[tuple[Parameter, float], ...]


def as_float32(value: float) -> float:
    """The nearest 32-bit float: what the device will answer."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def body_parameters(body: RobotBody) -> ParameterValues:
    """Return the parameters that mirror the body, as the device will hold them."""
    return tuple((number, as_float32(body_value(body, name))) for number, name in BODY_PARAMETERS.items())
