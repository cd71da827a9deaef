"""Rendered pictures with the exact places of all visible field markings, to judge a line finder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.camera.model import CameraModel
from perception.field.model import FieldModel, Junction, field_model
from robot.core.body import RobotBody
from robot.core.field import BALL_RADIUS_M, FieldGeometry
from robot.core.geometry import FloatArray, Pose2, Twist2
from robot.core.messages import BoxPx, ObjectClass
from sim.camera.dataset import world_from_optical
from sim.camera.imaging import ImagePipeline, sample_sensor_style
from sim.camera.renderer import SceneRenderer
from sim.camera.shutter import CameraMotion, ShutterWarp
from sim.camera.style import VenueStyle, sample_venue_style
from sim.evaluation.post_labels import TruePost, true_posts
from sim.setup import seed_sequence

MAX_RANGE_M = 4.0
STEP_M = 0.01
_MARGIN_PX = (40, 24)
_HIDDEN_PX = 5
"""A marking this near to an object in the picture counts as hidden: its contrast is no longer with the carpet."""
_ROBOTS, _BALLS = 3, 2


@dataclass(frozen=True, kw_only=True)
class FieldPicture:
    """One picture and what is painted in it.

    `image_bgr` (H, W, 3); `camera` is what the robot believes of its camera (a little wrong in pitch and roll);
    `points_px` (N, 2) are samples of all markings in the picture out to 5 m, `halves_px` (N, 2) the way from
    each to the end of the piece that it stands for, `visible` (N,) those that are to be found
    (within `MAX_RANGE_M`, not hidden), `weight_px` and `weight_m` (N,) the length that each stands for, `names` the
    marking of each; `junctions` are the visible ones, pixels first; `circle_px` is the centre circle's centre, if at
    least a third of the circle is visible. `width_px` (N,) is how wide the painted line is in the picture, across it.
    `boxes_px` are the boxes of robots and balls, as a perfect detector gives them; `posts` are the goal posts whose
    feet are in the picture.
    """

    image_bgr: NDArray[np.uint8]
    camera: CameraModel
    points_px: FloatArray
    halves_px: FloatArray
    visible: NDArray[np.bool_]
    weight_px: FloatArray
    weight_m: FloatArray
    width_px: FloatArray
    names: list[str]
    junctions: tuple[tuple[tuple[float, float], Junction], ...]
    crossings_px: FloatArray
    circle_px: tuple[float, float] | None
    boxes_px: tuple[BoxPx, ...]
    posts: tuple[TruePost, ...] = ()


def field_pictures(
    count: int,
    seed: int,
    camera: CameraModel,
    field: FieldGeometry,
    *,
    views_per_venue: int = 4,
    at_goals: bool = False,
) -> Iterator[FieldPicture]:
    """Yield pictures of random venues, lights, poses, mountings; the same seed gives the same ones.

    Args:
        count: how many.
        seed: of everything that is random.
        camera: the nominal camera; mounting errors are drawn around it (12 mm, 2.5 degrees of pitch, 0.8 of roll).
        field: dimensions.
        views_per_venue: pictures between two changes of venue.
        at_goals: stand before goals and look at them, rather than anywhere on the field.

    Raises:
        SimulationError: no headless renderer.
    """
    model = field_model(field)
    done = 0
    for venue_seed in seed_sequence(seed).spawn(-(-count // views_per_venue)):
        rng = np.random.default_rng(venue_seed)
        style = sample_venue_style(rng)
        pinhole = ShutterWarp(camera, _MARGIN_PX).pinhole
        with SceneRenderer(style, field, RobotBody(), pinhole, robots=_ROBOTS, balls=_BALLS) as renderer:
            for _ in range(min(views_per_venue, count - done)):
                yield _picture(rng, renderer, camera, field, model, style, at_goals)
                done += 1


def _mounted(
    rng: np.random.Generator, camera: CameraModel, pitch_deg: float, roll_deg: float, mm: float
) -> CameraModel:
    mounting = camera.mounting
    return replace(
        camera,
        mounting=replace(
            mounting,
            height_m=mounting.height_m + 0.001 * mm * float(rng.standard_normal()),
            pitch_rad=mounting.pitch_rad + math.radians(pitch_deg * float(rng.standard_normal())),
            roll_rad=mounting.roll_rad + math.radians(roll_deg * float(rng.standard_normal())),
        ),
    )


def _pose_anywhere(rng: np.random.Generator, field: FieldGeometry) -> Pose2:
    x_min, x_max, y_min, y_max = field.wall_bounds_m()
    return Pose2(
        float(rng.uniform(x_min + 0.2, x_max - 0.2)),
        float(rng.uniform(y_min + 0.2, y_max - 0.2)),
        float(rng.uniform(-math.pi, math.pi)),
    )


def _pose_at_goal(rng: np.random.Generator, field: FieldGeometry) -> Pose2:
    """Return a pose 0.4 to 4 m before the goal at +x, at most 70 degrees off the axis, looking at it more or less."""
    _, x_max, y_min, y_max = field.wall_bounds_m()
    distance, angle = float(rng.uniform(0.4, 4.0)), float(rng.uniform(-1.22, 1.22))
    goal = 0.5 * field.length_m
    x = float(np.clip(goal - distance * math.cos(angle), -x_max + 0.2, x_max - 0.2))
    y = float(np.clip(distance * math.sin(angle), y_min + 0.2, y_max - 0.2))
    return Pose2(x, y, math.atan2(-y, goal - x) + float(rng.normal(0.0, 0.35)))


def _picture(
    rng: np.random.Generator,
    renderer: SceneRenderer,
    nominal: CameraModel,
    field: FieldGeometry,
    model: FieldModel,
    style: VenueStyle,
    at_goals: bool,
) -> FieldPicture:
    camera = _mounted(rng, nominal, 2.5, 0.8, 12.0)
    believed = _mounted(rng, camera, 0.3, 0.3, 2.0)
    pose = _pose_at_goal(rng, field) if at_goals else _pose_anywhere(rng, field)

    def ahead(near_m: float) -> tuple[float, float]:
        distance, bearing = float(rng.uniform(near_m, 3.5)), float(rng.uniform(-0.5, 0.5))
        return pose.transform((0.09 + distance * math.cos(bearing), distance * math.sin(bearing)))

    robots = [Pose2(*ahead(0.4), float(rng.uniform(-math.pi, math.pi))) for _ in range(int(rng.integers(0, 4)))]
    balls = [(*ahead(0.2), BALL_RADIUS_M) for _ in range(int(rng.integers(0, 3)))]
    renderer.place(robots, balls)
    warp = ShutterWarp(camera, _MARGIN_PX)
    renderer.pinhole = warp.pinhole
    eye = world_from_optical(camera, pose)
    sensor = sample_sensor_style(rng)
    motion = CameraMotion()
    if (
        rng.random() < 0.5
    ):  # blurred, but no rolling shutter: that would move the lines, and correcting it is not judged
        motion = CameraMotion(
            twist_in_robot=Twist2(float(rng.normal(0.0, 0.8)), float(rng.normal(0.0, 0.4)), float(rng.normal(0.0, 1.8)))
        )
    exposed = warp.expose(renderer.render(eye), motion, exposure_s=sensor.exposure_s)
    size = (camera.intrinsics.width_px, camera.intrinsics.height_px)
    jpeg = ImagePipeline(sensor, size, rng).develop(cv2.cvtColor(exposed, cv2.COLOR_RGB2BGR))
    image = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    ids = warp.warp_labels(renderer.segment(eye))
    upright = [k for k, item in enumerate(renderer.objects) if item.object_class is not ObjectClass.GOAL]
    posts = true_posts(camera, pose, field, style.goal_thickness_m, ids, upright)
    return replace(_labelled(image, camera, believed, pose, model, ids, upright, style.line_width_m), posts=posts)


def _labelled(
    image: NDArray[np.uint8],
    camera: CameraModel,
    believed: CameraModel,
    pose: Pose2,
    model: FieldModel,
    ids: NDArray[np.int16],
    boxed: list[int],
    line_width_m: float,
) -> FieldPicture:
    height, width = image.shape[:2]
    hidden = cv2.dilate((ids >= 0).astype(np.uint8), np.ones((_HIDDEN_PX, _HIDDEN_PX), np.uint8)) > 0
    points, directions, names = model.sample(STEP_M)
    local = _in_robot(pose, points)
    pixels = camera.project(np.column_stack((local, np.zeros(len(local)))))
    other = camera.project(np.column_stack((_in_robot(pose, points + 0.5 * STEP_M * directions), np.zeros(len(local)))))
    across = np.stack((-directions[:, 1], directions[:, 0]), axis=1)
    side = camera.project(
        np.column_stack((_in_robot(pose, points + 0.5 * line_width_m * across), np.zeros(len(local))))
    )
    inside = _in_picture(pixels, width, height) & np.isfinite(side).all(axis=1) & np.isfinite(other).all(axis=1)
    ranges = np.hypot(local[:, 0], local[:, 1])
    keep = inside & (ranges < MAX_RANGE_M + 1.0)
    pixels, other, side, ranges = pixels[keep], other[keep], side[keep], ranges[keep]
    tangent = (other - pixels) / np.maximum(np.hypot(*(other - pixels).T), 1e-9)[:, None]
    half_width = np.abs((side - pixels)[:, 0] * tangent[:, 1] - (side - pixels)[:, 1] * tangent[:, 0])
    names = [name for name, kept in zip(names, keep, strict=True) if kept]
    free = ~hidden[np.rint(pixels[:, 1]).astype(int), np.rint(pixels[:, 0]).astype(int)]
    visible = free & (ranges < MAX_RANGE_M)
    ring = np.array([name == "circle" for name in names], bool)
    circle = None
    if model.arcs and (visible & ring).sum() * STEP_M > model.arcs[0].radius_m * math.tau / 3.0:
        at = camera.project([[*_in_robot(pose, np.array([model.arcs[0].centre_m]))[0], 0.0]])[0]
        circle = (float(at[0]), float(at[1])) if np.isfinite(at).all() else None
    boxes = []
    for k in boxed:
        v, u = np.nonzero(ids == k)
        if len(u):
            boxes.append((float(u.min()), float(v.min()), float(u.max() + 1), float(v.max() + 1)))
    return FieldPicture(
        image_bgr=image,
        camera=believed,
        points_px=pixels,
        halves_px=other - pixels,
        visible=visible,
        weight_px=2.0 * np.hypot(*(other - pixels).T),
        weight_m=np.full(len(pixels), STEP_M),
        width_px=2.0 * half_width,
        names=names,
        junctions=_seen_junctions(camera, pose, model, hidden),
        crossings_px=_crossings(camera, pose, model),
        circle_px=circle,
        boxes_px=tuple(boxes),
    )


def _seen_junctions(
    camera: CameraModel, pose: Pose2, model: FieldModel, hidden: NDArray[np.bool_]
) -> tuple[tuple[tuple[float, float], Junction], ...]:
    """Return the junctions that a finder can tell: 0.25 m of floor around them is in the picture and free."""
    height, width = hidden.shape
    around = np.array([(0.0, 0.0), (0.25, 0.0), (-0.25, 0.0), (0.0, 0.25), (0.0, -0.25)])
    found = []
    for junction in model.junctions:
        local = _in_robot(pose, np.array(junction.position_m) + around)
        pixels = camera.project(np.column_stack((local, np.zeros(len(local)))))
        if not _in_picture(pixels, width, height).all() or math.hypot(*local[0]) > MAX_RANGE_M:
            continue
        rows, columns = np.rint(pixels[:, 1]).astype(int), np.rint(pixels[:, 0]).astype(int)
        if not hidden[rows, columns].any():
            found.append(((float(pixels[0, 0]), float(pixels[0, 1])), junction))
    return tuple(found)


def _crossings(camera: CameraModel, pose: Pose2, model: FieldModel) -> FloatArray:
    """Return where markings meet in the picture or beyond (N, 2): junctions, and the circle's four with lines."""
    places = [junction.position_m for junction in model.junctions]
    for arc in model.arcs:
        r = arc.radius_m
        places += [(r, 0.0), (-r, 0.0), (0.0, r), (0.0, -r)]
    local = _in_robot(pose, np.array(places))
    return camera.project(np.column_stack((local, np.zeros(len(local)))))


def _in_robot(pose: Pose2, points_m: FloatArray) -> FloatArray:
    c, s = math.cos(pose.theta_rad), math.sin(pose.theta_rad)
    away = points_m - np.array([pose.x_m, pose.y_m])
    return np.stack((c * away[:, 0] + s * away[:, 1], -s * away[:, 0] + c * away[:, 1]), axis=1)


def _in_picture(pixels: FloatArray, width: int, height: int, margin_px: float = 3.0) -> NDArray[np.bool_]:
    u, v = pixels[:, 0], pixels[:, 1]
    inside: NDArray[np.bool_] = (
        (u >= margin_px) & (u <= width - 1 - margin_px) & (v >= margin_px) & (v <= height - 1 - margin_px)
    )
    return inside
