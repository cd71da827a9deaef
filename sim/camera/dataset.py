"""Labelled pictures for training: every few pictures a new venue, every picture a new view and a new camera."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.camera.model import CameraModel
from perception.camera.parameters import CameraIntrinsics, CameraMounting
from robot.core.body import RobotBody
from robot.core.field import BALL_RADIUS_M, FieldGeometry
from robot.core.geometry import Pose2, Twist2
from robot.core.messages import ObjectClass
from sim.camera.imaging import ImagePipeline, sample_sensor_style
from sim.camera.labels import FullExtent, Label, full_extent, visible_labels
from sim.camera.renderer import Pinhole, SceneRenderer
from sim.camera.robot_parts import shell_outline
from sim.camera.shutter import CameraMotion, ShutterWarp
from sim.camera.style import sample_venue_style
from sim.setup import seed_sequence

MAX_ROBOTS, MAX_BALLS = 8, 3
_MARGIN_PX = (40, 24)


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One training picture: the JPEG and its labels."""

    jpeg: bytes
    size_px: tuple[int, int]
    labels: tuple[Label, ...]


def world_from_optical(
    camera: CameraModel, pose: Pose2, tilt_rad: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.float64]:
    """Return the (4, 4) transform of the optical frame of a camera on a robot that stands at `pose`."""
    turn, centre = camera.robot_from_optical(tilt_rad)
    c, s = math.cos(pose.theta_rad), math.sin(pose.theta_rad)
    field_from_robot = np.array([[c, -s, 0.0, pose.x_m], [s, c, 0.0, pose.y_m], [0, 0, 1, 0], [0, 0, 0, 1]])
    robot_from_optical = np.eye(4)
    robot_from_optical[:3, :3], robot_from_optical[:3, 3] = turn, centre
    transform: NDArray[np.float64] = field_from_robot @ robot_from_optical
    return transform


def sample_camera(rng: np.random.Generator) -> CameraModel:
    """Draw a camera: mostly a C922 mounted as on the original robot, sometimes anything between 0.1 and 0.6 m high."""
    wild = rng.random() < 0.3
    focal = float(rng.uniform(430.0, 800.0)) if wild else float(rng.normal(642.5, 6.0))
    k1 = float(rng.normal(0.0, 0.05))
    return CameraModel(
        intrinsics=CameraIntrinsics(
            width_px=640,
            height_px=480,
            fx=focal,
            fy=focal,
            cx=322.8 + float(rng.normal(0.0, 3.0)),
            cy=239.8 + float(rng.normal(0.0, 3.0)),
            distortion=(k1, -0.5 * k1, 0.0, 0.0, 0.0),
        ),
        mounting=CameraMounting(
            x_m=0.09,
            height_m=float(rng.uniform(0.1, 0.6)) if wild else float(rng.normal(0.17, 0.012)),
            pitch_rad=math.radians(float(rng.uniform(4.0, 34.0) if wild else rng.normal(16.8, 2.5))),
            roll_rad=math.radians(float(rng.normal(0.0, 2.5 if wild else 0.8))),
        ),
    )


class _Placer:
    """Places things where the camera probably sees them, inside the walls and apart from each other."""

    def __init__(self, rng: np.random.Generator, field: FieldGeometry, pose: Pose2) -> None:
        self.rng, self.field, self.pose = rng, field, pose
        self.taken: list[tuple[float, float, float]] = [(pose.x_m, pose.y_m, 0.1)]

    def free(self, x: float, y: float, radius_m: float) -> bool:
        x_min, x_max, y_min, y_max = self.field.wall_bounds_m()
        inside = x_min + radius_m < x < x_max - radius_m and y_min + radius_m < y < y_max - radius_m
        goal = (
            abs(x) > 0.5 * self.field.length_m - radius_m
            and abs(abs(y) - 0.5 * self.field.goal_width_m) < 0.03 + radius_m
        )
        return inside and not goal and all(math.hypot(x - a, y - b) > r + radius_m for a, b, r in self.taken)

    def ahead(self, radius_m: float, near_m: float, far_m: float) -> tuple[float, float] | None:
        """Return a free place in the field of view; near places are likelier than far ones."""
        for _ in range(30):
            distance = near_m + (far_m - near_m) * float(self.rng.uniform()) ** 1.6
            bearing = float(self.rng.uniform(-0.52, 0.52))
            x, y = self.pose.transform((0.09 + distance * math.cos(bearing), distance * math.sin(bearing)))
            if self.free(x, y, radius_m):
                self.taken.append((x, y, radius_m))
                return x, y
        return None

    def near_robot(self, robot: Pose2, radius_m: float) -> tuple[float, float] | None:
        """Return a free place at a robot's front (dribbling) or beside it."""
        angle = robot.theta_rad + float(self.rng.normal(0.0, 1.2))
        reach = 0.09 + radius_m + float(self.rng.uniform(0.0, 0.05))
        x, y = robot.x_m + reach * math.cos(angle), robot.y_m + reach * math.sin(angle)
        if self.free(x, y, radius_m * 0.9):
            self.taken.append((x, y, radius_m))
            return x, y
        return None


