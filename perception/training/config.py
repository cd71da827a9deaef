"""The training recipe: one TOML file says everything that a run depends on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from perception.detection.anchors import AnchorSpec
from robot.core.config import load
from robot.core.errors import ConfigError

HERE = Path(__file__).resolve().parent
STRIDES_PX = (8, 16, 32, 64, 128)
BLOCKS = 17
"""Strides of the network's heads, and blocks of its backbone, see `network.py` (which needs torch)."""
CHANCES = (
    "plain", "worn", "collage", "colour", "strong_cast", "blur", "noise", "jpeg", "paste_balls", "clutter",
    "paste_nothing", "doubled_robots",
)  # fmt: skip


def _check_range(name: str, low: float, high: float, *, zero: bool) -> None:
    """Raise ValueError when a range is reversed or negative, or begins at 0 where `zero` is not allowed."""
    if not (0.0 < low <= high or (zero and low == 0.0 <= high)):
        raise ValueError(f"{name} is a range [low, high] {'from' if zero else 'above'} 0, not [{low:g}, {high:g}]")


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """One folder of labelled pictures: `images/*.jpg` and `labels/*.txt` in YOLO form.

    Args:
        folder: path, relative to the project's root.
        split: name of a file in `perception/training/splits` (without suffix), or empty: everything is for training.
        share: which part of all training pictures is drawn from this source; 0: it is only scored on.
        emphasis: (first, last, weight) ranges of the number in the file name; pictures elsewhere weigh 1.
        label_margins: for robot, ball, goal what is added to a box at its left, top, right and bottom, in shares of its
            size: people label with a margin, a renderer does not (see `studies/label_margins.py`).
    """

    folder: str
    split: str = ""
    share: float = 1.0
    emphasis: tuple[tuple[int, int, float], ...] = ()
    label_margins: tuple[tuple[float, float, float, float], ...] = ()

    def __post_init__(self) -> None:
        if len(self.label_margins) not in (0, 3):
            raise ValueError("label_margins are three rows (robot, ball, goal) or none")
        if self.share < 0:
            raise ValueError(f"share must not be negative, not {self.share:g}")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network: its input, width and anchors (see `AnchorSpec`).

    Each side of the input is a multiple of 16, or at most 4 less than one (as the 300 of the warm start): elsewhere the
    maps of strides 8 and 16 do not pair.
    """

    input_size_px: tuple[int, int]
    strides_px: tuple[int, ...]
    shapes_px: tuple[tuple[tuple[float, float], ...], ...]
    width: float = 1.0

    def __post_init__(self) -> None:
        if self.strides_px != STRIDES_PX:
            raise ValueError(f"strides_px must be {list(STRIDES_PX)}, not {list(self.strides_px)}")
        if len(self.shapes_px) != len(STRIDES_PX) or not all(self.shapes_px):
            raise ValueError(f"shapes_px has a list of anchor shapes for each of the {len(STRIDES_PX)} strides")
        if min(side for shapes in self.shapes_px for shape in shapes for side in shape) <= 0:
            raise ValueError("shapes_px: every anchor has a width and a height above 0")
        if not all(side > 0 and -side % 16 <= 4 for side in self.input_size_px):
            raise ValueError(f"input_size_px must be multiples of 16, not {list(self.input_size_px)}")
        if self.width <= 0:
            raise ValueError(f"width must be above 0, not {self.width:g}")

    @property
    def anchors(self) -> AnchorSpec:
        """Return the anchors of this model."""
        return AnchorSpec(input_size_px=self.input_size_px, strides_px=self.strides_px, shapes_px=self.shapes_px)


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Chances and ranges of the augmentations, see `augment.py`. Sizes are in input pixels.

    `plain` is the chance that a picture lies in the input exactly as the running detector places it; `worn` that it has
    noise or JPEG marks at its own pixels, before it is enlarged; `noise_sigma` is in grey values of 255. `clutter`
    paints coloured shapes, `paste_nothing` pastes pieces of real pictures without an object, `doubled_robots` puts
    copies of robots beside robots.
    """

    plain: float = 0.0
    worn: float = 0.0
    zoom: tuple[float, float] = (0.5, 1.9)
    collage: float = 0.4
    collage_zoom: tuple[float, float] = (0.4, 1.3)
    aspect: float = 0.2
    rotation_deg: float = 4.0
    colour: float = 0.8
    strong_cast: float = 0.12
    blur: float = 0.2
    noise: float = 0.25
    noise_sigma: tuple[float, float] = (2.0, 10.0)
    jpeg: float = 0.3
    paste_balls: float = 0.35
    pasted_ball_px: tuple[float, float] = (4.0, 24.0)
    clutter: float = 0.25
    paste_nothing: float = 0.0
    doubled_robots: float = 0.0

    def __post_init__(self) -> None:
        for name in CHANCES:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is a chance, in [0, 1], not {getattr(self, name):g}")
        for name in ("zoom", "collage_zoom", "pasted_ball_px"):
            _check_range(name, *getattr(self, name), zero=False)
        _check_range("noise_sigma", *self.noise_sigma, zero=True)
        if not 0.0 <= self.aspect < 1.0:
            raise ValueError(f"aspect must be in [0, 1), not {self.aspect:g}")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One run of `steps` optimiser steps.

    It begins with `checkpoint` (of an earlier run), else with `start_from` (a float32 ONNX that `export` wrote, perhaps
    for another input size), else with the warm-start weights.

    From the shares of the schedule `sparse_from` and `fake_quant_from` on (1: never) the 1x1 convolutions are pruned to
    2:4 (`sparsity.py`), and the forward pass rounds as int8 will (`fake_quant.py`).

    Learning rates follow a cosine down to `last_rate` of their peak; 1 keeps them, and the averaged weights then lie in
    the middle of where the steps wander (Izmailov et al., "Averaging Weights Leads to Wider Optima", 2018).

    `max_minutes` above 0 shortens the schedule on a slow machine: the cosine then follows whichever is further, steps
    or minutes, and the run is no longer repeatable step by step.
    """

    name: str
    model: ModelConfig
    sources: tuple[SourceConfig, ...]
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    seed: int = 1
    steps: int = 1300
    max_minutes: float = 0.0
    batch: int = 16
    checkpoint: str = ""
    start_from: str = ""
    warm_start: str = "runs/warm_start/oidv4.tflite"
    head_learning_rate: float = 1.2e-3
    last_rate: float = 0.02
    backbone_factor: float = 0.4
    weight_decay: float = 0.03
    warm_up_steps: int = 60
    ema: float = 0.998
    frozen_blocks: int = 3
    sparse_from: float = 1.0
    fake_quant_from: float = 1.0
    bfloat16: bool = True
    threads: int = 1
    evaluate_every_steps: int = 200
    save_every_steps: int = 50

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "threads", "evaluate_every_steps", "save_every_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.max_minutes < 0:
            raise ValueError(f"max_minutes must not be negative (0: no limit), not {self.max_minutes:g}")
        if not 0 <= self.frozen_blocks <= BLOCKS:
            raise ValueError(f"frozen_blocks must be in [0, {BLOCKS}], not {self.frozen_blocks}")
        if not any(source.share > 0 for source in self.sources):
            raise ValueError("sources: at least one needs a share above 0")
        if not 0.0 <= self.ema < 1.0:
            raise ValueError(f"ema must be in [0, 1), not {self.ema}")
        if not (0.0 <= self.sparse_from <= 1.0 and 0.0 <= self.fake_quant_from <= 1.0):
            raise ValueError("sparse_from and fake_quant_from are shares of the schedule, in [0, 1]")


def load_recipe(name: str | Path, overrides: dict[str, object] | None = None) -> TrainingConfig:
    """Read a recipe: a path, or the bare name of a shipped one (`full_real`).

    A recipe may say `base = "full_crowd"` and then only what differs from that one; arrays are replaced as a whole.

    Raises:
        ConfigError: no such file, something in it does not fit, or it is a base of itself.
    """
    return _load_recipe(name, overrides, ())


def _load_recipe(name: str | Path, overrides: dict[str, object] | None, above: tuple[Path, ...]) -> TrainingConfig:
    path = Path(name)
    if not path.is_file():
        path = HERE / "recipes" / f"{Path(name).stem}.toml"
    if not path.is_file():
        shipped = ", ".join(sorted(p.stem for p in (HERE / "recipes").glob("*.toml")))
        raise ConfigError(f"no such recipe: {name}", hint=f"give a TOML file, or one of: {shipped}")
    if path in above:
        raise ConfigError(f"recipe {name} is a base of itself", hint=f"change `base` in {above[-1]}")
    return load(TrainingConfig, path, overrides, lambda base: _load_recipe(base, None, (*above, path)))
