"""The carpet's edge on the simulator's pictures, against the edge that the renderer knows."""

from __future__ import annotations

import importlib.util
import math

import cv2
import numpy as np
import pytest

from perception.camera import load_camera
from perception.field.boundary import CarpetScanner, free_range
from robot.core.body import RobotBody
from robot.core.errors import MissingExtraError, SimulationError
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2
from robot.core.messages import ObjectClass

CAMERA, FIELD = load_camera("c922_640x480"), FieldGeometry()


def rendered(seed: int, venues: int, views: int):
    """Yield (picture, true top row of connected floor per column, columns that a ball covers)."""
    if importlib.util.find_spec("mujoco") is None:
        pytest.skip("the sim extra is not installed")
    from sim.camera.dataset import world_from_optical
    from sim.camera.imaging import ImagePipeline, sample_sensor_style
    from sim.camera.renderer import SceneRenderer
    from sim.camera.shutter import ShutterWarp
    from sim.camera.style import sample_venue_style

    warp = ShutterWarp(CAMERA, (40, 24))
    u, v = np.meshgrid(np.arange(640.0), np.arange(480.0))
    ground = CAMERA.ground_points(np.stack((u.ravel(), v.ravel()), axis=1))
    x_min, x_max, y_min, y_max = FIELD.wall_bounds_m()
    for source in np.random.SeedSequence(seed).spawn(venues):
        rng = np.random.default_rng(source)
        style = sample_venue_style(rng)
        try:
            renderer = SceneRenderer(style, FIELD, RobotBody(), warp.pinhole, robots=1, balls=1)
        except (SimulationError, MissingExtraError) as error:
            pytest.skip(f"no headless renderer here: {error.message}")
        with renderer:
            for _ in range(views):
                pose = Pose2(float(rng.uniform(-3, 3)), float(rng.uniform(-2, 2)), float(rng.uniform(-3.1, 3.1)))
                robot = pose @ Pose2(float(rng.uniform(1.0, 2.5)), float(rng.uniform(-0.5, 0.5)), 1.0)
                x, y = pose.transform((float(rng.uniform(0.5, 2.0)), float(rng.uniform(-0.4, 0.4))))
                renderer.place([robot], [(x, y, 0.0215)])
                eye = world_from_optical(CAMERA, pose)
                sensor = sample_sensor_style(rng, spread=0.5)
                ideal = cv2.cvtColor(warp.expose(renderer.render(eye)), cv2.COLOR_RGB2BGR)
                jpeg = ImagePipeline(sensor, (640, 480), rng).develop(ideal)
                ids = warp.warp_labels(renderer.segment(eye))
                balls = [k for k, item in enumerate(renderer.objects) if item.object_class is ObjectClass.BALL]
                ball = np.isin(ids, balls)
                c, s = math.cos(pose.theta_rad), math.sin(pose.theta_rad)
                fx, fy = pose.x_m + c * ground[:, 0] - s * ground[:, 1], pose.y_m + s * ground[:, 0] + c * ground[:, 1]
                inside = ((fx > x_min) & (fx < x_max) & (fy > y_min) & (fy < y_max)).reshape(480, 640)
                floor = inside & ((ids < 0) | ball)
                top = 480 - np.logical_and.accumulate(floor[::-1], axis=0).sum(axis=0)
                yield cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), top, ball.any(axis=0)


def test_open_floor_is_right_to_a_tenth_and_hardly_ever_longer_than_it_is():
    scanner = CarpetScanner(camera=CAMERA)
    pixels, ratios = [], []
    for image, top, ball in rendered(seed=3, venues=4, views=3):
        edge = [(u, v) for u, v in scanner.scan(image) if not ball[max(0, int(u) - 8) : int(u) + 9].any()]
        true = [(u, float(top[int(u)])) for u, _ in edge]
        pixels += [v - t for (_, v), (_, t) in zip(edge, true, strict=True)]
        found, known = free_range(CAMERA, tuple(edge)), free_range(CAMERA, tuple(true))
        ratios += [a / b for (_, a), (_, b) in zip(found, known, strict=True)]
    ratio = np.array(ratios)
    assert len(ratio) > 500
    assert np.median(np.abs(pixels)) <= 2.0
    assert np.mean(np.abs(ratio - 1.0) < 0.1) > 0.8  # the rest are shadows under robots: nearer, the safe side
    assert np.mean(ratio > 1.2) < 0.02
