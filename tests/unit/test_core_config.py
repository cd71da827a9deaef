"""Configuration errors name the file, the key and the mend."""

import enum
from dataclasses import dataclass
from pathlib import Path

import pytest

from robot.core.config import config_hash, find_config, from_dict, load, to_dict
from robot.core.errors import ConfigError


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Inner:
    gain: float = 1.0
    limits_m: tuple[float, float] = (0.0, 1.0)
    colour: Colour = Colour.RED


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    inner: Inner = Inner()
    loud: Inner = Inner(gain=9.0, colour=Colour.BLUE)
    many: tuple[int, ...] = ()
    port: str | None = None

    def __post_init__(self) -> None:
        if self.name == "":
            raise ValueError("name must not be empty")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "robot.toml"
    path.write_text(text)
    return path


def test_a_file_becomes_the_dataclass(tmp_path: Path) -> None:
    path = write(tmp_path, 'name = "a"\nmany = [1, 2]\nport = "x"\n[inner]\ngain = 2\ncolour = "blue"\n')
    loaded = load(Outer, path)
    assert loaded == Outer(name="a", many=(1, 2), port="x", inner=Inner(gain=2.0, colour=Colour.BLUE))
    assert isinstance(loaded.inner.gain, float)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('name = "a"\n[inner]\ngian = 2\n', "did you mean 'gain'"),
        ("many = [1]\n", "missing key 'name'"),
        ("name = 3\n", "should be str"),
        ('name = "a"\nmany = [1, "b"]\n', "many[1]"),
        ('name = "a"\n[inner]\nlimits_m = [1.0]\n', "should have 2 values"),
        ('name = "a"\n[inner]\ncolour = "green"\n', "one of red, blue"),
        ('name = "a"\ninner = 3\n', "should be a table"),
        ('name = "a"\n[inner]\ngain = true\n', "should be float"),
        ('name = ""\n', "must not be empty"),
        ("name = \n", "not valid TOML"),
    ],
)
def test_bad_files_are_refused_with_the_mend(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(Outer, write(tmp_path, text))
    assert says in str(caught.value)
    assert caught.value.hint


def test_overrides_by_dotted_key(tmp_path: Path) -> None:
    path = write(tmp_path, 'name = "a"\n')
    assert load(Outer, path, {"inner.gain": 3.0}).inner.gain == 3.0
    with pytest.raises(ConfigError, match="unknown key 'gian'"):
        load(Outer, path, {"inner.gian": 3.0})


def test_one_value_of_a_table_leaves_the_others_at_the_fields_own_default(tmp_path: Path) -> None:
    path = write(tmp_path, 'name = "a"\n')
    assert load(Outer, path, {"loud.limits_m": [2.0, 3.0]}).loud == Inner(
        gain=9.0, colour=Colour.BLUE, limits_m=(2.0, 3.0)
    )


def test_missing_file_lists_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match="no such configuration file") as caught:
        find_config("nonesuch", "robots")
    assert "shipped robots" in caught.value.hint


def test_round_trip_and_hash() -> None:
    config = Outer(name="a", many=(1,))
    assert from_dict(Outer, to_dict(config), where="test") == config
    assert config_hash(config) == config_hash(Outer(name="a", many=(1,)))
    assert config_hash(config) != config_hash(Outer(name="b", many=(1,)))
