"""What the microcontroller complains of, as faults that a person can read: it goes on, or has ended, once each."""

from __future__ import annotations

from firmware_bridge.protocol.generated import FaultBit
from robot.core.clock import NS_PER_S
from robot.core.messages import TelemetryFrame

_CLEAR_S = 3.0
"""A battery that sags at every start of the motors is one fault, and so is a wheel that is held fast now and then."""

_MENDS = {
    FaultBit.BATTERY_LOW: "{battery_v:.1f} V, below battery_warn_v; mend: change the battery, it will stop the robot",
    FaultBit.OVER_CURRENT: "above current_limit_a, the torque is reduced; mend: free the wheels and the dribbler",
    FaultBit.ENCODER_JUMP: "a wheel's encoder jumps, odometry errs; mend: look at its plug and cable",
    FaultBit.COMMAND_TIMEOUT: "no command came in time, it has braked by itself; mend: docs/bring-up.md, fast enough",
}
"""What a latched stop comes from (an empty battery, a broken sensor) is told by the link, with that stop."""


class DeviceWatch:
    """Remembers when each fault bit was last set. Pure; time is that of the telemetry."""

    def __init__(self) -> None:
        self._standing: dict[FaultBit, tuple[int, str]] = {}

    def on_telemetry(self, frame: TelemetryFrame) -> None:
        """Look at one frame."""
        for bit, text in _MENDS.items():
            since = self._standing.get(bit)
            if frame.fault_bits & bit:
                detail = since[1] if since is not None else text.format(battery_v=frame.battery_v)
                self._standing[bit] = (frame.t_receive_ns, detail)
            elif since is not None and frame.t_receive_ns - since[0] > _CLEAR_S * NS_PER_S:
                del self._standing[bit]

    def reasons(self) -> dict[str, str]:
        """Return what stands now: `device_battery_low` and the like, with what to do."""
        return {f"device_{str(bit.name).lower()}": detail for bit, (_, detail) in self._standing.items()}