def _own_pose(rng: np.random.Generator, field: FieldGeometry) -> Pose2:
    """Return a pose inside the walls; half of the time it looks at a goal."""
    x_min, x_max, y_min, y_max = field.wall_bounds_m()
    x, y = float(rng.uniform(x_min + 0.15, x_max - 0.3)), float(rng.uniform(y_min + 0.15, y_max - 0.15))
    if rng.random() < 0.6:
        side = 1.0 if rng.random() < 0.5 else -1.0
        if not x_min < side * 0.5 * field.length_m < x_max:  # half fields have one goal
            side = -side
        distance = float(rng.uniform(0.6, 5.0))
        angle = float(rng.uniform(-1.2, 1.2))
        goal = side * 0.5 * field.length_m
        x = float(np.clip(goal - side * distance * math.cos(angle), x_min + 0.2, x_max - 0.2))
        y = float(np.clip(distance * math.sin(angle), y_min + 0.2, y_max - 0.2))
        return Pose2(x, y, math.atan2(-y, goal - x) + float(rng.normal(0.0, 0.35)))
    return Pose2(x, y, float(rng.uniform(-math.pi, math.pi)))


def full_outline_m(
    kind: ObjectClass, pose: Pose2, field: FieldGeometry, body: RobotBody, eye_m: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return points (N, 3), field frame, whose projection spans the whole object (robot, ball or goal)."""
    if kind is ObjectClass.BALL:
        centre = np.array([pose.x_m, pose.y_m, BALL_RADIUS_M])
        ray = (centre - eye_m) / np.linalg.norm(centre - eye_m)
        side = np.cross(ray, [0.0, 0.0, 1.0])
        side /= np.linalg.norm(side)
        up = np.cross(side, ray)
        angles = np.linspace(0.0, math.tau, 24, endpoint=False)[:, None]
        rim: NDArray[np.float64] = centre + BALL_RADIUS_M * (np.cos(angles) * side + np.sin(angles) * up)
        return rim
    if kind is ObjectClass.ROBOT:
        outline = np.array([pose.transform((x, y)) for x, y in shell_outline(body)])
        return np.concatenate([np.column_stack([outline, np.full(len(outline), z)]) for z in (0.0, 0.14)])
    sign = 1.0 if pose.x_m > 0 else -1.0
    half, t = 0.5 * field.goal_width_m + 0.02, 0.02
    corners = [
        (pose.x_m + sign * dx, dy, dz)
        for dx in (0.0, field.goal_depth_m + t)
        for dy in (-half, half)
        for dz in (0.0, field.goal_height_m)
    ]
    return np.array(corners)


def _project(
    points_m: NDArray[np.float64], world_from_camera: NDArray[np.float64], pin: Pinhole
) -> NDArray[np.float64]:
    optical = (points_m - world_from_camera[:3, 3]) @ world_from_camera[:3, :3]
    depth = np.maximum(optical[:, 2], 0.03)  # what is behind the camera counts as far outside of the picture
    return np.column_stack(
        [pin.fx_px * optical[:, 0] / depth + pin.cx_px, pin.fy_px * optical[:, 1] / depth + pin.cy_px]
    )


def labelled_pictures(
    count: int, seed: int, field: FieldGeometry | None = None, *, views_per_venue: int = 6, lookalikes: int = 0
) -> Iterator[Picture]:
    """Yield `count` training pictures; the same seed gives the same ones.

    Args:
        count: how many.
        seed: of the one generator that everything is drawn from.
        field: dimensions; Division B by default.
        views_per_venue: pictures between two changes of venue (building a venue costs about 0.35 s).
        lookalikes: so many shoes, bags, cones, lamps and large balls stand outside the field; they carry no label.

    Raises:
        ConfigError: the seed is negative.
        SimulationError: no headless renderer.
    """
    field = field or FieldGeometry()
    body = RobotBody()
    done = 0
    for venue_seed in seed_sequence(seed).spawn(-(-count // views_per_venue)):
        rng = np.random.default_rng(venue_seed)
        style = sample_venue_style(rng)
        pinhole = ShutterWarp(sample_camera(rng), _MARGIN_PX).pinhole
        shadows = bool(rng.random() < 0.5)
        with SceneRenderer(
            style,
            field,
            body,
            pinhole,
            robots=MAX_ROBOTS,
            balls=MAX_BALLS,
            shadows=shadows,
            lookalikes=lookalikes,
            golf_balls_outside=False,
        ) as renderer:
            for _ in range(min(views_per_venue, count - done)):
                yield _one_picture(rng, renderer, field, body)
                done += 1


def _one_picture(rng: np.random.Generator, renderer: SceneRenderer, field: FieldGeometry, body: RobotBody) -> Picture:
    camera = sample_camera(rng)
    warp = ShutterWarp(camera, _MARGIN_PX)
    renderer.pinhole = warp.pinhole
    pose = _own_pose(rng, field)
    placer = _Placer(rng, field, pose)
    robots: list[Pose2] = []
    for _ in range(int(rng.choice(MAX_ROBOTS + 1, p=[0.22, 0.2, 0.16, 0.12, 0.1, 0.08, 0.05, 0.04, 0.03]))):
        place = placer.ahead(0.095, 0.35, 5.5)
        if place:
            robots.append(Pose2(*place, float(rng.uniform(-math.pi, math.pi))))
    balls: list[tuple[float, float, float]] = []
    for _ in range(int(rng.choice(MAX_BALLS + 1, p=[0.08, 0.57, 0.27, 0.08]))):
        if robots and rng.random() < 0.25:
            place = placer.near_robot(robots[int(rng.integers(0, len(robots)))], BALL_RADIUS_M)
        else:
            place = placer.ahead(BALL_RADIUS_M, 0.2, 5.0)
        if place:
            balls.append((*place, BALL_RADIUS_M))
    renderer.place(robots, balls)
    sensor = sample_sensor_style(rng)
    motion = CameraMotion()
    if rng.random() < 0.5:
        motion = CameraMotion(
            twist_in_robot=Twist2(float(rng.normal(0.0, 0.8)), float(rng.normal(0.0, 0.4)), float(rng.normal(0.0, 1.8)))
        )
    eye = world_from_optical(camera, pose)
    picture = warp.expose(renderer.render(eye), motion, exposure_s=sensor.exposure_s, readout_s=sensor.readout_s)
    size = (camera.intrinsics.width_px, camera.intrinsics.height_px)
    jpeg = ImagePipeline(sensor, size, rng).develop(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    ids = warp.warp_labels(renderer.segment(eye), motion, readout_s=sensor.readout_s)
    extents = []
    for item in renderer.objects:
        if item.object_class is ObjectClass.GOAL:
            where: Pose2 | None = Pose2((0.5 if item.index == 0 else -0.5) * field.length_m, 0.0, 0.0)
        elif item.object_class is ObjectClass.ROBOT:
            where = robots[item.index] if item.index < len(robots) else None
        else:
            where = Pose2(balls[item.index][0], balls[item.index][1], 0.0) if item.index < len(balls) else None
        outline = None if where is None else full_outline_m(item.object_class, where, field, body, eye[:3, 3])
        extents.append(
            FullExtent() if outline is None else full_extent(_project(outline, eye, warp.pinhole) - _MARGIN_PX, size)
        )
    labels = visible_labels(ids, [item.object_class for item in renderer.objects], extents)
    return Picture(jpeg=jpeg, size_px=size, labels=labels)
