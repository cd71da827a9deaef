"""How good a line finder is, against exact labels: shares of length, junctions, circles, milliseconds."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from perception.camera.model import CameraModel
from perception.field.lines import FieldFeatures
from perception.field.model import JunctionKind
from robot.core.geometry import FloatArray
from sim.evaluation.field_pictures import FieldPicture

TOLERANCE_PX = 2.0
WIDE_PX = 0.3
"""Lines that are narrower than this in the picture are counted apart, too: 10 mm across the view from 1.9 m on."""
WIDTHS_PX = (0.15, 0.3, 1.0)
"""Bounds of the classes of width."""
_JUNCTION_PX = 6.0
_STEP_PX = 2.0
_CIRCLE_RADIUS_M = 0.5


@dataclass
class LineScores:
    """Sums over pictures. Lengths are counted in pixels and in metres on the floor; a pixel counts the same anywhere.

    Precision is the share of found length that lies within 2 px of a true marking; recall the share of visible true
    length (within 4 m, not hidden) that lies within 2 px of a found segment or of the found circle.
    """

    pictures: int = 0
    found_px: float = 0.0
    right_px: float = 0.0
    found_m: float = 0.0
    right_m: float = 0.0
    true_px: float = 0.0
    covered_px: float = 0.0
    true_m: float = 0.0
    covered_m: float = 0.0
    true_wide_px: float = 0.0
    covered_wide_px: float = 0.0
    by_range: dict[str, list[float]] = field(default_factory=dict)
    by_width: dict[str, list[float]] = field(default_factory=dict)
    junctions_found: int = 0
    junctions_right: int = 0
    junctions_right_kind: int = 0
    junctions_true: int = 0
    junctions_seen: int = 0
    circles_found: int = 0
    circles_right: int = 0
    circles_true: int = 0
    circle_errors_px: list[float] = field(default_factory=list)

    def add(self, truth: FieldPicture, found: FieldFeatures) -> tuple[float, float, float, float]:
        """Count one picture; return (found, right, true, covered) pixels of it."""
        self.pictures += 1
        samples, metres = _samples(found, truth.camera)
        right = np.zeros(len(samples), bool)
        if len(samples) and len(truth.points_px):
            right = _nearest(samples, truth.points_px, truth.halves_px) <= TOLERANCE_PX
        outline = np.concatenate((samples, _outline(found, truth.camera)))
        covered = np.zeros(len(truth.points_px), bool)
        if len(outline) and len(covered):
            covered = _nearest(truth.points_px, outline) <= math.hypot(TOLERANCE_PX, 0.5 * _STEP_PX)
        see = truth.visible
        one = (
            _STEP_PX * len(samples), _STEP_PX * float(right.sum()),
            float(truth.weight_px[see].sum()), float(truth.weight_px[see & covered].sum()),
        )  # fmt: skip
        self.found_px += one[0]
        self.right_px += one[1]
        self.true_px += one[2]
        self.covered_px += one[3]
        self.found_m += float(metres.sum())
        self.right_m += float(metres[right].sum())
        self.true_m += float(truth.weight_m[see].sum())
        self.covered_m += float(truth.weight_m[see & covered].sum())
        wide = see & (truth.width_px >= WIDE_PX)
        self.true_wide_px += float(truth.weight_px[wide].sum())
        self.covered_wide_px += float(truth.weight_px[wide & covered].sum())
        self._add_ranges(truth, covered)
        self._add_junctions(truth, found)
        self._add_circle(truth, found)
        return one

    def _add_ranges(self, truth: FieldPicture, covered: NDArray[np.bool_]) -> None:
        if not len(truth.points_px):
            return
        distance = np.hypot(*truth.camera.ground_points(truth.points_px).T)
        for low, high in ((0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0)):
            inside = truth.visible & (distance >= low) & (distance < high)
            _add(self.by_range, f"{low:g}-{high:g} m", truth, inside, covered)
        for low, high in itertools.pairwise((0.0, *WIDTHS_PX, math.inf)):
            inside = truth.visible & (truth.width_px >= low) & (truth.width_px < high)
            name = f"{low:g}-{high:g} px" if math.isfinite(high) else f"from {low:g} px"
            _add(self.by_width, name, truth, inside, covered)

    def _add_junctions(self, truth: FieldPicture, found: FieldFeatures) -> None:
        places = np.array([j.pixel_px for j in found.junctions]).reshape(-1, 2)
        self.junctions_found += len(places)
        self.junctions_true += len(truth.junctions)
        crossings = truth.crossings_px[np.isfinite(truth.crossings_px).all(axis=1)]
        if len(places) and len(crossings):
            self.junctions_right += int((_nearest(places, crossings) <= _JUNCTION_PX).sum())
        for (u, v), junction in truth.junctions:
            near = [j for j in found.junctions if math.hypot(j.pixel_px[0] - u, j.pixel_px[1] - v) <= _JUNCTION_PX]
            self.junctions_seen += bool(near)
            kinds: set[JunctionKind] = {j.kind for j in near}
            self.junctions_right_kind += junction.kind in kinds

    def _add_circle(self, truth: FieldPicture, found: FieldFeatures) -> None:
        self.circles_true += truth.circle_px is not None
        if found.circle is None:
            return
        self.circles_found += 1
        # Its outline tells, whether or not enough of it was to be seen for the label.
        names = np.array([name == "circle" for name in truth.names], bool)
        outline, true = _outline(found, truth.camera), truth.points_px[names & truth.visible]
        if len(true) and float(np.mean(_nearest(true, outline) <= 3.0)) > 0.8:
            self.circles_right += 1
            if truth.circle_px is not None:
                self.circle_errors_px.append(math.dist(truth.circle_px, found.circle.centre_px))

    def precision(self) -> float:
        """Return the precision in pixels of length; 1 if nothing was found."""
        return self.right_px / self.found_px if self.found_px else 1.0

    def recall(self) -> float:
        """Return the recall in pixels of length; 1 if nothing was to be found."""
        return self.covered_px / self.true_px if self.true_px else 1.0

    def lines(self) -> list[str]:
        """Return the scores as lines of text."""
        share = {name: covered / true for name, (true, covered) in self.by_range.items() if true}
        wrong_kind = self.junctions_seen - self.junctions_right_kind
        error = f", centre off by {np.median(self.circle_errors_px):.1f} px (median)" if self.circle_errors_px else ""
        return [
            f"{self.pictures} pictures, {self.true_m:.0f} m of lines to be seen, {self.found_m:.0f} m found",
            f"precision {self.precision():.3f} by pixels, {self.right_m / max(self.found_m, 1e-9):.3f} by metres",
            f"recall    {self.recall():.3f} by pixels, {self.covered_m / max(self.true_m, 1e-9):.3f} by metres",
            f"recall    {self.covered_wide_px / max(self.true_wide_px, 1e-9):.3f} by pixels of lines that are at least "
            f"{WIDE_PX} px wide in the picture",
            "recall by range: " + ", ".join(f"{name} {value:.3f}" for name, value in share.items()),
            "recall by width in the picture (share of all): "
            + ", ".join(
                f"{name} {covered / max(true, 1e-9):.3f} ({true / max(self.true_px, 1e-9):.2f})"
                for name, (true, covered) in self.by_width.items()
            ),
            f"junctions: {self.junctions_right} of {self.junctions_found} found are right, "
            f"{self.junctions_seen} of {self.junctions_true} seen, {wrong_kind} of the wrong kind",
            f"circles: {self.circles_right} of {self.circles_found} found are right, "
            f"{self.circles_true} to be seen{error}",
        ]


def _add(
    sums: dict[str, list[float]], name: str, truth: FieldPicture, inside: NDArray[np.bool_], covered: NDArray[np.bool_]
) -> None:
    """Add one class of samples to [length to be seen, length found], in pixels."""
    total = sums.setdefault(name, [0.0, 0.0])
    total[0] += float(truth.weight_px[inside].sum())
    total[1] += float(truth.weight_px[inside & covered].sum())


def _samples(found: FieldFeatures, camera: CameraModel) -> tuple[FloatArray, FloatArray]:
    """Return points (N, 2) along the found segments, 2 px apart, and the metres that each stands for (N,)."""
    points, metres = [np.zeros((0, 2))], [np.zeros(0)]
    for segment in found.segments:
        a, b = np.array(segment.ends_px)
        count = max(1, round(math.dist(a, b) / _STEP_PX))
        share = (np.arange(count) + 0.5)[:, None] / count
        points.append(a + share * (b - a))
        edges = camera.ground_points(a + (np.arange(count + 1) / count)[:, None] * (b - a))
        metres.append(np.nan_to_num(np.hypot(*np.diff(edges, axis=0).T)))
    return np.concatenate(points), np.concatenate(metres)


def _outline(found: FieldFeatures, camera: CameraModel) -> FloatArray:
    """Return points (N, 2) on the found circle in the picture."""
    if found.circle is None:
        return np.zeros((0, 2))
    angle = np.linspace(0.0, math.tau, 720, endpoint=False)
    x, y = found.circle.centre_in_robot_m
    ring = np.stack((x + _CIRCLE_RADIUS_M * np.cos(angle), y + _CIRCLE_RADIUS_M * np.sin(angle), 0.0 * angle), axis=1)
    pixels = camera.project(ring, found.circle.tilt_rad)
    return pixels[np.isfinite(pixels).all(axis=1)]


def _nearest(points: FloatArray, others: FloatArray, halves: FloatArray | None = None) -> FloatArray:
    """Return the distance from each point (N, 2) to the nearest of the others (M, 2), or pieces `others +- halves`."""
    distance = np.full(len(points), np.inf)
    for k in range(0, len(points), 256):
        away = points[k : k + 256, None, :] - others[None, :, :]
        if halves is not None:
            share = np.einsum("nmk,mk->nm", away, halves) / np.maximum((halves**2).sum(axis=1), 1e-12)
            away = away - np.clip(share, -1.0, 1.0)[..., None] * halves
        distance[k : k + 256] = np.hypot(away[..., 0], away[..., 1]).min(axis=1)
    return distance
