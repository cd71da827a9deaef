"""Where the field's lines point in the odometry frame, and where they must be expected to point later."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from perception.calibration.line_attitude import QUARTER, Heading
from robot.core.clock import NS_PER_S

_OVERLAP = 2.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """The field's heading at one moment, and how much had been turned until then."""

    t_ns: int
    heading_rad: float
    sigma_rad: float
    turned_rad: float


class FieldHeading:
    """The headings of the last checks; a gyro may be off by `drift_rad_s` and by `turn_share` of what was turned."""

    def __init__(self, drift_rad_s: float, turn_share: float) -> None:
        self._prior = np.diag([0.0, drift_rad_s**-2.0, turn_share**-2.0])
        self._seen: deque[_Seen] = deque(maxlen=24)

    def add(self, t_ns: int, heading: Heading, turned_rad: float) -> None:
        """Take the heading that one check has found."""
        self._seen.append(_Seen(t_ns, *heading, turned_rad))

    def clear(self) -> None:
        """Forget all."""
        self._seen.clear()

    def expected(self, t_ns: int, turned_rad: float) -> Heading | None:
        """Return the heading that is to be expected, and its sigma, by a line through earlier ones; None without any.

        The gyro may drift with time and with the angle turned: both slopes are fitted, with what is possible as prior.
        """
        if not self._seen:
            return None
        last = self._seen[-1]
        moments = [(h.t_ns, h.turned_rad) for h in self._seen] + [(t_ns, turned_rad)]
        rows = np.array([(1.0, (t - last.t_ns) / NS_PER_S, turned - last.turned_rad) for t, turned in moments])
        seen = np.array([math.remainder(h.heading_rad - last.heading_rad, QUARTER) for h in self._seen])
        weight = np.array([h.sigma_rad**-2.0 for h in self._seen])
        covariance = np.linalg.inv(rows[:-1].T @ (weight[:, None] * rows[:-1]) + self._prior)
        # Windows overlap: several neighbours say what one would.
        doubt = math.sqrt(float(rows[-1] @ covariance @ rows[-1]) * _OVERLAP)
        return last.heading_rad + float(rows[-1] @ covariance @ rows[:-1].T @ (weight * seen)), doubt
