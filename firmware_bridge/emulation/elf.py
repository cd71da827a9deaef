"""The little of ELF that an emulator needs: what to load where, and where symbols are."""

from __future__ import annotations

import struct
from pathlib import Path

from robot.core.errors import LinkError

_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_PROGRAM = struct.Struct("<8I")
_SECTION = struct.Struct("<10I")
_SYMBOL = struct.Struct("<IIIBBH")
_LOAD, _SYMBOLS = 1, 2


class ElfFile:
    """A 32-bit little-endian executable.

    Raises:
        LinkError: it is missing or something else.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._data = path.read_bytes()
        except OSError as error:
            raise LinkError(f"cannot read {path}: {error.strerror}", hint="blackout firmware build") from error
        if self._data[:6] != b"\x7fELF\x01\x01":
            raise LinkError(f"{path} is not a 32-bit little-endian ELF file", hint="blackout firmware build")
        header = _HEADER.unpack_from(self._data)
        self._programs, self._sections = header[5], header[6]
        self._program_count, self._section_count = header[10], header[12]

    def segments(self) -> list[tuple[int, bytes]]:
        """What is to be put where in the device's flash: (physical address, bytes)."""
        found = []
        for i in range(self._program_count):
            kind, offset, _, address, size, *_ = _PROGRAM.unpack_from(self._data, self._programs + i * _PROGRAM.size)
            if kind == _LOAD and size:
                found.append((address, self._data[offset : offset + size]))
        return found

    def symbols(self) -> dict[str, tuple[int, int]]:
        """Name to (address, size); empty in a stripped file."""
        rows = [
            _SECTION.unpack_from(self._data, self._sections + i * _SECTION.size) for i in range(self._section_count)
        ]
        found: dict[str, tuple[int, int]] = {}
        for _, kind, _, _, offset, size, link, *_ in rows:
            if kind != _SYMBOLS:
                continue
            names = rows[link][4]
            for at in range(offset, offset + size, _SYMBOL.size):
                name, value, length, *_ = _SYMBOL.unpack_from(self._data, at)
                end = self._data.index(b"\0", names + name)
                found[self._data[names + name : end].decode()] = (value, length)
        return found
