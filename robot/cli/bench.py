"""Measure speed on this machine: detector, step, projection, codecs, simulation; medians, peers in the same run.

Example: blackout bench --json runs/bench.json
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from robot.cli._outputs import check_outputs
from robot.core.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Args:
    """Flags of `blackout bench`."""

    json: Path = Path("runs/bench.json")
    """Where to write the figures."""
    robot: str = "default"
    """The robot whose configuration is used."""
    rounds: int = 120
    """Frames per model and number of threads; all take turns."""
    stream_s: float = 5.0
    """How long frames are streamed through each model in each way (workers, threads, spinning)."""
    seed: int = 1
    """The trial that gives frames and batches."""
    detector_only: bool = False
    """Leave out step, codecs and simulation."""


def run(args: Args) -> int:
    """Measure, print, write."""
    if args.rounds < 1 or not args.stream_s > 0.0:
        raise ConfigError("--rounds must be at least 1 and --stream-s above 0", hint="blackout bench --help")
    check_outputs(files=[args.json])
    import cv2

    from robot.runtime import bench_vision as vision
    from robot.runtime.robot_config import open_robot

    robot = open_robot(args.robot)
    print("playing one trial for its frames and batches ...", flush=True)
    frames, batches, simulation = _trial(robot, args.seed)
    cv2.setNumThreads(1)
    print(f"timing the vision chain on {len(frames)} frames of 640x480 ...", flush=True)
    figures: dict[str, Any] = {"chain": vision.bench_models(robot.config.detection, frames, args.rounds)}
    print("\n".join(vision.chain_table(figures["chain"])), flush=True)
    figures["throughput"] = vision.bench_throughput(robot.config.detection, frames, args.stream_s)
    print("\n".join(["", *vision.throughput_table(figures["throughput"]), ""]), flush=True)
    if not args.detector_only:
        _others(figures, robot, frames, batches, simulation)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(args.json)
    return 0


def _others(figures: dict[str, Any], robot: Any, frames: list[Any], batches: list[Any], simulation: Any) -> None:
    from robot.runtime import benchmark as b

    figures["step"] = b.bench_step(robot, batches)
    figures["projection_us"] = b.bench_projection_us(robot.camera)
    figures["hypotheses"] = b.bench_hypotheses(robot)
    figures["codec"] = b.bench_codec()
    figures["firmware_step"] = b.bench_firmware_step()
    figures["frame_codec_ms"] = b.bench_frame_codec_ms(frames[0])
    figures["simulation"] = simulation
    for key in ("step", "projection_us", "hypotheses", "codec", "firmware_step", "frame_codec_ms", "simulation"):
        print(f"{key:16s} {_text(figures[key])}")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{k} {v:.3f}" for k, v in value.items())
    return f"{value:.3f}"


class _Tap:
    """A recorder that keeps frames and batches in memory."""

    def __init__(self) -> None:
        self.frames: list[Any] = []
        self.batches: list[Any] = []

    def frame(self, frame: Any) -> None:
        self.frames.append(frame.image_bgr)

    def batch(self, batch: Any) -> None:
        self.batches.append(batch)

    def result(self, result: Any) -> None:
        """Results are not needed."""

    def note(self, topic: str, t_ns: int, data: dict[str, Any]) -> None:
        """Nor is the truth."""

    def close(self) -> None:
        """Nothing to close."""


def _trial(robot: Any, seed: int) -> tuple[list[Any], list[Any], dict[str, float]]:
    """Play a trial; return frames, batches and how fast the simulation ran against real time."""
    from perception.detection import load_detector
    from robot.runtime.simulation import play_trial
    from sim.scenarios.trials import make_trial
    from sim.simulation import Simulation

    setup = make_trial(stage=1, seed=seed, field=robot.field)
    tap = _Tap()
    with Simulation(setup, robot.config.body, robot.camera) as world:
        outcome = play_trial(robot, world, load_detector(robot.config.detection), tap)
    with Simulation(setup, robot.config.body, robot.camera, render=False) as world:
        before = time.perf_counter()
        world.advance_to_ns(5_000_000_000)
        physics = 5.0 / (time.perf_counter() - before)
    speeds = {"physics_x_real_time": physics, "closed_loop_x_real_time": outcome.sim_s / outcome.wall_s}
    return tap.frames, tap.batches, speeds
