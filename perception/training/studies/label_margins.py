"""How much margin people leave around objects, seen by a detector trained on a renderer's exact boxes.

A detector trained on simulated pictures alone boxes real objects as the renderer would; the label of the same object
says how much larger people draw. Without that margin the two kinds of picture teach different boxes.

    python -m perception.training.studies.label_margins runs/ablation_1000/simulated
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from perception.detection.decode import iou_matrix
from perception.training.command import run
from perception.training.config import SourceConfig
from perception.training.dataset import Item, training_items
from perception.training.export import load_run
from perception.training.scoring.evaluate import CLASS_NAMES, Detect
from perception.training.train import torch_detect
from robot.core.geometry import FloatArray

LEAST_IOU = 0.4


def margins(detect: Detect, items: Sequence[Item]) -> tuple[FloatArray, list[int]]:
    """Compare detections with the labels that they overlap most.

    Returns:
        (3, 4) medians of label beyond detection at left, top, right, bottom, in shares of the detection's size (NaN
        where a class was never matched), and how many pairs each class had.
    """
    found: list[list[FloatArray]] = [[] for _ in CLASS_NAMES]
    for item in items:
        sample = item.load()
        for detection in detect(sample.image_bgr) if len(sample.classes) else ():
            box = np.asarray(detection.box_px, np.float32)
            overlap = iou_matrix(box[None], sample.boxes_px)[0]
            k = int(overlap.argmax())
            if overlap[k] >= LEAST_IOU and sample.classes[k] == int(detection.object_class):
                size = np.tile(box[2:] - box[:2], 2)
                beyond = (sample.boxes_px[k] - box) * np.array([-1, -1, 1, 1]) / size
                found[int(detection.object_class)].append(beyond)
    nothing = np.full(4, np.nan)
    return np.array([np.median(f, axis=0) if f else nothing for f in found]), [len(f) for f in found]


def main() -> None:
    """Measure on the training pictures of a real set, and print the line for a recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run trained on simulated pictures alone")
    parser.add_argument("--folder", type=Path, default=Path("../shared/data/ssl-images"))
    parser.add_argument("--split", default="ssl_images")
    args = parser.parse_args()
    torch.set_num_threads(1)
    config, network, _ = load_run(args.run)
    detect: Callable[..., object] = torch_detect(network.eval(), config, 0.3)
    items, _ = training_items(SourceConfig(folder=str(args.folder), split=args.split), Path())
    shares, pairs = margins(detect, items)  # type: ignore[arg-type]
    for name, row, count in zip(CLASS_NAMES, shares, pairs, strict=True):
        print(f"# {name}: {count} pairs, label beyond detection at left, top, right, bottom: {row.round(3).tolist()}")
    print(f"label_margins = {shares.round(2).tolist()}")


if __name__ == "__main__":
    sys.exit(run(main))
