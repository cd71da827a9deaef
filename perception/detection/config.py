"""What a robot's TOML says about its detector."""

from __future__ import annotations

from dataclasses import dataclass

PRECISIONS = ("auto", "fp32", "int8")


@dataclass(frozen=True, kw_only=True)
class DetectionConfig:
    """Which network runs where, and which of its boxes count.

    Args:
        model: a shipped model's name (`full`) or the path of an ONNX file with its JSON beside it.
        precision: `fp32`, `int8`, or `auto`: int8 where the processor has 8-bit dot products and the model ships it.
        backend: a module of `perception.detection.backends`.
        providers: ONNX Runtime's execution providers in order of preference. All of them must come up: a missing one
            is an error, never a silent fall-back.
        score_threshold: boxes with a lower score are dropped.
        iou_threshold: of two boxes of one class that overlap more than this, the weaker is dropped.
        threads: processor threads for the network.
    """

    model: str = "full"
    precision: str = "auto"
    backend: str = "onnxruntime"
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    score_threshold: float = 0.25
    iou_threshold: float = 0.5
    threads: int = 1

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
