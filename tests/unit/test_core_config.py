"""Configuration errors name the file, the key and the mend."""

import dataclasses
import enum
import math
from dataclasses import dataclass
from pathlib import Path

import pytest

from robot.core.body import RobotBody
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


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1" + "0" * 400])
@pytest.mark.parametrize(
    ("text", "key"), [("[inner]\ngain = {}\n", "gain"), ("[inner]\nlimits_m = [0.0, {}]\n", "limits_m[1]")]
)
def test_numbers_that_are_not_finite_are_refused_by_name(tmp_path: Path, text: str, key: str, number: str) -> None:
    """NaN passes every `<` of a `__post_init__`."""
    with pytest.raises(ConfigError, match="finite number") as caught:
        load(Outer, write(tmp_path, 'name = "a"\n' + text.format(number)))
    assert key in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wheel_radius_m", 27.0),
        ("wheel_radius_m", 0.0),
        ("wheel_mount_radius_m", 78.5),
        ("radius_m", 89.0),
        ("height_m", math.nan),
        ("mass_kg", 2600.0),
        ("yaw_inertia_kg_m2", -0.01),
        ("encoder_ticks_per_rev", 0),
        ("mouth_x_m", 72.0),
        ("mouth_width_m", math.nan),
        ("max_speed_m_s", 30.0),
        ("max_omega_rad_s", math.nan),
        ("max_kick_speed_m_s", 8.0),
        ("wheel_angles_rad", (60.0, 135.0, 225.0, 300.0)),
        ("wheel_angles_rad", (1.0, 2.0, math.nan, 5.0)),
    ],
)
def test_a_body_that_cannot_be_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        dataclasses.replace(RobotBody(), **{name: value})


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
