"""SVG drawings for the run report: a field seen from above, a timeline of states, line plots. No assets needed."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2

Points = Sequence[tuple[float, float]]

CARPET, LINE, WALL = "#3c7a46", "#f2f2ec", "#23272b"
TRUE_COLOUR, ESTIMATE_COLOUR, BALL_COLOUR, BALL_ESTIMATE_COLOUR = "#8ecbff", "#ffd34d", "#ff8a2a", "#ffffff"
TARGET_COLOUR = "#ff5fa2"
PALETTE = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2", "#9d755d", "#eeca3b", "#bab0ac")


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a plot: (x, y) points; a gap where y is NaN."""

    name: str
    points: Points
    colour: str


class FieldDrawing:
    """A field in SVG with its y axis up, `pixels_per_m` large. Add things, then take `svg()`."""

    def __init__(self, field: FieldGeometry, pixels_per_m: float = 88.0) -> None:
        self._field = field
        self._scale = pixels_per_m
        x_min, x_max, y_min, y_max = field.wall_bounds_m()
        self._left, self._top = x_min - 0.25, y_max + 0.25
        self._size = ((x_max - x_min + 0.5) * pixels_per_m, (y_max - y_min + 0.5) * pixels_per_m)
        self._parts: list[str] = []
        self._draw_field(x_min, x_max, y_min, y_max)

    def path(self, points: Points, colour: str, *, width: float = 2.5, dashed: bool = False) -> None:
        """Draw a polyline through points in the field frame, metres."""
        text = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self._at(p) for p in _thinned(points, 800)))
        dash = ' stroke-dasharray="7 5"' if dashed else ""
        self._parts.append(
            f'<polyline points="{text}" fill="none" stroke="{colour}" stroke-width="{width}"{dash} '
            'stroke-linejoin="round" stroke-linecap="round"/>'
        )

    def robot(self, field_from_robot: Pose2, colour: str, *, radius_m: float = 0.09, solid: bool = False) -> None:
        """Draw a robot as the circle with its flat front."""
        half = math.radians(40.0)  # the flat front of a 90 mm robot with its mouth 72 mm ahead
        start, end = (
            self._at(field_from_robot.transform((radius_m * math.cos(a), radius_m * math.sin(a))))
            for a in (half, -half)
        )
        r = radius_m * self._scale
        fill = colour if solid else "none"
        self._parts.append(
            f'<path d="M{start[0]:.1f} {start[1]:.1f} A{r:.1f} {r:.1f} 0 1 0 {end[0]:.1f} {end[1]:.1f} Z" '
            f'fill="{fill}" fill-opacity="0.75" stroke="{colour}" stroke-width="2"/>'
        )

    def ball(self, position_m: tuple[float, float], colour: str, *, solid: bool = True) -> None:
        """Draw a ball, larger than true so that it is seen."""
        x, y = self._at(position_m)
        fill = colour if solid else "none"
        self._parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}" stroke="{colour}" stroke-width="2"/>'
        )

    def cross(self, position_m: tuple[float, float], colour: str) -> None:
        """Draw a cross at a point."""
        x, y = self._at(position_m)
        self._parts.append(
            f'<path d="M{x - 7:.1f} {y - 7:.1f} l14 14 m-14 0 l14 -14" stroke="{colour}" stroke-width="3" fill="none"/>'
        )

    def label(self, position_m: tuple[float, float], text: str) -> None:
        """Write small text beside a point."""
        x, y = self._at(position_m)
        self._parts.append(
            f'<text x="{x + 9:.1f}" y="{y - 7:.1f}" fill="#fff" font-size="13">{html.escape(text)}</text>'
        )

    def svg(self) -> str:
        """Return the drawing."""
        w, h = self._size
        return f'<svg viewBox="0 0 {w:.0f} {h:.0f}" class="field">{"".join(self._parts)}</svg>'

    def _at(self, point_m: tuple[float, float]) -> tuple[float, float]:
        return (point_m[0] - self._left) * self._scale, (self._top - point_m[1]) * self._scale

    def _rectangle(self, x0: float, x1: float, y0: float, y1: float, style: str) -> None:
        left, top = self._at((min(x0, x1), max(y0, y1)))
        width, height = abs(x1 - x0) * self._scale, abs(y1 - y0) * self._scale
        self._parts.append(f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" {style}/>')

    def _draw_field(self, x_min: float, x_max: float, y_min: float, y_max: float) -> None:
        f = self._field
        self._rectangle(x_min, x_max, y_min, y_max, f'fill="{CARPET}" stroke="{WALL}" stroke-width="6"')
        line = f'fill="none" stroke="{LINE}" stroke-width="2"'
        half_x, half_y = f.length_m / 2, f.width_m / 2
        self._rectangle(-half_x, half_x, -half_y, half_y, line)
        (x0, y0), (_, y1) = self._at((0.0, half_y)), self._at((0.0, -half_y))
        self._parts.append(f'<line x1="{x0:.1f}" x2="{x0:.1f}" y1="{y0:.1f}" y2="{y1:.1f}" {line}/>')
        cx, cy = self._at((0.0, 0.0))
        self._parts.append(
            f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="{f.centre_circle_radius_m * self._scale:.1f}" {line}/>'
        )
        for side in (-1.0, 1.0):
            goal_line = side * half_x
            self._rectangle(
                goal_line, goal_line - side * f.defense_depth_m, -f.defense_width_m / 2, f.defense_width_m / 2, line
            )
            goal = f'fill="none" stroke="{WALL}" stroke-width="5"'
            self._rectangle(goal_line, goal_line + side * f.goal_depth_m, -f.goal_width_m / 2, f.goal_width_m / 2, goal)


def timeline(rows: Sequence[tuple[str, Sequence[tuple[float, float, str]]]], t_end_s: float) -> str:
    """Draw rows of coloured spans over time.

    Args:
        rows: (row name, spans); a span is (start in s, end in s, state). Equal states get equal colours.
        t_end_s: right end of the axis.
    """
    width, left, row_height = 1000.0, 110.0, 30.0
    scale = (width - left - 10.0) / max(t_end_s, 1e-9)
    states = list(dict.fromkeys(state for _, spans in rows for _, _, state in spans))
    colours = {state: PALETTE[i % len(PALETTE)] for i, state in enumerate(states)}
    parts = []
    for index, (name, spans) in enumerate(rows):
        y = index * row_height
        parts.append(f'<text x="0" y="{y + 19:.0f}" class="axis">{html.escape(name)}</text>')
        for start_s, end_s, state in spans:
            x, w = left + start_s * scale, max((end_s - start_s) * scale, 1.0)
            title = html.escape(f"{state}: {start_s:.2f} to {end_s:.2f} s")
            parts.append(
                f'<rect x="{x:.1f}" y="{y + 3:.0f}" width="{w:.1f}" height="{row_height - 6:.0f}" '
                f'fill="{colours[state]}"><title>{title}</title></rect>'
            )
            if w > 7.5 * len(state):
                parts.append(f'<text x="{x + 4:.1f}" y="{y + 19:.0f}" class="span">{html.escape(state)}</text>')
    bottom = len(rows) * row_height
    parts.append(_time_axis(left, scale, t_end_s, bottom))
    return f'<svg viewBox="0 0 {width:.0f} {bottom + 26:.0f}" class="wide">{"".join(parts)}</svg>'


def line_plot(title: str, unit: str, series: Sequence[Series], t_end_s: float) -> str:
    """Draw lines over time with a value axis that fits them.

    Args:
        title: above the plot.
        unit: of the values.
        series: lines; x is time in s.
        t_end_s: right end of the axis.
    """
    width, height, left, top = 1000.0, 190.0, 110.0, 24.0
    values = [y for s in series for _, y in s.points if math.isfinite(y)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    pad = 0.06 * (high - low) or 0.5
    low, high = low - pad, high + pad
    x_scale, y_scale = (width - left - 10.0) / max(t_end_s, 1e-9), (height - top - 8.0) / (high - low)
    parts = [f'<text x="{left:.0f}" y="15" class="title">{html.escape(title)} [{html.escape(unit)}]</text>']
    for step in range(4):
        value = low + (high - low) * step / 3
        y = height - 8.0 - (value - low) * y_scale
        parts.append(f'<line x1="{left}" x2="{width - 10:.0f}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{left - 8:.0f}" y="{y + 4:.1f}" class="axis" text-anchor="end">{value:.3g}</text>')
    for index, one in enumerate(series):
        for piece in _pieces(one.points):
            text = " ".join(
                f"{left + x * x_scale:.1f},{height - 8.0 - (y - low) * y_scale:.1f}" for x, y in _thinned(piece, 900)
            )
            parts.append(f'<polyline points="{text}" fill="none" stroke="{one.colour}" stroke-width="1.8"/>')
        x = width - 10.0 - 150.0 * (len(series) - index)
        parts.append(f'<rect x="{x:.0f}" y="6" width="14" height="5" fill="{one.colour}"/>')
        parts.append(f'<text x="{x + 19:.0f}" y="13" class="axis">{html.escape(one.name)}</text>')
    parts.append(_time_axis(left, x_scale, t_end_s, height))
    return f'<svg viewBox="0 0 {width:.0f} {height + 26:.0f}" class="wide">{"".join(parts)}</svg>'


def _time_axis(left: float, scale: float, t_end_s: float, y: float) -> str:
    step = next((s for s in (0.5, 1, 2, 5, 10, 20, 60, 120, 300) if t_end_s / s <= 14), 600)
    marks = []
    for index in range(int(t_end_s / step) + 1):
        x = left + index * step * scale
        marks.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y:.0f}" y2="{y + 5:.0f}" class="grid"/>')
        marks.append(f'<text x="{x:.1f}" y="{y + 19:.0f}" class="axis" text-anchor="middle">{index * step:g} s</text>')
    return "".join(marks)


def _thinned(points: Points, limit: int) -> Points:
    """Keep at most about `limit` points, always with the last: a browser draws no more detail anyway."""
    stride = max(1, len(points) // limit)
    kept = list(points[::stride])
    if points and kept[-1] != points[-1]:
        kept.append(points[-1])
    return kept


def _pieces(points: Points) -> list[list[tuple[float, float]]]:
    pieces: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if math.isfinite(point[1]):
            pieces[-1].append(point)
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]
