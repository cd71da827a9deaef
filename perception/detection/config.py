"""What a robot's TOML says about its detector."""

from __future__ import annotations

from dataclasses import dataclass, field

PRECISIONS = ("auto", "fp32", "fp16", "int8")


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How TensorRT's engines are built and where they lie; used only where TensorRT runs (docs/gpu.md).

    Args:
        directory: engines, timing caches and compiled kernels; empty: `$CACHE_DIRECTORY` (systemd), or else
            `~/.cache/blackout`.
        workspace_mib: memory that the builder may use; on a Jetson it comes out of the processor's own.
        optimization_level: 0 (quick build) to 5 (hours); TensorRT's default is 3.
        sparse: let the builder use 2:4 sparse kernels; gains only with weights pruned that way.
        dla_core: run on this deep-learning accelerator, the GPU doing what it cannot; -1: GPU alone.
        gpu_letterbox: scale and normalise pictures on the GPU too (backend `tensorrt`).
    """

    directory: str = ""
    workspace_mib: int = 512
    optimization_level: int = 3
    sparse: bool = False
    dla_core: int = -1
    gpu_letterbox: bool = True

    def __post_init__(self) -> None:
        if self.workspace_mib < 16:
            raise ValueError(f"workspace_mib must be at least 16, not {self.workspace_mib}")
        if not 0 <= self.optimization_level <= 5:
            raise ValueError(f"optimization_level must be 0 to 5, not {self.optimization_level}")
        if self.dla_core < -1:
            raise ValueError(f"dla_core must be -1 (none) or a core's number, not {self.dla_core}")


@dataclass(frozen=True, kw_only=True)
class DetectionConfig:
    """Which network runs where, and which of its boxes count.

    Args:
        model: a shipped model's name (`full`) or the path of an ONNX file with its JSON beside it.
        precision: `fp32`, `fp16` (GPU), `int8`, or `auto`: on a processor int8 where it has 8-bit dot products and the
            model ships it, fp16 with TensorRT, else fp32.
        backend: a module of `perception.detection.backends`.
        providers: ONNX Runtime's execution providers in order of preference. All of them must come up: a missing one
            is an error, never a silent fall-back.
        score_threshold: boxes with a lower score are dropped.
        iou_threshold: of two boxes of one class that overlap more than this, the weaker is dropped.
        threads: processor threads for the network.
        spin: let the network's threads wait busily for each other: quicker on cores that nothing else needs, slower
            where control and camera need them (ONNX Runtime on a processor with two threads or more).
        engine: TensorRT's options.
    """

    model: str = "full"
    precision: str = "auto"
    backend: str = "onnxruntime"
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    score_threshold: float = 0.3
    iou_threshold: float = 0.5
    threads: int = 1
    spin: bool = False
    engine: EngineConfig = field(default_factory=EngineConfig)

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")
        if not 0.0 <= self.score_threshold <= 1.0:
            raise ValueError(f"score_threshold must be in [0, 1], not {self.score_threshold}")
        if not 0.0 <= self.iou_threshold <= 1.0:
            raise ValueError(f"iou_threshold must be in [0, 1], not {self.iou_threshold}")
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, not {self.threads}")
        if not self.providers:
            raise ValueError("providers must name at least one execution provider")
