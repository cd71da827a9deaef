"""Feeds a recording's batches through a fresh pipeline and compares every result bit for bit."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perception.camera.model import CameraModel
from robot.core.clock import NS_PER_S
from robot.core.config import from_dict
from robot.core.errors import ConfigError
from robot.core.field import FieldGeometry
from robot.recording.codec import to_json
from robot.recording.compare import Difference, first_difference
from robot.recording.reader import Recording
from robot.runtime.pipeline import Pipeline
from robot.runtime.robot_config import Robot, RobotConfig


@dataclass(kw_only=True)
class ReplayReport:
    """What a replay found.

    Attributes:
        ticks: results compared.
        differing: ticks whose result differs.
        first: the first difference, if any.
        missing: ticks whose batch or result the recorder dropped: after a lost batch nothing can be bit-equal, and what
            a lost result was cannot be said.
        dropped: batches and results that the recorder itself says it dropped, also those of a run's end.
        unfinished: 1 where the last tick has no recorded result (the run ended inside it), or 0.
        command_sha256: over all recomputed command bytes.
        duration_s: recorded time.
    """

    ticks: int = 0
    differing: int = 0
    first: Difference | None = None
    missing: list[int] = field(default_factory=list)
    dropped: int = 0
    unfinished: int = 0
    command_sha256: str = ""
    duration_s: float = 0.0

    @property
    def equal(self) -> bool:
        """True when every tick was there and every result was the same."""
        return self.ticks > 0 and self.differing == 0 and not self.missing and not self.dropped


def robot_of(recording: Recording, overrides: Mapping[str, Any] | None = None) -> Robot:
    """Rebuild the robot from the effective configuration in a recording.

    Args:
        recording: where from.
        overrides: changed values by dotted key, to see what another gain would have done.

    Raises:
        ConfigError: the configuration does not fit this version, or an override names nothing.
    """
    header = recording.header
    data = copy.deepcopy(header.robot)
    for dotted, value in (overrides or {}).items():
        *parents, leaf = dotted.split(".")
        table: Any = data
        for parent in parents:
            table = table.get(parent) if isinstance(table, dict) else None
        if not isinstance(table, dict) or leaf not in table:
            raise ConfigError(f"'{dotted}' names no value of the recorded configuration", hint="check the dotted key")
        table[leaf] = value
    where = f"{recording.path.name}"
    return Robot(
        config=from_dict(RobotConfig, data, where=where),
        camera=from_dict(CameraModel, header.camera, where=f"{where}: camera"),
        field=from_dict(FieldGeometry, header.field_geometry, where=f"{where}: field"),
    )


def replay(path: Path, *, salvage: bool = False, overrides: Mapping[str, Any] | None = None) -> ReplayReport:
    """Replay the recording at `path`.

    Args:
        path: an MCAP of `play`, `challenge --record` or `demo`.
        salvage: read a cut file as far as it goes.
        overrides: see `robot_of`.

    Raises:
        RecordingError: missing, cut or foreign.
        ConfigError: see `robot_of`.
    """
    recording = Recording(path, salvage=salvage)
    robot = robot_of(recording, overrides)
    pipeline = Pipeline(robot.config, robot.camera, robot.field)
    report = ReplayReport()
    digest = hashlib.sha256()
    expected_tick, no_result = 0, False
    first_ns: int | None = None
    last_ns = 0
    for tick, batch, result_json in recording.rows():
        if no_result:  # the run went on, so it did not end inside that tick
            report.missing.append(expected_tick - 1)
        report.missing.extend(range(expected_tick, tick))
        expected_tick, no_result = tick + 1, result_json is None
        if batch is None:
            report.missing.append(tick)
            continue
        first_ns, last_ns = batch.t_now_ns if first_ns is None else first_ns, batch.t_now_ns
        result = pipeline.step(batch)
        digest.update(result.bytes_out)
        if result_json is None:
            continue
        report.ticks += 1
        difference = first_difference(tick, result_json, to_json(result))
        if difference is not None:
            report.differing += 1
            report.first = report.first or difference
    report.unfinished = int(no_result)
    counts = recording.end_counts()
    report.dropped = counts.get("dropped_batch", 0) + counts.get("dropped_result", 0)
    report.command_sha256 = digest.hexdigest()
    report.duration_s = (last_ns - (first_ns or 0)) / NS_PER_S
    return report
