"""Outputs are tried before the work, not after an hour of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from robot.core.errors import OutputError
from robot.core.files import MEND


def check_outputs(*, files: Iterable[Path | None] = (), folders: Iterable[Path | None] = ()) -> None:
    """Make the folders that the outputs need and try to write there; what exists is left as it is.

    Raises:
        OutputError: a file or folder cannot be written.
    """
    for path in files:
        if path is not None:
            _try_file(path)
    for folder in folders:
        if folder is not None:
            _try_folder(folder)


def _try_file(path: Path) -> None:
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder", hint="give the name of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            return  # a device or a pipe: trying would write to it
        existed = path.exists()
        path.open("ab").close()
        if not existed:
            path.unlink()
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}", hint=MEND) from error


def _try_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror or error}", hint=MEND) from error
