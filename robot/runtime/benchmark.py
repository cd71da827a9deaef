"""Speed, measured: each figure a median over many calls in one process, comparisons side by side in the same run."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from firmware_bridge.firmware.library import FirmwareLibrary, SensorInputs
from firmware_bridge.link.framing import FrameDecoder, FrameEncoder
from firmware_bridge.protocol.generated import CLASS_OF, SCHEMA_HASH, CommandFlag, Hello, MessageType
from perception.camera.model import CameraModel
from perception.detection.detector import SsdDetector, load_detector
from perception.detection.model import MODELS_DIR
from robot.core.messages import TickBatch
from robot.recording.writer import encode_jpeg
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


def percentile(values: list[float], percent: float) -> float:
    """Return the value below which `percent` of the sorted values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100.0))]


def shipped_models() -> list[tuple[str, str]]:
    """Return (model, precision) of every model file that is shipped."""
    names = sorted(p.stem for p in MODELS_DIR.glob("*.onnx"))
    return [(n.removesuffix(".int8"), "int8" if n.endswith(".int8") else "fp32") for n in names]


def bench_model(robot: Robot, model: str, precision: str, frames: list[Picture], repeats: int) -> dict[str, Any]:
    """Time the whole vision chain of one model on 640x480 frames, with 1 and 2 threads, in turns with OpenCV DNN.

    OpenCV runs the same network's float32 file, blob ready made: only its inference is counted.
    """
    detectors = {}
    for threads in (1, 2):
        config = dataclasses.replace(robot.config.detection, model=model, precision=precision, threads=threads)
        detectors[threads] = load_detector(config)
        detectors[threads].warm_up()
    rows: dict[int, list[tuple[float, float, float]]] = {1: [], 2: []}
    peer = _opencv_dnn(MODELS_DIR / f"{model}.onnx", detectors[2].input_size_px)
    peer_ms: list[float] = []
    for i in range(repeats + 3):
        frame = frames[i % len(frames)]
        for threads, detector in detectors.items():
            rows[threads].append(_stages_ms(detector, frame))
        if peer is not None and i % 4 == 0:
            peer_ms += durations_ms(peer, 1, warm_up=0)
    pre, inference, post = (statistics.median(r[k] for r in rows[2][3:]) for k in range(3))
    result: dict[str, Any] = {
        "precision": precision,
        "input": list(detectors[2].input_size_px),
        "preprocess_ms": pre,
        "inference_ms": inference,
        "postprocess_ms": post,
    }
    for threads, name in ((1, "fps_1_thread"), (2, "fps_2_threads")):
        result[name] = 1e3 / statistics.median(sum(r) for r in rows[threads][3:])
    if peer_ms:
        result["opencv_dnn_ratio"] = statistics.median(peer_ms[1:] or peer_ms) / inference
    return result


def _stages_ms(detector: SsdDetector, frame: Picture) -> tuple[float, float, float]:
    detector.detect(frame)
    t = detector.timings
    return t.preprocess_ns / 1e6, t.inference_ns / 1e6, t.postprocess_ns / 1e6


def _opencv_dnn(onnx_path: Path, input_size_px: tuple[int, int]) -> Callable[[], object] | None:
    """Return a call that runs the float32 network once in OpenCV on 2 threads; None where it cannot be read."""
    if not onnx_path.is_file():
        return None
    net = cv2.dnn.readNetFromONNX(str(onnx_path))
    width, height = input_size_px
    blob = np.zeros((1, 3, height, width), np.float32)
    outputs = net.getUnconnectedOutLayersNames()

    def forward() -> object:
        cv2.setNumThreads(2)
        net.setInput(blob)
        found = net.forward(outputs)
        cv2.setNumThreads(1)
        return found

    forward()
    return forward


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
