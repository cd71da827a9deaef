"""The firmware core in this process: one `FirmwareLibrary` is one virtual microcontroller, moved by `step` alone."""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from functools import lru_cache

from firmware_bridge.firmware.build import build_library, revision
from robot.core.errors import LinkError

_SENSORS = struct.Struct("<4i7fI")
_ACTUATORS = struct.Struct("<4f2f3I")
SENSORS_SIZE, ACTUATORS_SIZE = _SENSORS.size, _ACTUATORS.size
_CHUNK = 2048
LIBRARY_VARIABLE = "BLACKOUT_FIRMWARE_LIBRARY"


@dataclass(frozen=True, kw_only=True, slots=True)
class SensorInputs:
    """What the microcontroller's pins see in one cycle.

    `wheel_ticks` are encoder counts since boot in the wheel order of `RobotBody` (32 bit, may wrap); the
    accelerometer gives specific force along body x, y; `current_a` is drawn from the battery (0 where nothing measures
    it); `kicker_v` is the capacitor's voltage; `break_beam` is True
    while interrupted.
    """

    wheel_ticks: tuple[int, int, int, int] = (0, 0, 0, 0)
    gyro_z_rad_s: float = 0.0
    accel_x_m_s2: float = 0.0
    accel_y_m_s2: float = 0.0
    battery_v: float = 24.0
    current_a: float = 0.0
    kicker_v: float = 0.0
    dribbler_rad_s: float = 0.0
    break_beam: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ActuatorOutputs:
    """What the microcontroller drives in one cycle.

    Duties are -1..1 of the battery voltage (0 shorts the motor: it brakes by its back-EMF). The kick fields are
    non-zero only in the one cycle in which a kick fires; `kick_speed_m_s` is the ball speed it is meant to give.
    """

    wheel_duty: tuple[float, float, float, float]
    dribbler_duty: float
    kick_speed_m_s: float
    kick_flat_us: int
    kick_chip_us: int
    charge: bool


def pack_sensors(s: SensorInputs, buffer: bytearray | ctypes.Array[ctypes.c_char]) -> None:
    """Write them as C's `blk_sensors_t`, the same on this computer and on the chip."""
    _SENSORS.pack_into(
        buffer,
        0,
        *s.wheel_ticks,
        s.gyro_z_rad_s,
        s.accel_x_m_s2,
        s.accel_y_m_s2,
        s.battery_v,
        s.current_a,
        s.kicker_v,
        s.dribbler_rad_s,
        s.break_beam,
    )


def unpack_actuators(data: bytes) -> ActuatorOutputs:
    """Read C's `blk_actuators_t`."""
    w0, w1, w2, w3, dribbler, kick, flat, chip, charge = _ACTUATORS.unpack(data)
    return ActuatorOutputs(
        wheel_duty=(w0, w1, w2, w3),
        dribbler_duty=dribbler,
        kick_speed_m_s=kick,
        kick_flat_us=flat,
        kick_chip_us=chip,
        charge=charge != 0,
    )


@lru_cache(maxsize=2)
def load_library(lockstep: bool = True) -> ctypes.CDLL:
    """Build if needed, load, and declare the functions of the C core.

    `BLACKOUT_FIRMWARE_LIBRARY` in the environment names a library built elsewhere: on a robot without gcc, or with
    sanitizers or coverage.

    Raises:
        LinkError: gcc is missing (the hint has the apt line), or the named file is no such library.
    """
    path = os.environ.get(LIBRARY_VARIABLE) or str(build_library(lockstep=lockstep))
    try:
        return _declared(ctypes.CDLL(path))
    except (OSError, AttributeError) as error:  # AttributeError: a function that it does not have
        hint = f"unset {LIBRARY_VARIABLE}, or build it again: blackout firmware build"
        raise LinkError(f"cannot use {path} as the firmware library ({error})", hint=hint) from error


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, size, u8, u32 = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint8, ctypes.c_uint32
    declarations: dict[str, tuple[object, list[object]]] = {
        "blk_lib_size": (size, []),
        "blk_lib_init": (None, [pointer, u32, ctypes.c_char_p]),
        "blk_lib_step": (None, [pointer, u32, pointer, pointer]),
        "blk_lib_receive": (None, [pointer, ctypes.c_char_p, size]),
        "blk_core_transmit": (size, [pointer, pointer, size]),
        "blk_lib_decoder_size": (size, []),
        "blk_lib_decode": (size, [pointer, ctypes.c_char_p, size, pointer, size]),
        "blk_lib_counters": (ctypes.POINTER(u32), [pointer]),
        "blk_crc16": (ctypes.c_uint16, [ctypes.c_char_p, size]),
        "blk_frame_encode": (size, [u8, u8, ctypes.c_char_p, size, pointer]),
    }
    for name, (result, arguments) in declarations.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class FirmwareLibrary:
    """One robot's microcontroller. Time inside is the sum of the steps; two instances share nothing.

    Args:
        boot_id: what it tells the host in HELLO; a restart has another one.
        lockstep: obey TICK frames, as test builds do.

    Raises:
        LinkError: gcc is missing; the hint has the apt line.
    """

    def __init__(self, boot_id: int = 1, *, lockstep: bool = True) -> None:
        self._library = load_library(lockstep)
        self._step = self._library.blk_lib_step
        self._core = ctypes.create_string_buffer(self._library.blk_lib_size() + 16)
        # The struct holds doubles and 64-bit numbers: align it as C would.
        self._address = (ctypes.addressof(self._core) + 15) & ~15
        self._sensors = ctypes.create_string_buffer(_SENSORS.size)
        self._actuators = ctypes.create_string_buffer(_ACTUATORS.size)
        self._out = ctypes.create_string_buffer(_CHUNK)
        self.restart(boot_id)

    def restart(self, boot_id: int) -> None:
        """Power cycle: all is forgotten, bytes under way included."""
        self._arrived = b""
        self._library.blk_lib_init(self._address, boot_id, revision().encode())

    def step(self, sensors: SensorInputs, dt_us: int = 1000) -> ActuatorOutputs:
        """Run one control cycle of `dt_us` microseconds on these sensor values."""
        if self._arrived:
            self._library.blk_lib_receive(self._address, self._arrived, len(self._arrived))
            self._arrived = b""
        pack_sensors(sensors, self._sensors)
        self._step(self._address, dt_us, self._sensors, self._actuators)
        return unpack_actuators(self._actuators.raw)

    def receive(self, data: bytes) -> None:
        """Bytes that arrive at the microcontroller's serial port now; its next cycle begins with them."""
        self._arrived += data

    def transmit(self) -> bytes:
        """Take the bytes that it has sent since the last call."""
        parts = []
        while n := self._library.blk_core_transmit(self._address, self._out, _CHUNK):
            parts.append(self._out.raw[:n])
        return b"".join(parts)
