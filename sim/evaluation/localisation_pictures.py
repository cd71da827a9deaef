"""Pictures of one localisation trial: the path on the field, and errors over time with what the estimate admits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from perception.field.model import field_model
from robot.core.field import FieldGeometry
from sim.evaluation.localisation import TrialTrack, TrialVerdict


def draw_trial(path: Path, track: TrialTrack, verdict: TrialVerdict, field: FieldGeometry) -> None:
    """Write a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(17, 5))
    t, judged, error = track.t_s, track.judged(), track.errors()
    claimed = track.on_field
    _field(left, field)
    before = t < track.kidnap_s
    left.plot(*track.truth[before, :2].T, "k", lw=1.5, label="truth")
    left.plot(*track.truth[~before, :2].T, "0.45", lw=1.5, label="truth, carried away")
    left.plot(*judged[claimed, :2].T, ".", ms=2.5, color="tab:blue", label="estimate (or declared twin)")
    left.set(title=f"seed {track.seed}: right after {verdict.converged_s:.2f} s, {verdict.converged_path_m:.2f} m")
    left.legend(loc="upper right", fontsize=7)
    far = np.where(claimed, np.hypot(error[:, 0], error[:, 1]), np.nan)
    sigma = np.sqrt(np.maximum(track.covariance[:, 0, 0] + track.covariance[:, 1, 1], 0.0))
    middle.semilogy(t, np.maximum(far, 1e-4), "tab:blue", label="position error")
    middle.fill_between(
        t, 1e-4, np.where(claimed, 2.0 * sigma, np.nan), color="tab:blue", alpha=0.15, label="two sigma"
    )
    middle.set(xlabel="time, s", ylabel="m", ylim=(1e-4, 10.0))
    middle.legend(loc="upper right", fontsize=7)
    heading, spread = np.degrees(error[:, 2]), 2.0 * np.degrees(np.sqrt(np.maximum(track.covariance[:, 2, 2], 0.0)))
    right.plot(t, np.where(claimed, heading, np.nan), "tab:blue", label="heading error")
    right.fill_between(t, np.where(claimed, spread, np.nan), np.where(claimed, -spread, np.nan), alpha=0.15)
    right.plot(t, track.speed_m_s, "0.6", lw=0.8, label="speed, m/s")
    right.set(xlabel="time, s", ylabel="degrees", ylim=(-5.0, 5.0))
    right.legend(loc="upper right", fontsize=7)
    for axis in (middle, right):
        axis.axvline(track.start_s, color="tab:green", lw=0.8)
        axis.axvline(track.kidnap_s, color="tab:red", lw=0.8)
        axis.fill_between(
            t, 0, 1, where=track.ambiguous & claimed, transform=axis.get_xaxis_transform(), color="gold", alpha=0.12
        )
    figure.suptitle("green: FORCE_START; red: carried away; yellow: known up to the mirror twin", fontsize=9)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _field(axis: Any, field: FieldGeometry) -> None:
    model = field_model(field)
    for line in model.lines:
        axis.plot(*zip(line.start_m, line.end_m, strict=True), color="tab:green", lw=0.6)
    for arc in model.arcs:
        angle = arc.start_rad + np.linspace(0.0, arc.sweep_rad, 60)
        x, y = arc.centre_m
        axis.plot(x + arc.radius_m * np.cos(angle), y + arc.radius_m * np.sin(angle), color="tab:green", lw=0.6)
    x_min, x_max, y_min, y_max = field.wall_bounds_m()
    axis.plot([x_min, x_max, x_max, x_min, x_min], [y_min, y_min, y_max, y_max, y_min], "k", lw=0.6)
    axis.set(aspect="equal", xlabel="x, m", ylabel="y, m")
