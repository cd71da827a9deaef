"""Collect the training pictures in which a detector is confidently wrong, as a source of a training recipe.

Example:
    blackout mine-negatives --out runs/negatives --gallery runs/negatives_gallery

Then, in the recipe: [[sources]] with folder = "runs/negatives" and a share of 0.1. Held-back pictures are never taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robot.cli._outputs import check_outputs
from robot.core.errors import ConfigError, MissingExtraError

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Args:
    """Flags of `blackout mine-negatives`."""

    out: Path
    """Folder for images/, labels/ and negatives.json."""
    model: str = "full"
    """A shipped model's name, or an ONNX file with its JSON beside it."""
    precision: str = "auto"
    """auto, fp32 or int8."""
    folder: Path = ROOT.parent / "shared" / "data" / "ssl-images"
    """Pictures with labels: images/ and labels/ in YOLO form."""
    split: str = "ssl_images"
    """Committed split whose held-back and left-out pictures are not taken; an empty name takes every picture."""
    score: float = 0.3
    """False boxes with a higher score count."""
    limit: int = 200
    """At most so many pictures, the most confident mistakes first."""
    gallery: Path | None = None
    """Folder for an HTML page of them: an object that nobody labelled must go before training."""


def run(args: Args) -> int:
    """Collect; returns 0."""
    check_outputs(folders=[args.out, args.gallery])
    try:
        from perception.training.config import SourceConfig
        from perception.training.dataset import training_items
        from perception.training.scoring import evaluate as ev
        from perception.training.scoring.gallery import write_gallery
        from perception.training.scoring.negatives import mine
    except ImportError as error:
        raise MissingExtraError(f"mining needs more packages: {error}", hint='pip install -e ".[train]"') from error
    from perception.detection import DetectionConfig, load_detector

    try:
        config = DetectionConfig(model=args.model, precision=args.precision, score_threshold=args.score)
        if args.limit < 1:
            raise ValueError(f"limit must be at least 1, not {args.limit}")
    except ValueError as error:
        raise ConfigError(str(error), hint="blackout mine-negatives --help") from error
    detector = load_detector(config)
    items, _ = training_items(SourceConfig(folder=str(args.folder), split=args.split), Path())
    chosen = mine(ev.collect(detector.detect, items), args.out, args.score, args.limit)
    boxes = sum(len(found) for _, found in chosen)
    print(f"{len(chosen)} of {len(items)} pictures with {boxes} false boxes on the background: {args.out}")
    print(f'in the recipe:\n    [[sources]]\n    folder = "{args.out}"\n    share = 0.1')
    if args.gallery is not None:
        print(f"look through them: {write_gallery(chosen, args.gallery, args.score, count=args.limit)}")
    return 0
