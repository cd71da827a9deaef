"""The camera model against OpenCV, against itself (round trips) and against sampled noise."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.camera import CameraIntrinsics, CameraModel, CameraMounting, load_camera
from perception.camera.lens import distort, undistort, valid_radius
from perception.camera.parameters import CALIBRATED, CalibrationUncertainty
from robot.core.errors import ConfigError

C922 = load_camera("c922_640x480")
LENS = (-0.12, 0.05, 0.001, -0.002, 0.01)


def camera(pitch: float = 0.29, roll: float = 0.02, yaw: float = -0.05, lens: bool = True) -> CameraModel:
    intrinsics = dataclasses.replace(C922.intrinsics, distortion=LENS) if lens else C922.intrinsics
    mounting = CameraMounting(x_m=0.09, y_m=0.01, height_m=0.17, pitch_rad=pitch, roll_rad=roll, yaw_rad=yaw)
    return CameraModel(intrinsics=intrinsics, mounting=mounting)


angles = st.floats(-0.1, 0.1)


@settings(max_examples=200, deadline=None)
@given(
    u=st.floats(-0.5, 639.5),
    v=st.floats(-0.5, 479.5),
    pitch=st.floats(0.0, 0.7),
    roll=angles,
    yaw=st.floats(-1.5, 1.5),
    tilt=st.tuples(angles, angles),
    lens=st.booleans(),
    height=st.floats(-0.05, 0.1),
)
def test_pixel_to_ground_and_back(u, v, pitch, roll, yaw, tilt, lens, height):
    cam = camera(pitch, roll, yaw, lens)
    ground = cam.ground_points([[u, v]], tilt, height)
    fast = cam.ground_point(u, v, tilt, height)
    assert (fast is None) == bool(np.isnan(ground).any())
    if fast is None or np.hypot(*ground[0]) > 200.0:  # beyond that, 1e-6 px is below the float's resolution
        return
    assert np.allclose(fast.position_in_robot_m, ground[0], rtol=1e-12, atol=1e-12)
    back = cam.project([[*ground[0], height]], tilt)
    assert np.abs(back - [[u, v]]).max() < 1e-6


@pytest.mark.parametrize("tilt", [(0.0, 0.0), (0.02, -0.03)])
def test_projects_as_opencv_does(tilt):
    cam = camera()
    rng = np.random.default_rng(1)
    points = rng.uniform([0.3, -1.0, 0.0], [4.0, 1.0, 0.15], (200, 3))
    rotation, origin = cam.robot_from_optical(tilt)
    k = cam.intrinsics
    matrix = np.array([[k.fx, 0, k.cx], [0, k.fy, k.cy], [0, 0, 1]])
    expected, _ = cv2.projectPoints(
        points, cv2.Rodrigues(rotation.T)[0], -rotation.T @ origin, matrix, np.array(k.distortion)
    )
    got = cam.project(points, tilt)
    inside = ((got > 0) & (got < [640, 480])).all(axis=1)
    assert inside.sum() > 50
    assert np.abs(got - expected[:, 0])[inside].max() < 1e-9


def test_signs_of_axes_and_angles():
    flat = dataclasses.replace(C922, mounting=CameraMounting(height_m=0.17, pitch_rad=0.0))
    centre = [[flat.intrinsics.cx, flat.intrinsics.cy]]
    assert np.allclose(flat.rays_in_robot(centre), [[1, 0, 0]])
    assert flat.rays_in_robot([[600, 240]])[0, 1] < 0  # right in the picture is right of the robot, negative y
    assert C922.rays_in_robot(centre)[0, 2] == pytest.approx(-math.sin(math.radians(16.8)), abs=1e-6)
    assert C922.rays_in_robot(centre, (0.1, 0.0))[0, 2] < C922.rays_in_robot(centre)[0, 2]  # nose down looks lower
    turned = dataclasses.replace(flat, mounting=CameraMounting(yaw_rad=0.3))
    assert turned.rays_in_robot(centre)[0, 1] == pytest.approx(math.sin(0.3))
    rolled = dataclasses.replace(flat, mounting=CameraMounting(roll_rad=0.1))
    assert rolled.rays_in_robot([[600, 239.755]])[0, 2] < 0  # right side down


def test_nominal_camera_sees_the_floor_from_04_m_to_the_horizon():
    points = C922.ground_points([[322.8, 479.5], [322.8, 300.0], [322.8, 40.0]])
    assert points[0, 0] == pytest.approx(0.318, abs=0.01)
    assert points[1, 0] == pytest.approx(0.508, abs=0.01)
    assert np.isnan(points[2]).all()
    assert np.isnan(C922.ground_covariance([[322.8, 40.0]])).all()
    assert C922.ground_point(322.8, 40.0) is None


def test_points_behind_or_beyond_the_lens_have_no_pixel():
    cam = camera()
    assert np.isnan(cam.project([[-1.0, 0.0, 0.0]])).all()
    steep = dataclasses.replace(cam, intrinsics=dataclasses.replace(cam.intrinsics, distortion=(-0.3, 0, 0, 0, 0)))
    assert valid_radius((-0.3, 0, 0, 0, 0)) == pytest.approx(math.sqrt(1 / 0.9))
    assert np.isnan(steep.project([[0.5, 3.0, 0.0]])).all()  # the polynomial would fold it back into the picture


def test_covariance_is_that_of_sampled_noise_and_grows_with_range():
    noise = dataclasses.replace(C922.noise, roll_rad=0.02, pitch_rad=0.004, yaw_rad=0.006, height_m=0.004)
    cam = dataclasses.replace(camera(), noise=noise)
    rng = np.random.default_rng(3)
    pixel = np.array([420.0, 190.0])
    predicted = cam.ground_covariance([pixel], sigma_px=1.0)[0]
    samples = []
    for _ in range(4000):
        m = cam.mounting
        bumped = dataclasses.replace(
            cam,
            mounting=dataclasses.replace(
                m,
                x_m=m.x_m + rng.normal(0, noise.position_m),
                y_m=m.y_m + rng.normal(0, noise.position_m),
                height_m=m.height_m + rng.normal(0, noise.height_m),
            ),
        )
        # Small turns of the camera about the robot's axes through the camera, as the model counts them.
        ray = bumped.rays_in_robot([pixel + rng.normal(0, 1, 2)])[0]
        turn = cv2.Rodrigues(rng.normal(0, 1, 3) * [noise.roll_rad, noise.pitch_rad, noise.yaw_rad])[0]
        ray = turn @ ray
        mount = bumped.mounting
        samples.append(np.array([mount.x_m, mount.y_m]) - mount.height_m * ray[:2] / ray[2])
    sampled = np.cov(np.array(samples).T)
    assert np.allclose(np.sqrt(np.diag(sampled)), np.sqrt(np.diag(predicted)), rtol=0.08)
    correlation = sampled[0, 1] / math.sqrt(sampled[0, 0] * sampled[1, 1])
    expected = predicted[0, 1] / math.sqrt(predicted[0, 0] * predicted[1, 1])
    assert correlation == pytest.approx(expected, abs=0.06)
    spread = np.trace(cam.ground_covariance([[420, v] for v in (450, 300, 200, 120, 90)]), axis1=1, axis2=2)
    assert (np.diff(spread) > 0).all()


def test_fast_covariance_equals_the_vector_one():
    cam = camera()
    for tilt in ((0.0, 0.0), (0.03, 0.01)):
        fast = cam.ground_point(111.0, 333.0, tilt, 0.02, (0.7, 1.9))
        vector = cam.ground_covariance([[111.0, 333.0]], tilt, 0.02, (0.7, 1.9))[0]
        assert np.allclose(fast.covariance_m2, vector, rtol=1e-12)
        assert all(type(value) is float for value in fast.position_in_robot_m)


@given(x=st.floats(-0.6, 0.6), y=st.floats(-0.45, 0.45))
@settings(max_examples=100, deadline=None)
def test_undistort_inverts_distort(x, y):
    xd, yd = distort(x, y, LENS)
    xu, yu = undistort(xd, yd, LENS)
    assert math.hypot(xu - x, yu - y) < 1e-10


def test_bad_cameras_are_refused(tmp_path):
    for name, value in (
        ("pitch_rad", 16.8),
        ("roll_rad", -3.0),
        ("yaw_rad", 90.0),
        ("roll_rad", math.nan),
        ("yaw_rad", math.inf),
    ):
        with pytest.raises(ValueError, match=f"{name}.*radians"):
            CameraMounting(**{name: value})
    for name, value in (
        ("height_m", 170.0),
        ("height_m", 0.0),
        ("height_m", -0.1),
        ("height_m", math.nan),
        ("x_m", 90.0),
        ("y_m", -0.5),
        ("x_m", math.nan),
    ):
        with pytest.raises(ValueError, match=f"{name}.*metres"):
            CameraMounting(**{name: value})
    with pytest.raises(ConfigError, match=r"height_m.*metres"):
        load_camera("c922_640x480", {"mounting.height_m": 170.0})
    assert load_camera("c922_640x480", {"mounting.height_m": 0.2}).mounting.height_m == 0.2
    with pytest.raises(ValueError, match="positive"):
        CameraIntrinsics(width_px=640, height_px=480, fx=-1.0, fy=1.0, cx=0.0, cy=0.0)
    with pytest.raises(ValueError, match="in the picture"):
        CameraIntrinsics(width_px=640, height_px=480, fx=600.0, fy=600.0, cx=-5000.0, cy=240.0)
    with pytest.raises(ConfigError, match=r"row_px.*standard deviation"):
        load_camera("c922_640x480", {"noise.row_px": -1.0})
    with pytest.raises(ConfigError, match=r"ball.*share"):
        load_camera("c922_640x480", {"contact.ball": 50.0})
    with pytest.raises(ConfigError, match="no such configuration"):
        load_camera("c923")
    bad = tmp_path / "bad.toml"
    bad.write_text("[intrinsics]\nwidht_px = 3\n")
    with pytest.raises(ConfigError, match="width_px"):
        load_camera(bad)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 8))
def test_a_covariance_is_taken_and_what_is_none_is_refused(seed, unknown):
    rng = np.random.default_rng(seed)
    size = 10.0 ** rng.uniform(-6.0, 1.0, len(CALIBRATED))
    root = size[:, None] * rng.normal(size=(len(CALIBRATED), len(CALIBRATED)))
    root[:unknown] = 0.0  # what was held fixed
    good = root @ root.T

    def made(matrix):
        return CalibrationUncertainty(covariance=tuple(tuple(row) for row in matrix.tolist()))

    assert made(good).covariance
    if unknown > len(CALIBRATED) - 2:
        return
    one_sided, negative, loose = good.copy(), good.copy(), good.copy()
    one_sided[-1, -2] += 0.1 * size[-1] * size[-2]
    negative[-1, -1] *= -1.0
    loose[-1, -2] = loose[-2, -1] = 1.1 * math.sqrt(good[-1, -1] * good[-2, -2])
    for bad in (one_sided, negative, loose):
        with pytest.raises(ValueError, match="symmetric"):
            made(bad)
