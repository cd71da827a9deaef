"""One robot: the rooms' configurations composed, camera and field found by name, effective values and their hash."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control.config import ControlConfig
from firmware_bridge.config import LinkConfig
from perception.calibration.bump import BumpConfig
from perception.camera.model import CameraModel, load_camera
from perception.capture.source import CaptureConfig
from perception.detection.config import DetectionConfig
from perception.estimation.config import EstimationConfig
from perception.field.boundary import CarpetConfig
from perception.field.lines import LineConfig
from robot.core.body import RobotBody
from robot.core.config import find_config, load
from robot.core.errors import ConfigError
from robot.core.field import FieldGeometry
from robot.recording.writer import RecordingConfig
from robot.runtime.supervisor import SupervisorConfig


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """How the vision stage runs.

    Attributes:
        scan_carpet: find the carpet's edge in every frame (boundary mask, free range).
        find_lines: find field lines, too (needs `scan_carpet`): without them the robot does not find its pose.
        carpet_margin_px: a ball or robot whose foot is further above the carpet's edge is not on the field.
        simulated_latency_ms: in simulation, detections arrive this long after their frame, whatever this machine
            needs for them: trials must not depend on the speed of the machine.
        workers: on board, so many detectors take frames in turn, results stay in order: more frames a second where one
            detector cannot keep up with the camera and cores are free; no frame is seen sooner. Processor only.
    """

    scan_carpet: bool = True
    find_lines: bool = True
    carpet_margin_px: float = 6.0
    simulated_latency_ms: float = 12.0
    workers: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= 16:
            raise ValueError(f"workers should be 1 to 16, not {self.workers}")
        if not 0.0 <= self.simulated_latency_ms <= 1000.0:
            raise ValueError(f"simulated_latency_ms should be 0 to 1000, not {self.simulated_latency_ms}")


@dataclass(frozen=True, kw_only=True)
class RobotConfig:
    """Everything that is set for one robot; one TOML file, one table per room.

    `camera` and `field` name shipped files (`c922_640x480`, `division_b`) or paths; a path that is not absolute is
    looked for beside the robot's own file.
    """

    name: str
    camera: str = "c922_640x480"
    field: str = "division_b"
    tick_rate_hz: float = 100.0
    body: RobotBody = dataclasses.field(default_factory=RobotBody)
    capture: CaptureConfig = dataclasses.field(default_factory=CaptureConfig)
    detection: DetectionConfig = dataclasses.field(default_factory=DetectionConfig)
    carpet: CarpetConfig = dataclasses.field(default_factory=CarpetConfig)
    lines: LineConfig = dataclasses.field(default_factory=LineConfig)
    vision: VisionConfig = dataclasses.field(default_factory=VisionConfig)
    bump: BumpConfig = dataclasses.field(default_factory=BumpConfig)
    estimation: EstimationConfig = dataclasses.field(default_factory=EstimationConfig)
    control: ControlConfig = dataclasses.field(default_factory=ControlConfig)
    link: LinkConfig = dataclasses.field(default_factory=LinkConfig)
    supervisor: SupervisorConfig = dataclasses.field(default_factory=SupervisorConfig)
    recording: RecordingConfig = dataclasses.field(default_factory=RecordingConfig)

    def __post_init__(self) -> None:
        if not 20.0 <= self.tick_rate_hz <= 1000.0:  # two ticks within the firmware's 100 ms
            raise ValueError(f"tick_rate_hz should be 20 to 1000, not {self.tick_rate_hz}")
        motion = self.control.motion
        if min(motion.max_tick_s, 0.5e-3 * motion.valid_for_ms) * self.tick_rate_hz < 0.999:
            raise ValueError(
                f"at {self.tick_rate_hz:g} ticks a second control.motion.valid_for_ms should be at least two ticks (or "
                f"the firmware stops between commands) and max_tick_s one, not {motion.valid_for_ms} ms and "
                f"{motion.max_tick_s:g} s"
            )


@dataclass(frozen=True, kw_only=True)
class Robot:
    """A robot's configuration with the camera and field that it names."""

    config: RobotConfig
    camera: CameraModel
    field: FieldGeometry


def load_robot(name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> RobotConfig:
    """Read a robot's file by name (`default`) or path.

    Args:
        name_or_path: `default`, or `my_robot.toml`.
        overrides: values by dotted key, e.g. `{"control.dock.speed_m_s": 0.3}`.

    Raises:
        ConfigError: the file is missing, a key unknown (the nearest is named) or a value out of range.
    """
    return load(RobotConfig, find_config(name_or_path, "robots"), overrides)


def open_robot(name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> Robot:
    """Read a robot's file with the camera and the field that it names.

    Args:
        name_or_path: see `load_robot`.
        overrides: see `load_robot`.

    Raises:
        ConfigError: see `load_robot`; or the camera was calibrated for another picture size than is captured.
    """
    path = find_config(name_or_path, "robots")
    config = load_robot(path, overrides)
    camera = load_camera(_beside(config.camera, path))
    geometry = load(FieldGeometry, find_config(_beside(config.field, path), "fields"))
    size = (camera.intrinsics.width_px, camera.intrinsics.height_px)
    if size != (config.capture.width_px, config.capture.height_px):
        raise ConfigError(
            f"camera {config.camera} is calibrated for {size[0]} x {size[1]}, but {path.name} captures "
            f"{config.capture.width_px} x {config.capture.height_px}",
            hint=f"set width_px and height_px under [capture] in {path.name}, or calibrate at that size",
        )
    return Robot(config=config, camera=camera, field=geometry)


def _beside(name: str, robot_file: Path) -> str | Path:
    """Resolve a path in a robot's file relative to that file; a bare name stays a name."""
    beside = robot_file.parent / name
    return beside if beside.is_file() else name
