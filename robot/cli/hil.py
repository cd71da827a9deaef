"""Play a trial with the real firmware in the loop, and compare it byte by byte with the library.

Example: blackout hil --target unicorn --stage 1 --seed 7
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from firmware_bridge.hil import Witness, open_target
from perception.detection.detector import SsdDetector, load_detector
from robot.runtime.robot_config import Robot, open_robot
from robot.runtime.simulation import TrialOutcome, play_trial


@dataclass(frozen=True)
class Args:
    """Flags of `blackout hil`."""

    target: str = "unicorn"
    """library; pty: a process on a pseudo-terminal; unicorn: the STM32F767's ELF in an emulated chip; qemu: a
    Cortex-M7 board in QEMU; or a serial port with a test build of the firmware behind it (`/dev/ttyACM0`,
    `tcp://HOST:PORT`)."""
    stage: int = 1
    """Stage of the challenge."""
    seed: int = 1
    """Seed of the trial."""
    robot: str = "default"
    """Robot file: a shipped name or a path."""


def run(args: Args) -> int:
    """Play on the target and on the library; 0 when the trial succeeded and all hashes agree."""
    robot = open_robot(args.robot, {})
    detector = load_detector(robot.config.detection)
    outcome, device = _play(robot, detector, args, args.target)
    expected, reference = (outcome, device) if args.target == "library" else _play(robot, detector, args, "library")
    same = outcome.command_sha256 == expected.command_sha256 and device.sha256 == reference.sha256
    print(f"commands  {outcome.command_sha256}\nfirmware  {device.sha256}")
    if not same:
        print(f"library: commands {expected.command_sha256}\n         firmware {reference.sha256}")
    if device.revision != reference.revision:
        print(
            f"{args.target} runs another firmware ('{device.revision}', the library '{reference.revision}')\n"
            "  mend: blackout firmware flash --test-build"
        )
    verdict = "agrees with the library" if same else "DIFFERS from the library"
    result = "success" if outcome.score.success else "no success"
    print(f"{args.target}: stage {args.stage} seed {args.seed}: {result}, every byte {verdict}")
    return 0 if same and outcome.score.success else 1


def _play(robot: Robot, detector: SsdDetector, args: Args, target: str) -> tuple[TrialOutcome, Witness]:
    from sim.scenarios.trials import make_trial
    from sim.simulation import Simulation

    setup = make_trial(args.stage, args.seed, robot.field)
    started_s = time.perf_counter()
    with open_target(target) as firmware:
        witness = Witness(firmware)
        with Simulation(setup, robot.config.body, robot.camera, mcu=witness) as world:
            outcome = play_trial(robot, world, detector)
    wall_s = time.perf_counter() - started_s
    print(f"{target}: {outcome.sim_s:.1f} s played in {wall_s:.0f} s, {witness.steps} firmware cycles", flush=True)
    return outcome, witness
