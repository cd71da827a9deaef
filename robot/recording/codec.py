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
import math
import operator
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from robot.core.errors import RecordingError

T = TypeVar("T")
Convert = Callable[[Any], Any]

_encoders: dict[type, Convert] = {}
_decoders: dict[type, Convert] = {}


def to_json(message: Any) -> bytes:
    """Return the JSON text of a message; equal texts mean bit-equal messages (also with NaN, also -0.0)."""
    plain = _encoder(type(message))(message)
    try:
        return _dumps(plain)
    except ValueError:  # a NaN or an infinity somewhere: rare, so only then walk through everything
        return _dumps(_name_non_finite(plain))


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


def to_plain(message: Any) -> Any:
    """Return the message as nested dictionaries, lists and scalars: what `to_json` writes."""
    return json.loads(to_json(message))


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


def _leaked_numpy(value: Any) -> Any:
    """Numpy scalars and arrays that slipped into a message are written as what they stand for."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"cannot record a {type(value).__name__}: {value!r}")


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False, default=_leaked_numpy)


def _dumps(plain: Any) -> bytes:
    return _ENCODER.encode(plain).encode()


def _name_non_finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {k: _name_non_finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_name_non_finite(v) for v in value]
    return value


def _encoder(cls: type) -> Convert:
    found = _encoders.get(cls)
    if found is None:
        found = _encoders[cls] = _dataclass_encoder(cls)
    return found


def _dataclass_encoder(cls: type) -> Convert:
    hints = typing.get_type_hints(cls)
    names = tuple(f.name for f in dataclasses.fields(cls))
    converted = tuple((n, c) for n in names if (c := _value_encoder(hints[n])) is not None)
    if len(names) == 1:
        only = names[0]
        read: Convert = lambda v: (getattr(v, only),)  # noqa: E731 - attrgetter of one name gives no tuple
    else:
        read = operator.attrgetter(*names)

    def encode(value: Any) -> dict[str, Any]:
        out = dict(zip(names, read(value), strict=True))
        for name, convert in converted:
            out[name] = convert(out[name])
        return out

    return encode


def _value_encoder(kind: Any) -> Convert | None:
    """Return how to make a value of type `kind` plain, or None when JSON takes it as it is."""
    origin, items = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        inner = [c for i in items if i is not type(None) and (c := _value_encoder(i)) is not None]
        if not inner:
            return None
        some = inner[0]
        return lambda v: None if v is None else some(v)
    if origin is tuple:
        if len(items) == 2 and items[1] is Ellipsis:
            item = _value_encoder(items[0])
            return None if item is None else (lambda v: [item(i) for i in v])
        each = [_value_encoder(i) for i in items]
        if all(c is None for c in each):
            return None
        return lambda v: [i if c is None else c(i) for c, i in zip(each, v, strict=True)]
    if dataclasses.is_dataclass(kind):
        return _encoder(typing.cast(type, kind))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return operator.attrgetter("value")
    if kind is bytes:
        return lambda v: base64.b64encode(v).decode()
    return None


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
