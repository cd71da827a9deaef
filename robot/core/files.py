"""Text files that are there wholly or not at all: a calibration that is cut in the middle would cost the one before."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from robot.core.errors import OutputError

MEND = "give a path that can be written, on a disk with space"


def write_whole(path: Path, text: str) -> None:
    """Write a file (UTF-8); one that is there is replaced only once the new one is complete, and keeps its permissions.

    Folders are made as needed. A link stays one; a device or a pipe is written to as it is.

    Raises:
        OutputError: the place cannot be written; what was there still is.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8", newline="")
            return
        target = path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            with beside.open("w", encoding="utf-8", newline="") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())  # a robot is switched off without being asked
            if target.exists():
                shutil.copymode(target, beside)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}", hint=MEND) from error
