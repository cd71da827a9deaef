"""The vision chain, timed: every shipped model and precision, its peers and its bound, in turns in one run.

All contenders take turns on the same frames, so that whatever else the machine does hits them alike; what counts are
the ratios. OpenCV DNN runs the same network's float32 file, its input ready made: only its inference is counted.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.detection.config import DetectionConfig
from perception.detection.detector import SsdDetector, load_detector
from perception.detection.model import MODELS_DIR
from robot.runtime.multiply_rate import SIDE, count_macs, product_calls
from robot.runtime.ordered_pool import OrderedPool

Picture = NDArray[np.uint8]
THREADS = (1, 2)
STAGES = ("preprocess", "inference", "postprocess")


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value below which `percent` of the sorted values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100.0))]


def summary(values_ms: Sequence[float]) -> dict[str, float]:
    """Return median, 99th percentile and fastest of some durations."""
    return {
        "median_ms": statistics.median(values_ms),
        "p99_ms": percentile(values_ms, 99.0),
        "best_ms": min(values_ms),
    }


def shipped_models(folder: Path = MODELS_DIR) -> list[tuple[str, str]]:
    """Return (model, precision) of every model file in the folder."""
    names = sorted(p.stem for p in folder.glob("*.onnx"))
    return [(n.removesuffix(".int8"), "int8" if n.endswith(".int8") else "fp32") for n in names]


def bench_models(
    base: DetectionConfig, frames: Sequence[Picture], rounds: int, folder: Path = MODELS_DIR
) -> dict[str, Any]:
    """Time all models of a folder on 640x480 frames.

    Args:
        base: the robot's detector configuration; model, precision and threads are replaced.
        frames: pictures that they take in turn.
        rounds: turns that count.
        folder: where the models lie.

    Returns:
        `models`: for each its stages, totals, ratios to OpenCV DNN and to the bound; `gmac_per_s`: the processor's
        rates, by kind and threads (missing where the package `onnx` is).
    """
    detectors: dict[tuple[str, str, int], SsdDetector] = {}
    peers: dict[tuple[str, int], Callable[[], object]] = {}
    for model, precision in shipped_models(folder):
        name = model if folder == MODELS_DIR else str(_file(folder, model, precision))
        for threads in THREADS:
            config = dataclasses.replace(base, model=name, precision=precision, threads=threads)
            detectors[model, precision, threads] = load_detector(config)
            if precision == "fp32":
                peers[model, threads] = opencv_call(
                    _file(folder, model, precision), detectors[model, precision, threads].input_size_px, threads
                )
    products = _products()
    stages: dict[tuple[str, str, int], list[tuple[float, float, float]]] = {key: [] for key in detectors}
    peer_ms: dict[tuple[str, int], list[float]] = {key: [] for key in peers}
    product_ms: dict[tuple[str, int], list[float]] = {key: [] for key in products}
    for turn in range(rounds + 2):
        frame = frames[turn % len(frames)]
        for key, detector in detectors.items():
            stages[key].append(_stages_ms(detector, frame))
        if turn % 4 == 0:  # the slow ones, and those whose best counts, less often
            for peer, call in peers.items():
                peer_ms[peer].append(_duration_ms(call))
            for product, call in products.items():
                product_ms[product].append(_duration_ms(call))
    rates = {f"{kind}_{n}": SIDE**3 / min(taken) / 1e6 for (kind, n), taken in product_ms.items()}
    models = {}
    for model, precision in shipped_models(folder):
        row: dict[str, Any] = {"input": list(detectors[model, precision, 1].input_size_px)}
        macs = count_macs(_file(folder, model, precision)) if products else None
        if macs is not None:
            row["mmac"] = {"fp32": macs.fp32 / 1e6, "int8": macs.int8 / 1e6}
        for threads in THREADS:
            counted = stages[model, precision, threads][2:]
            part: dict[str, Any] = {n: summary([s[k] for s in counted]) for k, n in enumerate(STAGES)}
            part["around_the_network"] = summary([s[0] + s[2] for s in counted])
            part["whole"] = summary([sum(s) for s in counted])
            inference = part["inference"]
            part["fps"] = 1e3 / part["whole"]["median_ms"]
            if (model, threads) in peer_ms:
                theirs = summary(peer_ms[model, threads][1:] or peer_ms[model, threads])
                part["opencv_dnn"] = theirs
                part["opencv_dnn_ratio"] = theirs["median_ms"] / inference["median_ms"]
                part["opencv_dnn_ratio_of_best"] = theirs["best_ms"] / inference["best_ms"]
            if macs is not None:
                bound = macs.least_ms(rates[f"fp32_{threads}"] * 1e9, rates[f"int8_{threads}"] * 1e9)
                part["bound_ms"] = bound
                part["ratio_to_bound_of_best"] = inference["best_ms"] / bound
            row[f"threads_{threads}"] = part
        models[f"{model}.{precision}"] = row
    return {"models": models, "gmac_per_s": rates, "rounds": rounds}


WAYS: dict[str, tuple[int, int, bool]] = {
    "1 worker, 1 thread": (1, 1, False),
    "2 workers, 1 thread each": (2, 1, False),
    "1 worker, 2 threads": (1, 2, False),
    "1 worker, 2 spinning threads": (1, 2, True),
}
"""Workers (`vision.workers`), threads of each (`detection.threads`), and whether they spin (`detection.spin`)."""


def bench_throughput(
    base: DetectionConfig, frames: Sequence[Picture], seconds: float, blocks: int = 5, folder: Path = MODELS_DIR
) -> dict[str, Any]:
    """Stream frames through each model in every one of `WAYS`, as fast as they are taken, in turns.

    Returns:
        For each model and way: frames per second, median and best of the blocks, and the latency of a frame.
    """
    found: dict[str, Any] = {}
    for model, precision in shipped_models(folder):
        name = model if folder == MODELS_DIR else str(_file(folder, model, precision))
        rates: dict[str, list[float]] = {way: [] for way in WAYS}
        latencies: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(blocks):
            for way, (workers, threads, spin) in WAYS.items():
                config = dataclasses.replace(base, model=name, precision=precision, threads=threads, spin=spin)
                detectors = [load_detector(config) for _ in range(workers)]  # anew: idle threads may spin on
                for detector in detectors:
                    detector.warm_up()
                rate, latency = _stream(detectors, frames, seconds / blocks)
                rates[way].append(rate)
                latencies[way] += latency
        found[f"{model}.{precision}"] = {
            way: {"fps": statistics.median(rates[way]), "best_fps": max(rates[way]), **summary(latencies[way])}
            for way in WAYS
        }
    return found


def _stream(detectors: Sequence[SsdDetector], frames: Sequence[Picture], seconds: float) -> tuple[float, list[float]]:
    """Feed frames as fast as they are taken; returns frames per second and each frame's latency in ms."""
    latencies: list[float] = []

    def deliver(job: tuple[float, Picture], result: object) -> None:
        latencies.append((time.perf_counter() - job[0]) * 1e3)

    calls = [lambda job, d=d: d.detect(job[1]) for d in detectors]
    begin = time.perf_counter()
    with OrderedPool(calls, deliver) as pool:
        number = 0
        while time.perf_counter() - begin < seconds:
            pool.wait_idle()
            pool.submit((time.perf_counter(), frames[number % len(frames)]))
            number += 1
    return number / (time.perf_counter() - begin), latencies


