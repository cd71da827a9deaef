"""The covariance of a place is that of its errors: boxes, body tilt, and a calibration that is itself uncertain."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from perception.camera import CalibrationUncertainty, CameraModel, load_camera
from perception.camera.observe import ball_row_slopes, place
from perception.camera.parameters import BALL_ROWS, CALIBRATED, MOUNTING
from perception.camera.store import camera_to_toml
from robot.core.errors import ConfigError
from robot.core.field import BALL_RADIUS_M
from robot.core.messages import ObjectClass

C922 = load_camera("c922_640x480")
TRIALS = 1500


def a_fitted_camera(scale: float = 1.0) -> CameraModel:
    """A camera whose fit left correlated errors: height against pitch, as a table of balls leaves them."""
    sigma = scale * np.array([0.005, 0.004, 0.003, 0.002, 0.002, 0.003, 0.05, 2.0, 1.0, 1.0, 2.0, 2.0])
    correlation = np.eye(len(CALIBRATED))
    for a, b, r in (("height_m", "pitch_rad", 0.8), ("pitch_rad", "ball", 0.6), ("y_m", "yaw_rad", -0.7)):
        i, j = CALIBRATED.index(a), CALIBRATED.index(b)
        correlation[i, j] = correlation[j, i] = r
    covariance = correlation * np.outer(sigma, sigma)
    rows = tuple(tuple(float(v) for v in row) for row in covariance)
    contact = dataclasses.replace(C922.contact, ball_bow_px=5.0, small_by_height_px=-3.0, small_by_column_px=4.0)
    return dataclasses.replace(C922, contact=contact, uncertainty=CalibrationUncertainty(covariance=rows))


def really(camera: CameraModel, rng: np.random.Generator) -> tuple[CameraModel, tuple[float, float]]:
    """Draw a camera as it may really be, and the body's tilt that nobody knows."""
    noise = camera.noise
    drawn = np.zeros(len(CALIBRATED))
    if camera.uncertainty.covariance:
        drawn = rng.multivariate_normal(drawn, np.array(camera.uncertainty.covariance))
    off = dict(zip(CALIBRATED, drawn.tolist(), strict=True))
    mount = {name: getattr(camera.mounting, name) + off[name] for name in MOUNTING}
    mount["height_m"] += rng.normal(0, noise.height_m)
    mount["yaw_rad"] += rng.normal(0, noise.yaw_rad)
    mount["x_m"] += rng.normal(0, noise.position_m)
    mount["y_m"] += rng.normal(0, noise.position_m)
    rule = {name: getattr(camera.contact, name) + off[name] for name in ("ball", *BALL_ROWS)}
    contact = dataclasses.replace(camera.contact, **rule)
    true = dataclasses.replace(camera, mounting=dataclasses.replace(camera.mounting, **mount), contact=contact)
    return true, (rng.normal(0, noise.pitch_rad), rng.normal(0, noise.roll_rad))


def ball_box(true: CameraModel, tilt: tuple[float, float], x: float, y: float, rng: np.random.Generator):
    """The box of a detector that follows the true contact rule: twice a ball's size, noisy as [noise] says."""
    rule, noise = true.contact, true.noise
    (u, v) = true.project([[x, y, 2.0 * BALL_RADIUS_M * rule.ball]], tilt)[0]
    size = 2.0 * 0.043 * true.intrinsics.fx / math.hypot(x, true.mounting.height_m)
    u += rng.normal(0, math.hypot(noise.column_px, noise.box_share * size))
    v += rng.normal(0, math.hypot(noise.row_px, noise.box_share * size))
    rows = ball_row_slopes(u, size, size, true)
    v -= sum(getattr(rule, name) * slope for name, slope in zip(BALL_ROWS, rows, strict=True))
    bottom = v + rule.ball * size + 0.5
    return (u + 0.5 - size / 2, bottom - size, u + 0.5 + size / 2, bottom)


def nees_of(camera: CameraModel, cls: ObjectClass, x: float, y: float, seed: int) -> float:
    """Mean normalised squared error of places of one object over many cameras, tilts and boxes; 2 when consistent."""
    rng = np.random.default_rng(seed)
    squares = []
    for _ in range(TRIALS):
        true, tilt = really(camera, rng)
        if cls is ObjectClass.BALL:
            box = ball_box(true, tilt, x, y, rng)
        else:
            front = x - camera.contact.robot_depth_m * x / math.hypot(x, y) if cls is ObjectClass.ROBOT else x
            side = y * front / x
            (u, v) = true.project([[front, side, 0.0]], tilt)[0]
            size = 0.18 * true.intrinsics.fx / front
            share = true.noise.box_share if cls is ObjectClass.ROBOT else max(true.noise.box_share, 0.1)
            u += rng.normal(0, math.hypot(true.noise.column_px, true.noise.box_share * size))
            v += rng.normal(0, math.hypot(true.noise.row_px, share * size))
            up = camera.contact.robot if cls is ObjectClass.ROBOT else camera.contact.goal
            bottom = v + 0.5 + up * size
            box = (u + 0.5 - size / 2, bottom - size, u + 0.5 + size / 2, bottom)
        point, cut = place(cls, tuple(float(v) for v in box), camera)
        assert point is not None
        assert not cut
        error = np.array(point.position_in_robot_m) - (x, y)
        squares.append(error @ np.linalg.solve(np.array(point.covariance_m2), error))
    return float(np.mean(squares))


