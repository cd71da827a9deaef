"""Feeds the training loop: draws pictures from the recipe's sources and augments them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from perception.detection.letterbox import SCALE, SHIFT
from perception.training.augment import augment, cut_out_balls
from perception.training.config import TrainingConfig
from perception.training.dataset import Sample, training_items, with_margins


class Feeder:
    """Draws augmented pictures from the recipe's sources, with its own generator (kept in checkpoints)."""

    def __init__(self, config: TrainingConfig, root: Path) -> None:
        self.config = config
        self.rng = np.random.default_rng(config.seed)
        shares = np.array([s.share for s in config.sources], np.float64)
        self.shares = shares / shares.sum()
        self.sources = [training_items(s, root) for s in config.sources]
        real = [
            item.load()
            for source, (items, _) in zip(config.sources, self.sources, strict=True)
            if source.split and source.share > 0
            for item in items
        ]
        self.balls = cut_out_balls(real)

    def draw(self) -> Sample:
        """Return one random picture as it is on disk, its boxes grown by the source's margins."""
        k = int(self.rng.choice(len(self.sources), p=self.shares))
        items, chances = self.sources[k]
        sample = items[int(self.rng.choice(len(items), p=chances))].load()
        return with_margins(sample, self.config.sources[k].label_margins)

    def sample(self) -> Sample:
        """Return one augmented picture of the input's size."""
        size = self.config.model.input_size_px
        return augment(self.draw, self.balls, self.config.augment, size, self.rng)

    def batch(self) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Return images (B, 3, H, W) RGB in [-1, 1], and boxes and classes per picture."""
        samples = [self.sample() for _ in range(self.config.batch)]
        images = np.stack([s.image_bgr[..., ::-1] for s in samples]) * np.float32(SCALE) + np.float32(SHIFT)
        tensor = torch.from_numpy(images).permute(0, 3, 1, 2)  # a channels_last view, as the network likes it
        return (
            tensor,
            [torch.from_numpy(s.boxes_px) for s in samples],
            [torch.from_numpy(s.classes) for s in samples],
        )
