"""Messages to JSON and back, bit for bit: floats survive exactly, bytes go as base64, enums by value.

Built from the dataclasses themselves (no table to keep in step), with one cached encoder and decoder per type: a
`TickBatch` with its `TickResult` takes about 0.1 ms to encode. NaN and infinities are not JSON; they are written as
the strings "NaN", "Infinity", "-Infinity", so that strict readers (Foxglove) open the file too.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
import hashlib
import json
import operator
import types
import typing
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring_ascii
from typing import Any, TypeVar

import numpy as np

from robot.core.errors import RecordingError

T = TypeVar("T")
Convert = Callable[[Any], Any]
Write = Callable[[Any], str]

_encoders: dict[type, Write] = {}
_decoders: dict[type, Convert] = {}


def to_json(message: Any) -> bytes:
    """Return the JSON text of a message; equal texts mean bit-equal messages (also with NaN, also -0.0)."""
    return _encoder(type(message))(message).encode()


def from_json(cls: type[T], data: bytes) -> T:
    """Build a message of type `cls` from `to_json`'s text.

    Raises:
        RecordingError: not JSON, or keys that this version's `cls` does not have or misses.
    """
    try:
        return typing.cast(T, decoder(cls)(json.loads(data)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordingError(
            f"a recorded {cls.__name__} does not fit this version's: {error!r}",
            hint="replay with the version of Blackout that wrote the file (`blackout report` names it)",
        ) from error


def decoder(cls: type) -> Convert:
    """Return the function that builds a `cls` from plain JSON data."""
    found = _decoders.get(cls)
    if found is None:
        found = _decoders[cls] = _dataclass_decoder(cls)
    return found


def json_schema(cls: type) -> dict[str, Any]:
    """Return the JSON schema of a message type: viewers plot with it, and its hash is the format's version."""
    return _schema(cls)


def schema_hash(classes: tuple[type, ...]) -> str:
    """Return the first 16 hex digits of the SHA-256 over the schemas of `classes`."""
    text = json.dumps([(c.__name__, json_schema(c)) for c in classes], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# --- encoding ---------------------------------------------------------------------------------------------------
# Straight to text: dictionaries for `json.dumps` would cost twice as much at 100 Hz.

_NON_FINITE = {"nan": '"NaN"', "inf": '"Infinity"', "-inf": '"-Infinity"'}
_NUMBERS = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False)
_float_text, _int_text = float.__repr__, int.__repr__


def _encoder(cls: type) -> Write:
    found = _encoders.get(cls)
    if found is None:
        found = _encoders[cls] = _dataclass_writer(cls)
    return found


def _dataclass_writer(cls: type) -> Write:
    hints = typing.get_type_hints(cls)
    names = tuple(f.name for f in dataclasses.fields(cls))
    frame = "{" + ",".join(f'"{name}":%s' for name in names) + "}"
    writers = tuple(_writer(hints[name]) for name in names)
    read = operator.attrgetter(*names)  # of one name it gives the value, of more a tuple
    if len(names) == 1:
        (only,) = writers
        return lambda v: frame % only(read(v))
    return lambda v: frame % tuple([write(i) for write, i in zip(writers, read(v), strict=True)])


def _writer(kind: Any) -> Write:
    """Return what writes a value of type `kind` as JSON."""
    origin, items = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        some = next(_writer(i) for i in items if i is not type(None))
        return lambda v: "null" if v is None else some(v)
    if origin is tuple:
        if len(items) == 2 and items[1] is Ellipsis:
            row = _row_writer(_writer(items[0]))
            return _remembering(_numbers_writer(row) if _is_numbers(items[0]) else row)
        return _fixed_writer(tuple(_writer(i) for i in items))
    if dataclasses.is_dataclass(kind):
        return _encoder(typing.cast(type, kind))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        texts = {member: json.dumps(member.value) for member in kind}
        return texts.__getitem__
    if kind is bytes:
        return lambda v: f'"{base64.b64encode(v).decode()}"'
    return _scalar


