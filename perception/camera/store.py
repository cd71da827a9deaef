"""A camera as TOML text, so that a fitted one can be read again by `load_camera`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from perception.camera.model import CameraModel
from robot.core.files import write_whole


def write_camera(path: Path, camera: CameraModel, comment: str = "") -> None:
    """Write a camera file; see `camera_to_toml`. It may be the one that was read: see `write_whole`.

    Raises:
        OutputError: the place cannot be written.
    """
    write_whole(path, camera_to_toml(camera, comment))


def camera_to_toml(camera: CameraModel, comment: str = "") -> str:
    """Return the text of a camera file; floats are written so that they read back bit for bit.

    Args:
        camera: what to write.
        comment: lines for the head of the file, without '#'.
    """
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    for section in dataclasses.fields(camera):
        lines += ["", f"[{section.name}]"]
        table = getattr(camera, section.name)
        lines += [f"{item.name} = {_literal(getattr(table, item.name))}" for item in dataclasses.fields(table)]
    return "\n".join(lines).lstrip("\n") + "\n"


def _literal(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_literal(item) for item in value)}]"
    return repr(value)
