"""Normal random numbers one at a time, drawn in blocks: a scalar draw costs more than the sensor that uses it."""

from __future__ import annotations

import numpy as np

_BLOCK = 2048


class NormalStream:
    """Standard normal numbers from one generator, in a fixed order."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._block: list[float] = []

    def draw(self) -> float:
        """Return the next number."""
        if not self._block:
            self._block = self._rng.standard_normal(_BLOCK).tolist()
        return self._block.pop()
