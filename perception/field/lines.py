"""Lines on the floor from a picture: points (`ridges`), segments, the centre circle and junctions; and goal posts."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.camera.lens import distort, undistort
from perception.camera.model import CameraModel
from perception.field.circle import find_circle
from perception.field.edge import floor_hull
from perception.field.extend import extended
from perception.field.features import FieldFeatures, LinePoint, LineSegment, SeenCircle
from perception.field.junctions import find_junctions
from perception.field.line_config import LineConfig
from perception.field.posts import PostFinder
from perception.field.ridges import RidgeScanner
from perception.field.segments import Points, Run, find_runs, is_narrow, near_runs
from robot.core.geometry import FloatArray
from robot.core.messages import BoxPx, Cov2, Vec2

Image = NDArray[np.uint8]

_HULL_MARGIN_PX = 2.0
_BOX_MARGIN_PX = 3.0
_BLUR_PX = 6.0
"""What the lens and the shutter add to a line's width."""
_LEAST_ARCS = 2
"""A circle shows as short straight pieces before it is one: seen with fewer, it is not looked for."""
_MOST_SIGMAS = 12.0
"""A single point is worth no more than this: paint with glare is not more of a line."""

__all__ = ["FieldFeatures", "LineConfig", "LineFinder", "LinePoint", "LineSegment"]


