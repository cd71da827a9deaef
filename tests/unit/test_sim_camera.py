"""The rendered camera is the camera model: same pixels, same lens, same moment; and labels are tight."""

from __future__ import annotations

import math
import os
from dataclasses import replace

import cv2
import numpy as np
import pytest

from perception.camera.lens import undistort
from perception.camera.model import CameraModel, load_camera
from robot.core.body import RobotBody
from robot.core.errors import SimulationError
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2, Twist2, exponential_map
from robot.core.messages import ObjectClass
from sim.camera import renderer as renderer_module
from sim.camera.dataset import labelled_pictures, world_from_optical
from sim.camera.gl import choose_back_end, headless_backend
from sim.camera.imaging import ImagePipeline, SensorStyle
from sim.camera.labels import FullExtent, full_extent, visible_labels
from sim.camera.renderer import SceneRenderer
from sim.camera.shutter import CameraMotion, ShutterWarp
from sim.camera.style import sample_venue_style

BALL_M = (1.35, 0.32)
POSE = Pose2(-1.0, 0.4, 0.7)


@pytest.fixture(scope="module")
def distorted() -> CameraModel:
    camera = load_camera("c922_640x480")
    return replace(camera, intrinsics=replace(camera.intrinsics, distortion=(-0.06, 0.03, 0.001, -0.001, 0.0)))


def test_ball_is_rendered_where_the_camera_model_projects_it(distorted: CameraModel) -> None:
    warp = ShutterWarp(distorted)
    style = sample_venue_style(np.random.default_rng(4))
    tilt = (0.01, -0.02)
    x, y = POSE.transform(BALL_M)
    with SceneRenderer(style, FieldGeometry(), RobotBody(), warp.pinhole) as renderer:
        renderer.place((), ((x, y, 0.0215),))
        eye = world_from_optical(distorted, POSE, tilt)
        picture = warp.expose(renderer.render(eye)).astype(float)
        ids = warp.warp_labels(renderer.segment(eye))
        expected = distorted.project([(*BALL_M, 0.0215)], tilt)[0]
        index = next(k for k, item in enumerate(renderer.objects) if item.object_class is ObjectClass.BALL)
    rows, columns = np.nonzero(ids == index)
    assert (columns.mean(), rows.mean()) == pytest.approx(tuple(expected), abs=0.3)
    red = np.clip(picture[..., 0] - 1.5 * picture[..., 2] - 20.0, 0.0, None)
    red[np.hypot(*(np.indices(red.shape) - expected[::-1, None, None])) > 30] = 0.0
    v, u = np.indices(red.shape)
    assert (np.average(u, weights=red), np.average(v, weights=red)) == pytest.approx(tuple(expected), abs=0.5)
    label = visible_labels(
        ids, [ObjectClass.BALL], [FullExtent(math.pi * 10**2, math.pi * 10**2)]
    )[0] if index == 0 else None  # fmt: skip
    assert label is not None
    x0, y0, x1, y1 = label.box_px
    diameter = 642.5 * 0.043 / math.hypot(BALL_M[0] - 0.09, BALL_M[1], 0.17 - 0.0215)
    assert (x1 - x0, y1 - y0) == pytest.approx((diameter, diameter), abs=2.0)  # off the axis a ball is an ellipse
    assert ((x0 + x1) / 2 - 0.5, (y0 + y1) / 2 - 0.5) == pytest.approx(tuple(expected), abs=0.8)


@pytest.mark.parametrize("pixel", [(400, 300), (60, 120), (610, 455)])
def test_rolling_shutter_shows_each_row_at_its_own_moment(pixel: tuple[int, int]) -> None:
    camera = load_camera("c922_640x480")
    warp = ShutterWarp(camera)
    twist, readout, offset = Twist2(0.8, -0.3, 3.0), 0.02, 0.003
    u, v = pixel
    dt = ((v + 0.5) / 480 - 0.5) * readout + offset
    seen = camera.ground_points([pixel])[0]
    at_reference = exponential_map(twist, dt).transform((seen[0], seen[1]))
    expected = camera.project([(*at_reference, 0.0)])[0] + (16, 8)
    mx, my = warp.maps(CameraMotion(twist_in_robot=twist), offset, readout, (0.0, 0.0))
    assert (mx[v, u], my[v, u]) == pytest.approx(tuple(expected), abs=0.05)
    assert abs(mx[v, u] - 16 - u) > 1.0  # it does move


@pytest.mark.parametrize(("pitch_rate_rad_s", "roll_rate_rad_s"), [(1.5, 0.0), (0.0, 1.5), (-0.8, 0.5)])
def test_rolling_shutter_shows_the_nod_of_each_row(pitch_rate_rad_s: float, roll_rate_rad_s: float) -> None:
    camera = load_camera("c922_640x480")
    u, v, readout, offset = 520, 400, 0.02, 0.004
    dt = ((v + 0.5) / 480 - 0.5) * readout + offset
    k = camera.intrinsics
    x, y = undistort(np.array((u - k.cx) / k.fx), np.array((v - k.cy) / k.fy), k.distortion)
    then, _ = camera.robot_from_optical((pitch_rate_rad_s * dt, roll_rate_rad_s * dt))
    ray = camera.robot_from_optical()[0].T @ then @ (float(x), float(y), 1.0)
    expected = (k.fx * ray[0] / ray[2] + k.cx + 16, k.fy * ray[1] / ray[2] + k.cy + 8)
    motion = CameraMotion(pitch_rate_rad_s=pitch_rate_rad_s, roll_rate_rad_s=roll_rate_rad_s)
    mx, my = ShutterWarp(camera).maps(motion, offset, readout, (0.0, 0.0))
    assert (mx[v, u], my[v, u]) == pytest.approx(expected, abs=0.1)
    assert math.hypot(mx[v, u] - 16 - u, my[v, u] - 8 - v) > 1.0, "it does move"