@pytest.mark.parametrize(("x", "y"), [(0.6, 0.0), (1.2, -0.4), (2.0, 0.6), (2.8, -0.9)])
@pytest.mark.parametrize("fitted", [False, True])
def test_nees_of_a_balls_place_is_two(x, y, fitted):
    camera = a_fitted_camera() if fitted else C922
    assert 1.7 < nees_of(camera, ObjectClass.BALL, x, y, seed=int(10 * x)) < 2.4


@pytest.mark.parametrize("cls", [ObjectClass.ROBOT, ObjectClass.GOAL])
def test_nees_of_standing_things_is_two(cls):
    for x, y in ((1.5, 0.3), (2.5, -0.7)):
        assert 1.6 < nees_of(a_fitted_camera(), cls, x, y, seed=3) < 2.5


def test_a_calibrations_doubt_must_not_be_forgotten():
    """Without the fitted covariance the same errors would be called impossible: this is what it is for."""
    camera = a_fitted_camera(2.0)
    rng = np.random.default_rng(5)
    forgetful = dataclasses.replace(camera, uncertainty=CalibrationUncertainty())
    squares = []
    for _ in range(300):
        true, tilt = really(camera, rng)
        point, _ = place(ObjectClass.BALL, ball_box(true, tilt, 2.0, 0.5, rng), forgetful)
        error = np.array(point.position_in_robot_m) - (2.0, 0.5)
        squares.append(error @ np.linalg.solve(np.array(point.covariance_m2), error))
    assert np.mean(squares) > 4.0


def test_vector_and_scalar_forms_agree_and_files_keep_the_covariance(tmp_path):
    camera = a_fitted_camera()
    single = camera.ground_point(250.0, 210.0, (0.01, -0.01), 0.02, (1.0, 1.5))
    many = camera.ground_covariance([[250.0, 210.0]], (0.01, -0.01), 0.02, (1.0, 1.5))[0]
    assert np.allclose(single.covariance_m2, many, rtol=1e-12)
    path = tmp_path / "camera.toml"
    path.write_text(camera_to_toml(camera))
    assert load_camera(path) == camera
    path.write_text(camera_to_toml(camera).replace("covariance = [[", "covariance = [[1.0, "))
    with pytest.raises(ConfigError, match="12 rows of 12"):
        load_camera(path)


def test_a_robot_whose_foot_is_below_the_picture_is_ranged_by_its_width():
    rng = np.random.default_rng(2)
    squares = []
    for _ in range(200):
        x, y = rng.uniform(0.3, 0.36), rng.uniform(-0.03, 0.03)
        away = math.hypot(x - C922.mounting.x_m, y)
        half = math.asin(0.09 / away)
        bearing = math.atan2(y, x - C922.mounting.x_m)
        rays = [(math.cos(bearing + s * half), math.sin(bearing + s * half)) for s in (1, -1)]
        # Its rim at the height that the picture's lowest row shows there.
        columns = []
        for dx, dy in rays:
            reach = away * math.cos(half)
            heights = np.linspace(0.0, 0.15, 300)
            points = [[C922.mounting.x_m + reach * dx, reach * dy, z] for z in heights]
            pixels = C922.project(points)
            columns.append(float(pixels[np.argmin(np.abs(pixels[:, 1] - 479.0)), 0]))
        width = columns[1] - columns[0]
        box = (columns[0] + 0.5, 100.0, columns[1] + 0.5 + rng.normal(0, 0.05 * width), 480.0)
        if box[0] < 3.0 or box[2] > 637.0:
            continue
        point, cut = place(ObjectClass.ROBOT, tuple(map(float, box)), C922)
        assert cut
        error = np.array(point.position_in_robot_m) - (x, y)
        squares.append(error @ np.linalg.solve(np.array(point.covariance_m2), error))
        assert np.linalg.norm(error) < 0.06
    assert len(squares) > 50
    assert np.mean(squares) < 3.0
