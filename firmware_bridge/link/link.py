"""The host's end of the link as a pure state machine: bytes and time in, bytes and telemetry out.

    DOWN --anything heard--> SYNC --hashes agree, parameters confirmed--> READY --device says armed--> ARMED
    any --silence--> DOWN      READY, ARMED --device restarted or lost the handshake--> SYNC
    any --other schema hash, own echo, or latched stop--> FAULT --the cause has gone--> SYNC or READY

No thread, no clock, no port: a transport carries the bytes, the runner brings the time. Nothing is ever queued: a
tick's command is the only one there is.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from firmware_bridge.config import LinkConfig
from firmware_bridge.link.framing import DELIMITER, FrameDecoder, FrameEncoder
from firmware_bridge.link.goal import MotionGoal
from firmware_bridge.link.handshake import ECHO_HINT, ECHO_MESSAGE, host_hello, is_echo
from firmware_bridge.link.parameters import ParameterValues
from firmware_bridge.link.telemetry import telemetry_frame
from firmware_bridge.link.time_sync import TimeSync
from firmware_bridge.protocol.generated import (
    SCHEMA_HASH,
    AnyMessage,
    Command,
    CommandFlag,
    Estop,
    FaultBit,
    Goal,
    Health,
    HealthRequest,
    Hello,
    Parameter,
    ParamSet,
    ParamStatus,
    ParamValue,
    Rearm,
    StateFlag,
    Telemetry,
)
from robot.core.messages import LinkHealth, MotionCommand, TelemetryFrame

FLASH_COMMAND = "blackout firmware flash"
_MS = 1_000_000
_NEVER = -(1 << 62)


class LinkState(enum.Enum):
    """How far the link has come; see the module's drawing."""

    DOWN = "down"
    SYNC = "sync"
    READY = "ready"
    ARMED = "armed"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class LinkFault:
    """Why the link refuses to move the robot: `code` is `schema`, `parameter`, `echo` or `estop`; `hint` mends it."""

    code: str
    message: str
    hint: str


def _names(fault_bits: int) -> str:
    """Return the names of the bits that are set."""
    return ", ".join(str(bit.name) for bit in FaultBit if fault_bits & bit) or "no fault bit: it was asked for"


