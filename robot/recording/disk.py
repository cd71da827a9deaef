"""The file under a recording: a full disk becomes one remembered fault, not a storm of messages or a panic.

foxglove logs each failed write to standard error, tells its caller nothing, and panics when it closes the file. So it
writes through this object, which it never sees fail: the first fault is kept, and what comes after it is thrown away.
"""

from __future__ import annotations

import io
from pathlib import Path


class DiskFile:
    """A new file for writing, with the methods that foxglove asks of one.

    Attributes:
        failure: the first fault of the disk (full, quota, pulled out), or None. Nothing is written after it.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.failure: OSError | None = None
        self._file = io.FileIO(path, "w")  # unbuffered: a fault shows in the write that met it
        self._at = self._size = 0

    def write(self, data: bytes | bytearray) -> int:
        """Write all of `data`; returns its length, also when it was thrown away."""
        rest = memoryview(data)
        try:
            while rest and self.failure is None:
                rest = rest[self._file.write(rest) or 0 :]
        except OSError as fault:
            self.failure = fault
        self._at += len(data)
        self._size = max(self._size, self._at)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place and return it, bytes from the start; after a fault only the number moves."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = start + offset
        if self.failure is None:
            try:
                self._file.seek(self._at)
            except OSError as fault:
                self.failure = fault
        return self._at

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Let go of the file; a fault that shows only now (network disks) is kept, too."""
        try:
            self._file.close()
        except OSError as fault:
            self.failure = self.failure or fault
