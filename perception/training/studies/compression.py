"""What 2:4 sparsity and quantisation-aware fine-tuning do to the scores: one trained recipe, trained on three ways.

All begin with the recipe's own averaged weights and run for equally many steps at a third of its rate: unchanged (the
control: some of any gain is just more training), pruned to 2:4 from the first step, with int8 rounding from the first
step. Each is exported, quantised, and scored on the held-back real pictures in float32 and int8 by ONNX Runtime, as
it would be shipped.

    python -m perception.training.studies.compression fast_hard --run runs/fast_hard --steps 500 --out runs/compression
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from perception.detection import DetectionConfig, load_detector
from perception.training.command import run
from perception.training.config import TrainingConfig, load_recipe
from perception.training.dataset import held_back_items
from perception.training.export import export_runs
from perception.training.quantise import calibration_pictures, quantise
from perception.training.scoring.evaluate import collect, evaluate
from perception.training.train import train

ROOT = Path(__file__).resolve().parents[3]
RATE = 1.0 / 3.0


def variants(config: TrainingConfig, checkpoint: str, steps: int) -> dict[str, TrainingConfig]:
    """Return the recipe going on from `checkpoint` for `steps`: `dense`, `sparse` and `fake_quant`."""
    base = dataclasses.replace(
        config,
        checkpoint=checkpoint,
        start_from="",
        steps=steps,
        max_minutes=0.0,
        evaluate_every_steps=steps,
        head_learning_rate=config.head_learning_rate * RATE,
    )
    return {
        "dense": dataclasses.replace(base, name=f"{config.name}_dense"),
        "sparse": dataclasses.replace(base, name=f"{config.name}_sparse", sparse_from=0.0),
        "fake_quant": dataclasses.replace(base, name=f"{config.name}_fake_quant", fake_quant_from=0.0),
    }


def scores(config: TrainingConfig, run: Path, name: str) -> list[float]:
    """Export and quantise a run in its folder; returns AP50 and AP in float32, AP50 and AP in int8."""
    path, _ = export_runs([run], run, name)
    real = [source for source in config.sources if source.split]
    int8 = quantise(path, calibration_pictures([dataclasses.replace(s, folder=str(ROOT / s.folder)) for s in real]))
    items = [item for source in real for item in held_back_items(ROOT / source.folder, source.split)]
    found = []
    for file, precision in ((path, "fp32"), (int8, "int8")):
        detector = load_detector(DetectionConfig(model=str(file), precision=precision, score_threshold=0.02))
        result = evaluate(collect(detector.detect, items))
        found += [result.ap50, result.ap]
    return found


def main() -> None:
    """Train what has not been trained yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="fast_hard")
    parser.add_argument("--run", default="runs/fast_hard", help="the run whose averaged weights all begin with")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("runs/compression"))
    args = parser.parse_args()
    rows = []
    for name, config in variants(load_recipe(args.recipe), f"{args.run}/ema.pt", args.steps).items():
        train(config, args.out / name, ROOT, resume=True)
        rows.append(
            f"| {name} | " + " | ".join(f"{value:.3f}" for value in scores(config, args.out / name, name)) + " |"
        )
    print("| trained on | fp32 AP50 | fp32 AP | int8 AP50 | int8 AP |", "|---|---|---|---|---|", *rows, sep="\n")


if __name__ == "__main__":
    sys.exit(run(main))
