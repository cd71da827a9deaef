"""Feed a recording through the same pipeline again and compare every result bit for bit.

Exit code 0: all equal. 1: a difference (the first is named), or a tick of which batch or result was never recorded.

    blackout replay runs/demo/stage1-seed2.mcap
    blackout replay runs/demo/stage1-seed2.mcap --override control.dock.speed_m_s=0.3     # what would have changed?
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from robot.cli._flags import parse_overrides
from robot.runtime.replay import replay


@dataclass(frozen=True)
class Args:
    """Flags of `blackout replay`."""

    file: tyro.conf.Positional[Path]
    """The recording (.mcap)."""
    salvage: bool = False
    """Read a cut recording as far as it goes."""
    override: tuple[str, ...] = ()
    """Change values of the recorded configuration: key=value, key=value ..."""


def run(args: Args) -> int:
    """Replay and report."""
    started_s = time.perf_counter()
    report = replay(args.file, salvage=args.salvage, overrides=parse_overrides(args.override))
    wall_s = time.perf_counter() - started_s
    print(f"{args.file}: {report.ticks} ticks, {report.duration_s:.1f} s of play, replayed in {wall_s:.1f} s")
    print(f"command bytes: sha256 {report.command_sha256}")
    if report.unfinished:
        print("the last tick has no recorded result: the run ended inside it")
    if report.missing:
        print(f"NOT COMPARABLE: {len(report.missing)} tick(s) were dropped by the recorder, first {report.missing[0]}")
    elif report.dropped:
        print(f"NOT COMPARABLE: the recorder says that it dropped {report.dropped} batches and results at the end")
    if report.first is not None:
        print(f"DIFFERENT in {report.differing} of {report.ticks} ticks; first at {report.first}")
    elif report.ticks == 0:
        print("NOTHING TO COMPARE: no finished tick in this recording")
    elif report.equal:
        print("equal, bit for bit")
    return 0 if report.equal else 1
