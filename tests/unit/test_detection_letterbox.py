"""The letterbox keeps proportions and pixels, and its boxes come back to the picture."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from perception.detection.letterbox import PAD_VALUE, Letterbox, placement

INPUT = (416, 320)
sizes = st.tuples(st.integers(16, 1920), st.integers(16, 1080))
fractions = st.floats(0.0, 1.0)


@given(sizes, st.lists(fractions, min_size=4, max_size=4))
def test_a_box_survives_the_way_into_the_input_and_back(size: tuple[int, int], corners: list[float]) -> None:
    x, y = sorted(corners[:2]), sorted(corners[2:])
    box = np.array([[x[0] * size[0], y[0] * size[1], x[1] * size[0], y[1] * size[1]]], np.float32)
    where = placement(size, INPUT)
    np.testing.assert_allclose(where.to_picture(where.to_input(box).tolist()), box, atol=0.01)


@given(sizes)
def test_the_picture_fills_the_input_in_one_direction_and_keeps_its_proportions(size: tuple[int, int]) -> None:
    where = placement(size, INPUT)
    assert where.resized_px[0] == INPUT[0] or where.resized_px[1] == INPUT[1]
    assert all(o >= 0 and o + r <= i for o, r, i in zip(where.offset_px, where.resized_px, INPUT, strict=True))
    ideal = min(INPUT[0] / size[0], INPUT[1] / size[1])
    for axis in range(2):
        assert abs(where.resized_px[axis] - ideal * size[axis]) <= 0.5 or where.resized_px[axis] == 1


def test_boxes_outside_the_picture_are_clipped_to_its_edges() -> None:
    where = placement((640, 480), INPUT)
    assert where.to_picture([(-50.0, -50.0, 1000.0, 1000.0)]) == [(0.0, 0.0, 640.0, 480.0)]


def test_the_blob_is_rgb_in_minus_one_to_one_with_grey_borders() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = 255, 51, 0  # blue, green, red
    blob, where = Letterbox(INPUT)(image)
    assert blob.shape == (1, 3, 320, 416)
    assert blob.dtype == np.float32
    assert where.offset_px == (0, 4)
    np.testing.assert_allclose(blob[0, :, 160, 208], [-1.0, -0.6, 1.0], atol=1e-6)
    np.testing.assert_allclose(blob[0, :, [0, 319], 0], PAD_VALUE / 127.5 - 1.0, atol=1e-6)


def test_a_picture_of_another_size_leaves_nothing_of_the_one_before() -> None:
    letterbox = Letterbox(INPUT)
    letterbox(np.full((480, 640, 3), 255, np.uint8))
    blob, _ = letterbox(np.zeros((224, 224, 3), np.uint8))
    again, _ = Letterbox(INPUT)(np.zeros((224, 224, 3), np.uint8))
    np.testing.assert_array_equal(blob, again)


def test_a_picture_of_the_inputs_size_goes_in_as_it_is_and_stays_untouched() -> None:
    image = np.random.default_rng(3).integers(0, 256, (INPUT[1], INPUT[0], 3), dtype=np.uint8)
    before = image.copy()
    blob, where = Letterbox(INPUT)(image)
    assert where.scale == (1.0, 1.0)
    np.testing.assert_allclose(blob[0], image[..., ::-1].transpose(2, 0, 1) / 127.5 - 1.0, atol=1e-6)
    np.testing.assert_array_equal(image, before)


def test_a_dot_lands_where_the_placement_says() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    image[300:308, 500:508] = 255
    blob, where = Letterbox(INPUT)(image)
    rows, columns = np.nonzero(blob[0, 0, 4:316] > 0)
    found = np.array([columns.mean() + 0.5, rows.mean() + 4.5])
    expected = where.to_input(np.array([[500, 300, 508, 308]], np.float32))[0]
    np.testing.assert_allclose(found, [(expected[0] + expected[2]) / 2, (expected[1] + expected[3]) / 2], atol=0.3)
