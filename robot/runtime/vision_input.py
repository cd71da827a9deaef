"""Makes a vision result fit for the step: stamped with the exposure, no nonsense in it, nothing from beyond the carpet.

Pure, and cheap: it runs for each picture. Recordings hold what came; this is done after they are written.
"""

from __future__ import annotations

import dataclasses
import math

from perception.field.edge import on_carpet
from robot.core.clock import NS_PER_S
from robot.core.messages import BoxPx, DetectionBatch, ObjectClass, Vec2


def stamped_at_exposure(batch: DetectionBatch, delay_s: float) -> DetectionBatch:
    """Return the batch with `delay_s` (`estimation.vision.delay_s`) taken off its capture time.

    All that looks at a picture's time (tilt, pose, dead reckoning) must look at the same one: so this is done once,
    where the batch comes in.
    """
    delay_ns = int(delay_s * NS_PER_S)
    return dataclasses.replace(batch, t_capture_ns=batch.t_capture_ns - delay_ns) if delay_ns else batch


def without_nonsense(batch: DetectionBatch) -> DetectionBatch | None:
    """Return the batch without what is no number, no box, or no place near the picture; None when it is no frame.

    Points may lie outside of the picture by its own size at most: a line finder extends lines a little, and what is
    farther off (a point at 1e9 px) is a place on the floor only by its arithmetic.
    """
    if not batch.valid or min(batch.image_size_px) <= 0:
        return None
    width, height = batch.image_size_px
    left, right, top, bottom = -width, 2 * width, -height, 2 * height
    # Comparisons with NaN are false: no more tests are needed.
    boxes = tuple(d for d in batch.detections if math.isfinite(d.score) and _is_box(d.box_px))
    points = tuple(p for p in batch.line_points_px if left <= p[0] <= right and top <= p[1] <= bottom)
    posts = tuple(p for p in batch.goal_posts_px if left <= p[0] <= right and top <= p[1] <= bottom)
    segments = tuple(
        s
        for s in batch.line_segments_px
        if left <= s[0] <= right and top <= s[1] <= bottom and left <= s[2] <= right and top <= s[3] <= bottom
    )
    near = [left <= u <= right and top <= v <= bottom for u, v in batch.carpet_edge_px]
    edge, ranges = batch.carpet_edge_px, batch.free_range_m
    if not all(near):
        paired = len(ranges) == len(edge)
        edge, ranges = _only(edge, near), _only(ranges, near) if paired else ranges
    if not all(math.isfinite(bearing) and 0.0 <= reach < math.inf for bearing, reach in ranges):
        ranges = ()
    kept = (
        len(boxes) == len(batch.detections)
        and len(points) == len(batch.line_points_px)
        and len(posts) == len(batch.goal_posts_px)
        and len(segments) == len(batch.line_segments_px)
        and len(edge) == len(batch.carpet_edge_px)
        and len(ranges) == len(batch.free_range_m)
    )
    if kept:
        return batch
    return dataclasses.replace(
        batch,
        detections=boxes,
        carpet_edge_px=edge,
        free_range_m=ranges,
        line_points_px=points,
        line_segments_px=segments,
        goal_posts_px=posts,
    )


def on_field(batch: DetectionBatch, margin_px: float) -> DetectionBatch:
    """Return the batch without balls and robots beyond the carpet's edge (spectators' shoes, oranges, posters)."""
    if not batch.carpet_edge_px:
        return batch
    kept = tuple(
        d
        for d in batch.detections
        if d.object_class is ObjectClass.GOAL or on_carpet(batch.carpet_edge_px, d.box_px, margin_px)
    )
    return batch if len(kept) == len(batch.detections) else dataclasses.replace(batch, detections=kept)


def _only(pairs: tuple[Vec2, ...], chosen: list[bool]) -> tuple[Vec2, ...]:
    return tuple(pair for pair, good in zip(pairs, chosen, strict=True) if good)


def _is_box(box_px: BoxPx) -> bool:
    x_min, y_min, x_max, y_max = box_px
    return all(map(math.isfinite, box_px)) and x_min < x_max and y_min < y_max
