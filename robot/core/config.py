"""TOML files and flags into frozen dataclasses: unknown keys rejected with the nearest valid name, values checked.

Each room defines its own configuration dataclass beside its code; `robot.runtime.robot_config` composes them. This
module knows none of them: it only reads, checks, overrides, dumps and hashes.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import hashlib
import json
import math
import sys
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from robot.core.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:  # JetPack 6 ships Python 3.10
    import tomli as tomllib

T = TypeVar("T")

CONFIG_DIR = Path(__file__).resolve().parent.parent / "config"


def find_config(name: str | Path, kind: str) -> Path:
    """Return the path of a TOML file: a path as given, or a shipped file by its bare name.

    Args:
        name: `my/robot.toml`, or `default` for `robot/config/<kind>/default.toml`.
        kind: `robots`, `cameras`, `fields` or another folder of `robot/config`.

    Raises:
        ConfigError: neither exists; the hint lists the shipped ones.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = CONFIG_DIR / kind / (path.name if path.suffix == ".toml" else f"{path.name}.toml")
    if shipped.is_file() and len(path.parts) == 1:
        return shipped
    names = ", ".join(sorted(p.stem for p in (CONFIG_DIR / kind).glob("*.toml"))) or "none"
    raise ConfigError(f"no such configuration file: {path}", hint=f"give a path, or one of the shipped {kind}: {names}")


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file into plain dictionaries.

    Raises:
        ConfigError: the file is missing, unreadable or not TOML; the message has the line.
    """
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="check the path and its permissions") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", hint=f"edit {path} at that line") from error


def from_dict(cls: type[T], data: Mapping[str, Any], *, where: str, base: T | None = None) -> T:
    """Build a frozen dataclass from nested dictionaries, checking names and types.

    Args:
        cls: the dataclass; fields without a default are required.
        data: as TOML or JSON give it: arrays are lists, enums are their values.
        where: named in errors, e.g. the file.
        base: what keys that are not given keep; for a nested table this is the default of its field, so that naming
            one value of it leaves the others as they are.

    Raises:
        ConfigError: unknown key (with the nearest valid name), missing key, wrong type, a float that is not finite,
            or a value that the dataclass's own `__post_init__` refuses with ValueError.
    """
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            mend = f"did you mean '{near[0]}'?" if near else f"valid keys: {', '.join(sorted(fields))}"
            raise ConfigError(f"unknown key '{key}' in {where}", hint=mend)
    values: dict[str, Any] = {}
    for name, field in fields.items():
        default = _default(field) if base is None else getattr(base, name)
        if name in data:
            values[name] = _convert(hints[name], data[name], f"{where}: {name}", default)
        elif default is dataclasses.MISSING:
            raise ConfigError(f"missing key '{name}' in {where}", hint=f"add '{name} = ...' there")
        else:
            values[name] = default
    try:
        return cls(**values)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}", hint="change that value") from error


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _convert(kind: Any, value: Any, where: str, default: Any = dataclasses.MISSING) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(kind)
        if value is None and type(None) in options:
            return None
        last: ConfigError | None = None
        for option in options:
            if option is type(None):
                continue
            try:
                return _convert(option, value, where, default)
            except ConfigError as error:
                last = error
        raise last or ConfigError(f"{where}: {value!r} does not fit", hint=f"give {kind}")
    if origin is tuple:
        return _convert_tuple(kind, value, where)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} should be a table, not {value!r}", hint=f"write [{where.split(': ')[-1]}]")
        table = typing.cast(type, kind)
        return from_dict(table, value, where=where, base=default if isinstance(default, table) else None)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(value)
        except ValueError as error:
            choices = ", ".join(str(member.value) for member in kind)
            raise ConfigError(f"{where}: {value!r} is not a choice", hint=f"one of {choices}") from error
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _finite(value, where)
    if kind is Any:
        return value
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ConfigError(f"{where} should be {kind.__name__}, not {value!r}", hint="change that value")
    return value


def _finite(value: float, where: str) -> float:
    """Return the value as a float; NaN passes every `<` of a check, so it is refused here, as is infinity."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ConfigError(f"{where} should be a finite number, not {value!r}", hint="change that value")
    return number


def _convert_tuple(kind: Any, value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{where} should be a list, not {value!r}", hint="write it as [a, b, ...]")
    items = typing.get_args(kind)
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_convert(items[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if len(items) != len(value):
        raise ConfigError(f"{where} should have {len(items)} values, has {len(value)}", hint="change that list")
    return tuple(_convert(t, v, f"{where}[{i}]") for i, (t, v) in enumerate(zip(items, value, strict=True)))


def to_dict(value: Any) -> Any:
    """Return plain JSON-able data of a dataclass (enums as values, tuples as lists, paths as text)."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [to_dict(v) for v in value]
    if isinstance(value, Mapping):
        return {str(k): to_dict(v) for k, v in value.items()}
    if isinstance(value, Path):
        return str(value)
    return value


def load(
    cls: type[T],
    path: Path,
    overrides: Mapping[str, Any] | None = None,
    base_named: Callable[[str], T] | None = None,
) -> T:
    """Read one TOML file into a dataclass, then apply overrides by dotted key (`motion.max_speed_m_s`).

    Args:
        cls: the dataclass.
        path: the file.
        overrides: values by dotted key that replace the file's.
        base_named: reads what a file names in `base = "..."`: all that the file does not say is as there.

    Raises:
        ConfigError: see `read_toml` and `from_dict`.
    """
    data = read_toml(path)
    base = base_named(_convert(str, data.pop("base"), f"{path.name}: base")) if base_named and "base" in data else None
    for dotted, value in (overrides or {}).items():
        *parents, leaf = dotted.split(".")
        table = data
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise ConfigError(f"'{dotted}' does not name a value in {path}", hint="check the dotted key")
        table[leaf] = value
    return from_dict(cls, data, where=str(path.name), base=base)


def config_hash(value: Any) -> str:
    """Return the first 16 hex digits of the SHA-256 over the canonical JSON of a dataclass."""
    text = json.dumps(to_dict(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
