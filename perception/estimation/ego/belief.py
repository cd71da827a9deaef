"""How far the pose may be believed: ODOMETRY, SEEDED, TRACKING or LOST, from what landmarks and covariance say."""

from __future__ import annotations

import math

from perception.estimation.config import VisionConfig
from robot.core.geometry import FloatArray
from robot.core.messages import Localisation

RECOVERED_AFTER = 3
"""This many landmark sightings in a row must pass their gates before a pose is believed (again)."""


class LocalisationMonitor:
    """The state machine. LOST is left by a new seed, or by landmarks that agree again while the covariance is small."""

    def __init__(self, config: VisionConfig) -> None:
        self._config = config
        self.state = Localisation.ODOMETRY
        self._rejected = 0
        self._accepted = 0
        self._sharp = True
        self.used = 0
        """Landmarks that have corrected the pose since start."""

    @property
    def on_field(self) -> bool:
        """True when the pose refers to the field, however uncertain: landmarks may correct it."""
        return self.state is not Localisation.ODOMETRY

    def seeded(self) -> None:
        """A pose on the field was given."""
        self.state, self._rejected, self._accepted = Localisation.SEEDED, 0, 0

    def lose(self) -> None:
        """What is seen contradicts the pose."""
        self.state, self._rejected, self._accepted = Localisation.LOST, 0, 0

    def found(self) -> None:
        """A search has found the pose."""
        self.state, self._rejected, self._accepted = Localisation.TRACKING, 0, 0

    def lines(self) -> None:
        """Lines have corrected the pose: as good as a landmark for a pose that was seeded."""
        if self.state is Localisation.SEEDED:
            self.landmark(True)

    def landmark(self, accepted: bool) -> bool:
        """Note the gate's verdict on one landmark.

        Returns:
            True when so many were refused in a row that the pose must be wrong: the caller opens the covariance.
        """
        if accepted:
            self._rejected, self._accepted = 0, self._accepted + 1
            self.used += 1
            if self._sharp and self._accepted >= RECOVERED_AFTER:
                self.state = Localisation.TRACKING
            return False
        self._rejected, self._accepted = self._rejected + 1, 0
        if self._rejected < self._config.lost_after_rejections:
            return False
        self._rejected = 0
        self.state = Localisation.LOST
        return True

    def covariance(self, p: FloatArray) -> None:
        """Note the pose covariance (3, 3): too large means lost."""
        if not self.on_field:
            return
        cfg = self._config
        sigma_m, sigma_theta = math.sqrt(max(p[0, 0], p[1, 1])), math.sqrt(p[2, 2])
        self._sharp = sigma_m < cfg.found_sigma_m and sigma_theta < cfg.found_sigma_theta_rad
        if sigma_m > cfg.lost_sigma_m or sigma_theta > cfg.lost_sigma_theta_rad:
            self.state, self._accepted = Localisation.LOST, 0
