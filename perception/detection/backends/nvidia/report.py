"""What `blackout build-engine` tells about an engine: how fast, how close to the processor, and what trtexec needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perception.detection.backends import Backend
from perception.detection.backends.nvidia.api import TensorRt
from perception.detection.config import EngineConfig


def measure(run: Callable[[], object], now_ns: Callable[[], int], warm_up: int, repeats: int) -> dict[str, float]:
    """Time a call.

    Args:
        run: what is timed; it must wait for its own result.
        now_ns: the clock.
        warm_up: calls before the first that counts (clocks rise, caches fill).
        repeats: calls that count.

    Returns:
        Median, 99th percentile, least and greatest, in milliseconds.
    """
    for _ in range(warm_up):
        run()
    times = []
    for _ in range(repeats):
        before = now_ns()
        run()
        times.append((now_ns() - before) / 1e6)
    return {
        "median_ms": float(np.median(times)),
        "p99_ms": float(np.percentile(times, 99)),
        "min_ms": float(np.min(times)),
        "max_ms": float(np.max(times)),
    }


def score_difference(one: Backend, other: Backend, blob: NDArray[np.float32]) -> float:
    """Return the greatest difference of any anchor's score (0 to 1) between two backends of one network."""
    scores = [1.0 / (1.0 + np.exp(-np.asarray(b.run(blob)[0], np.float64))) for b in (one, other)]
    return float(np.abs(scores[0] - scores[1]).max())


def test_picture() -> NDArray[np.uint8]:
    """Return a drawn 640x480 BGR picture: grey wall, green carpet, an orange ball."""
    y, x = np.mgrid[0:480, 0:640]
    picture = np.where((y < 160)[..., None], (200, 200, 200), (60, 110, 60)).astype(np.uint8)
    for radius, colour in ((20, (20, 90, 240)), (8, (70, 140, 255))):
        picture[(x - 320) ** 2 + (y - 300) ** 2 < radius**2] = colour
    return picture


def trtexec_command(api: TensorRt, onnx: Path, precision: str, config: EngineConfig, engine: Path) -> str:
    """Return the trtexec line that builds the same engine and times it; flags that 11 dropped are left out there.

    Args:
        api: TensorRT, probed.
        onnx: the network as it was parsed.
        precision: as it was built.
        config: as it was built.
        engine: the plan; trtexec's own goes beside it.
    """
    words = ["/usr/src/tensorrt/bin/trtexec", f"--onnx={onnx}", f"--saveEngine={engine.with_suffix('.trtexec')}"]
    words.append(f"--memPoolSize=workspace:{config.workspace_mib}")
    words.append(f"--builderOptimizationLevel={config.optimization_level}")
    if api.precision_flags and precision != "fp32":
        words += ["--fp16"] + (["--int8"] if precision == "int8" else [])
    words += ["--noTF32"] if precision == "fp32" else []
    words += ["--sparsity=enable"] if config.sparse else []
    words += [f"--useDLACore={config.dla_core}", "--allowGPUFallback"] if config.dla_core >= 0 else []
    words += ["--warmUp=500", "--duration=10", "--percentile=50,90,99"]
    words += ["--useSpinWait", "--noDataTransfers"] if api.precision_flags else []
    return " ".join(words)
