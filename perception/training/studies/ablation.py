"""What simulated pictures are worth: one recipe trained on real, on simulated, and on both.

For equally many steps, where what is simulated displaces what is real; and, in `real_alone`, on as many real pictures
as `both` draws, so that the simulated ones come on top. In `both_margins` the simulated boxes are as large as people
would have drawn them (`label_margins`). All begin with the warm-start weights and are scored on the
same held-back real pictures.

    python -m perception.training.studies.ablation fast --steps 400 --out runs/ablation
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from perception.training.command import run
from perception.training.config import SourceConfig, TrainingConfig, load_recipe
from perception.training.curves import read_log
from perception.training.train import train

MARGINS = ((0.06, 0.08, 0.03, 0.05), (0.16, 0.26, 0.11, 0.10), (0.02, 0.09, 0.03, 0.11))
"""What people leave around robot, ball and goal: `label_margins` on the variant `simulated`, 1000 steps of `fast`."""

ROOT = Path(__file__).resolve().parents[3]


def variants(config: TrainingConfig, steps: int) -> dict[str, TrainingConfig]:
    """Return the recipe with its real sources (those that have a split), its simulated ones, both, and two more.

    Every variant begins with the warm-start weights, draws `steps` batches and is annealed over all of them;
    `real_alone` draws only as many as hold the real pictures of `both`.

    Raises:
        ValueError: the recipe has no real or no simulated source.
    """
    real = tuple(s for s in config.sources if s.split)
    simulated = tuple(s for s in config.sources if not s.split)
    if not real or not simulated:
        raise ValueError(f"{config.name} needs a source with a split (real) and one without (simulated)")
    # Held-back pictures come from the sources that have a split: a share of 0 scores them without training on them.
    unseen = tuple(dataclasses.replace(s, share=0.0) for s in real)
    parts: dict[str, tuple[SourceConfig, ...]] = {
        "real": real,
        "simulated": (*unseen, *simulated),
        "both": config.sources,
    }
    begin = dataclasses.replace(
        config, steps=steps, max_minutes=0.0, checkpoint="", start_from="", evaluate_every_steps=steps
    )
    share = sum(s.share for s in real) / sum(s.share for s in config.sources)
    runs = {name: dataclasses.replace(begin, name=f"{config.name}_{name}", sources=s) for name, s in parts.items()}
    fewer = max(1, round(steps * share))
    drawn = tuple(s if s.split else dataclasses.replace(s, label_margins=MARGINS) for s in config.sources)
    runs["both_margins"] = dataclasses.replace(begin, name=f"{config.name}_both_margins", sources=drawn)
    runs["real_alone"] = dataclasses.replace(runs["real"], steps=fewer, evaluate_every_steps=fewer)
    return runs


def final_scores(run: Path) -> dict[str, float]:
    """Return the last evaluation in a run's log."""
    scores: dict[str, float] = next(e for e in reversed(read_log(run)) if "all_ap50" in e)
    return scores


def main() -> None:
    """Run the variants that have not been run yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="fast")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    args = parser.parse_args()
    classes = tuple(f"photos_{name}_ap50" for name in ("robot", "ball", "goal"))
    columns = ("all_ap50", "all_ap", "photos_ap50", "photos_ap", *classes)
    rows = []
    for name, config in variants(load_recipe(args.recipe), args.steps).items():
        train(config, args.out / name, ROOT, resume=True)
        scores = final_scores(args.out / name)
        rows.append(f"| {name} | " + " | ".join(f"{scores[c]:.3f}" for c in columns) + " |")
    print("| trained on | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))
    print("\n".join(rows))


if __name__ == "__main__":
    sys.exit(run(main))
