"""Build a TensorRT engine on the GPU that will run it, time it, and write a report (docs/gpu.md).

Takes minutes; the robot never does it while playing. Run it on the robot, in the power mode in which it plays.

Example:
    blackout build-engine --model full --precision fp16
"""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from robot.cli._outputs import check_outputs
from robot.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from perception.detection.config import DetectionConfig

_PROGRESS_S = 5.0
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Args:
    """Flags of `blackout build-engine`."""

    model: str = "full"
    """A shipped model's name, or an ONNX file with its JSON beside it."""
    precision: Literal["fp16", "int8", "fp32"] = "fp16"
    """int8 takes the model's own Q/DQ file."""
    backend: Literal["tensorrt", "onnxruntime"] = "tensorrt"
    """Which backend will run it; onnxruntime: its TensorRT provider."""
    sparse: bool = False
    """Allow 2:4 sparse kernels (gains only with weights pruned that way)."""
    workspace_mib: int = 512
    """Memory that the builder may use."""
    optimization_level: int = 3
    """0: quick build, slow engine; 5: the reverse."""
    dla_core: int = -1
    """Deep-learning accelerator core (AGX Orin, Orin NX); -1: none."""
    gpu_letterbox: bool = True
    """Compile the letterbox kernel too (nvcc), and time with it."""
    out: Path | None = None
    """Folder for engine and report; by default where the robot looks: $CACHE_DIRECTORY or ~/.cache/blackout."""
    picture: Path | None = None
    """Picture to time and compare on; by default a drawn one."""
    warm_up: int = 50
    """Runs before the clock counts."""
    repeats: int = 500
    """Runs that count."""


def run(args: Args) -> int:
    """Build, time, report; returns 0."""
    from perception.detection.backends.nvidia.cache import cache_directory
    from perception.detection.backends.nvidia.gpu import read_gpu

    config = _config(args)
    picture = _picture(args.picture)
    gpu = read_gpu()
    check_outputs(folders=[cache_directory(config.engine)])
    print(f"GPU: {gpu.description}")
    report = {"model": args.model, "precision": args.precision, "backend": args.backend, "gpu": gpu.description}
    build = _build_native if args.backend == "tensorrt" else _build_onnxruntime
    target = build(config, gpu, report)
    _time(config, picture, args, report)
    path = cache_directory(config.engine) / f"{target}.report.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"report: {path}")
    print("in the robot's TOML:\n" + _toml(config))
    return 0


def _config(args: Args) -> DetectionConfig:
    from perception.detection.backends.nvidia.providers import CPU, CUDA, TENSORRT
    from perception.detection.config import DetectionConfig, EngineConfig

    try:
        engine = EngineConfig(
            directory=str(args.out or ""),
            workspace_mib=args.workspace_mib,
            optimization_level=args.optimization_level,
            sparse=args.sparse,
            dla_core=args.dla_core,
            gpu_letterbox=args.gpu_letterbox,
        )
        if args.warm_up < 0 or args.repeats < 1:
            raise ValueError("warm_up must not be negative, and repeats at least 1")
    except ValueError as error:
        raise ConfigError(str(error), hint="blackout build-engine --help") from error
    providers = (CPU,) if args.backend == "tensorrt" else (TENSORRT, CUDA)
    return DetectionConfig(
        model=args.model, precision=args.precision, backend=args.backend, providers=providers, engine=engine
    )


def _picture(path: Path | None) -> NDArray[np.uint8]:
    import cv2

    from perception.detection.backends.nvidia.report import test_picture

    if path is None:
        return test_picture()
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"cannot read the picture {path}", hint="is it a whole JPEG or PNG file?")
    return image  # type: ignore[return-value]


def _build_native(config: DetectionConfig, gpu: Any, report: dict[str, Any]) -> str:
    """Build with TensorRT itself; returns the engine's name."""
    from perception.detection.backends.nvidia.api import import_tensorrt
    from perception.detection.backends.nvidia.build import build_plan
    from perception.detection.backends.nvidia.cache import EngineCache, cache_directory, write_whole
    from perception.detection.backends.nvidia.keys import engine_key
    from perception.detection.backends.nvidia.onnx_graph import count_2_4, network_for_tensorrt
    from perception.detection.backends.nvidia.progress import BuildProgress
    from perception.detection.backends.nvidia.report import trtexec_command
    from perception.detection.kernels.build import compile_kernel
    from perception.detection.model import find_model, read_meta

    api = import_tensorrt()
    print(f"TensorRT {api.version}")
    path = find_model(config.model, config.precision)
    meta = read_meta(path)
    cache = EngineCache(cache_directory(config.engine))
    if config.engine.gpu_letterbox:
        print(f"letterbox kernel: {compile_kernel(gpu.arch, cache.directory)}")
    network = network_for_tensorrt(path, config.precision, typed=not api.precision_flags)
    if config.engine.sparse:
        sparse, layers = count_2_4(path.read_bytes())
        print(f"2:4 sparse: {sparse} of {layers} 1x1 convolutions" + ("" if sparse else "; nothing will be gained"))
        report["sparse_layers"] = [sparse, layers]
    key = engine_key(meta.sha256, config.precision, config.engine, gpu, f"TensorRT {api.version}")
    progress, timing = BuildProgress(), cache.read_timing(key)
    built, seconds = _with_progress(
        lambda: build_plan(api, network, config.precision, config.engine, timing, progress),
        lambda: progress.text,
        progress.stop,
    )
    if built.timing_cache:
        cache.write_timing(key, built.timing_cache)
    engine = cache.write_engine(config.model, key, built.plan)
    parsed = path
    if network != path.read_bytes():
        parsed = engine.with_suffix(".onnx")
        write_whole(parsed, network)
    print(f"engine: {engine} ({len(built.plan) / 1e6:.1f} MB, built in {seconds:.0f} s)")
    for note in built.notes:
        print(f"  {note}")
    command = trtexec_command(api, parsed, config.precision, config.engine, engine)
    print(f"the same with trtexec: {command}")
    report |= {
        "engine": str(engine),
        "bytes": len(built.plan),
        "build_s": seconds,
        "key": dataclasses.asdict(key),
        "notes": list(built.notes),
        "trtexec": command,
    }
    return engine.stem


