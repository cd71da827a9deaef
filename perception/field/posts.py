"""Goal posts from the picture: the feet of the goal's two front corners. No colour or brightness is set by hand.

A goal is three plain walls, nearly as high as the camera, open towards the field. Whatever it is painted, its front
corners stand nearer to the camera than what is beside them: on one side the mouth goes back to the goal's rear wall, on
the other the goal's side, or open floor, goes back to the field's wall. In the strip along the carpet's edge
(`wall_strip`) a post is a tooth that hangs from a plain bar. A column's bar is plain when it is of one colour from the
foot to nearly the goal's height and another one follows above; its foot is where its own colour gives way to that of
the carpet before it. How far a tooth stands out is measured in metres on the floor, against what one picture row is
worth there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.camera.model import CameraModel
from perception.field.features import SeenPost
from perception.field.wall_strip import StripCutter, WallStrip
from robot.core.geometry import FloatArray
from robot.core.messages import BoxPx, Vec2

Image = NDArray[np.uint8]
Plane = NDArray[np.float32]

_STEP_PX = 2
_ASIDE_M = np.array([0.05, 0.08, 0.11, 0.15, 0.19, 0.23, 0.28])[:, None]
"""Where beside a tooth its neighbours are looked at: beyond the goal's depth seen from any side."""
_LEAST_ASIDE = np.arange(2, 2 + len(_ASIDE_M))[:, None]
_UNKNOWN = 1.0
"""Depth, in metres, of a column whose foot is not seen: no tooth is that long."""
_GIVES_WAY = 0.55
"""Share of the bar's colour, between the carpet's and its own, at which the foot is."""
_CARPET_SMOOTH = 31
"""Columns over which the carpet before the bars is averaged: no line is that wide."""
_CARPET_ROWS = 8
"""From this row of the floor on there is carpet before every post."""
_TOP_VARIES = 0.5
"""What ends at the top changes there by this share of the most that it varies below, at least."""
_BESIDE_M = 0.12
"""A tooth beside which something is deeper by this is none."""
_GAP = 5
"""Columns that may lie between two of one tooth."""
_DROP = 3
"""Columns within which a tooth ends."""
_TIP_M, _TIP_SHARE, _SHARP = 0.1, 0.85, 0.9
"""The end is looked for this near to the deepest column, where it is nearly as deep and drops nearly as far."""
_NEAR_PX = 3.0
"""The foot in the full picture is this near to that of the strip, give or take one of the strip's rows."""
_LEAST_SIGMA = 1.0
"""Grey levels: carpets are never smoother than this, pictures of one colour are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PostConfig:
    """What counts as a post.

    `plain` is how much a bar may vary from foot to top, and `top` how much it must differ from what is above it, in
    shares of its contrast with the carpet; that contrast is at least `min_contrast` sigmas of this carpet. A tooth
    stands out on both sides by `least_m` and by `rows_px` picture rows, is at most `most_m` deep, and ends on one side
    within a few pixels by `end_m` and `end_px` rows. Posts farther from the camera than `max_range_m` are left out, and
    walls seen at an angle whose cosine is below `min_cosine`.
    """

    enabled: bool = True
    goal_height_m: float = 0.16
    max_range_m: float = 3.2
    plain: float = 0.3
    top: float = 0.06
    min_contrast: float = 2.0
    least_m: float = 0.07
    rows_px: float = 1.3
    end_m: float = 0.06
    end_px: float = 1.1
    most_m: float = 0.42
    min_cosine: float = 0.355
    box_margin_px: float = 2.0

    def __post_init__(self) -> None:
        if min(self.goal_height_m, self.max_range_m, self.min_contrast, self.least_m, self.most_m) <= 0.0:
            raise ValueError("goal_height_m, max_range_m, min_contrast, least_m and most_m must be positive")


@dataclass(frozen=True, slots=True, eq=False)
class _Bars:
    """Per column (N,): colour (3, N) of the bar's lower half and of the carpet before it; whether it is plain up to the
    goal's top; how far before the wall its foot is, along the line of sight and square to the wall; whether that is
    seen; whether a box hides it.
    """

    colour: Plane
    carpet: Plane
    plain: NDArray[np.bool_]
    before_m: Plane
    depth_m: FloatArray
    known: NDArray[np.bool_]
    boxed: NDArray[np.bool_]


class PostFinder:
    """Finds goal posts. Stateless: the same picture gives the same posts."""

    def __init__(self, config: PostConfig, camera: CameraModel) -> None:
        self.config, self.camera = config, camera
        self._cutter = StripCutter(camera, config.goal_height_m, step_px=_STEP_PX)
        self._all = np.arange(len(self._cutter.columns_px))

    def find(
        self, image_bgr: Image, hull: FloatArray, boxes_px: tuple[BoxPx, ...] = (), tilt_rad: Vec2 = (0.0, 0.0)
    ) -> tuple[SeenPost, ...]:
        """Return the posts, left to right.

        Args:
            image_bgr: (H, W, 3) of the camera's size.
            hull: (N, 2) of the floor, left to right (`perception.field.edge.floor_hull`).
            boxes_px: robots and balls: what they hide is not looked at.
            tilt_rad: (pitch, roll) of the body.
        """
        strip = self._cutter.cut(image_bgr, hull, tilt_rad)
        bars = self._bars(strip, boxes_px)
        posts: list[SeenPost] = []
        for tooth, stands_out in self._teeth(strip, bars):
            post = self._post(image_bgr, strip, bars, tooth, stands_out, tilt_rad)
            if post is not None and all(abs(post.foot_px[0] - p.foot_px[0]) > 4 * _STEP_PX for p in posts):
                posts.append(post)
        return tuple(posts)

    # --- bars -------------------------------------------------------------------------------------------------

    def _bars(self, strip: WallStrip, boxes: tuple[BoxPx, ...]) -> _Bars:
        c, first = self.config, WallStrip.foot
        wall, floor = strip.planes[:, WallStrip.above : first], strip.planes[:, first:]
        mean, low = wall.mean(axis=1), wall[:, -4:].mean(axis=1)
        carpet = np.asarray(
            cv2.blur(floor[:, _CARPET_ROWS:].mean(axis=1), (_CARPET_SMOOTH, 1), borderType=cv2.BORDER_REPLICATE)
        )
        away = floor - carpet[:, None]
        axis = low - carpet
        contrast2 = (axis * axis).sum(axis=0)
        axis_share = axis / np.maximum(contrast2, 1.0)
        share = away[0] * axis_share[0] + away[1] * axis_share[1] + away[2] * axis_share[2]
        spread = np.abs(away[:, _CARPET_ROWS:, ::8]).ravel()
        sigma = max(1.4826 * float(np.partition(spread, len(spread) // 2)[len(spread) // 2]), _LEAST_SIGMA)
        before, known = self._feet(strip, share)
        known &= contrast2 > (c.min_contrast * sigma) ** 2 * len(strip.planes)
        boxed = self._boxed(strip, boxes)
        known &= ~boxed
        varies = ((wall - mean[:, None]) ** 2).sum(axis=0).max(axis=0)
        top2 = ((strip.planes[:, : WallStrip.above] - mean[:, None]) ** 2).sum(axis=0).min(axis=0)
        plain = (varies < c.plain**2 * contrast2) & (top2 > np.maximum(_TOP_VARIES**2 * varies, c.top**2 * contrast2))
        depth = np.where(known, before * strip.cosine, _UNKNOWN)
        return _Bars(low, carpet, plain, before, depth, known, boxed)

    def _feet(self, strip: WallStrip, share: Plane) -> tuple[Plane, NDArray[np.bool_]]:
        """Return where each bar gives way to carpet, metres before the wall, and whether it does."""
        gone = share < _GIVES_WAY
        row = gone.argmax(axis=0)
        known = np.asarray(gone.any(axis=0))
        previous = np.maximum(row - 1, 0)
        above, below = share[previous, self._all], share[row, self._all]
        part = np.where(row > 0, (above - _GIVES_WAY) / np.maximum(above - below, 1e-6), 0.0).astype(np.float32)
        start = strip.before_m[previous, self._all]
        before: Plane = start + part * (strip.before_m[row, self._all] - start)
        return before, known

    def _boxed(self, strip: WallStrip, boxes: tuple[BoxPx, ...]) -> NDArray[np.bool_]:
        u, v, m = self._cutter.columns_px, strip.v_px[WallStrip.above], self.config.box_margin_px
        hidden = np.zeros(len(u), bool)
        for x0, _, x1, y1 in boxes:
            hidden |= (u > x0 - m) & (u < x1 + m) & (y1 > v)
        return hidden

    # --- teeth ------------------------------------------------------------------------------------------------

    def _teeth(self, strip: WallStrip, bars: _Bars) -> list[tuple[NDArray[np.intp], float]]:
        """Return groups of columns that are deeper than what is beside them on either side, and by how much."""
        c, columns = self.config, self._all
        range_m = strip.range_m - np.where(bars.known, bars.before_m, 0.0)
        steps = _ASIDE_M * (self.camera.intrinsics.fx / _STEP_PX) / np.maximum(range_m, 0.3)
        steps = np.maximum(np.rint(steps), _LEAST_ASIDE).astype(np.intp)
        last = len(columns) - 1
        beside = [bars.depth_m[np.clip(columns + sign * steps, 0, last)] for sign in (-1, 1)]
        stands_out = bars.depth_m - np.maximum(beside[0].min(axis=0), beside[1].min(axis=0))
        deeper = np.maximum(*(np.where(side < _UNKNOWN, side, -1.0).max(axis=0) for side in beside)) - bars.depth_m
        need = np.maximum(c.least_m, c.rows_px * self._row_m(range_m))
        tooth = bars.known & bars.plain & (bars.depth_m < c.most_m) & (stands_out > need) & (deeper < _BESIDE_M)
        tooth &= strip.v_px[WallStrip.above] > 0.0  # the bar is in the picture, not the border repeated
        tooth &= (range_m < c.max_range_m) & (strip.cosine > c.min_cosine)
        found = np.flatnonzero(tooth)
        groups = np.split(found, np.flatnonzero(np.diff(found) > _GAP) + 1) if len(found) else []
        result = []
        for group in groups:
            if len(group) >= 2:
                best = group[bars.depth_m[group].argmax()]
                result.append((group, float(stands_out[best] / need[best])))
        return result

    def _row_m(self, range_m: Plane) -> Plane:
        """Return how many metres on the floor one picture row is worth at a distance."""
        worth: Plane = range_m**2 / (self.camera.mounting.height_m * self.camera.intrinsics.fy)
        return worth

    # --- posts ------------------------------------------------------------------------------------------------

    def _post(
        self, image: Image, strip: WallStrip, bars: _Bars, tooth: NDArray[np.intp], strength: float, tilt_rad: Vec2
    ) -> SeenPost | None:
        """Place the post at the end of a tooth."""
        end = self._end(strip, bars, tooth)
        if end is None:
            return None
        column, inwards = end
        inside = [k for k in (column, column + inwards, column + 2 * inwards) if bars.known[k]]
        before = max(float(bars.before_m[k]) for k in inside)
        foot = self._foot(image, strip, bars, column, column + inwards, before)
        seen = self.camera.ground_point(*foot, tilt_rad)
        if seen is None:
            return None
        return SeenPost(
            foot_px=foot,
            top_px=self._top(image, strip, bars, column + inwards),
            position_in_robot_m=seen.position_in_robot_m,
            covariance_m2=seen.covariance_m2,
            strength=strength,
        )

    def _end(self, strip: WallStrip, bars: _Bars, tooth: NDArray[np.intp]) -> tuple[int, int] | None:
        """Return the column where a tooth ends abruptly, and the way (-1, 1) from there into the tooth.

        It ends so at the goal's mouth or at open floor; along the goal's side it gets shallower bit by bit.
        """
        c, depth = self.config, bars.depth_m
        best = int(tooth[depth[tooth].argmax()])
        range_m = float(strip.range_m[best] - bars.before_m[best])
        reach = max(_DROP, int(_TIP_M * self.camera.intrinsics.fx / _STEP_PX / max(range_m, 0.3)))
        near = np.arange(max(best - reach, _DROP), min(best + reach + 1, len(depth) - _DROP))
        near = near[(depth[near] > _TIP_SHARE * depth[best]) & (depth[near] < c.most_m)]
        if not len(near):
            return None
        around = depth[near[:, None] + np.arange(-_DROP, _DROP + 1)]
        drops = depth[near] - np.stack((around[:, :_DROP].min(axis=1), around[:, _DROP + 1 :].min(axis=1)))
        side = int(drops[1].max() > drops[0].max())
        drop = float(drops[side].max())
        sharp = near[drops[side] >= _SHARP * drop]
        column, inwards = (int(sharp[0]), 1) if side == 0 else (int(sharp[-1]), -1)
        beside = slice(column - _DROP, column + _DROP + 1)
        unseen = (~bars.known[beside] & ~bars.boxed[beside]).any()
        row_m = self._row_m(strip.range_m[column] - bars.before_m[column])
        if unseen or drop < max(c.end_m, c.end_px * float(row_m)):
            return None
        return column, inwards

    def _foot(self, image: Image, strip: WallStrip, bars: _Bars, column: int, inside: int, before_m: float) -> Vec2:
        """Return the foot in pixels: found again in the full picture, row by row, just inside of the post's edge."""
        first = WallStrip.foot
        rows = strip.v_px[first:, inside]
        row = float(np.interp(before_m, strip.before_m[:, inside], rows))
        found = _gives_way(
            image, strip.pixel(first, inside), strip.pixel(-1, inside), bars.colour[:, inside], bars.carpet[:, inside]
        )
        near = found[np.abs(found[:, 1] - row) <= _NEAR_PX + (rows[-1] - rows[0]) / len(rows), 1]
        if len(near):
            row = float(near[np.abs(near - row).argmin()])
        before = float(np.interp(row, rows, strip.before_m[:, inside]))
        u, v = (np.interp(before, strip.before_m[:, column], px[first:, column]) for px in (strip.u_px, strip.v_px))
        return float(u), float(v)

    def _top(self, image: Image, strip: WallStrip, bars: _Bars, inside: int) -> Vec2 | None:
        """Return where the post ends above, or None where that is not clear."""
        found = _gives_way(
            image,
            strip.pixel(WallStrip.above, inside),
            strip.pixel(0, inside),
            bars.colour[:, inside],
            strip.planes[:, 0, inside],
        )
        return (float(found[0, 0]), float(found[0, 1])) if len(found) else None


def _gives_way(image: Image, start_px: Vec2, end_px: Vec2, colour: Plane, other: Plane) -> FloatArray:
    """Return the places (M, 2) on a line through the picture where one colour gives way to another, row by row."""
    (u0, v0), (u1, v1) = start_px, end_px
    share = np.arange(math.floor(abs(v1 - v0)) + 1) / max(abs(v1 - v0), 1.0)
    places = np.stack((u0 + share * (u1 - u0), v0 + share * (v1 - v0)), axis=1)
    at = np.rint(places).astype(np.intp)
    height, width = image.shape[:2]
    pixels = image[np.clip(at[:, 1], 0, height - 1), np.clip(at[:, 0], 0, width - 1)]
    axis = colour - other
    mine = (pixels - other) @ axis / max(float(axis @ axis), 1.0)
    k = np.flatnonzero((mine[:-1] >= _GIVES_WAY) & (mine[1:] < _GIVES_WAY))
    part = ((mine[k] - _GIVES_WAY) / np.maximum(mine[k] - mine[k + 1], 1e-6))[:, None]
    found: FloatArray = places[k] + part * (places[k + 1] - places[k])
    return found
