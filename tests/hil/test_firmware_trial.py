"""The whole control loop plays against the firmware on each target: the same command bytes, the same telemetry.

A bench without pixels stands in for the simulator, so that it takes seconds; `blackout hil` plays the real trial.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pytest

from firmware_bridge.hil import Witness, open_target
from robot.core.messages import Mode
from robot.runtime.pipeline import Pipeline
from robot.runtime.robot_config import open_robot
from tests.firmware_bench import TARGETS, need_target
from tests.runtime_bench import BenchWorld
from tests.unit.test_runtime_pipeline import batches


@dataclass(frozen=True)
class Played:
    """What a trial left."""

    command_sha256: str
    firmware_sha256: str
    cycles: int
    touched: bool
    active: bool


def play(target: str) -> Played:
    """Grab a ball that lies 0.7 m ahead."""
    robot = open_robot("default")
    digest, active = hashlib.sha256(), False
    with open_target(target) as firmware:
        witness = Witness(firmware)
        world = BenchWorld(robot.camera, ball_m=(0.7, 0.1), duration_s=4.0)
        world.mcu = witness  # type: ignore[assignment]
        for _, result in batches(world, Pipeline(robot.config, robot.camera, robot.field)):
            digest.update(result.bytes_out)
            active = active or result.mode is Mode.ACTIVE
    return Played(digest.hexdigest(), witness.sha256, witness.steps, world.touched, active)


@pytest.fixture(scope="module")
def reference() -> Played:
    need_target("library")
    return play("library")


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS[1:])
def test_every_byte_is_the_same_with_that_target_in_the_loop(target: str, reference: Played) -> None:
    need_target(target)
    assert reference.active
    assert reference.touched, "the trial must be one"
    assert play(target) == reference
