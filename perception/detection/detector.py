"""The detector: picture in, boxes out. Letterbox, network, decode, suppression; each stage timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from perception.detection.backends import Backend, open_backend, preprocessor
from perception.detection.backends.nvidia.providers import CPU, TENSORRT
from perception.detection.config import DetectionConfig
from perception.detection.decode import Candidates, decode, suppress
from perception.detection.letterbox import Placement
from perception.detection.model import ModelMeta, find_model, read_meta
from robot.core.errors import DetectorError
from robot.core.messages import Detection, ObjectClass

# 8-bit dot products: x86 VNNI in its two forms, Arm's SDOT. Without them int8 is no faster than float32.
INT8_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "asimddp"})
_CLASSES = tuple(ObjectClass)


@dataclass(frozen=True, kw_only=True)
class StageTimings:
    """How long the stages of the last `detect` took."""

    preprocess_ns: int = 0
    inference_ns: int = 0
    postprocess_ns: int = 0


def to_detections(found: Candidates, where: Placement) -> tuple[Detection, ...]:
    """Return candidates as detections in picture pixels; a box wholly in the letterbox's border is dropped."""
    return tuple(
        Detection(object_class=_CLASSES[kind], score=score, box_px=box)
        for kind, score, box in zip(found.classes, found.scores, where.to_picture(found.boxes_px), strict=True)
        if box[2] > box[0] and box[3] > box[1]
    )


class Detector(Protocol):
    """Whatever finds robots, balls and goals in a picture."""

    @property
    def model_name(self) -> str:
        """Name of the model, with its precision."""
        ...

    @property
    def input_size_px(self) -> tuple[int, int]:
        """(width, height) that pictures are letterboxed to."""
        ...

    @property
    def timings(self) -> StageTimings:
        """Stage times of the last `detect`."""
        ...

    def detect(self, image_bgr: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """Return the objects in a (h, w, 3) uint8 BGR picture, best first."""
        ...

    def warm_up(self) -> None:
        """Run once on an empty picture, so that the first real frame is not slow."""
        ...


class SsdDetector:
    """An SSD on some backend.

    Args:
        backend: runs the network.
        meta: how to feed and read it.
        config: thresholds.
        now_ns: clock of the stage timings; they are for reports and never decide anything.
    """

    def __init__(
        self,
        backend: Backend,
        meta: ModelMeta,
        config: DetectionConfig,
        now_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._backend = backend
        self._config = config
        self._now_ns = now_ns
        self._anchors = meta.anchors.boxes().tolist()
        self._letterbox = preprocessor(backend, meta.anchors.input_size_px)
        self.model_name = meta.name
        self.sha256 = meta.sha256
        self.input_size_px = meta.anchors.input_size_px
        self.timings = StageTimings()

    @property
    def description(self) -> str:
        """What runs, for logs."""
        return f"{self.model_name} ({self.sha256[:12]}) on {self._backend.description}"

    def detect(self, image_bgr: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """Return the objects in a (h, w, 3) uint8 BGR picture, best first, boxes clipped to the picture.

        Raises:
            DetectorError: it is no such picture.
        """
        if image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or image_bgr.dtype != np.uint8 or not image_bgr.size:
            raise DetectorError(
                f"not a picture: {image_bgr.dtype} {image_bgr.shape}", hint="give (height, width, 3) uint8, BGR"
            )
        start = self._now_ns()
        blob, where = self._letterbox(image_bgr)
        fed = self._now_ns()
        logits, offsets = self._backend.run(blob)
        ran = self._now_ns()
        found = decode(logits, offsets, self._anchors, self._config.score_threshold)
        result = to_detections(suppress(found, self._config.iou_threshold), where)
        self.timings = StageTimings(
            preprocess_ns=fed - start, inference_ns=ran - fed, postprocess_ns=self._now_ns() - ran
        )
        return result

    def warm_up(self) -> None:
        """Run twice on a grey picture: backends allocate on the first run, and some tune on the second."""
        width, height = self.input_size_px
        for _ in range(2):
            self.detect(np.full((height, width, 3), 114, np.uint8))


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the processor's feature flags; empty where the system does not say."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    lines = (line.split(":", 1) for line in text.splitlines() if line.lower().startswith(("flags", "features")))
    return frozenset(flag for parts in lines if len(parts) == 2 for flag in parts[1].split())


def choose_precision(config: DetectionConfig, flags: frozenset[str] | None = None) -> str:
    """Return `fp32`, `fp16` or `int8`.

    `auto` means int8 on a processor with 8-bit dot products, when the model ships it; fp16 with TensorRT; else fp32.
    """
    if config.precision != "auto":
        return config.precision
    if config.backend == "tensorrt" or TENSORRT in config.providers:
        return "fp16"
    if config.providers != (CPU,) or not (cpu_flags() if flags is None else flags) & INT8_FLAGS:
        return "fp32"
    try:
        find_model(config.model, "int8")
    except DetectorError:
        return "fp32"
    return "int8"


def load_detector(config: DetectionConfig) -> SsdDetector:
    """Load the model that the config names.

    Raises:
        DetectorError: model, JSON or backend is missing or does not fit; the hint says what to do.
    """
    path = find_model(config.model, choose_precision(config))
    meta = read_meta(path)
    if config.precision != "auto" and (config.precision == "int8") != (meta.precision == "int8"):
        raise DetectorError(
            f"{path.name} is {meta.precision}, not {config.precision}",
            hint="give the other file of the model, or leave detection.precision at auto",
        )
    return SsdDetector(open_backend(path, meta, config), meta, config)
