"""One PNG of a run: the field with the true and the believed path, and beside it what the camera saw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from robot.core.config import from_dict
from robot.core.errors import RecordingError
from robot.core.field import BALL_RADIUS_M, FieldGeometry
from robot.core.geometry import Pose2
from robot.core.messages import ObjectClass, Vec2
from robot.recording.frames import annotated_frames
from robot.recording.reader import Recording
from robot.recording.report import fields_from_world
from robot.recording.run_data import RunData, load_run

_FRAMES = 2
_MAP_WIDTH_PX = 900
_SHIFT = 4  # cv2 draws at 1/16 pixel: paths stay smooth
_CARPET, _LINE = (84, 104, 78), (214, 220, 210)
_TRUE, _BELIEVED, _BALL = (235, 235, 235), (255, 160, 60), (42, 138, 255)
_TEXT_SCALE = 0.5


class _Map:
    """A field seen from above; x to the right, y up."""

    def __init__(self, field: FieldGeometry, width_px: int) -> None:
        self._x_min, x_max, y_min, self._y_max = field.wall_bounds_m()
        self._scale = width_px / (x_max - self._x_min)
        height_px = round((self._y_max - y_min) * self._scale)
        self.image: NDArray[np.uint8] = np.empty((height_px, width_px, 3), np.uint8)
        self.image[:] = _CARPET
        x, y = field.length_m / 2, field.width_m / 2
        self.path(((-x, -y), (x, -y), (x, y), (-x, y), (-x, -y)), _LINE)
        self.path(((0.0, -y), (0.0, y)), _LINE)
        self.circle((0.0, 0.0), field.centre_circle_radius_m, _LINE)
        depth, half = field.defense_depth_m, field.defense_width_m / 2
        mouth, back = field.goal_width_m / 2, x + field.goal_depth_m
        for side in (-1.0, 1.0):
            self.path([(side * a, b) for a, b in ((x, -half), (x - depth, -half), (x - depth, half), (x, half))], _LINE)
            self.path([(side * a, b) for a, b in ((x, -mouth), (back, -mouth), (back, mouth), (x, mouth))], _LINE, 4)

    def _at(self, point_m: Vec2) -> tuple[int, int]:
        one = 1 << _SHIFT
        x, y = (point_m[0] - self._x_min) * self._scale, (self._y_max - point_m[1]) * self._scale
        return round(x * one), round(y * one)

    def path(self, points_m: Sequence[Vec2], colour: tuple[int, int, int], width_px: int = 2) -> None:
        """Draw an open line through the points."""
        corners = np.array([self._at(p) for p in points_m], np.int32).reshape(-1, 1, 2)
        cv2.polylines(self.image, [corners], False, colour, width_px, cv2.LINE_AA, _SHIFT)

    def circle(self, centre_m: Vec2, radius_m: float, colour: tuple[int, int, int], width_px: int = 2) -> None:
        """Draw a circle; a negative width fills it."""
        radius = round(radius_m * self._scale * (1 << _SHIFT))
        cv2.circle(self.image, self._at(centre_m), radius, colour, width_px, cv2.LINE_AA, _SHIFT)

    def robot(self, pose: Pose2, colour: tuple[int, int, int]) -> None:
        """Draw a robot with its heading."""
        self.circle((pose.x_m, pose.y_m), 0.09, colour, 3)
        self.path(((pose.x_m, pose.y_m), pose.transform((0.16, 0.0))), colour, 3)


def write_picture(recording: Recording, path: Path) -> Path:
    """Write the picture and return its path.

    Raises:
        RecordingError: nothing to draw, or the file cannot be written.
    """
    data = load_run(recording)
    frames_with_ball = annotated_frames(recording, data, _FRAMES, showing=ObjectClass.BALL)
    column = [_captioned(f.image_bgr, f.caption) for f in frames_with_ball]
    drawing = _field_map(recording, data)
    if column:
        frames = np.vstack(column)
        height = drawing.shape[0]
        width = round(frames.shape[1] * height / frames.shape[0])
        drawing = np.hstack([drawing, cv2.resize(frames, (width, height), interpolation=cv2.INTER_AREA)])
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), drawing):
        raise RecordingError(f"cannot write {path}", hint="give a folder you may write, and a name ending in .png")
    return path


def _field_map(recording: Recording, data: RunData) -> NDArray[np.uint8]:
    drawing = _Map(from_dict(FieldGeometry, recording.header.field_geometry, where="recorded field"), _MAP_WIDTH_PX)
    believed = [
        to_field @ r.world.robot.world_from_robot
        for to_field, r in zip(fields_from_world(data), data.results, strict=True)
    ]
    if data.truth:
        drawing.path([(p.x_m, p.y_m) for _, p, _ in data.truth], _TRUE, 5)
        balls = [ball for _, _, ball in data.truth if ball is not None]
        if balls:
            drawing.path(balls, _BALL)
            drawing.circle(balls[0], BALL_RADIUS_M * 2, _BALL)
            drawing.circle(balls[-1], BALL_RADIUS_M * 2, _BALL, -1)
        drawing.robot(data.truth[-1][1], _TRUE)
    drawing.path([(p.x_m, p.y_m) for p in believed], _BELIEVED, 2)
    drawing.robot(believed[0], _BELIEVED)
    key = (("true path", _TRUE), ("believed path", _BELIEVED), ("ball", _BALL))
    for i, (text, colour) in enumerate(key if data.truth else key[1:2]):
        cv2.putText(
            drawing.image, text, (50 + 150 * i, 62), cv2.FONT_HERSHEY_SIMPLEX, _TEXT_SCALE * 1.2, colour, 2, cv2.LINE_AA
        )
    return drawing.image


def _captioned(image_bgr: NDArray[np.uint8], caption: str) -> NDArray[np.uint8]:
    strip: NDArray[np.uint8] = np.full((40, image_bgr.shape[1], 3), 32, np.uint8)
    cv2.putText(strip, caption, (12, 28), cv2.FONT_HERSHEY_SIMPLEX, _TEXT_SCALE * 1.6, (230, 230, 230), 2, cv2.LINE_AA)
    return np.vstack([image_bgr, strip])
