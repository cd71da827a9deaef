"""What a recording says about itself: the effective configuration, every hash that matters, and versions."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robot.core.config import to_dict
from robot.core.errors import RecordingError
from robot.core.streams import STREAMS
from robot.recording.codec import schema_hash

FORMAT_VERSION = "1"
METADATA_NAME = "blackout"
_LIBRARIES = ("numpy", "opencv-python", "onnxruntime-gpu", "mujoco", "foxglove-sdk", "mcap")


@dataclass(frozen=True, kw_only=True)
class RunHeader:
    """The metadata record at the head of a recording; all JSON-able.

    Attributes:
        kind: `simulation` or `onboard`.
        robot: the effective robot configuration, as `robot.core.config.to_dict` gives it.
        camera: the effective camera model (this is the calibration).
        field_geometry: the field.
        model: the detector: name, hash of its file, backend.
        run: what this run was: stage, seed, port, ... free text values.
        hashes: of the configuration, the calibration and the message schema.
        versions: Blackout, Python, libraries, git commit.
    """

    kind: str
    robot: dict[str, Any]
    camera: dict[str, Any]
    field_geometry: dict[str, Any]
    model: dict[str, str] = field(default_factory=dict)
    run: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def to_metadata(self) -> dict[str, str]:
        """Return text keys and values, as MCAP wants them."""
        parts = {f.name: json.dumps(getattr(self, f.name), sort_keys=True) for f in dataclasses.fields(self)}
        return {"format": FORMAT_VERSION, **parts}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> RunHeader:
        """Read `to_metadata` back.

        Raises:
            RecordingError: written by a format that this version does not know.
        """
        if metadata.get("format") != FORMAT_VERSION:
            raise RecordingError(
                f"recording format {metadata.get('format')!r}, this version reads {FORMAT_VERSION!r}",
                hint="use the version of Blackout that wrote it",
            )
        return cls(**{f.name: json.loads(metadata[f.name]) for f in dataclasses.fields(cls)})


def make_header(
    *, kind: str, robot: Any, camera: Any, field_geometry: Any, model: dict[str, str], run: Mapping[str, object]
) -> RunHeader:
    """Return the header for a run that starts now.

    Args:
        kind: `simulation` or `onboard`.
        robot: the `RobotConfig`.
        camera: the `CameraModel`.
        field_geometry: the `FieldGeometry`.
        model: the detector's name, hash and backend.
        run: stage, seed and the like; values become text.
    """
    return RunHeader(
        kind=kind,
        robot=to_dict(robot),
        camera=to_dict(camera),
        field_geometry=to_dict(field_geometry),
        model=model,
        run={k: str(v) for k, v in run.items()},
        hashes={
            "config": dict_hash(to_dict(robot)),
            "calibration": dict_hash(to_dict(camera)),
            "schema": schema_hash(tuple(s.message for s in STREAMS if s.name in ("batch", "result"))),
        },
        versions=dict(versions()),
    )


def dict_hash(value: Any) -> str:
    """Return the first 16 hex digits of the SHA-256 over canonical JSON; equals `config_hash` of a dataclass."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=1)
def versions() -> tuple[tuple[str, str], ...]:
    """Return (name, version) of everything that can change a result; asked once per process."""
    found = [("python", platform.python_version()), ("machine", platform.machine()), ("git", git_state())]
    for name in ("blackout-robot", *_LIBRARIES):
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return tuple(found)


def git_state() -> str:
    """Return the commit of the source tree, with `-dirty` when files differ; `unknown` outside of a checkout."""
    here = Path(__file__).resolve().parent
    command = ["git", "--no-optional-locks", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10.0, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
