"""Turn a recording into one self-contained report.html: field, paths, camera, plans, figures.

Example: blackout report runs/demo/stage1-seed2.mcap --out runs/demo
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from robot.cli._outputs import check_outputs
from robot.recording.reader import Recording
from robot.recording.report import write_report


@dataclass(frozen=True)
class Args:
    """Flags of `blackout report`."""

    recording: tyro.conf.Positional[Path]
    """The recording (.mcap)."""
    out: Path = Path("runs/report")
    """Folder for report.html."""
    salvage: bool = False
    """Read a cut recording as far as it goes."""


def run(args: Args) -> int:
    """Write the report."""
    check_outputs(folders=[args.out])
    path = write_report(Recording(args.recording, salvage=args.salvage), args.out)
    print(path)
    return 0
