"""Train the detector from a recipe (TOML); resumable, with progress and curves.

Example:
    blackout train full_real --out runs/full_real
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from robot.cli._outputs import check_outputs
from robot.core.errors import MissingExtraError

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Args:
    """Flags of `blackout train`."""

    recipe: Annotated[str, tyro.conf.Positional]
    """A shipped recipe's name or a TOML file (perception/training/recipes)."""
    out: Path | None = None
    """Folder for checkpoints, log and curves; runs/RECIPE when left out."""
    resume: bool = False
    """Go on from the folder's last checkpoint."""
    steps: int | None = None
    """Optimiser steps, instead of the recipe's."""
    max_minutes: float | None = None
    """Shorten the schedule to this long (0: no limit), instead of the recipe's."""


def run(args: Args) -> int:
    """Train; returns 0."""
    try:
        import pycocotools.cocoeval  # noqa: F401 - the first evaluation would miss it after minutes of training

        from perception.training.config import load_recipe
        from perception.training.train import train
    except ImportError as error:
        raise MissingExtraError(f"training needs more packages: {error}", hint='pip install -e ".[train]"') from error
    flags = {"steps": args.steps, "max_minutes": args.max_minutes}
    config = load_recipe(args.recipe, {k: v for k, v in flags.items() if v is not None})
    out = args.out or ROOT / "runs" / config.name
    check_outputs(folders=[out])
    weights = train(config, out, ROOT, resume=args.resume)
    print(f"averaged weights: {weights}\nnext: python -m perception.training.export {weights.parent}")
    return 0
