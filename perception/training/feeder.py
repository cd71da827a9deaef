"""Feeds the training loop: draws pictures from the recipe's sources and augments them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from perception.detection.letterbox import SCALE, SHIFT
from perception.training.augment import augment
from perception.training.config import TrainingConfig
from perception.training.dataset import Sample, check_labels, training_items, with_margins
from perception.training.paste import Cut, Pieces, cut_out_balls, cut_out_nothing


class Feeder:
    """Draws augmented pictures from the recipe's sources, with its own generator (kept in checkpoints).

    Raises:
        DataError: a source has no pictures, or a label file of one that is drawn from does not fit.
    """

    def __init__(self, config: TrainingConfig, root: Path) -> None:
        self.config = config
        self.rng = np.random.default_rng(config.seed)
        shares = np.array([s.share for s in config.sources], np.float64)
        self.shares = shares / shares.sum()
        self.sources = [training_items(s, root) for s in config.sources]
        for source, (items, _) in zip(config.sources, self.sources, strict=True):
            if source.share > 0:
                check_labels(items)
        self.pieces = Pieces(balls=cut_out_balls(self._real()))

    def _real(self) -> Iterator[Sample]:
        for source, (items, _) in zip(self.config.sources, self.sources, strict=True):
            if source.split and source.share > 0:
                yield from (item.load() for item in items)

    def cut_out_nothing(self, objects: Callable[[Cut], NDArray[np.float32]]) -> None:
        """Collect pieces without an object from the real pictures, see `paste.cut_out_nothing`."""
        rng = np.random.default_rng((self.config.seed, 1))  # its own: a resumed run collects the same ones
        self.pieces = replace(self.pieces, nothing=cut_out_nothing(self._real(), objects, rng))

    def draw(self) -> Sample:
        """Return one random picture as it is on disk, its boxes grown by the source's margins."""
        k = int(self.rng.choice(len(self.sources), p=self.shares))
        items, chances = self.sources[k]
        sample = items[int(self.rng.choice(len(items), p=chances))].load()
        return with_margins(sample, self.config.sources[k].label_margins)

    def sample(self) -> Sample:
        """Return one augmented picture of the input's size."""
        size = self.config.model.input_size_px
        return augment(self.draw, self.pieces, self.config.augment, size, self.rng)

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
