"""The mode of the robot from the health of its inputs: pure; nothing moves outside ACTIVE and DEGRADED.

    BOOT ---link and telemetry there---> READY ---FORCE START---> ACTIVE <---> DEGRADED (vision lost)
      any of them ---link, telemetry or estimate lost, emergency stop---> SAFE_STOP ---all good for a while---> back

SAFE_STOP is left only after `recover_s` of good inputs, so that a loose plug does not make the robot twitch.
"""

from __future__ import annotations

from dataclasses import dataclass

from robot.core.clock import NS_PER_S
from robot.core.messages import Mode, RefereeCode

MOVING = (Mode.ACTIVE, Mode.DEGRADED)
VISION_LOST = "vision_lost"
"""The reason of DEGRADED: no frame that could be used for a while."""


@dataclass(frozen=True, kw_only=True)
class SupervisorConfig:
    """When the supervisor acts.

    Attributes:
        recover_s: how long everything must be good before SAFE_STOP is left.
        vision_recover_s: how long frames must flow before DEGRADED is left.
        max_sigma_m: a pose less certain than this (one sigma, along the worst axis) counts as diverged.
    """

    recover_s: float = 0.3
    vision_recover_s: float = 0.2
    max_sigma_m: float = 20.0

    def __post_init__(self) -> None:
        if min(self.recover_s, self.vision_recover_s) < 0 or self.max_sigma_m <= 0:
            raise ValueError("recovery times should be >= 0 and max_sigma_m > 0")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the supervisor looks at in one tick; everything is already a yes or no."""

    t_now_ns: int
    referee: RefereeCode | None
    link_up: bool
    telemetry_alive: bool
    vision_alive: bool
    estimate_ok: bool
    estop: bool = False


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The mode, and the names of what is wrong (empty in READY and ACTIVE)."""

    mode: Mode
    reasons: tuple[str, ...] = ()


class Supervisor:
    """Remembers how long things have been good; see the module's picture."""

    def __init__(self, config: SupervisorConfig) -> None:
        self._config = config
        self._mode = Mode.BOOT
        self._safe_since_ns: int | None = None
        self._vision_since_ns: int | None = None

    @property
    def mode(self) -> Mode:
        """The mode of the last tick; BOOT before the first."""
        return self._mode

    def update(self, inputs: Inputs) -> Verdict:
        """Return the mode for this tick.

        Args:
            inputs: the health of this tick; times must not go back.
        """
        now_ns = inputs.t_now_ns
        dangers = _dangers(inputs)
        self._safe_since_ns = None if dangers else self._earliest(self._safe_since_ns, now_ns)
        self._vision_since_ns = self._earliest(self._vision_since_ns, now_ns) if inputs.vision_alive else None
        self._mode = self._next_mode(inputs, bool(dangers))
        if self._mode is Mode.BOOT:
            return Verdict(mode=Mode.BOOT)  # nothing is lost that was not there yet
        return Verdict(mode=self._mode, reasons=dangers if inputs.vision_alive else (*dangers, VISION_LOST))

    def _next_mode(self, inputs: Inputs, danger: bool) -> Mode:
        now_ns = inputs.t_now_ns
        if self._mode is Mode.BOOT and (not inputs.link_up or not inputs.telemetry_alive):
            return Mode.BOOT
        if danger:
            return Mode.SAFE_STOP
        if self._mode is Mode.SAFE_STOP and not _lasted(self._safe_since_ns, now_ns, self._config.recover_s):
            return Mode.SAFE_STOP
        if inputs.referee is not RefereeCode.FORCE_START:
            return Mode.READY
        if not inputs.vision_alive:
            return Mode.DEGRADED
        recovered = _lasted(self._vision_since_ns, now_ns, self._config.vision_recover_s)
        return Mode.DEGRADED if self._mode is Mode.DEGRADED and not recovered else Mode.ACTIVE

    @staticmethod
    def _earliest(since_ns: int | None, now_ns: int) -> int:
        return now_ns if since_ns is None else since_ns


def _dangers(inputs: Inputs) -> tuple[str, ...]:
    found = (
        ("link_lost", not inputs.link_up),
        ("telemetry_lost", not inputs.telemetry_alive),
        ("estimate_bad", not inputs.estimate_ok),
        ("emergency_stop", inputs.estop),
    )
    return tuple(name for name, bad in found if bad)


def _lasted(since_ns: int | None, now_ns: int, duration_s: float) -> bool:
    return since_ns is not None and now_ns - since_ns >= duration_s * NS_PER_S
