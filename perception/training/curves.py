"""Curves of a training run as a picture."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any


def read_log(out: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's `log.jsonl` in the order of their steps.

    A run that was killed may have left half a line, and the resumed one repeats the steps after the last checkpoint:
    lines that are cut are left out, and of two reports of one step the later counts.
    """
    entries: dict[tuple[int, bool], dict[str, Any]] = {}
    for line in (out / "log.jsonl").read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError, TypeError, KeyError):
            entry = json.loads(line)
            entries[int(entry["step"]), "class_loss" in entry] = entry
    return [entries[key] for key in sorted(entries)]


def draw_curves(out: Path) -> None:
    """Draw `curves.png` from `log.jsonl`; without matplotlib there is only the log."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return
    entries = read_log(out)
    losses = [e for e in entries if "class_loss" in e]
    scores = [e for e in entries if "all_ap" in e]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    for key in ("class_loss", "box_loss"):
        left.plot([e["step"] for e in losses], [e[key] for e in losses], label=key)
    for key in ("all_ap50", "all_ap", "photos_ap50"):
        points = [e for e in scores if key in e]
        right.plot([e["step"] for e in points], [e[key] for e in points], marker="o", label=key)
    for axis, title in ((left, "training loss"), (right, "held-back pictures (averaged weights)")):
        axis.set_title(title)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    figure.savefig(out / "curves.png", dpi=90)
    pyplot.close(figure)
