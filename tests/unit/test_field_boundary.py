"""The carpet's edge on drawn pictures with known edges, and on real ones."""

from __future__ import annotations

import math
import time

import cv2
import numpy as np
import pytest

from perception.camera import load_camera
from perception.field.boundary import MAX_RANGE_M, CarpetConfig, CarpetScanner, free_range
from perception.field.edge import carpet_hull, on_carpet
from tests.helpers import shared_data

C922 = load_camera("c922_640x480")
GREEN, OLIVE, GREY, CYAN = (90, 140, 60), (75, 115, 110), (110, 112, 108), (95, 110, 20)
BLACK, WHITE = (25, 25, 28), (225, 228, 230)


def picture(carpet, wall, left: float = 100.0, right: float = 100.0, noise: float = 6.0, seed: int = 0):
    """Carpet below a straight edge from (0, left) to (639, right), wall above, shaded and noisy."""
    rng = np.random.default_rng(seed)
    u, v = np.meshgrid(np.arange(640.0), np.arange(480.0))
    below = v > left + (right - left) * u / 639.0
    image = np.where(below[..., None], np.array(carpet, float), np.array(wall, float))
    shade = 1.0 - 0.25 * ((u - 320) / 320) ** 2 - 0.15 * v / 480
    image = image * shade[..., None] + rng.normal(0, noise, image.shape)
    return np.clip(cv2.GaussianBlur(image, (3, 3), 0), 0, 255).astype(np.uint8)


def rows_of(edge):
    return np.array([v for _, v in edge])


@pytest.mark.parametrize("carpet", [GREEN, OLIVE, GREY, CYAN])
@pytest.mark.parametrize("wall", [BLACK, WHITE])
@pytest.mark.parametrize(("left", "right"), [(100, 100), (60, 200), (250, 80)])
def test_edge_is_found_to_two_pixels_on_any_carpet_below_any_wall(carpet, wall, left, right):
    edge = CarpetScanner().scan(picture(carpet, wall, left, right))
    columns = np.array([u for u, _ in edge])
    expected = left + (right - left) * columns / 639.0
    error = rows_of(edge) - expected
    assert len(edge) == 80
    assert (np.diff(columns) > 0).all()
    assert np.median(np.abs(error)) < 2.0
    assert np.mean(np.abs(error) < 5.0) > 0.95


def test_lines_and_a_small_ball_do_not_stop_the_scan_but_a_robot_does():
    image = picture(OLIVE, BLACK)
    cv2.line(image, (0, 300), (639, 285), WHITE, 12)
    cv2.line(image, (0, 130), (639, 126), WHITE, 4)
    cv2.line(image, (330, 480), (325, 100), WHITE, 16)
    cv2.circle(image, (500, 150), 5, (0, 100, 250), -1)
    clean = rows_of(CarpetScanner().scan(image))
    assert np.mean(np.abs(clean - 100.0) < 6.0) > 0.95
    cv2.rectangle(image, (100, 140), (220, 260), (30, 30, 30), -1)
    edge = CarpetScanner().scan(image)
    inside = [v for u, v in edge if 110 < u < 210]
    outside = [v for u, v in edge if u < 80 or u > 240]
    assert np.abs(np.array(inside) - 260).max() < 6
    assert np.mean(np.abs(np.array(outside) - 100.0) < 6.0) > 0.95


def test_the_same_picture_gives_the_same_edge_and_any_size_works():
    image = picture(GREEN, WHITE, 120, 60)
    scanner = CarpetScanner()
    first = scanner.scan(image)
    scanner.scan(picture(GREY, BLACK))
    assert scanner.scan(image) == first
    small = CarpetScanner().scan(cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA))
    assert np.median(np.abs(rows_of(small) * 480 / 224 - rows_of(first))) < 3.0


def test_the_camera_bounds_the_carpet_below_the_sky():
    image = picture(GREEN, GREEN)  # all one colour: only geometry knows where the floor ends
    assert rows_of(CarpetScanner().scan(image)).max() == 0.0
    bounded = rows_of(CarpetScanner(camera=C922).scan(image))
    horizon = C922.intrinsics.cy - C922.intrinsics.fy * math.tan(C922.mounting.pitch_rad)
    assert (bounded > horizon).all()
    assert (bounded < horizon + 20).all()