def _build_onnxruntime(config: DetectionConfig, gpu: Any, report: dict[str, Any]) -> str:
    """Let ONNX Runtime's TensorRT provider build; returns its directory's name."""
    import numpy as np
    import onnxruntime

    from perception.detection.backends.nvidia.providers import engine_directory, mark_ready, session_key
    from perception.detection.backends.onnxruntime import OnnxRuntimeBackend
    from perception.detection.model import find_model, read_meta

    path = find_model(config.model, config.precision)
    meta = read_meta(path)
    width, height = meta.anchors.input_size_px

    def build() -> None:
        backend = OnnxRuntimeBackend(path, meta, config, building=True)
        backend.run(np.zeros((1, 3, height, width), np.float32))

    _, seconds = _with_progress(build, lambda: "", lambda: None)
    key = session_key(meta, config, gpu, onnxruntime.__version__)
    directory = engine_directory(meta, config, key)
    mark_ready(directory, key)
    print(f"engine: {directory} (built in {seconds:.0f} s)")
    report |= {"engine": str(directory), "build_s": seconds, "key": dataclasses.asdict(key)}
    return directory.name


def _with_progress(work: Callable[[], T], text: Callable[[], str], stop: Callable[[], None]) -> tuple[T, float]:
    """Do the work in a thread (TensorRT lets go of the GIL) and print how far it is; returns result and seconds."""
    results: list[T] = []
    failures: list[BaseException] = []

    def body() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the main thread
            failures.append(error)

    started = time.monotonic()
    thread = threading.Thread(target=body, name="build-engine", daemon=True)
    thread.start()
    print("building; this takes minutes ...", flush=True)
    try:
        thread.join(_PROGRESS_S)
        while thread.is_alive():
            print(f"  {time.monotonic() - started:4.0f} s  {text()}", flush=True)
            thread.join(_PROGRESS_S)
    except KeyboardInterrupt:
        stop()  # at the builder's next step; as a daemon the thread cannot hold the process up
        raise
    if failures:
        raise failures[0]
    return results[0], time.monotonic() - started


def _time(config: DetectionConfig, picture: NDArray[np.uint8], args: Args, report: dict[str, Any]) -> None:
    """Load the engine as the robot will, time it, and compare its scores with the processor's."""
    import numpy as np

    from perception.detection import load_detector
    from perception.detection.backends import open_backend
    from perception.detection.backends.nvidia.report import measure, score_difference
    from perception.detection.config import DetectionConfig
    from perception.detection.letterbox import Letterbox
    from perception.detection.model import find_model, read_meta

    path = find_model(config.model, config.precision)
    meta = read_meta(path)
    detector = load_detector(config)
    print(f"runs: {detector.description}")
    stages: list[tuple[int, int, int]] = []

    def once() -> None:
        detector.detect(picture)
        t = detector.timings
        stages.append((t.preprocess_ns, t.inference_ns, t.postprocess_ns))

    whole = measure(once, time.perf_counter_ns, args.warm_up, args.repeats)
    counted = np.array(stages[-args.repeats :]) / 1e6
    medians = np.median(counted, axis=0).tolist()
    report["detect"] = whole
    report["stages_median_ms"] = dict(zip(("preprocess", "inference", "postprocess"), medians, strict=True))
    report["repeats"], report["warm_up"] = args.repeats, args.warm_up
    report["picture"] = str(args.picture or "drawn, 640x480")
    print(
        f"picture to boxes: median {whole['median_ms']:.2f} ms, p99 {whole['p99_ms']:.2f} ms "
        f"({1e3 / whole['median_ms']:.0f} FPS), of it inference {medians[1]:.2f} ms"
    )
    plain = DetectionConfig(model=config.model, precision="int8" if meta.precision == "int8" else "fp32")
    blob, _ = Letterbox(meta.anchors.input_size_px)(picture)
    reference = open_backend(path, meta, plain)
    with_blob = dataclasses.replace(config, engine=dataclasses.replace(config.engine, gpu_letterbox=False))
    report["score_difference"] = score_difference(open_backend(path, meta, with_blob), reference, blob)
    print(f"greatest difference of a score from the processor's: {report['score_difference']:.4f}")


def _toml(config: DetectionConfig) -> str:
    from perception.detection.config import EngineConfig

    lines = ["[detection]", f'model = "{config.model}"', f'precision = "{config.precision}"']
    lines.append(f'backend = "{config.backend}"')
    if config.backend == "onnxruntime":
        lines.append(f"providers = {json.dumps(list(config.providers))}")
    changed = {
        f.name: getattr(config.engine, f.name)
        for f in dataclasses.fields(EngineConfig)
        if getattr(config.engine, f.name) != f.default
    }
    if changed:
        lines += ["[detection.engine]", *(f"{name} = {json.dumps(value)}" for name, value in changed.items())]
    return "\n".join(f"    {line}" for line in lines)