class LineFinder:
    """Finds field lines. Stateless: the same picture gives the same lines."""

    def __init__(self, config: LineConfig, camera: CameraModel) -> None:
        self.config, self.camera = config, camera
        self._scanner = RidgeScanner(config.ridges, camera)
        self._posts = PostFinder(config.posts, camera) if config.posts.enabled else None

    def find(
        self,
        image_bgr: Image,
        mask: NDArray[np.bool_],
        edge_px: tuple[Vec2, ...],
        boxes_px: tuple[BoxPx, ...] = (),
        tilt_rad: Vec2 = (0.0, 0.0),
    ) -> FieldFeatures:
        """Return points, segments, junctions, the circle and goal posts.

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
        hull = floor_hull(edge_px, mask, self._scanner.size_px, boxes_px)
        # Cells at the carpet's edge are part wall; the hull draws the line there, to a pixel.
        mask = cv2.dilate(mask.view(np.uint8), np.ones((3, 3), np.uint8)).view(np.bool_)
        grey = np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY), np.uint8)
        points = self._line_points(grey, mask, hull, boxes_px, tilt_rad)
        sides = self._sides(points, tilt_rad)
        runs = [run for run in find_runs(self.config, points) if is_narrow(self.config, points, run, sides)]
        runs, circle, on_circle = self._with_circle(runs, points, grey, mask, tilt_rad)
        runs = extended(runs, points, self.camera, grey, mask)
        segments = self._finished(runs, points.strength, tilt_rad)
        used = np.unique(np.concatenate([run.chosen for run in runs] + [on_circle]))
        return FieldFeatures(
            points=self._shown(points, used),
            segments=segments,
            junctions=find_junctions(segments, self.camera, mask, boxes_px, tilt_rad),
            circle=circle,
            posts=self._posts.find(image_bgr, hull, boxes_px, tilt_rad) if self._posts is not None else (),
        )

    # --- points -----------------------------------------------------------------------------------------------

    def _line_points(
        self, grey: Image, mask: NDArray[np.bool_], hull: FloatArray, boxes: tuple[BoxPx, ...], tilt_rad: Vec2
    ) -> Points:
        """Return the points on the floor that may be of lines, by single scan lines and by sums along far lines."""
        k, c = self.camera.intrinsics, self.config
        ridges = self._scanner.scan(grey, mask)
        u, v = ridges.pixels_px.T
        free = v > np.interp(u, hull[:, 0], hull[:, 1]) + _HULL_MARGIN_PX
        keep = np.flatnonzero(free & ~_in_boxes(u, v, boxes))
        keep = keep[np.argsort(-ridges.strength[keep], kind="stable")[: c.max_points]]
        pixels = ridges.pixels_px[keep]
        x, y = undistort((pixels[:, 0] - k.cx) / k.fx, (pixels[:, 1] - k.cy) / k.fy, k.distortion)
        points = Points(
            pixels_px=pixels,
            flat_px=np.stack((x * k.fx, y * k.fy), axis=1),
            ground_m=self.camera.ground_points(pixels, tilt_rad),
            strength=np.minimum(ridges.strength[keep], _MOST_SIGMAS),
            level=ridges.level[keep],
            step_px=ridges.step_px[keep],
            width_px=ridges.width_px[keep],
        )
        return points.take(np.hypot(points.ground_m[:, 0], points.ground_m[:, 1]) < c.ridges.max_range_m)

    def _sides(self, points: Points, tilt_rad: Vec2) -> FloatArray:
        """Return the way on the floor from one side of the band to the other at each point (N, 2)."""
        reach = 0.5 * np.maximum(points.width_px - _BLUR_PX, 0.0)
        step = np.stack((np.where(points.level, reach, 0.0), np.where(points.level, 0.0, reach)), axis=1)
        sides = self.camera.ground_points(np.concatenate((points.pixels_px - step, points.pixels_px + step)), tilt_rad)
        way: FloatArray = sides[len(points) :] - sides[: len(points)]
        return way

    # --- outputs ----------------------------------------------------------------------------------------------

    def _with_circle(
        self, runs: list[Run], points: Points, grey: Image, mask: NDArray[np.bool_], tilt_rad: Vec2
    ) -> tuple[list[Run], SeenCircle | None, NDArray[np.intp]]:
        """Look for the circle among points of no segment and of short ones; drop the segments that were its arcs."""
        c, flat, ground = self.config.circle, points.flat_px, points.ground_m
        firm = np.zeros(len(points), bool)
        short: list[Run] = []
        long: list[Run] = []
        for run in runs:
            ends = ground[[run.chosen[0], run.chosen[-1]]]
            is_long = bool(np.linalg.norm(ends[0] - ends[1]) > 2.4 * c.radius_m)
            (long if is_long else short).append(run)
            if is_long:
                firm[run.chosen] = True
        nobody = np.zeros(0, np.intp)
        if len(short) < _LEAST_ARCS:
            return runs, None, nobody
        firm |= near_runs(flat, long, 3.0 * self.config.tolerance_px)
        # Weak points are mostly carpet; those of short segments have been believed already.
        believed = points.strength >= c.min_strength
        for run in short:
            believed[run.chosen] = True
        pool = np.flatnonzero(~firm & believed)
        circle, inside = find_circle(c, self.camera, points.pixels_px[pool], ground[pool], grey, mask, tilt_rad)
        if circle is None:
            return runs, None, nobody
        mine = pool[inside]
        # Any line can be taken for a piece of a circle, and a corner for a larger one; few straight lines never
        # explain a circle's points as well as the circle does.
        sure = circle.turn_rad >= (2.6 if circle.share >= 0.85 else 3.9)
        straight = near_runs(flat[mine], short[:2], self.config.tolerance_px).mean() if len(mine) else 1.0
        if not sure and straight > c.max_straight:
            return runs, None, nobody
        kept = [run for run in runs if run not in short or np.isin(run.chosen, mine).mean() < 0.6]
        return kept, circle, mine

    def _finished(self, runs: list[Run], strength: FloatArray, tilt_rad: Vec2) -> tuple[LineSegment, ...]:
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

    def _shown(self, points: Points, used: NDArray[np.intp]) -> tuple[LinePoint, ...]:
        """Return at most `shown_points` of the points that lie on something found, spread evenly over them."""
        limit = self.config.shown_points
        if not len(used) or not limit:
            return ()
        order = used[np.lexsort((points.pixels_px[used, 1], points.pixels_px[used, 0]))]
        order = order[np.linspace(0, len(order) - 1, min(limit, len(order))).round().astype(int)]
        pixels, places = points.pixels_px[order].tolist(), points.ground_m[order].tolist()
        return tuple(
            LinePoint(pixel_px=(p[0], p[1]), position_in_robot_m=(f[0], f[1]))
            for p, f in zip(pixels, places, strict=True)
        )


def _in_boxes(u: FloatArray, v: FloatArray, boxes: tuple[BoxPx, ...]) -> NDArray[np.bool_]:
    """Tell which pixels lie in (or a few pixels beside) a box."""
    inside = np.zeros(u.shape, bool)
    m = _BOX_MARGIN_PX
    for x0, y0, x1, y1 in boxes:
        inside |= (u > x0 - m) & (u < x1 + m) & (v > y0 - m) & (v < y1 + m)
    return inside


def _pair(values: FloatArray) -> Vec2:
    return float(values[0]), float(values[1])


def _cov(matrix: FloatArray) -> Cov2:
    return (float(matrix[0, 0]), float(matrix[0, 1])), (float(matrix[1, 0]), float(matrix[1, 1]))
