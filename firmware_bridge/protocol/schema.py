"""Reads `schema.toml` into checked, typed rows and computes the schema hash that both ends exchange."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robot.core.body import RobotBody
from robot.core.config import read_toml
from robot.core.errors import ConfigError

SCHEMA_FILE = Path(__file__).with_name("schema.toml")

SCALARS: dict[str, tuple[str, str, str]] = {
    # schema type: (struct code, C type, Python type)
    "u8": ("B", "uint8_t", "int"),
    "u16": ("H", "uint16_t", "int"),
    "u32": ("I", "uint32_t", "int"),
    "u64": ("Q", "uint64_t", "int"),
    "i32": ("i", "int32_t", "int"),
    "f32": ("f", "float", "float"),
}
PAYLOAD_LIMIT = 254 - 4
"""A frame's raw bytes (type, sequence, payload, CRC) must fit one COBS block, which keeps the C encoder simple."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: `base` is a key of SCALARS or `char`; `count` is 1 unless it is an array or text."""

    name: str
    base: str
    count: int
    doc: str

    @property
    def struct_code(self) -> str:
        """The field in `struct` notation."""
        if self.base == "char":
            return f"{self.count}s"
        return SCALARS[self.base][0] * self.count


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One message type."""

    name: str
    type: int
    direction: str
    doc: str
    fields: tuple[Field, ...]

    @property
    def struct_format(self) -> str:
        """Little-endian, packed `struct` format of the payload."""
        return "<" + "".join(f.struct_code for f in self.fields)

    @property
    def size(self) -> int:
        """Bytes of the payload."""
        return struct.calcsize(self.struct_format)


@dataclass(frozen=True, slots=True)
class NamedNumber:
    """One name of an enumeration or flag set; for flags `value` is already the mask."""

    name: str
    value: int
    doc: str


@dataclass(frozen=True, slots=True)
class NumberSet:
    """An enumeration or a flag set."""

    name: str
    is_flags: bool
    doc: str
    values: tuple[NamedNumber, ...]


@dataclass(frozen=True, slots=True)
class ParameterRow:
    """One device parameter; `body_attribute` names the RobotBody attribute that is its default, or is empty."""

    id: int
    name: str
    default: float
    minimum: float
    maximum: float
    body_attribute: str
    doc: str


@dataclass(frozen=True, slots=True)
class Schema:
    """The whole protocol."""

    messages: tuple[MessageRow, ...]
    numbers: tuple[NumberSet, ...]
    parameters: tuple[ParameterRow, ...]

    def hash32(self) -> int:
        """First four bytes of the SHA-256 over everything but the doc texts and the parameters' defaults."""

        def bare(value: Any) -> Any:
            if isinstance(value, dict):
                return {k: bare(v) for k, v in value.items() if k not in ("doc", "default", "body_attribute")}
            return [bare(v) for v in value] if isinstance(value, (list, tuple)) else value

        text = json.dumps(bare(asdict(self)), sort_keys=True, separators=(",", ":"))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def body_value(body: RobotBody, attribute: str) -> float:
    """Return `body.<attribute>`, where the attribute may carry an index: `wheel_angles_rad[2]`."""
    match = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", attribute)
    if match is None or not hasattr(body, match[1]):
        raise ConfigError(f"schema.toml: RobotBody has no '{attribute}'", hint="fix the parameter's default")
    value = getattr(body, match[1])
    return float(value[int(match[2])] if match[2] else value)


def load_schema(path: Path = SCHEMA_FILE) -> Schema:
    """Read and check the schema.

    Raises:
        ConfigError: a type is unknown, a number is used twice, or a message is too long for one frame.
    """
    data = read_toml(path)
    messages = tuple(_message(row) for row in data["message"])
    numbers = tuple(
        NumberSet(
            row["name"],
            True,
            row["doc"],
            tuple(NamedNumber(b["name"], 1 << b["bit"], b["doc"]) for b in row["bits"]),
        )
        for row in data["flags"]
    ) + tuple(
        NumberSet(
            row["name"], False, row["doc"], tuple(NamedNumber(v["name"], v["value"], v["doc"]) for v in row["values"])
        )
        for row in data["enum"]
    )
    body = RobotBody()
    parameters = tuple(_parameter(i, row, body) for i, row in enumerate(data["parameter"]))
    types = [m.type for m in messages]
    if len(set(types)) != len(types) or len({p.name for p in parameters}) != len(parameters):
        raise ConfigError("schema.toml: a message type or parameter name is used twice", hint="give each its own")
    first = messages[0]
    if (first.name, first.type, first.fields[0].name) != ("HELLO", 1, "schema_hash"):
        raise ConfigError(
            "schema.toml: HELLO must stay type 1 with schema_hash first", hint="other versions rely on it"
        )
    return Schema(messages, numbers, parameters)


def _message(row: dict[str, Any]) -> MessageRow:
    message = MessageRow(row["name"], row["type"], row["direction"], row["doc"], tuple(map(_field, row["fields"])))
    if not 1 <= message.type <= 255 or message.size > PAYLOAD_LIMIT:
        raise ConfigError(
            f"schema.toml: {message.name} has type {message.type} and {message.size} bytes",
            hint=f"types are 1..255, payloads at most {PAYLOAD_LIMIT} bytes",
        )
    return message


def _field(row: dict[str, str]) -> Field:
    match = re.fullmatch(r"(\w+?)(?:\[(\d+)\])?", row["type"])
    if match is None or (match[1] not in SCALARS and match[1] != "char"):
        raise ConfigError(f"schema.toml: unknown type '{row['type']}'", hint=f"one of {', '.join(SCALARS)}, char[N]")
    return Field(row["name"], match[1], int(match[2] or 1), row["doc"])


def _parameter(number: int, row: dict[str, Any], body: RobotBody) -> ParameterRow:
    attribute = row["default"] if isinstance(row["default"], str) else ""
    default = body_value(body, attribute) if attribute else float(row["default"])
    if not row["min"] <= default <= row["max"]:
        raise ConfigError(f"schema.toml: default of {row['name']} is outside its limits", hint="widen min or max")
    return ParameterRow(number, row["name"], default, float(row["min"]), float(row["max"]), attribute, row["doc"])
