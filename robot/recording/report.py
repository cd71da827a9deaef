"""One self-contained `report.html` from a recording: what the robot believed, what was true, what it saw and did."""

from __future__ import annotations

import base64
import bisect
import html
import json
import math
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robot.core.config import from_dict
from robot.core.errors import RecordingError
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2, Twist2
from robot.core.messages import Localisation, TickResult
from robot.recording.drawing import (
    BALL_COLOUR,
    BALL_ESTIMATE_COLOUR,
    ESTIMATE_COLOUR,
    PALETTE,
    TARGET_COLOUR,
    TRUE_COLOUR,
    FieldDrawing,
    Series,
    line_plot,
    timeline,
)
from robot.recording.frames import annotated_frames
from robot.recording.reader import Recording
from robot.recording.run_data import RunData, load_run
from robot.recording.writer import encode_jpeg

_FRAME_COUNT = 9
_FAULTS_SHOWN = 40

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:0;background:#15181b;color:#dfe3e6}
main{max-width:1080px;margin:0 auto;padding:24px} h1{margin:0 0 4px} h2{margin:34px 0 10px;font-size:19px}
.field,.wide{width:100%;height:auto;background:#1c2024;border-radius:8px} .note{color:#98a2aa;font-size:13px}
.axis{fill:#98a2aa;font-size:12px} .title{fill:#dfe3e6;font-size:13px} .span{fill:#fff;font-size:12px}
.grid{stroke:#39424a;stroke-width:1} table{border-collapse:collapse} td,th{padding:3px 14px 3px 0;text-align:left}
.frames{display:grid;grid-template-columns:repeat(3,1fr);gap:8px}
.frames img{width:100%;border-radius:6px;display:block}
.frames figure{margin:0} figcaption{font-size:12px;color:#98a2aa} .good{color:#7bd88f} .bad{color:#ff7b72}
.key{display:inline-block;width:22px;height:4px;margin:0 6px 3px 16px}
"""


def write_report(recording: Recording, folder: Path) -> Path:
    """Write `report.html` into `folder` (made if needed) and return its path.

    Raises:
        RecordingError: nothing to report, or the folder cannot be written.
    """
    data = load_run(recording)
    sections = [
        _headline(recording, data),
        _field_section(recording, data),
        _timeline_section(data),
        _frames_section(recording, data),
        _plots_section(data),
        _facts_section(recording, data),
    ]
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Blackout run</title>'
        f"<style>{_STYLE}</style></head><body><main>{''.join(sections)}</main></body></html>\n"
    )
    path = folder / "report.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecordingError(
            f"cannot write {path}: {error.strerror}", hint="give --out a folder you may write"
        ) from error
    return path


# --- sections ---------------------------------------------------------------------------------------------------


def _headline(recording: Recording, data: RunData) -> str:
    run = ", ".join(f"{html.escape(k)} {html.escape(v)}" for k, v in recording.header.run.items())
    line = f"{recording.header.kind}, {run}; {data.t_end_s:.1f} s, {len(data.results)} ticks"
    if not data.score:
        return f"<h1>Blackout run</h1><p class='note'>{line}</p>"
    good = bool(data.score.get("success"))
    verdict = f"<span class='{'good' if good else 'bad'}'>{'success' if good else 'not all points'}</span>"
    points = points_text(data.score.get("points", 0.0), data.score.get("max_points", 0.0))
    points += f" in {data.score.get('time_s'):.1f} s"
    events = "".join(f"<li>{html.escape(_event_text(e))}</li>" for e in data.score.get("events", ()))
    return f"<h1>Blackout run: {verdict}</h1><p>{points}</p><ul>{events}</ul><p class='note'>{line}</p>"


def points_text(points: float, max_points: float) -> str:
    """Return a score in words; where there is nothing to gain (stage 3) it is minus a distance."""
    return f"{points:g} of {max_points:g} points" if max_points else f"{-points:.3f} m from the target"


def _event_text(event: Any) -> str:
    if isinstance(event, dict):
        return ", ".join(f"{k} {round(v, 3) if isinstance(v, float) else v}" for k, v in event.items())
    return " ".join(str(part) for part in event) if isinstance(event, (list, tuple)) else str(event)


def _field_section(recording: Recording, data: RunData) -> str:
    geometry = from_dict(FieldGeometry, recording.header.field_geometry, where="recorded field")
    drawing = FieldDrawing(geometry)
    placed = list(zip(fields_from_world(data), data.results, strict=True))
    estimates = [to_field @ r.world.robot.world_from_robot for to_field, r in placed]
    balls = [to_field.transform(r.world.ball.ball_in_world_m) for to_field, r in placed if r.world.ball.valid]
    keys = [(ESTIMATE_COLOUR, "estimated path")]
    keys += [(BALL_ESTIMATE_COLOUR, "ball as believed at the end")] if balls else []
    if data.truth:
        drawing.path([(p.x_m, p.y_m) for _, p, _ in data.truth], TRUE_COLOUR, width=4.0)
        ball_path = [ball for _, _, ball in data.truth if ball is not None]
        drawing.path(ball_path, BALL_COLOUR)
        keys = [(TRUE_COLOUR, "true path"), *keys, *([(BALL_COLOUR, "true ball")] if ball_path else [])]
    drawing.path([(p.x_m, p.y_m) for p in estimates], ESTIMATE_COLOUR, dashed=True)
    drawing.robot(estimates[0], ESTIMATE_COLOUR)
    drawing.label((estimates[0].x_m, estimates[0].y_m), "start")
    if data.truth:
        drawing.robot(data.truth[-1][1], TRUE_COLOUR, solid=True)
        if ball_path:
            drawing.ball(ball_path[0], BALL_COLOUR, solid=False)
            drawing.ball(ball_path[-1], BALL_COLOUR)
    drawing.robot(estimates[-1], ESTIMATE_COLOUR)
    if balls:
        drawing.ball(balls[-1], BALL_ESTIMATE_COLOUR, solid=False)
    if data.target_in_field_m is not None:
        drawing.cross(data.target_in_field_m, TARGET_COLOUR)
        keys.append((TARGET_COLOUR, "target"))
    legend = "".join(f"<span class='key' style='background:{c}'></span>{t}" for c, t in keys)
    note = (
        "Until the pose is found, the estimate is drawn from the true start; a declared mirror twin is turned back."
        if data.truth
        else "No truth in this recording: the drawing is in the estimator's own frame."
    )
    return f"<h2>Field</h2>{drawing.svg()}<p>{legend}</p><p class='note'>{note}</p>"


_TURNED = Pose2(0.0, 0.0, math.pi)


def fields_from_world(data: RunData) -> list[Pose2]:
    """Where the estimator's frame lies on the field, for each result.

    Until the pose is found that is the odometry's frame, drawn from the truth of the first tick; from then on it is the
    field, or the field turned by half a turn as long as the estimate itself says that it may be its mirror twin.
    """
    lies = data.truth[0][1] @ data.results[0].world.robot.world_from_robot.inverse() if data.truth else Pose2()
    times = [t for t, _, _ in data.truth]
    fields = []
    for result in data.results:
        state = result.world.robot
        if state.localisation in (Localisation.SEEDED, Localisation.TRACKING):
            lies = Pose2()
            if state.mirror_ambiguous and data.truth:
                nearest = min(bisect.bisect_left(times, data.seconds(result.t_now_ns)), len(times) - 1)
                true, pose = data.truth[nearest][1], state.world_from_robot
                lies = _TURNED if (_TURNED @ pose).distance_to(true) < pose.distance_to(true) else lies
        fields.append(lies)
    return fields


def _timeline_section(data: RunData) -> str:
    times = [data.seconds(r.t_now_ns) for r in data.results]
    rows = [
        ("mode", _spans(times, [r.mode.value for r in data.results])),
        ("skill", _spans(times, [r.plan.skill for r in data.results])),
        ("state", _spans(times, [r.plan.state for r in data.results])),
        ("ball", _spans(times, [_ball_word(r) for r in data.results])),
    ]
    faults = [(data.seconds(f.t_capture_ns), f.code, f.source, f.detail) for r in data.results for f in r.faults]
    listed = "".join(
        f"<tr><td>{t:.2f} s</td><td>{html.escape(c)}</td><td>{html.escape(s)}</td><td>{html.escape(d)}</td></tr>"
        for t, c, s, d in faults[:_FAULTS_SHOWN]
    )
    more = len(faults) - _FAULTS_SHOWN
    left_out = f"<p class='note'>and {more} more: they are in the recording</p>" if more > 0 else ""
    table = f"<table>{listed}</table>{left_out}" if faults else "<p class='note'>No faults.</p>"
    return f"<h2>Modes and plans</h2>{timeline(rows, data.t_end_s)}<h2>Faults</h2>{table}"


def _ball_word(result: TickResult) -> str:
    ball = result.world.ball
    if ball.in_dribbler:
        return "in dribbler"
    if not ball.valid:
        return "unknown"
    return "seen" if ball.visible else "remembered"


def _spans(times: Sequence[float], states: Sequence[str]) -> list[tuple[float, float, str]]:
    spans: list[tuple[float, float, str]] = []
    for t_s, state in zip(times, states, strict=True):
        if spans and spans[-1][2] == state:
            spans[-1] = (spans[-1][0], t_s, state)
        else:
            if spans:
                spans[-1] = (spans[-1][0], t_s, spans[-1][2])
            spans.append((t_s, t_s, state))
    return spans


def _frames_section(recording: Recording, data: RunData) -> str:
    figures = []
    for shown in annotated_frames(recording, data, _FRAME_COUNT):
        jpeg = base64.b64encode(encode_jpeg(shown.image_bgr, 80)).decode()
        caption = html.escape(shown.caption)
        figures.append(
            f'<figure><img src="data:image/jpeg;base64,{jpeg}" alt="{caption}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    if not figures:
        return "<h2>Camera</h2><p class='note'>No frames in this recording.</p>"
    return f"<h2>Camera</h2><div class='frames'>{''.join(figures)}</div>"


def _plots_section(data: RunData) -> str:
    plots = []
    if data.truth:
        plots.append(_error_plot(data))
    times = [data.seconds(r.t_now_ns) for r in data.results]
    ball = [
        (t, math.hypot(*r.world.ball.ball_in_robot_m) if r.world.ball.valid else math.nan)
        for t, r in zip(times, data.results, strict=True)
    ]
    distance = [Series(name="believed", points=ball, colour=PALETTE[1])]
    if data.truth:
        true = [(t, math.hypot(b[0] - p.x_m, b[1] - p.y_m)) for t, p, b in data.truth if b is not None]
        distance.insert(0, Series(name="true", points=true, colour=PALETTE[0]))
    plots.append(line_plot("Robot centre to ball", "m", distance, data.t_end_s))
    for title, unit, pick in (
        ("Speed", "m/s", Twist2.speed_m_s),
        ("Turn rate", "rad/s", operator.attrgetter("omega_rad_s")),
    ):
        measured = [(t, pick(r.world.robot.twist_in_robot)) for t, r in zip(times, data.results, strict=True)]
        sent = [(t, pick(r.command.twist_in_robot)) for t, r in zip(times, data.results, strict=True)]
        pair = [Series(name="measured", points=measured, colour=PALETTE[0])]
        pair.append(Series(name="sent", points=sent, colour=PALETTE[1]))
        plots.append(line_plot(title, unit, pair, data.t_end_s))
    return "<h2>Figures</h2>" + "".join(f"<p>{p}</p>" for p in plots)


def _error_plot(data: RunData) -> str:
    truth_times = [t for t, _, _ in data.truth]
    errors = []
    for to_field, result in zip(fields_from_world(data), data.results, strict=True):
        t_s = data.seconds(result.t_now_ns)
        index = bisect.bisect_left(truth_times, t_s)
        if index < len(truth_times) and abs(truth_times[index] - t_s) < 0.006:
            estimate = to_field @ result.world.robot.world_from_robot
            errors.append((t_s, 100.0 * estimate.distance_to(data.truth[index][1])))
    series = [Series(name="from the start, then on the field", points=errors, colour=PALETTE[4])]
    return line_plot("Position error of the estimate", "cm", series, data.t_end_s)


def _facts_section(recording: Recording, data: RunData) -> str:
    header = recording.header
    link = next((r.link for r in reversed(data.results) if r.link is not None), None)
    facts: dict[str, Any] = {
        "recording": recording.path.name,
        "detector": header.model,
        "hashes": header.hashes,
        "versions": header.versions,
        "kept": recording.end_counts(),
        "frames analysed": len(data.detections),
    }
    if link is not None:
        facts["link"] = {
            "state": link.state,
            "frames received": link.rx_ok,
            "errors": link.crc_errors + link.cobs_errors + link.length_errors,
            "frames sent": link.tx_frames,
        }
    rows = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(_fact_text(v))}</td></tr>" for k, v in facts.items())
    config = html.escape(json.dumps(header.robot, indent=1))
    return (
        f"<h2>This run</h2><table>{rows}</table>"
        f"<details><summary>effective configuration</summary><pre>{config}</pre></details>"
    )


def _fact_text(value: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
