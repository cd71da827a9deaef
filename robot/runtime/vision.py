"""Frame in, `DetectionBatch` out: detector, carpet scan, field lines and goal posts.

The same stage on board, in simulation and from files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from perception.detection.detector import Detector
from perception.field.boundary import CarpetScanner, free_range
from perception.field.carpet_memory import CarpetMemory
from perception.field.lines import LineFinder
from robot.core.clock import Clock
from robot.core.messages import BoxPx, CameraFrame, DetectionBatch, ObjectClass, Vec2
from robot.runtime.robot_config import Robot


@dataclass(frozen=True, kw_only=True, slots=True)
class FloorView:
    """What a picture shows of the floor; the fields are those of `DetectionBatch`.

    Attributes:
        mask: what was taken for carpet, where nobody has asked the carpet's memory yet (`make_stages`); else None.
    """

    carpet_edge_px: tuple[Vec2, ...] = ()
    free_range_m: tuple[Vec2, ...] = ()
    line_points_px: tuple[Vec2, ...] = ()
    line_segments_px: tuple[tuple[float, float, float, float], ...] = ()
    goal_posts_px: tuple[Vec2, ...] = ()
    mask: NDArray[np.bool_] | None = None


ScanFloor = Callable[[NDArray[np.uint8], tuple[BoxPx, ...]], FloorView]
"""Picture and the boxes of robots and balls in it to what is seen of the floor."""

Look = tuple[DetectionBatch, NDArray[np.bool_] | None]
"""What one frame shows by itself, and the carpet's mask where its memory is still to be asked."""


@dataclass
class VisionStage:
    """Owns the detector; not thread-safe.

    Attributes:
        detector: finds robots, balls and goals.
        scan_floor: looks at the floor, or None.
        memory: the carpet's memory that several stages of one camera share: whoever has their results in the order of
            the frames asks it (`in_order`). None where `scan_floor` asks its own.
    """

    detector: Detector
    scan_floor: ScanFloor | None = None
    memory: CarpetMemory | None = None
    _seq: int = field(default=0, init=False)

    def process(
        self, frame: CameraFrame, *, latency_ns: int | None = None, clock: Clock | None = None
    ) -> DetectionBatch:
        """Return what is in the frame; also when that is nothing. For stages that work alone.

        Args:
            frame: a picture of the size that the camera model was calibrated for.
            latency_ns: the batch counts as received this long after the frame (simulation).
            clock: or when this clock says it was done (on board). Exactly one of the two.
        """
        return self.in_order(frame, self.look(frame, latency_ns=latency_ns, clock=clock))

    def in_order(self, frame: CameraFrame, seen: Look) -> DetectionBatch:
        """Return the batch of `look`, less the floor if the carpet's memory says that it is another one.

        Called with every frame of the camera once, in their order, never twice at once.
        """
        batch, mask = seen
        if self.memory is None or mask is None:
            return batch
        if self.memory.agrees(frame.image_bgr, mask, batch.carpet_edge_px):
            return batch
        return replace(
            batch, carpet_edge_px=(), free_range_m=(), line_points_px=(), line_segments_px=(), goal_posts_px=()
        )

    def look(self, frame: CameraFrame, *, latency_ns: int | None = None, clock: Clock | None = None) -> Look:
        """Return what is in the frame, and the carpet's mask for `in_order`; stages beside this one do not matter."""
        started_ns = clock.now_ns() if clock is not None else 0
        detections = self.detector.detect(frame.image_bgr)
        detected_ns = clock.now_ns() if clock is not None else 0
        # A goal's box is mostly floor; robots' and balls' are mostly robots and balls.
        boxes = tuple(d.box_px for d in detections if d.object_class is not ObjectClass.GOAL)
        floor = self.scan_floor(frame.image_bgr, boxes) if self.scan_floor is not None else FloorView()
        height, width = frame.image_bgr.shape[:2]
        self._seq += 1
        batch = DetectionBatch(
            seq=self._seq - 1,
            t_capture_ns=frame.t_capture_ns,
            t_receive_ns=clock.now_ns() if clock is not None else frame.t_receive_ns + (latency_ns or 0),
            valid=frame.valid,
            frame_seq=frame.seq,
            image_size_px=(width, height),
            detections=detections,
            carpet_edge_px=floor.carpet_edge_px,
            free_range_m=floor.free_range_m,
            line_points_px=floor.line_points_px,
            line_segments_px=floor.line_segments_px,
            goal_posts_px=floor.goal_posts_px,
            model_name=self.detector.model_name,
            inference_ns=detected_ns - started_ns,
        )
        return batch, floor.mask


def make_stages(robot: Robot, detectors: Sequence[Detector]) -> list[VisionStage]:
    """Return a stage for each detector, for alternate frames of one camera: they share one memory of the carpet.

    A single stage asks it before it looks for lines; several look first, and the memory is asked in the order of the
    frames (`VisionStage.in_order`). The results are the same.
    """
    if len(detectors) == 1:
        return [make_vision(robot, detectors[0])]
    memory = CarpetMemory() if robot.config.vision.scan_carpet else None
    return [VisionStage(detector, _scan_floor(robot, None), memory) for detector in detectors]


def make_vision(robot: Robot, detector: Detector) -> VisionStage:
    """Return the vision stage of a robot around a loaded detector; it sees all frames of its camera."""
    return VisionStage(detector, _scan_floor(robot, CarpetMemory()))


def _scan_floor(robot: Robot, memory: CarpetMemory | None) -> ScanFloor | None:
    """Return what looks at the floor; without a memory it leaves the mask to whoever has one."""
    if not robot.config.vision.scan_carpet:
        return None
    scanner = CarpetScanner(robot.config.carpet, robot.camera)
    finder = LineFinder(robot.config.lines, robot.camera) if robot.config.vision.find_lines else None
    size = (robot.camera.intrinsics.width_px, robot.camera.intrinsics.height_px)

    def scan(image_bgr: NDArray[np.uint8], boxes_px: tuple[BoxPx, ...]) -> FloorView:
        edge, mask = scanner.scan_with_mask(image_bgr)
        if not edge or (memory is not None and not memory.agrees(image_bgr, mask, edge)):
            return FloorView()
        left = mask if memory is None else None
        ranges = free_range(robot.camera, edge)
        if finder is None or image_bgr.shape[1::-1] != size:  # lines need the calibrated camera; the edge does not
            return FloorView(carpet_edge_px=edge, free_range_m=ranges, mask=left)
        found = finder.find(image_bgr, mask, edge, boxes_px)
        return FloorView(
            carpet_edge_px=edge,
            free_range_m=ranges,
            line_points_px=tuple(point.pixel_px for point in found.points),
            line_segments_px=tuple((*s.ends_px[0], *s.ends_px[1]) for s in found.segments),
            goal_posts_px=tuple(post.foot_px for post in found.posts),
            mask=left,
        )

    return scan