def test_turning_smears_along_rows_and_standing_does_not() -> None:
    warp = ShutterWarp(load_camera("c922_640x480"))
    render = np.zeros((warp.pinhole.height_px, warp.pinhole.width_px, 3), np.uint8)
    render[:, 300:304] = 255
    turning = CameraMotion(twist_in_robot=Twist2(0.0, 0.0, 3.0))
    sharp = warp.expose(render)[240, :, 0]
    blurred = warp.expose(render, turning, exposure_s=0.008)[240, :, 0]
    assert np.count_nonzero(sharp) <= 5
    assert np.count_nonzero(blurred) == pytest.approx(4 + 642 * 3.0 * 0.008, abs=6)
    assert blurred.sum(dtype=int) == pytest.approx(sharp.sum(dtype=int), rel=0.1)


def test_labels_follow_what_can_be_seen() -> None:
    ids = np.full((48, 64), -1, np.int16)
    ids[10:20, 30:40] = 0
    ids[10:20, 33:40] = 1  # hides seven tenths
    square = full_extent(np.array([[30.0, 10], [40, 10], [40, 20], [30, 20]]), (64, 48))
    assert square.all_px == pytest.approx(100.0)
    kinds = [ObjectClass.ROBOT, ObjectClass.BALL]
    both = visible_labels(ids, kinds, [square, square])
    assert [label.box_px for label in both] == [(30.0, 10.0, 33.0, 20.0), (33.0, 10.0, 40.0, 20.0)]
    ids[10:20, 31:40] = 1
    assert [label.object_class for label in visible_labels(ids, kinds, [square, square])] == [ObjectClass.BALL]
    assert both[1].yolo_line((64, 48)) == "1 0.570312 0.312500 0.109375 0.208333"
    cut = full_extent(np.array([[60.0, 10], [80, 10], [80, 20], [60, 20]]), (64, 48))
    assert cut.inside_px == pytest.approx(40.0)


def test_training_pictures_repeat_by_seed_and_their_labels_lie_inside() -> None:
    first = list(labelled_pictures(2, 5))
    again = list(labelled_pictures(2, 5))
    assert [p.jpeg for p in first] == [p.jpeg for p in again]
    assert [p.labels for p in first] == [p.labels for p in again]
    assert first[0].jpeg != first[1].jpeg
    for picture in first:
        image = cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.shape == (480, 640, 3)
        for label in picture.labels:
            x0, y0, x1, y1 = label.box_px
            assert 0 <= x0 < x1 <= 640
            assert 0 <= y0 < y1 <= 480


def test_exposure_settles_on_the_wanted_brightness() -> None:
    style = SensorStyle(brightness=110.0, noise=0.0)
    pipeline = ImagePipeline(style, (64, 48), np.random.default_rng(1))
    dark = np.full((48, 64, 3), 30, np.uint8)
    first = cv2.imdecode(np.frombuffer(pipeline.develop(dark), np.uint8), cv2.IMREAD_COLOR)
    assert first is not None
    assert abs(float(first.mean()) - 110.0) < 15.0
    bright = np.full((48, 64, 3), 200, np.uint8)
    levels = [float(cv2.imdecode(np.frombuffer(pipeline.develop(bright), np.uint8), 1).mean()) for _ in range(60)]  # type: ignore[union-attr]
    assert levels[0] > 200.0
    assert abs(levels[-1] - 110.0) < 15.0


def test_back_end_falls_back_to_osmesa_and_then_to_none() -> None:
    assert choose_back_end(lambda library: True) == "egl"
    assert choose_back_end(lambda library: "OSMesa" in library) == "osmesa"
    assert choose_back_end(lambda library: False) == "disable"
    assert "egl" in headless_backend() or "osmesa" in headless_backend()


def test_no_opengl_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    mujoco = renderer_module.import_mujoco()

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("cannot make a context")

    monkeypatch.setattr(mujoco, "Renderer", broken)
    pinhole = ShutterWarp(load_camera("c922_640x480")).pinhole
    style = sample_venue_style(np.random.default_rng(1))
    with pytest.raises(SimulationError, match="apt-get install libegl1") as told:
        SceneRenderer(style, FieldGeometry(), RobotBody(), pinhole)
    assert "unset" not in told.value.hint or os.environ["MUJOCO_GL"] != choose_back_end()
    monkeypatch.setenv("MUJOCO_GL", "disable")
    with pytest.raises(SimulationError, match="unset MUJOCO_GL"):
        SceneRenderer(style, FieldGeometry(), RobotBody(), pinhole)
