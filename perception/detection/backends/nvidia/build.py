"""ONNX to plan, with TensorRT 8.6 to 11. Takes minutes and says nothing: run by `blackout build-engine` only.

Call order and what returns None or False: TensorRT's Python API, python/src/infer/pyCore.cpp and parsers/pyOnnx.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from perception.detection.backends.nvidia.api import TensorRt
from perception.detection.backends.nvidia.gpu import NO_GPU_HINT
from perception.detection.backends.nvidia.log import tensorrt_logger
from perception.detection.backends.nvidia.progress import BuildProgress
from perception.detection.config import EngineConfig
from robot.core.errors import DetectorError


@dataclass(frozen=True, kw_only=True)
class Built:
    """A plan, the timing cache that building it filled, and what was done, for the report."""

    plan: bytes
    timing_cache: bytes
    notes: tuple[str, ...]


def build_plan(
    api: TensorRt,
    network: bytes,
    precision: str,
    config: EngineConfig,
    timing_cache: bytes,
    progress: BuildProgress | None = None,
) -> Built:
    """Build an engine.

    Args:
        api: TensorRT, probed.
        network: ONNX, already fit for TensorRT (see `onnx_graph`).
        precision: `fp32`, `fp16` or `int8`.
        config: workspace, optimisation level, sparsity, DLA.
        timing_cache: of earlier builds with this TensorRT and GPU, or empty.
        progress: told how far the build is.

    Raises:
        DetectorError: no GPU, TensorRT cannot read the model, or cannot build it; with TensorRT's own last errors.
    """
    trt = api.module
    logger = tensorrt_logger(trt)
    logger.take_errors()
    builder = make(trt.Builder, logger)
    graph = builder.create_network(api.network_flags)
    parser = trt.OnnxParser(graph, logger)  # must live until the build ends: it owns the weights
    if not parser.parse(network):
        faults = "; ".join(_fault(parser.get_error(i)) for i in range(parser.num_errors))
        raise DetectorError(
            f"TensorRT {api.version} cannot read the model: {faults or logger.take_errors()}",
            hint="export it again: python -m perception.training.export RUN",
        )
    options = builder.create_builder_config()
    notes = _set_options(api, builder, options, precision, config)
    cache, note = _timing_cache(options, timing_cache)
    monitor = progress.attach(trt, options) if progress is not None else None
    plan = builder.build_serialized_network(graph, options)
    if plan is None:
        raise DetectorError(
            f"TensorRT {api.version} cannot build the engine: {logger.take_errors()}",
            hint="stop what else uses memory, or give less or more with --workspace-mib; "
            "--precision fp32 tells whether the precision is to blame",
        )
    filled = options.get_timing_cache()
    timing = bytes(filled.serialize()) if filled is not None else b""
    built = Built(plan=bytes(plan), timing_cache=timing, notes=(*notes, note))
    del monitor, cache, parser
    return built


def make(factory: Any, logger: Any) -> Any:
    """Call a TensorRT factory (`Builder`, `Runtime`); where CUDA cannot start it returns null, a TypeError in Python.

    Raises:
        DetectorError: that happened.
    """
    try:
        made = factory(logger)
    except (TypeError, RuntimeError) as error:
        raise DetectorError(f"TensorRT cannot start: {logger.take_errors()} ({error})", hint=NO_GPU_HINT) from error
    if made is None:
        raise DetectorError(f"TensorRT cannot start: {logger.take_errors()}", hint=NO_GPU_HINT)
    return made


def _set_options(api: TensorRt, builder: Any, options: Any, precision: str, config: EngineConfig) -> tuple[str, ...]:
    """Set what this TensorRT has; returns what the report should say."""
    trt, flags = api.module, api.module.BuilderFlag
    notes = []
    options.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, config.workspace_mib << 20)
    if hasattr(options, "builder_optimization_level"):
        options.builder_optimization_level = config.optimization_level
    else:
        notes.append("no builder_optimization_level in this TensorRT: its default was used")
    if hasattr(trt, "ProfilingVerbosity"):
        options.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not api.precision_flags:
        notes.append(f"{precision} by the network's own types (this TensorRT has no precision flags)")
    elif precision != "fp32":
        # Layers that are not quantised run in half precision; TensorRT takes the faster of the two for each.
        options.set_flag(flags.FP16)
        if precision == "int8":
            options.set_flag(flags.INT8)
    if precision == "fp32" and hasattr(flags, "TF32"):
        options.clear_flag(flags.TF32)  # set by default; it keeps 10 bits of the mantissa, and fp32 should mean fp32
    if config.sparse:
        options.set_flag(flags.SPARSE_WEIGHTS)
        notes.append("2:4 sparse kernels allowed")
    if config.dla_core >= 0:
        if precision == "fp32":
            raise DetectorError("a DLA core computes in fp16 or int8 only", hint="--precision fp16")
        _use_dla(trt, builder, options, config.dla_core)
        notes.append(f"on DLA core {config.dla_core}, the GPU for the rest")
    return tuple(notes)


def _use_dla(trt: Any, builder: Any, options: Any, core: int) -> None:
    if core >= builder.num_DLA_cores:
        raise DetectorError(
            f"no DLA core {core}: TensorRT sees {builder.num_DLA_cores} here",
            hint="leave --dla-core out (Orin Nano has none; TensorRT 10.8 to 11.3 support none)",
        )
    options.default_device_type = trt.DeviceType.DLA
    options.DLA_core = core
    options.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def _timing_cache(options: Any, content: bytes) -> tuple[Any, str]:
    """Give the builder a timing cache; returns it (it must outlive the build) and what came of it."""
    cache = options.create_timing_cache(content)
    if cache is not None and options.set_timing_cache(cache, ignore_mismatch=False):
        return cache, f"timing cache: {len(content)} bytes from earlier builds" if content else "timing cache: new"
    fresh = options.create_timing_cache(b"")
    if fresh is not None and options.set_timing_cache(fresh, ignore_mismatch=False):
        return fresh, "timing cache: the old one was of another TensorRT or GPU, begun anew"
    return None, "timing cache: none (TensorRT refused it)"


def _fault(error: Any) -> str:
    """Return a parser error in one line; node_name came with 10."""
    node = f" at node {error.node_name()}" if hasattr(error, "node_name") else f" at node {error.node()}"
    return f"{str(error.desc()).strip()}{node}"