class Link:
    """One microcontroller seen from the host. Deterministic: equal calls give equal bytes.

    Args:
        config: times of the state machine.
        parameters: set on the device, and confirmed by it, before the link is READY; see `body_parameters`.
        boot_id: tells this start of the host from others, for the device's log only.
    """

    def __init__(self, config: LinkConfig, parameters: ParameterValues = (), boot_id: int = 0) -> None:
        self._config = config
        self._parameters: dict[int, float] = dict(parameters)
        self._boot_id = boot_id
        self._encoder = FrameEncoder()
        self._decoder = FrameDecoder()
        self._sync = TimeSync()
        self._state = LinkState.DOWN
        self._fault: LinkFault | None = None
        self._wants_arm = False
        self._wants_rearm = False
        self._wants_estop = False
        self._device: Hello | None = None
        self._unconfirmed: dict[int, float] = {}
        self._heard_ns = self._hello_ns = self._health_ns = self._parameters_ns = _NEVER
        self._t_mcu_us = -1
        self._command_seq = 0
        self._telemetry_seq = 0
        self._at_goal = False
        self._health_seq = 0
        self._rejected = 0
        self._reconnects = 0
        self._device_health: Health | None = None

    @property
    def state(self) -> LinkState:
        """Where the state machine stands."""
        return self._state

    @property
    def fault(self) -> LinkFault | None:
        """Why the state is FAULT, with the mend; None in every other state."""
        return self._fault

    @property
    def at_goal(self) -> bool:
        """The last telemetry says that the `MotionGoal` in force is reached."""
        return self._state is LinkState.ARMED and self._at_goal

    @property
    def device(self) -> Hello | None:
        """The device's answer to the last handshake."""
        return self._device

    @property
    def round_trip_ns(self) -> int:
        """The newest round trip, without the time that the device held the command; 0 before the first."""
        return self._sync.round_trip_ns

    def request_arm(self, wanted: bool) -> None:
        """Ask for the robot to be armed (or disarmed) from the next tick on; it is kept over a reconnection."""
        self._wants_arm = wanted

    def request_estop(self) -> None:
        """Latch a stop on the device, from the next tick on until it is confirmed; nothing arms before a re-arm."""
        self._wants_estop, self._wants_rearm, self._wants_arm = True, False, False

    def request_rearm(self, wanted: bool = True) -> None:
        """Release a latched stop, or no longer. It does not arm: ask for that afterwards.

        It is asked for until the device obeys, which it does not before the cause of the stop has gone.
        """
        self._wants_rearm = wanted
        self._wants_estop = self._wants_estop and not wanted

    # --- bytes in -----------------------------------------------------------------------------------------------

    def on_bytes(self, data: bytes, now_ns: int) -> tuple[TelemetryFrame, ...]:
        """Take bytes that arrived at `now_ns` (host clock); return the telemetry in them, oldest first.

        Telemetry is only believed after the handshake: before it, the bytes could mean anything.
        """
        frames = []
        for message in self._decoder.feed(data):
            self._heard_ns = now_ns
            if self._state is LinkState.DOWN:
                self._enter_sync()
            if isinstance(message, Telemetry):
                frame = self._on_telemetry(message, now_ns)
                if frame is not None:
                    frames.append(frame)
            else:
                self._on_other(message)
        return tuple(frames)

    def _on_telemetry(self, message: Telemetry, now_ns: int) -> TelemetryFrame | None:
        if self._device is None or self._device.schema_hash != SCHEMA_HASH:
            return None
        if message.t_mcu_us < self._t_mcu_us or not message.flags & StateFlag.HOST_OK:
            self._reconnects += self._state in (LinkState.READY, LinkState.ARMED)
            self._enter_sync()  # the device has started again: a new handshake, a new clock
            return None
        self._t_mcu_us = message.t_mcu_us
        self._sync.on_arrival(message.t_mcu_us, now_ns)
        if message.host_stamp_ns:
            self._sync.on_round_trip(message.t_mcu_us, message.host_stamp_ns, message.hold_us, now_ns)
        frame = telemetry_frame(message, self._telemetry_seq, self._sync.to_host_ns(message.t_mcu_us, now_ns), now_ns)
        if frame is None:
            self._rejected += 1
            return None
        self._telemetry_seq += 1
        self._at_goal = bool(message.flags & StateFlag.AT_GOAL)
        self._follow_device(frame)
        return frame

    def _follow_device(self, frame: TelemetryFrame) -> None:
        """The device decides whether it is armed or stopped; the link only repeats it."""
        if self._state is LinkState.SYNC or (self._fault is not None and self._fault.code != "estop"):
            return
        if frame.estop:
            self._wants_estop = False  # done
            if self._fault is None:
                self._wants_arm = False
                self._state = LinkState.FAULT
                self._fault = LinkFault(
                    "estop",
                    f"the microcontroller has latched a stop ({_names(frame.fault_bits)})",
                    "remove the cause, then re-arm (while playing: `stop`, then `start`)",
                )
            return
        self._fault = None
        self._wants_rearm = False
        self._state = LinkState.ARMED if frame.armed else LinkState.READY

    def _on_other(self, message: AnyMessage) -> None:
        if isinstance(message, Hello):
            self._on_hello(message)
        elif isinstance(message, Health):
            self._device_health = message
        elif isinstance(message, ParamValue):
            self._on_parameter(message)
        else:
            self._rejected += 1

    def _on_hello(self, hello: Hello) -> None:
        if is_echo(hello):
            self._rejected += 1
            if self._state is LinkState.SYNC and self._device is None:
                self._state, self._fault = LinkState.FAULT, LinkFault("echo", ECHO_MESSAGE, ECHO_HINT)
            return
        if hello.schema_hash != SCHEMA_HASH:
            self._enter_sync()
            self._device = hello
            self._state = LinkState.FAULT
            self._fault = LinkFault(
                "schema",
                f"the microcontroller speaks schema 0x{hello.schema_hash:08X}, this computer 0x{SCHEMA_HASH:08X}",
                FLASH_COMMAND,
            )
            return
        before = self._device
        restarted = before is None or (before.schema_hash, before.boot_id) != (SCHEMA_HASH, hello.boot_id)
        if restarted:
            self._enter_sync()
        self._device = hello
        if self._state is LinkState.SYNC and not self._unconfirmed:
            if restarted and self._parameters:
                self._unconfirmed = dict(self._parameters)
                self._parameters_ns = _NEVER
            else:
                self._state = LinkState.READY

    def _on_parameter(self, answer: ParamValue) -> None:
        wanted = self._unconfirmed.get(answer.id)
        if wanted is None:
            return
        if answer.status in (ParamStatus.UNKNOWN, ParamStatus.OUT_OF_RANGE):
            name = Parameter(answer.id).name.lower()
            self._state = LinkState.FAULT
            self._fault = LinkFault(
                "parameter",
                f"the microcontroller refuses {name} = {wanted:g} ({ParamStatus(answer.status).name})",
                f"correct the robot's body, or {FLASH_COMMAND}",
            )
        elif answer.value == wanted:
            del self._unconfirmed[answer.id]
            if not self._unconfirmed and self._state is LinkState.SYNC:
                self._state = LinkState.READY

    def _enter_sync(self) -> None:
        self._state = LinkState.SYNC
        self._fault = None
        self._device = None
        self._unconfirmed = {}
        self._sync = TimeSync()
        self._t_mcu_us = -1
        self._hello_ns = _NEVER  # ask at the next tick

    # --- bytes out ----------------------------------------------------------------------------------------------

    def on_tick(self, now_ns: int, command: MotionCommand | MotionGoal | None) -> bytes:
        """Return what to send in this control tick.

        Args:
            now_ns: host clock; echoed by the device for time synchronisation.
            command: what the robot should do: a twist to follow, or a goal that the microcontroller drives to on its
                own; None holds it stopped (and keeps the heartbeat).
        """
        config, encode = self._config, self._encoder.encode
        if self._state is not LinkState.DOWN and now_ns - self._heard_ns > config.lost_after_ms * _MS:
            self._reconnects += self._state in (LinkState.READY, LinkState.ARMED)
            self._enter_sync()
            self._state = LinkState.DOWN
        out = b""
        if self._wants_estop:
            out += encode(Estop(reason=0))
        shaking = self._state in (LinkState.DOWN, LinkState.SYNC) and not self._unconfirmed
        refused = self._fault is not None and self._fault.code != "estop"
        if (shaking or refused) and now_ns - self._hello_ns >= config.hello_interval_ms * _MS:
            self._hello_ns = now_ns
            # The delimiter first ends whatever half frame the other end may still hold.
            out += DELIMITER + encode(host_hello(self._boot_id))
        if self._unconfirmed and not refused and now_ns - self._parameters_ns >= config.parameter_retry_ms * _MS:
            self._parameters_ns = now_ns
            out += b"".join(encode(ParamSet(number, value)) for number, value in self._unconfirmed.items())
        if self._state in (LinkState.READY, LinkState.ARMED) or (self._state is LinkState.FAULT and not refused):
            if self._wants_rearm and self._device is not None:
                out += encode(Rearm(self._device.boot_id, self._device.boot_id ^ 0xFFFFFFFF))
            if now_ns - self._health_ns >= config.health_interval_ms * _MS:
                self._health_ns = now_ns
                out += encode(HealthRequest())
            out += encode(self._command(now_ns, command))
        return out

    def _command(self, now_ns: int, command: MotionCommand | MotionGoal | None) -> Command | Goal:
        self._command_seq = (self._command_seq + 1) & 0xFFFF
        flags = CommandFlag.ARM.value if self._wants_arm else 0
        if command is None:
            return Command(self._command_seq, flags | CommandFlag.STOP, 0.0, 0.0, 0.0, 0.0, 0.0, 100, now_ns)
        if isinstance(command, MotionGoal):
            return self._goal(now_ns, command, flags)
        twist = command.twist_in_robot
        if command.stop or not twist.is_finite():
            flags |= CommandFlag.STOP
            vx = vy = omega = 0.0
        else:
            vx, vy, omega = twist.vx_m_s, twist.vy_m_s, twist.omega_rad_s
        if command.chip:
            flags |= CommandFlag.CHIP
        valid_for_ms = min(max(command.valid_for_ms, 0), 0xFFFF)
        dribbler, kick = command.dribbler_rad_s, command.kick_speed_m_s
        return Command(self._command_seq, flags, vx, vy, omega, dribbler, kick, valid_for_ms, now_ns)

    def _goal(self, now_ns: int, goal: MotionGoal, flags: int) -> Goal:
        return Goal(
            seq=self._command_seq,
            flags=flags | (CommandFlag.CHIP if goal.chip else 0),
            kind=goal.kind,
            number=goal.number,
            x_m=goal.x_m,
            y_m=goal.y_m,
            theta_rad=goal.theta_rad,
            max_speed_m_s=goal.max_speed_m_s,
            max_omega_rad_s=goal.max_omega_rad_s,
            accel_m_s2=goal.accel_m_s2,
            accel_rad_s2=goal.accel_rad_s2,
            dribbler_rad_s=goal.dribbler_rad_s,
            kick_speed_m_s=goal.kick_speed_m_s,
            valid_for_ms=min(max(goal.valid_for_ms, 0), 0xFFFF),
            host_stamp_ns=now_ns,
        )

    # --- statistics ---------------------------------------------------------------------------------------------

    def health(self, now_ns: int) -> LinkHealth:
        """Return the counters of both ends; `valid` says that the link is READY or ARMED."""
        rx = self._decoder.counters
        device = self._device_health._asdict().items() if self._device_health is not None else ()
        own = (
            ("host_overruns", rx.overruns),
            ("host_rejected", self._rejected),
            ("host_reconnects", self._reconnects),
            ("drift_ppb", round(self._sync.drift * 1e9)),
        )
        health = LinkHealth(
            seq=self._health_seq,
            t_capture_ns=now_ns,
            t_receive_ns=now_ns,
            valid=self._state in (LinkState.READY, LinkState.ARMED),
            state=self._state.value,
            rx_ok=rx.rx_ok,
            crc_errors=rx.crc_errors,
            cobs_errors=rx.cobs_errors,
            length_errors=rx.length_errors,
            sequence_gaps=rx.sequence_gaps,
            tx_frames=self._encoder.frames,
            round_trip_ns=self._sync.round_trip_ns,
            clock_offset_ns=self._sync.offset_ns(max(self._t_mcu_us, 0)),
            device_counters=(*own, *device),
        )
        self._health_seq += 1
        return health
