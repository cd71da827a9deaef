"""The table and the pictures of `blackout evaluate-tracks`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from robot.core.messages import ObjectClass, WorldModel
from sim.evaluation.tracks import BallScore, RobotScore, TruthAt, share_inside


class Judged(Protocol):
    """One trial, judged: see `robot.runtime.track_trials.TrackResult`."""

    @property
    def kind(self) -> str:
        """Kind of trial."""
        ...

    @property
    def seed(self) -> int:
        """Its seed."""
        ...

    @property
    def ball(self) -> BallScore:
        """The ball's track."""
        ...

    @property
    def robots(self) -> RobotScore:
        """The robots' tracks."""
        ...

    @property
    def trace(self) -> tuple[tuple[float, TruthAt, WorldModel], ...]:
        """Time, truth and belief, tick by tick."""
        ...


def summary(results: Sequence[Judged]) -> dict[str, Any]:
    """Return the figures of all kinds: JSON-able, and what `table` prints."""
    kinds = list(dict.fromkeys(r.kind for r in results))
    return {kind: _summary([r for r in results if r.kind == kind]) for kind in kinds}


def _summary(results: Sequence[Judged]) -> dict[str, Any]:
    balls, robots = [r.ball for r in results], [r.robots for r in results]
    detected = [b.detected["outside"] for b in balls]
    seen = sum(r.seen for r in robots)
    return {
        "trials": len(results),
        "ball": {
            "error_m": _quantiles(b.errors_m for b in balls),
            "unseen_error_m": _quantiles(b.unseen_errors_m for b in balls),
            "velocity_error_m_s": _quantiles(b.speed_errors_m_s for b in balls),
            "nees_inside": share_inside([v for b in balls for v in b.nees]),
            "velocity_nees_inside": share_inside([v for b in balls for v in b.velocity_nees]),
            "believed": _ratio(sum(b.believed for b in balls), sum(b.ticks for b in balls)),
            "wrong": _ratio(sum(b.wrong for b in balls if b.ticks), sum(b.ticks for b in balls)),
            "longest_loss_s": max((b.longest_loss_s for b in balls), default=0.0),
            "renamed_in_trials": sum(len(b.identities) > 1 for b in balls),
        },
        "robots": {
            "tracked": _ratio(sum(r.tracked for r in robots), seen),
            "error_m": _quantiles(r.errors_m for r in robots),
            "velocity_error_m_s": _quantiles(r.speed_errors_m_s for r in robots),
            "nees_inside": share_inside([v for r in robots for v in r.nees]),
            "identity_switches": sum(r.switches for r in robots),
            "false_share": _ratio(sum(r.false for r in robots), sum(r.ticks for r in robots)),
        },
        "outside": {
            "trials_with_boxes": sum(n > 0 for n in detected),
            "boxes": sum(detected),
            "trials_reaching_the_ball": sum(b.outside_used > 0 for b in balls),
            "seeds_reaching_the_ball": [r.seed for r in results if r.ball.outside_used],
            "boxes_on_the_field": sum(b.detected["field"] for b in balls),
            "field_boxes_used": sum(b.used["field ball"] for b in balls),
        },
    }


def _quantiles(parts: Iterable[Sequence[float]]) -> dict[str, float]:
    values = [v for part in parts for v in part]
    if not values:
        return {"median": math.nan, "p95": math.nan}
    return {"median": float(np.median(values)), "p95": float(np.percentile(values, 95))}


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def table(figures: dict[str, Any]) -> str:
    """Return the figures as text."""
    lines = [
        "ball        trials  error seen med/p95  unseen med/p95  velocity med/p95   NEES<95%  believed  wrong  "
        "longest loss  renamed"
    ]
    for kind, f in figures.items():
        b = f["ball"]
        lines.append(
            f"{kind:11s} {f['trials']:5d}   {_cm(b['error_m'])}     {_cm(b['unseen_error_m'])}   "
            f"{b['velocity_error_m_s']['median']:5.2f}/{b['velocity_error_m_s']['p95']:.2f} m/s   "
            f"{b['nees_inside']:6.1%}   {b['believed']:6.1%}  {b['wrong']:5.1%}   {b['longest_loss_s']:5.2f} s"
            f"       {b['renamed_in_trials']}"
        )
    with_robots = {k: f["robots"] for k, f in figures.items() if not math.isnan(f["robots"]["tracked"])}
    if with_robots:
        lines.append("robots      tracked  error med/p95    velocity med/p95   NEES<95%  switches  false")
    for kind, r in with_robots.items():
        lines.append(
            f"{kind:11s} {r['tracked']:6.1%}  {_cm(r['error_m'])}   {r['velocity_error_m_s']['median']:5.2f}/"
            f"{r['velocity_error_m_s']['p95']:.2f} m/s   {r['nees_inside']:6.1%}   {r['identity_switches']:5d}    "
            f"{r['false_share']:5.1%}"
        )
    lines.append("boxes of things outside the field")
    for kind, f in figures.items():
        o = f["outside"]
        lines.append(
            f"{kind:11s} {o['boxes']} in {o['trials_with_boxes']} of {f['trials']} trials; reached the ball track in "
            f"{o['trials_reaching_the_ball']} of {f['trials']}"
            + (f" (seeds {', '.join(map(str, o['seeds_reaching_the_ball']))})" if o["seeds_reaching_the_ball"] else "")
        )
    return "\n".join(lines)


