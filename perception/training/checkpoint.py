"""What a training run leaves on disk to go on from: its recipe, its last checkpoint and its averaged weights."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.random import Generator
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from perception.training.config import TrainingConfig
from perception.training.network import SsdLite
from robot.core.config import from_dict, to_dict
from robot.core.errors import DataError
from robot.core.files import write_whole

MAY_DIFFER = ("max_minutes", "threads", "save_every_steps", "evaluate_every_steps")
"""What may be changed when a run is resumed. Another number of steps is another schedule: a run of its own."""
UNREADABLE = (RuntimeError, ValueError, TypeError, EOFError, LookupError, pickle.UnpicklingError)
"""What torch raises for a file that is cut or foreign: any of these."""
ANEW = "train anew, with another --out; last.pt and recipe.json are needed to resume"


def differences(one: Any, other: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of the fields in which two recipes differ."""
    for field in fields(one):
        old, new = getattr(one, field.name), getattr(other, field.name)
        if is_dataclass(old):
            yield from differences(old, new, f"{prefix}{field.name}.")
        elif old != new:
            yield f"{prefix}{field.name}"


def check_same_recipe(config: TrainingConfig, run: Path) -> None:
    """Check that the run in a folder can be resumed with this recipe.

    Raises:
        DataError: its recipe is missing, damaged, or says something else than `config` (but `MAY_DIFFER`).
    """
    path = run / "recipe.json"
    try:
        old = from_dict(TrainingConfig, json.loads(path.read_text(encoding="utf-8")), where=str(path))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}", hint=ANEW) from error
    found = [
        f"{n} ({_words(old, n)}, now {_words(config, n)})" for n in differences(old, config) if n not in MAY_DIFFER
    ]
    if found:
        raise DataError(
            f"{run} was trained with another recipe: {', '.join(found)}",
            hint="resume with the recipe and the flags that it began with, or give another --out",
        )


def _words(config: TrainingConfig, name: str) -> str:
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    text = json.dumps(to_dict(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def write_recipe(config: TrainingConfig, run: Path) -> None:
    """Write `recipe.json`, whole or not at all."""
    write_whole(run / "recipe.json", json.dumps(to_dict(config), indent=1) + "\n")


def read_state(path: Path, hint: str) -> dict[str, Any]:
    """Read what `save` wrote.

    Raises:
        DataError: it is missing, cut or foreign.
    """
    try:
        state = torch.load(path, weights_only=True)
    except (OSError, *UNREADABLE) as error:
        raise DataError(f"cannot start from {path}: {str(error)[:300]}", hint=hint) from error
    if not isinstance(state, dict):
        raise DataError(f"cannot start from {path}: it is no checkpoint", hint=hint)
    return state


def restore(
    state: dict[str, Any], network: SsdLite, average: AveragedModel, optimiser: Optimizer, rng: Generator
) -> tuple[int, float]:
    """Put a run's last state back into its parts; returns the steps done and the seconds they took.

    Raises:
        DataError: it is not of such a run.
    """
    try:
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        rng.bit_generator.state = state["rng"]
        return int(state["step"]), float(state["spent_s"])
    except UNREADABLE as error:
        raise DataError(f"last.pt does not fit: {str(error)[:300]}", hint=ANEW) from error


def save(
    run: Path,
    network: SsdLite,
    average: AveragedModel,
    optimiser: Optimizer,
    rng: Generator,
    step: int,
    spent_s: float,
) -> None:
    """Write `last.pt` and `ema.pt`; a run killed while saving keeps its old checkpoint."""
    last: dict[str, Any] = {"step": step, "spent_s": spent_s, "rng": rng.bit_generator.state}
    last |= {"network": network.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
    for name, content in (("last.pt", last), ("ema.pt", {"network": average.module.state_dict(), "step": step})):
        torch.save(content, run / f"{name}.new")
        (run / f"{name}.new").replace(run / name)
