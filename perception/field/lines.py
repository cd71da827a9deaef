"""Lines on the floor from a picture: points (`ridges`), segments, junctions and the centre circle (`junctions`).

Segments are found where they are straight and where the noise is even: in the undistorted picture (a line on the
floor is a line there, and one pixel of error is 8 cm at 3 m but 5 mm at 0.7 m). Pairs of points some scan lines apart
propose lines; the proposal with the strongest support is fitted by total least squares, cut where its points have
gaps, and its points are taken away; then the next. All proposals are judged at once in one matrix, in a fixed order:
no randomness (sequential RANSAC with all near pairs in place of random ones).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.camera.lens import distort, undistort
from perception.camera.model import CameraModel
from perception.field.boundary import carpet_hull
from perception.field.junctions import CircleConfig, SeenCircle, SeenJunction, find_circle, find_junctions
from perception.field.ridges import RidgeConfig, RidgeScanner
from robot.core.geometry import FloatArray
from robot.core.messages import BoxPx, Cov2, Vec2

Image = NDArray[np.uint8]

_HULL_MARGIN_PX = 2.0
_BOX_MARGIN_PX = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LineConfig:
    """How points become segments; lengths in pixels of the full picture.

    `tolerance_px` is how far off a line its points may be; a segment has at least `min_points` points, `min_length_px`,
    no gap above `max_gap_px`, points on at least `min_fill` of the scan lines that cross it, and `min_strength` as the
    sum of its points' strengths in sigmas, and is at most `max_width_m` wide on the floor. `max_points` bounds the
    work, and `shown_points` the message.
    """

    ridges: RidgeConfig = field(default_factory=RidgeConfig)
    circle: CircleConfig = field(default_factory=CircleConfig)
    tolerance_px: float = 1.3
    min_points: int = 6
    min_length_px: float = 30.0
    max_gap_px: float = 60.0
    min_fill: float = 0.4
    min_strength: float = 35.0
    max_width_m: float = 0.045
    max_segments: int = 12
    max_points: int = 380
    shown_points: int = 60

    def __post_init__(self) -> None:
        if self.tolerance_px <= 0.0 or self.min_points < 3 or self.max_points < 20 or self.shown_points < 0:
            raise ValueError("tolerance_px > 0, min_points >= 3, max_points >= 20 and shown_points >= 0 are needed")


@dataclass(frozen=True, kw_only=True, slots=True)
class LinePoint:
    """The centre of a line where a scan line crosses it: pixels, and on the floor (robot frame)."""

    pixel_px: Vec2
    position_in_robot_m: Vec2
    covariance_m2: Cov2


@dataclass(frozen=True, kw_only=True, slots=True)
class LineSegment:
    """A straight piece of a line: its two ends in pixels and on the floor (robot frame, level body).

    The ends are where the sight of it ends, not where the line does. Their covariances are those of a pixel by the
    camera model; of these only the part across the segment says something about the line.
    """

    ends_px: tuple[Vec2, Vec2]
    ends_in_robot_m: tuple[Vec2, Vec2]
    covariances_m2: tuple[Cov2, Cov2]
    points: int
    strength: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldFeatures:
    """All that was found in one picture."""

    points: tuple[LinePoint, ...] = ()
    segments: tuple[LineSegment, ...] = ()
    junctions: tuple[SeenJunction, ...] = ()
    circle: SeenCircle | None = None


@dataclass(eq=False)
class _Run:
    """Points (indices) of one segment, in order, and its ends in the undistorted picture."""

    chosen: NDArray[np.intp]
    start: FloatArray
    end: FloatArray


class LineFinder:
    """Finds field lines. Stateless: the same picture gives the same lines."""

    def __init__(self, config: LineConfig, camera: CameraModel) -> None:
        self.config, self.camera = config, camera
        self._scanner = RidgeScanner(config.ridges, camera)

    def find(
        self,
        image_bgr: Image,
        mask: NDArray[np.bool_],
        edge_px: tuple[Vec2, ...],
        boxes_px: tuple[BoxPx, ...] = (),
        tilt_rad: Vec2 = (0.0, 0.0),
    ) -> FieldFeatures:
        """Return points, segments, junctions and the circle.

        Args:
            image_bgr: (H, W, 3) of the camera's size.
            mask: carpet mask of the same picture, any resolution (`CarpetScanner.scan_with_mask`).
            edge_px: the carpet's edge; nothing above its convex hull is a line. Empty: nothing is found.
            boxes_px: robots and balls: no points inside of them. (Goals' boxes are mostly floor; leave them out.)
            tilt_rad: (pitch, roll) of the body.
        """
        if not edge_px:
            return FieldFeatures()
        if image_bgr.shape[1::-1] != self._scanner.size_px:
            raise ValueError(f"the camera's pictures are {self._scanner.size_px}, not {image_bgr.shape[1::-1]}")
        # Cells at the carpet's edge are part wall; the hull draws the line there, to a pixel.
        mask = cv2.dilate(mask.view(np.uint8), np.ones((3, 3), np.uint8)).view(np.bool_)
        ridges = self._scanner.scan(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY), mask)
        keep = self._on_floor(ridges.pixels_px, edge_px, boxes_px)
        keep = keep[np.argsort(-ridges.strength[keep], kind="stable")[: self.config.max_points]]
        pixels, level = ridges.pixels_px[keep], ridges.level[keep]
        strength, step = np.minimum(ridges.strength[keep], 12.0), ridges.step_px[keep]
        ground = self.camera.ground_points(pixels, tilt_rad)
        flat = self._undistorted(pixels)
        runs = self._segments(flat, strength, level, step)
        sides = self._sides(pixels, ridges.width_px[keep], level, tilt_rad)
        runs = [run for run in runs if self._is_narrow(run, ground, sides)]
        runs, circle, on_circle = self._with_circle(runs, flat, pixels, ground, strength, mask, tilt_rad)
        segments = self._finished(runs, strength, tilt_rad)
        used = np.unique(np.concatenate([run.chosen for run in runs] + [on_circle]))
        return FieldFeatures(
            points=self._points(pixels, ground, used, tilt_rad),
            segments=segments,
            junctions=find_junctions(segments, self.camera, mask, boxes_px, tilt_rad),
            circle=circle,
        )

    def _on_floor(self, pixels: FloatArray, edge: tuple[Vec2, ...], boxes: tuple[BoxPx, ...]) -> NDArray[np.intp]:
        hull = np.array(carpet_hull(edge))
        u, v = pixels[:, 0], pixels[:, 1]
        good = v > np.interp(u, hull[:, 0], hull[:, 1]) + _HULL_MARGIN_PX
        for x0, y0, x1, y1 in boxes:
            m = _BOX_MARGIN_PX
            good &= ~((u > x0 - m) & (u < x1 + m) & (v > y0 - m) & (v < y1 + m))
        return np.flatnonzero(good)

    def _undistorted(self, pixels: FloatArray) -> FloatArray:
        """Return where an ideal lens would show the pixels, about the principal point (N, 2)."""
        k = self.camera.intrinsics
        x, y = undistort((pixels[:, 0] - k.cx) / k.fx, (pixels[:, 1] - k.cy) / k.fy, k.distortion)
        return np.stack((x * k.fx, y * k.fy), axis=1)

    # --- segments ---------------------------------------------------------------------------------------------

    def _segments(
        self, points: FloatArray, strength: FloatArray, level: NDArray[np.bool_], step: FloatArray
    ) -> list[_Run]:
        c = self.config
        first, second = _pairs(points, level, step)
        runs: list[_Run] = []
        if not len(first):
            return runs
        direction = points[second] - points[first]
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        normal = np.stack((-direction[:, 1], direction[:, 0]), axis=1).astype(np.float32)
        offset = np.einsum("ij,ij->i", normal, points[first]).astype(np.float32)
        near = np.abs(normal @ points.T.astype(np.float32) - offset[:, None]) < c.tolerance_px
        weight = near.astype(np.float32)
        left = strength.astype(np.float32).copy()
        support = weight @ left
        for _ in range(3 * c.max_segments):
            best = int(np.argmax(support))
            if support[best] < c.min_strength or len(runs) >= c.max_segments:
                break
            members = np.flatnonzero(near[best] & (left > 0.0))
            found = self._fit_runs(points, members, strength, left, level, step)
            taken = np.concatenate([run.chosen for run in found]) if found else members
            if found:
                taken = np.union1d(taken, self._beside(points, found, left))
                runs += found
            # What was looked at is not looked at again: the loop ends.
            support -= weight[:, taken] @ left[taken]
            left[taken] = 0.0
            support[best] = -1.0 if not found else support[best]
        return runs

    def _fit_runs(
        self,
        points: FloatArray,
        members: NDArray[np.intp],
        strength: FloatArray,
        left: NDArray[np.float32],
        level: NDArray[np.bool_],
        step: FloatArray,
    ) -> list[_Run]:
        """Refine a proposal on its points, and cut it at its gaps."""
        c = self.config
        free = np.flatnonzero(left > 0.0)
        for _ in range(2):
            if len(members) < c.min_points:
                return []
            middle, along = _total_least_squares(points[members], strength[members])
            off = np.abs((points[free] - middle) @ np.array([-along[1], along[0]]))
            members = free[off < c.tolerance_px]
        if len(members) < c.min_points:
            return []
        place = (points[members] - middle) @ along
        order = np.argsort(place, kind="stable")
        members, place = members[order], place[order]
        runs = []
        for piece in np.split(np.arange(len(members)), np.flatnonzero(np.diff(place) > c.max_gap_px) + 1):
            chosen, spots = members[piece], place[piece]
            if len(chosen) < c.min_points or spots[-1] - spots[0] < c.min_length_px:
                continue
            if float(strength[chosen].sum()) < c.min_strength or not self._filled(chosen, spots, along, level, step):
                continue
            runs.append(_Run(chosen, middle + spots[0] * along, middle + spots[-1] * along))
        return runs

    def _filled(
        self, chosen: NDArray[np.intp], spots: FloatArray, along: FloatArray, level: NDArray[np.bool_], step: FloatArray
    ) -> bool:
        """Tell whether enough of the scan lines that cross a run (of the family that crosses it best) saw it."""
        lying = bool(abs(along[0]) >= abs(along[1]))
        family = chosen[level[chosen] != lying]
        if not len(family):
            return False
        crossings = (spots[-1] - spots[0]) * max(abs(along[0]), abs(along[1])) / float(np.median(step[family]))
        return len(family) >= float(self.config.min_fill * (crossings + 1.0))

    def _sides(self, pixels: FloatArray, width_px: FloatArray, level: NDArray[np.bool_], tilt_rad: Vec2) -> FloatArray:
        """Return the way on the floor from one side of the band to the other at each point (N, 2).

        Three pixels of the width are the lens's and the shutter's.
        """
        reach = 0.5 * np.maximum(width_px - 3.0, 0.0)
        step = np.stack((np.where(level, reach, 0.0), np.where(level, 0.0, reach)), axis=1)
        sides = self.camera.ground_points(np.concatenate((pixels - step, pixels + step)), tilt_rad)
        way: FloatArray = sides[len(pixels) :] - sides[: len(pixels)]
        return way

    def _is_narrow(self, run: _Run, ground: FloatArray, sides: FloatArray) -> bool:
        """Tell whether a run is no wider on the floor than painted lines are."""
        along = ground[run.chosen[-1]] - ground[run.chosen[0]]
        along /= max(float(np.hypot(*along)), 1e-9)
        width = np.sort(np.abs(sides[run.chosen] @ np.array([-along[1], along[0]])))  # NaN comes last
        middle = float(width[len(width) // 2])
        return middle <= self.config.max_width_m

    def _beside(self, points: FloatArray, runs: list[_Run], left: NDArray[np.float32]) -> NDArray[np.intp]:
        """Return the points left close beside runs: the same line seen twice, or its ragged rim."""
        free = np.flatnonzero(left > 0.0)
        return free[self._near(points[free], runs, 2.5 * self.config.tolerance_px)]

    def _near(self, points: FloatArray, runs: list[_Run], limit_px: float) -> NDArray[np.bool_]:
        """Tell which points (N, 2) lie within a distance of any run."""
        close = np.zeros(len(points), bool)
        for run in runs:
            length = float(np.hypot(*(run.end - run.start)))
            along = (run.end - run.start) / length
            away = points - run.start
            place = away @ along
            off = np.abs(away @ np.array([-along[1], along[0]]))
            close |= (off < limit_px) & (place > -2.0) & (place < length + 2.0)
        return close

    # --- outputs ----------------------------------------------------------------------------------------------

    def _with_circle(
        self,
        runs: list[_Run],
        flat: FloatArray,
        pixels: FloatArray,
        ground: FloatArray,
        strength: FloatArray,
        mask: NDArray[np.bool_],
        tilt_rad: Vec2,
    ) -> tuple[list[_Run], SeenCircle | None, NDArray[np.intp]]:
        """Look for the circle among points of no segment and of short ones; drop the segments that were its arcs."""
        firm = np.zeros(len(pixels), bool)
        short = []
        for run in runs:
            ends = ground[[run.chosen[0], run.chosen[-1]]]
            if np.linalg.norm(ends[0] - ends[1]) > 2.4 * self.config.circle.radius_m:
                firm[run.chosen] = True
            else:
                short.append(run)
        long = [run for run in runs if run not in short]
        firm |= self._near(flat, long, 3.0 * self.config.tolerance_px)
        # Weak points are mostly carpet; those of short segments have been believed already.
        believed = strength >= self.config.circle.min_strength
        for run in short:
            believed[run.chosen] = True
        pool = np.flatnonzero(~firm & believed)
        circle, inside = find_circle(self.config.circle, self.camera, pixels[pool], ground[pool], mask, tilt_rad)
        nobody = np.zeros(0, np.intp)
        if circle is None:
            return runs, None, nobody
        mine = pool[inside]
        # Any line can be taken for a piece of a circle, and a corner for a larger one; few straight lines never
        # explain a circle's points as well as the circle does.
        if self._near(flat[mine], short[:2], self.config.tolerance_px).mean() > self.config.circle.max_straight:
            return runs, None, nobody
        kept = [run for run in runs if run not in short or np.isin(run.chosen, mine).mean() < 0.6]
        return kept, circle, mine

    def _finished(self, runs: list[_Run], strength: FloatArray, tilt_rad: Vec2) -> tuple[LineSegment, ...]:
        if not runs:
            return ()
        k = self.camera.intrinsics
        ends = np.array([end for run in runs for end in (run.start, run.end)])
        x, y = distort(ends[:, 0] / k.fx, ends[:, 1] / k.fy, k.distortion)
        pixels = np.stack((x * k.fx + k.cx, y * k.fy + k.cy), axis=1)
        floor = self.camera.ground_points(pixels, tilt_rad)
        spread = self.camera.ground_covariance(pixels, tilt_rad)
        return tuple(
            LineSegment(
                ends_px=(_pair(pixels[i]), _pair(pixels[i + 1])),
                ends_in_robot_m=(_pair(floor[i]), _pair(floor[i + 1])),
                covariances_m2=(_cov(spread[i]), _cov(spread[i + 1])),
                points=len(run.chosen),
                strength=float(strength[run.chosen].sum()),
            )
            for i, run in zip(range(0, len(ends), 2), runs, strict=True)
        )

    def _points(
        self, pixels: FloatArray, ground: FloatArray, used: NDArray[np.intp], tilt_rad: Vec2
    ) -> tuple[LinePoint, ...]:
        """Return at most `shown_points` of the points that lie on something found, spread evenly over them."""
        limit = self.config.shown_points
        if not len(used) or not limit:
            return ()
        order = used[np.lexsort((pixels[used, 1], pixels[used, 0]))]
        order = order[np.linspace(0, len(order) - 1, min(limit, len(order))).round().astype(int)]
        spread = self.camera.ground_covariance(pixels[order], tilt_rad)
        return tuple(
            LinePoint(
                pixel_px=(p[0], p[1]), position_in_robot_m=(f[0], f[1]), covariance_m2=((s[0], s[1]), (s[2], s[3]))
            )
            for p, f, s in zip(
                pixels[order].tolist(), ground[order].tolist(), spread.reshape(-1, 4).tolist(), strict=True
            )
        )


def _pairs(
    points: FloatArray, level: NDArray[np.bool_], step: FloatArray, most: int = 280
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return pairs of points of one family, 4 to 12 scan lines apart, at most 50 degrees off across them."""
    pairs = []
    for family in (np.flatnonzero(level), np.flatnonzero(~level)):
        if len(family) < 2:
            continue
        lying = bool(level[family[0]])
        across, aside = points[family].T.astype(np.float32)[:: -1 if lying else 1]
        reach = step[family].astype(np.float32)[:, None]
        ahead = across[None, :] - across[:, None]
        good = (ahead >= 4.0 * reach) & (ahead <= 12.0 * reach)
        first, second = np.nonzero(good)
        fit = np.abs(aside[second] - aside[first]) <= 1.2 * ahead[first, second]
        pairs.append((family[first[fit]], family[second[fit]]))
    if not pairs:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    first, second = (np.concatenate(column) for column in zip(*pairs, strict=True))
    stride = max(1, -(-len(first) // most))
    return first[::stride], second[::stride]


def _total_least_squares(points: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return (centroid, unit direction) of the line with the least weighted squared distances."""
    share = weight / weight.sum()
    middle = share @ points
    away = points - middle
    xx, yy = float(share @ away[:, 0] ** 2), float(share @ away[:, 1] ** 2)
    xy = float(share @ (away[:, 0] * away[:, 1]))
    angle = 0.5 * np.arctan2(2.0 * xy, xx - yy)
    return middle, np.array([np.cos(angle), np.sin(angle)])


def _pair(values: FloatArray) -> Vec2:
    return float(values[0]), float(values[1])


def _cov(matrix: FloatArray) -> Cov2:
    return (float(matrix[0, 0]), float(matrix[0, 1])), (float(matrix[1, 0]), float(matrix[1, 1]))