def _cm(quantiles: dict[str, float]) -> str:
    if math.isnan(quantiles["median"]):
        return "      -     "
    return f"{100 * quantiles['median']:4.1f}/{100 * quantiles['p95']:5.1f} cm"


def draw(path: Path, results: Sequence[Judged]) -> None:
    """Draw one trial per kind, seen from the robot's start: true and believed paths, error and speed over time."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, rows = plt.subplots(len(results), 3, figsize=(15, 3.6 * len(results)), squeeze=False)
    for (left, middle, right), result in zip(rows, results, strict=True):
        start = result.trace[0][1].robot.inverse()
        times = [t for t, _, _ in result.trace]
        true = np.array([start.transform(s.ball_m or (math.nan, math.nan)) for _, s, _ in result.trace])
        shown = [s.robot.transform(w.ball.ball_in_robot_m) if w.ball.valid else None for _, s, w in result.trace]
        believed = np.array([start.transform(p) if p else (math.nan, math.nan) for p in shown])
        for k in range(len(result.trace[0][1].others)):
            path_k = np.array([start.transform((s.others[k].x_m, s.others[k].y_m)) for _, s, _ in result.trace])
            left.plot(path_k[:, 0], path_k[:, 1], color="0.6", lw=4, alpha=0.6)
        names = sorted(
            {o.track_id for _, _, w in result.trace for o in w.objects if o.object_class is ObjectClass.ROBOT}
        )
        for name in names:
            points = [
                (start @ s.robot @ w.robot.world_from_robot.inverse()).transform(o.position_in_world_m)
                for _, s, w in result.trace
                for o in w.objects
                if o.object_class is ObjectClass.ROBOT and o.track_id == name
            ]
            left.plot(*np.array(points).T, lw=1.2, label=f"robot track {name}")
        left.plot(true[:, 0], true[:, 1], color="tab:orange", lw=4, alpha=0.5, label="ball")
        left.plot(believed[:, 0], believed[:, 1], color="black", lw=1, label="ball track")
        left.set_aspect("equal", adjustable="datalim")
        left.set_title(f"{result.kind}, seed {result.seed} (m)")
        left.legend(fontsize=7)
        error = np.hypot(*(true - believed).T)
        sigma = [math.sqrt(w.ball.covariance_m2[0][0] + w.ball.covariance_m2[1][1]) for _, _, w in result.trace]
        middle.plot(times, error, color="black", lw=1, label="error")
        middle.plot(times, 2.0 * np.array(sigma), color="tab:blue", lw=1, label="2 sigma")
        hidden = [not w.ball.visible for _, _, w in result.trace]
        middle.fill_between(times, 0, 0.5, where=hidden, color="0.9", label="not seen")
        middle.set_ylim(0.0, 0.5)
        middle.set_title("position (m over s)")
        middle.legend(fontsize=7)
        right.plot(times, [math.hypot(*s.ball_velocity_m_s) for _, s, _ in result.trace], "tab:orange", lw=3, alpha=0.6)
        right.plot(times, [math.hypot(*w.ball.velocity_in_world_m_s) for _, _, w in result.trace], "black", lw=1)
        right.set_title("speed (m/s over s): true, believed")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70)
    plt.close(figure)
