"""The schema is the one source: what is committed must be what it gives, and the hash must notice what matters."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from firmware_bridge.link.parameters import body_parameters
from firmware_bridge.protocol import generated
from firmware_bridge.protocol.generate import outputs
from firmware_bridge.protocol.schema import SCHEMA_FILE, load_schema
from robot.core.body import BODY_LIMITS, WHEEL_ANGLE_LIMIT_RAD, RobotBody
from robot.core.errors import ConfigError


def altered(tmp_path: Path, old: str, new: str) -> Path:
    text = SCHEMA_FILE.read_text(encoding="utf-8")
    assert text.count(old) >= 1
    path = tmp_path / "schema.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_committed_files_are_what_the_schema_gives() -> None:
    stale = [str(p) for p, text in outputs(load_schema()).items() if p.read_text(encoding="utf-8") != text]
    assert not stale, f"run `python -m firmware_bridge.protocol.generate`: {stale}"


def test_hash_notices_structure_and_not_sentences(tmp_path: Path) -> None:
    committed = load_schema().hash32()
    assert committed == generated.SCHEMA_HASH
    reworded = altered(tmp_path, "turn rate, counter-clockwise positive", "yaw rate")
    assert load_schema(reworded).hash32() == committed
    for old, new in (
        ('name = "vx_m_s", type = "f32"', 'name = "vx_m_s", type = "i32"'),
        ('name = "vx_m_s"', 'name = "v_forward_m_s"'),
        ('ARM", bit = 0', 'ARM", bit = 5'),
        ('name = "COMMAND"\ntype = 2', 'name = "COMMAND"\ntype = 42'),
    ):
        assert load_schema(altered(tmp_path, old, new)).hash32() != committed, new


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("type = 2\n", "type = 3\n", "used twice"),
        ('type = "f32[4]", doc = "encoder', 'type = "f32[64]", doc = "encoder', "bytes"),
        ('type = "f32[4]", doc = "encoder', 'type = "f16", doc = "encoder', "unknown type"),
        ('default = "mass_kg"', 'default = "weight"', "RobotBody has no"),
        ('default = "mass_kg"', "default = 999.0", "outside its limits"),
        ('{ name = "schema_hash", type = "u32"', '{ name = "hash", type = "u32"', "HELLO must stay"),
    ],
)
def test_a_bad_schema_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_schema(altered(tmp_path, old, new))


def test_messages_are_packed_little_endian() -> None:
    command = generated.Command(0x0102, 3, 1.0, 2.0, 3.0, 4.0, 5.0, 100, 7)
    assert command.pack() == struct.pack("<HHfffffHQ", 0x0102, 3, 1.0, 2.0, 3.0, 4.0, 5.0, 100, 7)


def test_the_bodys_limits_are_the_firmwares() -> None:
    """A body that the configuration takes must not be refused by the device, nor the other way round."""
    for number, name in generated.BODY_PARAMETERS.items():
        limits = BODY_LIMITS.get(name, (-WHEEL_ANGLE_LIMIT_RAD, WHEEL_ANGLE_LIMIT_RAD))
        assert limits == generated.PARAMETER_LIMITS[number][1:], name


def test_body_parameters_follow_the_body() -> None:
    values = dict(body_parameters(RobotBody(wheel_radius_m=0.03)))
    assert values[generated.Parameter.WHEEL_RADIUS_M] == pytest.approx(0.03, rel=1e-7)
    for number, value in dict(body_parameters(RobotBody())).items():
        assert value == pytest.approx(generated.PARAMETER_LIMITS[number][0], rel=1e-7)