def opencv_call(onnx_path: Path, input_size_px: tuple[int, int], threads: int) -> Callable[[], object]:
    """Return a call that runs a float32 network once in OpenCV DNN; afterwards OpenCV has one thread again."""
    net = cv2.dnn.readNetFromONNX(str(onnx_path))
    width, height = input_size_px
    blob = np.zeros((1, 3, height, width), np.float32)
    outputs = net.getUnconnectedOutLayersNames()

    def forward() -> object:
        cv2.setNumThreads(threads)
        net.setInput(blob)
        found = net.forward(outputs)
        cv2.setNumThreads(1)
        return found

    forward()
    return forward


def _products() -> dict[tuple[str, int], Callable[[], object]]:
    """Matrix products by kind and threads; none where the package `onnx`, which writes them, is missing."""
    try:
        return {(kind, n): call for n in THREADS for kind, call in product_calls(n).items()}
    except ImportError:
        return {}


def _file(folder: Path, model: str, precision: str) -> Path:
    return folder / (f"{model}.int8.onnx" if precision == "int8" else f"{model}.onnx")


def _stages_ms(detector: SsdDetector, frame: Picture) -> tuple[float, float, float]:
    detector.detect(frame)
    t = detector.timings
    return t.preprocess_ns / 1e6, t.inference_ns / 1e6, t.postprocess_ns / 1e6


def _duration_ms(call: Callable[[], object]) -> float:
    before = time.perf_counter()
    call()
    return (time.perf_counter() - before) * 1e3


def chain_table(figures: dict[str, Any]) -> list[str]:
    """Return a Markdown table of what `bench_models` measured."""
    lines = [
        "| model | threads | before + after the network, ms median (p99, best) | network, ms | whole chain, ms | FPS "
        "| OpenCV DNN takes | bound by multiply-adds, ms | network / bound |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in figures["models"].items():
        for threads in THREADS:
            part = row[f"threads_{threads}"]
            cells = [f"{name} {row['input'][0]}x{row['input'][1]}", str(threads)]
            cells += [_cell(part[key]) for key in ("around_the_network", "inference", "whole")]
            cells.append(f"{part['fps']:.0f}")
            ratio = "{opencv_dnn_ratio:.1f} times as long ({opencv_dnn_ratio_of_best:.1f} by the best runs)"
            cells.append(ratio.format(**part) if "opencv_dnn" in part else "-")
            bound = "bound_ms" in part
            cells += [f"{part['bound_ms']:.2f}", f"{part['ratio_to_bound_of_best']:.1f}"] if bound else ["-", "-"]
            lines.append(f"| {' | '.join(cells)} |")
    rates = ", ".join(f"{k.replace('_', ' on ')}: {v:.0f}" for k, v in figures["gmac_per_s"].items())
    lines.append(f"\nGMAC/s of a {SIDE}^3 matrix product, best run, by operands and threads: {rates or 'needs onnx'}.")
    return lines


def throughput_table(figures: dict[str, Any]) -> list[str]:
    """Return a Markdown table of what `bench_throughput` measured."""
    lines = [
        "| model | way | FPS, median of blocks (best) | against the first | latency, ms median (p99, best) |",
        "|---|---|---|---|---|",
    ]
    for name, row in figures.items():
        first = next(iter(row.values()))["fps"]
        for way, part in row.items():
            cells = [
                name,
                way,
                f"{part['fps']:.0f} ({part['best_fps']:.0f})",
                f"{part['fps'] / first:.2f}",
                _cell(part),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cell(part: dict[str, float]) -> str:
    return "{median_ms:.2f} ({p99_ms:.2f}, {best_ms:.2f})".format(**part)
