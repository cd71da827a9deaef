"""Recorded frames with what the detector found in them, for reports and pictures."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from robot.core.messages import CameraFrame, Detection, DetectionBatch, ObjectClass
from robot.recording.reader import Recording
from robot.recording.run_data import RunData

BOX_COLOURS_BGR = {
    ObjectClass.BALL: (42, 138, 255),
    ObjectClass.ROBOT: (255, 203, 142),
    ObjectClass.GOAL: (77, 211, 255),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotatedFrame:
    """A picture with boxes drawn, and what the robot was doing when it arrived."""

    image_bgr: NDArray[np.uint8]
    t_s: float
    caption: str


def annotated_frames(
    recording: Recording, data: RunData, count: int, *, showing: ObjectClass | None = None
) -> list[AnnotatedFrame]:
    """Return at most `count` frames, spread evenly over the run, the first and the last included.

    Args:
        recording: where the frames are.
        data: the same recording's ticks.
        count: at least 2.
        showing: only frames in which such an object was found.
    """
    by_time = {
        seen.t_capture_ns: seen
        for seen in data.detections
        if showing is None or any(d.object_class is showing for d in seen.detections)
    }
    tick_times = [r.t_now_ns for r in data.results]
    result = []
    for frame, seen in _spread(list(_with_detections(recording.frames(), by_time)), count):
        index = min(bisect.bisect_left(tick_times, frame.t_receive_ns), len(tick_times) - 1)
        plan = data.results[index].plan
        t_s = data.seconds(frame.t_capture_ns)
        result.append(
            AnnotatedFrame(
                image_bgr=draw_boxes(frame.image_bgr, seen.detections),
                t_s=t_s,
                caption=f"{t_s:.2f} s, {plan.skill}: {plan.state}",
            )
        )
    return result


def _with_detections(
    frames: Iterable[CameraFrame], by_time: dict[int, DetectionBatch]
) -> Iterator[tuple[CameraFrame, DetectionBatch]]:
    for frame in frames:
        if frame.t_capture_ns in by_time:
            yield frame, by_time[frame.t_capture_ns]


def _spread(items: list[tuple[CameraFrame, DetectionBatch]], count: int) -> list[tuple[CameraFrame, DetectionBatch]]:
    if len(items) <= count:
        return items
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def draw_boxes(image_bgr: NDArray[np.uint8], detections: Sequence[Detection]) -> NDArray[np.uint8]:
    """Return a copy of the picture with each detection's box, class and score."""
    out = image_bgr.copy()
    for one in detections:
        x0, y0, x1, y1 = (round(v) for v in one.box_px)
        colour = BOX_COLOURS_BGR[one.object_class]
        cv2.rectangle(out, (x0, y0), (x1, y1), colour, 2)
        text = f"{one.object_class.name.lower()} {one.score:.2f}"
        cv2.putText(out, text, (x0, max(16, y0 - 5)), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, 2, cv2.LINE_AA)
    return out
