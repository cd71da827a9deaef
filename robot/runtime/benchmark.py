"""Speed, measured: each figure a median over many calls in one process, comparisons side by side in the same run."""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from firmware_bridge.firmware.library import FirmwareLibrary, SensorInputs
from firmware_bridge.link.framing import FrameDecoder, FrameEncoder
from firmware_bridge.protocol.generated import CLASS_OF, SCHEMA_HASH, CommandFlag, Hello, MessageType
from perception.camera.model import CameraModel
from perception.localisation.field_map import FieldMap
from perception.localisation.search import GlobalSearch
from perception.localisation.view import GoalBearings, LinePoints
from perception.localisation.views import Views
from robot.core.geometry import Pose2
from robot.core.messages import TickBatch
from robot.recording.writer import encode_jpeg
from robot.runtime.bench_vision import percentile
from robot.runtime.pipeline import Pipeline
from robot.runtime.robot_config import Robot

Picture = NDArray[np.uint8]


def durations_ms(call: Callable[[], object], repeats: int, warm_up: int = 3) -> list[float]:
    """Return how long each of `repeats` calls took, after some that are not counted."""
    for _ in range(warm_up):
        call()
    taken = []
    for _ in range(repeats):
        before = time.perf_counter()
        call()
        taken.append((time.perf_counter() - before) * 1e3)
    return taken


def bench_step(robot: Robot, batches: list[TickBatch]) -> dict[str, float]:
    """Time `Pipeline.step` over the batches of a played trial: what a control tick costs beside vision."""
    pipeline = Pipeline(robot.config, robot.camera, robot.field)
    taken = []
    for batch in batches:
        before = time.perf_counter()
        pipeline.step(batch)
        taken.append((time.perf_counter() - before) * 1e3)
    return {"median_ms": statistics.median(taken), "p99_ms": percentile(taken, 99.0)}


def bench_projection_us(camera: CameraModel, repeats: int = 2000) -> float:
    """Time one pixel to the floor with its covariance."""

    def project() -> object:
        return camera.ground_point(330.0, 250.0)

    return statistics.median(durations_ms(project, repeats)) * 1e3


def bench_hypotheses(
    robot: Robot, hypotheses: int = 300, observations: int = 20, repeats: int = 300
) -> dict[str, float]:
    """Time the weighing of many poses by line points and a goal, and one slice of the search over the whole field."""
    rng = np.random.default_rng(1)
    search, field_map = robot.config.estimation.search, FieldMap(robot.field)
    places = rng.uniform((0.4, -1.0), (3.0, 1.0), (observations, 2))
    noise = np.tile(1e-3 * np.eye(2), (observations, 1, 1))
    points = LinePoints(places, noise, np.zeros((observations, 2, 3)))
    views = Views(dataclasses.replace(search, view_points=observations))
    views.offer(0, Pose2(), points, [GoalBearings(0.1, -0.1)], (0.09, 0.0))
    poses = rng.uniform((-4.5, -3.0, -3.1), (4.5, 3.0, 3.1), (hypotheses, 3))
    weigh = durations_ms(lambda: views.score(field_map, poses), repeats)
    slices: list[float] = []
    while len(slices) < repeats:
        finder = GlobalSearch(dataclasses.replace(search, min_views=1, min_points=1), field_map)
        finder.views.offer(0, Pose2(), points, [], (0.09, 0.0))
        finder.step(Pose2())
        while finder.busy:
            slices += durations_ms(functools.partial(finder.step, Pose2()), 1, warm_up=0)
    return {
        "weigh_median_ms": statistics.median(weigh),
        "weigh_p99_ms": percentile(weigh, 99.0),
        "slice_median_ms": statistics.median(slices),
        "slice_p99_ms": percentile(slices, 99.0),
    }


def bench_codec(repeats: int = 5000) -> dict[str, float]:
    """Time a COMMAND to bytes, and a TELEMETRY frame from bytes."""
    telemetry_class = CLASS_OF[MessageType.TELEMETRY][1]
    command_class = CLASS_OF[MessageType.COMMAND][1]
    command = command_class._make([0] * len(command_class._fields))
    wire = FrameEncoder().encode(telemetry_class._make([0] * len(telemetry_class._fields)))
    encoder, decoder = FrameEncoder(), FrameDecoder()
    return {
        "encode_us": statistics.median(durations_ms(lambda: encoder.encode(command), repeats)) * 1e3,
        "decode_us": statistics.median(durations_ms(lambda: decoder.feed(wire), repeats)) * 1e3,
    }


def bench_firmware_step(repeats: int = 5000) -> dict[str, float]:
    """Time one control cycle of the C core while it drives, the call from Python included."""
    firmware = FirmwareLibrary()
    command_class, encoder = CLASS_OF[MessageType.COMMAND][1], FrameEncoder()
    firmware.receive(encoder.encode(Hello(SCHEMA_HASH, 0, 1, 0, 0, b"bench")))
    sensors, taken = SensorInputs(), []
    for i in range(repeats):
        if i % 10 == 0:
            values = (i // 10 + 1, int(CommandFlag.ARM), 1.0, 0.5, 1.0, 0.0, 0.0, 100, 10**12 + i * 10**6)
            firmware.receive(encoder.encode(command_class._make(values)))
        before = time.perf_counter()
        firmware.step(sensors)
        taken.append((time.perf_counter() - before) * 1e6)
        firmware.transmit()
    return {"median_us": statistics.median(taken), "p99_us": percentile(taken, 99.0)}


def bench_frame_codec_ms(frame: Picture, repeats: int = 50) -> float:
    """Time one 640x480 frame to the JPEG that a recording keeps."""
    return statistics.median(durations_ms(lambda: encode_jpeg(frame, 85), repeats))
