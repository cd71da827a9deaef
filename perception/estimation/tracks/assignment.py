"""Which sighting belongs to which track: the globally nearest neighbours, all at once.

Taking the nearest pair first goes wrong just when it matters, when two things pass each other: the first pair may take
what the second needs. The sum over all pairs is minimised instead (Kuhn-Munkres; Jonker and Volgenant's algorithm as
in SciPy), with the negative log-likelihood as cost (Bar-Shalom, Li, "Multitarget-Multisensor Tracking", 1995, ch. 6).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import linear_sum_assignment

_IMPOSSIBLE = 1e6


def assign(costs: Mapping[tuple[int, int], float], unmatched: float) -> list[tuple[int, int]]:
    """Return (row, column) pairs that minimise the sum of costs, each row and column at most once.

    Args:
        costs: of the pairs that are possible at all (those within their gates).
        unmatched: what a row without a column costs: no pair that costs more is made.
    """
    if not costs:
        return []
    if len(costs) == 1:
        ((pair, cost),) = costs.items()
        return [pair] if cost < unmatched else []
    rows, columns = sorted({r for r, _ in costs}), sorted({c for _, c in costs})
    # One private column per row stands for "belongs to no track".
    matrix = np.full((len(rows), len(columns) + len(rows)), _IMPOSSIBLE)
    row_at, column_at = {r: i for i, r in enumerate(rows)}, {c: i for i, c in enumerate(columns)}
    for (r, c), cost in costs.items():
        matrix[row_at[r], column_at[c]] = cost
    for i in range(len(rows)):
        matrix[i, len(columns) + i] = unmatched
    chosen_rows, chosen_columns = linear_sum_assignment(matrix)
    return [
        (rows[i], columns[j])
        for i, j in zip(chosen_rows.tolist(), chosen_columns.tolist(), strict=True)
        if j < len(columns)
    ]
