"""A robot's file: the shipped ones load, mistakes are named with the nearest right word, the hash sees every value."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from robot.core.config import CONFIG_DIR, config_hash
from robot.core.errors import ConfigError
from robot.runtime.pipeline import Pipeline
from robot.runtime.replay import robot_of
from robot.runtime.robot_config import RobotConfig, load_robot, open_robot

SHIPPED = sorted(p.stem for p in (CONFIG_DIR / "robots").glob("*.toml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_robot_loads_and_makes_a_pipeline(name: str) -> None:
    robot = open_robot(name)
    assert robot.config.name == name
    Pipeline(robot.config, robot.camera, robot.field)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('name = "r"\n[capture]\nwidht_px = 640\n', "widht_px", "width_px"),
        ('name = "r"\n[control.motion]\nmax_sped_m_s = 1.0\n', "max_sped_m_s", "max_speed_m_s"),
        ('camera = "c922_640x480"\n', "missing key 'name'", "add 'name"),
        ('name = "r"\ntick_rate_hz = 10\n', "tick_rate_hz should be 20 to 1000", "change"),
        ('name = "r"\n[control.motion]\nvalid_for_ms = 15\n', "valid_for_ms should be at least two ticks", "change"),
        ('name = "r"\n[control.motion]\nmax_tick_s = 0.005\n', "max_tick_s one", "change"),
        ('name = "r"\n[control.dock]\nspeed_m_s = 600\n', "speed_m_s should be at most 10, .* in SI units", "change"),
        ('name = "r"\n[link]\nbaud = "fast"\n', "baud should be int", "change"),
        ('name = "r"\nname = "s"\n', "not valid TOML", "edit"),
        ('name = "r"\ncamera = "nikon"\n', "nikon", "c922_640x480"),
        ('name = "r"\nfield = "parquet"\n', "parquet", "division_b"),
        ('name = "r"\n[capture]\nwidth_px = 1280\n', "calibrated for 640 x 480", "width_px"),
    ],
)
def test_mistakes_are_named_with_the_mend(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        open_robot(write(tmp_path, text))
    assert hint in caught.value.hint


def test_a_missing_robot_lists_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match="no such configuration") as caught:
        load_robot("nobody")
    assert "default" in caught.value.hint


def test_files_beside_the_robots_file_are_found(tmp_path: Path) -> None:
    camera = (CONFIG_DIR / "cameras" / "c922_640x480.toml").read_text()
    assert "640.5" not in camera
    (tmp_path / "cal.toml").write_text(camera.replace("fx = 642.406", "fx = 640.5"))
    robot = open_robot(write(tmp_path, 'name = "r"\ncamera = "cal.toml"\n'))
    assert robot.camera.intrinsics.fx == 640.5


def test_overrides_reach_nested_values_and_the_hash() -> None:
    plain = load_robot("default")
    changed = load_robot("default", {"control.dock.speed_m_s": 0.31, "capture.device": "file:x"})
    assert changed.control.dock.speed_m_s == 0.31
    assert changed.capture.device == "file:x"
    assert config_hash(plain) != config_hash(changed)
    assert config_hash(plain) == config_hash(load_robot("default"))


def test_the_recorded_configuration_is_the_whole_configuration() -> None:
    """What a recording keeps rebuilds the very same robot, so that replay needs no file of this machine."""
    from robot.recording.header import make_header

    robot = open_robot("default", {"vision.scan_carpet": False})
    header = make_header(
        kind="simulation", robot=robot.config, camera=robot.camera, field_geometry=robot.field, model={}, run={}
    )

    class Fake:
        path = Path("x.mcap")

    fake = Fake()
    fake.header = header  # type: ignore[attr-defined]
    rebuilt = robot_of(fake)  # type: ignore[arg-type]
    assert rebuilt.config == robot.config
    assert rebuilt.camera == robot.camera
    assert rebuilt.field == robot.field
    assert {f.name for f in dataclasses.fields(RobotConfig)} == set(header.robot)
