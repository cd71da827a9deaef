"""2:4 structured sparsity: of every four consecutive input channels of a 1x1 convolution, two weights stay.

Only GPUs of NVIDIA's Ampere generation and later gain from it (`blackout build-engine --sparse`). PyTorch's own
sparsifier refuses convolution weights, hence these few lines. Source: Mishra et al., "Accelerating Sparse Deep Neural
Networks" (2021), section 4: prune the trained network once by magnitude, then train on with the pattern fixed.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

GROUP, KEPT = 4, 2


def prunable(network: nn.Module) -> Iterator[tuple[str, nn.Conv2d]]:
    """Yield the layers that are pruned: dense, trainable 1x1 convolutions, but not the heads' predictors.

    The predictors (`heads.N.classes`, `heads.N.boxes`) are small and every box passes through them.
    """
    for name, module in network.named_modules():
        if (
            isinstance(module, nn.Conv2d)
            and module.kernel_size == (1, 1)
            and module.groups == 1
            and module.in_channels % GROUP == 0
            and module.weight.requires_grad
            and not name.endswith((".classes", ".boxes"))
        ):
            yield name, module


def mask_2_4(weight: Tensor) -> Tensor:
    """Return the (O, I, 1, 1) bool mask of the two largest magnitudes of each four input channels; ties: the first."""
    grouped = weight.detach().abs().reshape(weight.shape[0], -1, GROUP)
    order = grouped.argsort(dim=2, descending=True, stable=True)
    mask = torch.zeros_like(grouped, dtype=torch.bool)
    mask.scatter_(2, order[..., :KEPT], True)
    return mask.reshape(weight.shape)


class Pruner:
    """Zeroes half of the weights from a point of the schedule on, and keeps them zero.

    The pattern comes from the weights when pruning begins; from the start, where they are sparse already (resumed).

    Args:
        network: the network in training; freeze what is frozen, and load a checkpoint, before.
        begin: share of the schedule, in [0, 1]; at 1 nothing is ever pruned.
    """

    def __init__(self, network: nn.Module, begin: float) -> None:
        self._network, self._begin = network, begin
        masks = {name: mask_2_4(layer.weight) for name, layer in prunable(network)}
        sparse = all(bool((layer.weight[~masks[name]] == 0).all()) for name, layer in prunable(network))
        self._masks = masks if sparse else {}

    @torch.no_grad()
    def after_step(self, progress: float, average: nn.Module) -> None:
        """Call after each optimiser step and average: zeroes the masked weights of the network and of its average.

        The average must be masked too: it still holds the dense weights of the time before.
        """
        if progress < self._begin or self._begin >= 1.0:
            return
        if not self._masks:
            self._masks = {name: mask_2_4(layer.weight) for name, layer in prunable(self._network)}
        for part in (self._network, average):
            for name, mask in self._masks.items():
                layer = part.get_submodule(name)
                assert isinstance(layer, nn.Conv2d)
                layer.weight.mul_(mask)
