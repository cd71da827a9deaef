"""Put calibration on trial in the simulator, with truth: lenses, wrong mountings, bumps while playing.

Example:
    blackout evaluate-calibration lens --count 12
    blackout evaluate-calibration turn --count 20 --out runs/turn
    blackout evaluate-calibration bump --count 8 --out runs/bump
    blackout evaluate-calibration bump --count 8 --sizes-deg 3 4 6 --axis yaw

`lens`: random lenses from rendered boards. `turn`: a mounting that is wrong by some degrees, found from one turn on
the spot and a metre ahead. `bump`: drives as in play; the camera is knocked by 0 (clean), 1, 2 and 3 degrees in pitch,
roll, both and yaw.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from perception.calibration.board import BoardKind
from perception.calibration.line_report import write_lines_report
from perception.camera import load_camera
from perception.field.model import field_model
from robot.cli._outputs import check_outputs
from robot.core.config import find_config, load
from robot.core.errors import ConfigError
from robot.core.field import FieldGeometry
from sim.evaluation.trials import run_trials

MAX_WRONG_MM, MAX_KNOCK_DEG = 100.0, 30.0
AXES = {"pitch": (1.0, 0.0, 0.0), "roll": (0.0, 1.0, 0.0), "both": (-0.7, 0.7, 0.0), "yaw": (0.0, 0.0, 1.0)}


@dataclass(frozen=True)
class Args:
    """Flags of `blackout evaluate-calibration`."""

    what: Annotated[Literal["lens", "turn", "bump"], tyro.conf.Positional]
    """lens, turn or bump."""
    count: int = 8
    """Trials (bump: trials of each size)."""
    seed: int = 1
    """Seed of the first trial."""
    workers: int = 1
    """Processes side by side."""
    camera: str = "c922_640x480"
    """Camera file or shipped name."""
    field: str = "division_b"
    """Field: a TOML file or a shipped name."""
    sizes_deg: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0)
    """bump: sizes of the knock; 0 is a clean drive."""
    axis: Literal["pitch", "roll", "both", "yaw"] | None = None
    """bump: which way all knocks go; by turns where not given."""
    wrong: tuple[float, float, float, float] | None = None
    """turn: height (mm), pitch, roll, yaw (degrees) by which the camera differs; random where not given."""
    out: Path | None = None
    """Folder for the results (JSON) and pictures."""


def run(args: Args) -> int:
    """Run the trials, print a table; returns 0."""
    if args.count < 1 or args.workers < 1:
        raise ConfigError("--count and --workers must be at least 1", hint="blackout evaluate-calibration --help")
    wrong_mm, *wrong_deg = args.wrong or (0.0,)
    if not (
        abs(wrong_mm) <= MAX_WRONG_MM and all(abs(size) <= MAX_KNOCK_DEG for size in (*args.sizes_deg, *wrong_deg))
    ):
        raise ConfigError(
            f"no camera is wrong by more than {MAX_WRONG_MM:g} mm or {MAX_KNOCK_DEG:g} degrees",
            hint="for example --sizes-deg 0 1 2 3, --wrong 5 2 1 2",
        )
    check_outputs(folders=[args.out])
    rows = {"lens": _lens, "turn": _turn, "bump": _bump}[args.what](args)
    if args.out is not None:
        path = args.out / f"{args.what}.json"
        path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {path}")
    return 0


def _lens(args: Args) -> list[dict[str, Any]]:
    from sim.evaluation.calibration import lens_trial

    rows = []
    for index, trial in enumerate(run_trials(partial(_lens_job, lens_trial), _seeds(args), args.workers)):
        kind = _kind(args.seed + index)
        true, found = trial.true, trial.fit.intrinsics
        rows.append(
            {
                "seed": args.seed + index,
                "board": kind.value,
                "views": len(trial.fit.views),
                "lens": trial.fit.lens,
                "rms_px": trial.fit.rms_px,
                "held_out_px": trial.fit.held_out_px,
                "fx_error_share": found.fx / true.fx - 1.0,
                "cx_error_px": found.cx - true.cx,
                "cy_error_px": found.cy - true.cy,
                "median_px": trial.median_px,
                "worst_px": trial.worst_px,
            }
        )
        r = rows[-1]
        print(
            f"seed {r['seed']}: {kind.value:10s} {r['views']} views, {r['lens']}; fx {r['fx_error_share']:+.2%}, "
            f"principal point ({r['cx_error_px']:+.1f}, {r['cy_error_px']:+.1f}) px; rays off by {r['median_px']:.2f} "
            f"px median, {r['worst_px']:.2f} at worst; reprojection {r['rms_px']:.2f} px"
        )
    print(
        f"{len(rows)} lenses: focal length within {max(abs(r['fx_error_share']) for r in rows):.2%}, "
        f"rays within {np.median([r['median_px'] for r in rows]):.2f} px (median), "
        f"{max(r['worst_px'] for r in rows):.2f} px at worst"
    )
    return rows


def _kind(seed: int) -> BoardKind:
    return list(BoardKind)[seed % 2]


def _lens_job(trial: Any, seed: int) -> Any:
    return trial(seed, _kind(seed))


def _seeds(args: Args) -> list[int]:
    return list(range(args.seed, args.seed + args.count))


def _turn(args: Args) -> list[dict[str, Any]]:
    from sim.evaluation.calibration import turn_trial

    camera, field = load_camera(args.camera), load(FieldGeometry, find_config(args.field, "fields"))
    shift = None
    if args.wrong is not None:
        shift = np.array((args.wrong[0] / 1000.0, *np.radians(args.wrong[1:])))
    rows = []
    units = np.array((1000.0, *([math.degrees(1.0)] * 3)))
    job = partial(turn_trial, camera=camera, field=field, shift=shift)
    for trial in run_trials(job, _seeds(args), args.workers):
        row: dict[str, Any] = {"seed": trial.seed, "found": trial.fit is not None, "reason": trial.reason}
        for name, values in (("wrong", trial.wrong), ("left", trial.left), ("sigma", trial.sigmas)):
            row[name] = [float(v) for v in values * units]
        rows.append(row)
        if trial.fit is None:
            print(f"seed {trial.seed}: refused: {trial.reason}")
            continue
        wrong, left = row["wrong"], row["left"]
        print(
            f"seed {trial.seed}: wrong by {wrong[0]:+.1f} mm, pitch {wrong[1]:+.2f}, roll {wrong[2]:+.2f}, yaw "
            f"{wrong[3]:+.2f} degrees; left {left[0]:+.1f} mm, {left[1]:+.2f}, {left[2]:+.2f}, {left[3]:+.2f}"
        )
        if args.out is not None:
            write_lines_report(args.out / f"seed{trial.seed}", trial.fit, trial.start, field_model(field))
    good = [row for row in rows if row["found"]]
    print(f"{len(good)} of {len(rows)} found")
    if good:
        left, sigma = np.array([row["left"] for row in good]), np.array([row["sigma"] for row in good])
        names = ("height (mm)", "pitch (deg)", "roll (deg)", "yaw (deg)")
        print("               median |left|     worst   within two of its own sigmas")
        for k, name in enumerate(names):
            size = np.abs(left[:, k])
            print(f"{name:12s} {np.median(size):12.2f} {size.max():12.2f} {np.mean(size < 2 * sigma[:, k]):18.0%}")
    return rows


def _bump_job(trial: Any, camera: Any, field: Any, job: tuple[int, float, str]) -> Any:
    seed, size, axis = job
    return trial(seed, camera, field, np.radians(size) * np.array(AXES[axis]))


def _bump(args: Args) -> list[dict[str, Any]]:
    from sim.evaluation.calibration import bump_trial

    camera, field = load_camera(args.camera), load(FieldGeometry, find_config(args.field, "fields"))
    names = list(AXES)
    jobs = [(seed, size, args.axis or names[seed % len(names)]) for size in args.sizes_deg for seed in _seeds(args)]
    rows: list[dict[str, Any]] = []
    trials = []
    for (seed, size, axis), trial in zip(
        jobs, run_trials(partial(_bump_job, bump_trial, camera, field), jobs, args.workers), strict=True
    ):
        error = trial.error_rad()
        rows.append(
            {
                "seed": seed,
                "size_deg": size,
                "axis": axis if size else "none",
                "knock_s": trial.knock_s,
                "checks": len(trial.history),
                "told_s": trial.told_s,
                "false_alarm": trial.false_alarm,
                "error_deg": None if error is None else [float(v) for v in np.degrees(error)],
            }
        )
        trials.append(trial)
        last = trial.history[-1][1].text() if trial.history else "nothing said"
        print(f"seed {seed}: {size:g} degrees {rows[-1]['axis']}: {_told(rows[-1])}; at the end {last}", flush=True)
    _bump_table(rows, args.sizes_deg)
    if args.out is not None:
        _bump_picture(args.out / "bump.png", trials)
    return rows


def _told(row: dict[str, Any]) -> str:
    if row["false_alarm"]:
        return "FALSE ALARM"
    if row["told_s"] is None:
        return "no report" if row["size_deg"] else "clean"
    return f"told {row['told_s'] - row['knock_s']:.1f} s after the knock"


def _bump_table(rows: list[dict[str, Any]], sizes: tuple[float, ...]) -> None:
    print("\nknock    trials   told   after (s, median, worst)   size off by (deg, median, worst)   false alarms")
    for size in sizes:
        for kind in ("tilt", "yaw") if size else ("none",):
            mine = [r for r in rows if r["size_deg"] == size and (not size or (r["axis"] == "yaw") == (kind == "yaw"))]
            if not mine:
                continue
            told = [r for r in mine if r["told_s"] is not None and not r["false_alarm"]]
            after = [r["told_s"] - r["knock_s"] for r in told]
            which = slice(2, 3) if kind == "yaw" else slice(0, 2)
            off = [float(np.hypot(*np.resize([*r["error_deg"][which], 0.0], 2))) for r in told if r["error_deg"]]
            if kind != "yaw":
                off = [float(np.hypot(*r["error_deg"][:2])) for r in told if r["error_deg"]]
            alarms = sum(r["false_alarm"] for r in mine)
            when = f"{np.median(after):.1f}, {max(after):.1f}" if after else "-"
            how = f"{np.median(off):.2f}, {max(off):.2f}" if off else "-"
            print(f"{size:g} {kind:6s} {len(mine):5d} {len(told):6d}   {when:>24s}   {how:>32s} {alarms:14d}")


def _bump_picture(path: Path, trials: list[Any]) -> None:
    """Draw what was reported of pitch, roll and yaw over time, against what was true."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        print("bump.png needs matplotlib: pip install matplotlib", file=sys.stderr)
        return
    shown = trials[:12]
    columns = min(4, len(shown))
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(4 * columns, 2.6 * lines), layout="constrained")
    axes = np.atleast_1d(figure.subplots(lines, columns, squeeze=False)).ravel()
    for axis, trial in zip(axes, shown, strict=False):
        times = [t for t, _ in trial.history]
        base = trial.true_rad - trial.knock_rad
        kinds = (
            ("pitch", "pitch_rad", "tab:blue"),
            ("roll", "roll_rad", "tab:orange"),
            ("yaw", "yaw_jump_rad", "tab:green"),
        )
        for k, (name, attribute, colour) in enumerate(kinds):
            values = [np.degrees(getattr(r, attribute)) for _, r in trial.history]
            sigmas = [np.degrees(getattr(r, f"{name}_sigma_rad")) for _, r in trial.history]
            axis.errorbar(times, values, yerr=sigmas, fmt=".", ms=4, color=colour, label=name)
            end = max([*times, trial.knock_s + 1.0])
            steps = np.degrees([base[k], base[k], trial.true_rad[k], trial.true_rad[k]])
            axis.plot([0.0, trial.knock_s, trial.knock_s, end], steps, color=colour, lw=1)
        told = trial.told_s
        if told is not None:
            axis.axvline(told, color="tab:red", lw=1, ls="--")
        axis.set(title=f"seed {trial.seed}, knock {np.degrees(trial.knock_rad).round(1)}", xlabel="s", ylabel="degrees")
    axes[0].legend()
    FigureCanvasAgg(figure)
    figure.savefig(path)
