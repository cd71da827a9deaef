"""Quantisation-aware fine-tuning: the forward pass rounds as int8 will, the gradient goes straight through.

Weights: int8, symmetric, one scale per output channel; batch norm only scales output channels, so the grid is that of
the folded weights which `quantise.py` makes. Activations: uint8, one range per layer, followed by a moving average.
Source: Jacob et al., "Quantization and Training of Neural Networks" (2018), section 3; straight-through estimator:
Bengio et al. (2013). torch.ao's prepare_qat_fx cannot trace a network with its own padding, hence these few lines.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from perception.training.network import ConvBn

RANGE_MOMENTUM = 0.95


def fake_int8_weight(weight: Tensor) -> Tensor:
    """Return (O, ...) weights rounded to int8 with one symmetric scale for each output channel."""
    top = weight.abs().amax(dim=tuple(range(1, weight.ndim)), keepdim=True)
    scale = (top / 127.0).clamp_min(1e-12)
    return (weight / scale).round().clamp(-127, 127) * scale


def fake_uint8(values: Tensor, low: float, high: float) -> Tensor:
    """Return values rounded to 256 levels between `low` and `high`, which are stretched to hold 0; outside: clipped."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max(high - low, 1e-12) / 255.0
    zero = round(-low / scale)
    return ((values / scale).round().add(zero).clamp(0, 255) - zero) * scale


class FakeQuant:
    """Puts int8's rounding into the forward pass of a network in training.

    Ranges of activations are not kept in checkpoints: a resumed run finds them again within some dozens of steps.

    Args:
        network: the network in training.
        begin: share of the schedule, in [0, 1], from which it rounds; at 1 it never does.
    """

    def __init__(self, network: nn.Module, begin: float) -> None:
        self._network, self._begin = network, begin
        self._ranges: dict[nn.Module, tuple[float, float]] = {}

    @contextlib.contextmanager
    def step(self, progress: float) -> Iterator[None]:
        """Wrap the forward and backward pass of one step; the optimiser then steps the unrounded weights.

        With the rounded weights in place during both passes, the gradient that arrives at a weight is that of its
        rounded value: the straight-through estimator.
        """
        if progress < self._begin or self._begin >= 1.0:
            yield
            return
        convolutions = [m for m in self._network.modules() if isinstance(m, nn.Conv2d)]
        kept = [c.weight.data for c in convolutions]
        hooks = [m.register_forward_hook(self._round) for m in self._network.modules() if isinstance(m, ConvBn)]
        try:
            for layer in convolutions:
                layer.weight.data = fake_int8_weight(layer.weight.data)
            yield
        finally:
            for layer, weight in zip(convolutions, kept, strict=True):
                layer.weight.data = weight
            for hook in hooks:
                hook.remove()

    def _round(self, layer: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        low, high = (float(v) for v in torch.aminmax(output.detach().float()))
        if layer in self._ranges:
            before = self._ranges[layer]
            low = RANGE_MOMENTUM * before[0] + (1 - RANGE_MOMENTUM) * low
            high = RANGE_MOMENTUM * before[1] + (1 - RANGE_MOMENTUM) * high
        self._ranges[layer] = (low, high)
        rounded = fake_uint8(output.detach().float(), low, high).to(output.dtype)
        return output + (rounded - output).detach()