def test_free_range_is_the_wall_distance_in_the_robot_frame():
    # A wall across, 2 m ahead of the robot's centre: the range is 2 / cos(bearing).
    foot = C922.project([[2.0, y, 0.0] for y in np.linspace(1.2, -1.2, 41)])
    edge = tuple((float(u), float(v)) for u, v in foot)
    ranges = free_range(C922, edge)
    for bearing, distance in ranges:
        assert distance * math.cos(bearing) == pytest.approx(2.0, abs=1e-6)
    assert ranges[0][0] > 0 > ranges[-1][0]  # left of the picture is left of the robot
    assert free_range(C922, ()) == ()
    assert free_range(C922, ((320.0, 0.0),))[0][1] == MAX_RANGE_M
    nearer = free_range(C922, edge, (0.03, 0.0))  # nose down by 1.7 degrees: the same pixels are nearer
    assert nearer[20][1] < ranges[20][1] - 0.1


def test_boxes_off_the_carpet_are_rejected_and_those_before_an_obstacle_are_not():
    edge = tuple((float(u), 100.0 if not 300 <= u <= 400 else 260.0) for u in range(0, 640, 8))  # an obstacle's dip
    assert min(v for _, v in carpet_hull(edge)) == max(v for _, v in carpet_hull(edge)) == 100.0
    assert on_carpet(edge, (330.0, 150.0, 360.0, 200.0))  # behind or in front of the obstacle, on the field
    assert on_carpet(edge, (30.0, 90.0, 50.0, 110.0))
    assert not on_carpet(edge, (30.0, 40.0, 50.0, 60.0))
    assert on_carpet(edge, (30.0, 80.0, 50.0, 97.0), margin_px=5.0)
    assert not on_carpet(edge, (30.0, 80.0, 50.0, 97.0), margin_px=2.0)
    assert on_carpet((), (0.0, 0.0, 5.0, 5.0))


def test_a_scan_fits_its_share_of_a_frame():
    cv2.setNumThreads(1)
    scanner, image = CarpetScanner(camera=C922), picture(OLIVE, WHITE)
    spent = []
    for _ in range(30):
        begin = time.process_time()
        scanner.scan(image)
        spent.append(time.process_time() - begin)
    assert min(spent) < 4e-3  # 1.2 ms where it was measured; a shared machine may be three times slower


def test_bad_config_is_refused():
    with pytest.raises(ValueError, match="columns"):
        CarpetConfig(columns=2)


def test_the_real_pictures_of_the_robots_own_camera():
    # Read off by eye: (file, column, row of the carpet's upper edge).
    marks = {
        "calibration_image.jpg": [(20, 98), (150, 98), (500, 97), (620, 96)],
        "rnd_03_203.png": [(280, 110), (450, 116), (570, 122)],
        "rnd_03_74.png": [(20, 163), (230, 101), (500, 71), (620, 71)],
    }
    scanner = CarpetScanner(camera=C922)
    for name, points in marks.items():
        image = cv2.imread(str(shared_data("calibration", name)))
        edge = scanner.scan(image)
        columns, rows = np.array(edge).T
        for column, row in points:
            assert abs(np.interp(column, columns, rows) - row) < 6.0, (name, column)


def test_real_pictures_of_other_cameras_and_carpets():
    folder = shared_data("ssl-images", "images")
    labels = shared_data("ssl-images", "labels")
    scanner = CarpetScanner()
    on_field = total = 0
    for path in sorted(folder.glob("*.jpg"))[::65][:10]:
        image = cv2.imread(str(path))
        edge = scanner.scan(image)
        assert len(edge) == 80
        for line in (labels / f"{path.stem}.txt").read_text().splitlines():
            kind, u, v, width, height = (float(value) for value in line.split())
            if kind == 1:  # every labelled ball lies on the carpet
                box = ((u - width / 2) * 224, (v - height / 2) * 224, (u + width / 2) * 224, (v + height / 2) * 224)
                on_field += on_carpet(edge, box)
                total += 1
    assert total >= 5
    assert on_field / total >= 0.9