def _row_writer(item: Write) -> Write:
    return lambda v: f"[{','.join([item(i) for i in v])}]"


def _is_numbers(kind: Any) -> bool:
    """True for numbers and for tuples of nothing but numbers."""
    return kind in (int, float) or (
        typing.get_origin(kind) is tuple and all(_is_numbers(i) for i in typing.get_args(kind) if i is not Ellipsis)
    )


def _numbers_writer(slow: Write) -> Write:
    """Write long rows of numbers with the C encoder; what it refuses (NaN, a leaked NumPy scalar) goes the slow way."""

    def write(value: Any) -> str:
        try:
            return _NUMBERS.encode(value)
        except (ValueError, TypeError):
            return slow(value)

    return write


def _fixed_writer(each: tuple[Write, ...]) -> Write:
    return lambda v: f"[{','.join([write(i) for write, i in zip(each, v, strict=True)])}]"


def _remembering(write: Write) -> Write:
    """Write a tuple once while it stays the same object: the free range comes with every tick, but changes at 30 Hz."""
    last: tuple[Any, str] = ((), "[]")

    def remembered(value: Any) -> str:
        nonlocal last
        known, text = last
        if value is not known:
            text = write(value)
            last = (value, text)  # one assignment: another thread sees the old pair or the new one
        return text

    return remembered


def _scalar(value: Any) -> str:
    kind = type(value)
    if kind is float:
        text = _float_text(value)
        return text if "n" not in text else _NON_FINITE[text]
    if kind is int:
        return _int_text(value)
    if kind is bool or value is None:
        return "true" if value else ("false" if value is False else "null")
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, np.generic):  # leaked out of an algorithm: written as what it stands for
        return _scalar(value.item())
    if isinstance(value, np.ndarray):
        return f"[{','.join([_scalar(i) for i in value.tolist()])}]"
    raise TypeError(f"cannot record a {kind.__name__}: {value!r}")


# --- decoding ---------------------------------------------------------------------------------------------------


def _dataclass_decoder(cls: type) -> Convert:
    hints = typing.get_type_hints(cls)
    converts = {f.name: _value_decoder(hints[f.name]) for f in dataclasses.fields(cls)}

    def decode(data: Mapping[str, Any]) -> Any:
        return cls(**{name: converts[name](value) for name, value in data.items()})

    return decode


def _value_decoder(kind: Any) -> Convert:
    origin, items = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        some = next(_value_decoder(i) for i in items if i is not type(None))
        return lambda v: None if v is None else some(v)
    if origin is tuple:
        if len(items) == 2 and items[1] is Ellipsis:
            item = _value_decoder(items[0])
            return lambda v: tuple([item(i) for i in v])
        each = [_value_decoder(i) for i in items]
        return lambda v: tuple([c(i) for c, i in zip(each, v, strict=True)])
    if dataclasses.is_dataclass(kind):
        return decoder(typing.cast(type, kind))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind
    if kind is bytes:
        return base64.b64decode
    return float if kind is float else _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


# --- schema -----------------------------------------------------------------------------------------------------

_SCALARS = {int: "integer", float: "number", bool: "boolean", str: "string"}


def _schema(kind: Any) -> dict[str, Any]:
    origin, items = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [{"type": "null"} if i is type(None) else _schema(i) for i in items]}
    if origin is tuple:
        if len(items) == 2 and items[1] is Ellipsis:
            return {"type": "array", "items": _schema(items[0])}
        return {"type": "array", "items": _schema(items[0]), "minItems": len(items), "maxItems": len(items)}
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        names = [f.name for f in dataclasses.fields(kind)]
        return {
            "type": "object",
            "title": str(getattr(kind, "__name__", kind)),
            "properties": {n: _schema(hints[n]) for n in names},
        }
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        values = [member.value for member in kind]
        return {"type": "integer" if isinstance(values[0], int) else "string", "enum": values}
    if kind is bytes:
        return {"type": "string", "contentEncoding": "base64"}
    return {"type": _SCALARS[kind]} if kind in _SCALARS else {}
