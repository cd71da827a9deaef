"""Calibration: known cameras are found again, wrong boxes do not matter, real errors stay where they were measured."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest

from perception.calibration.ball_report import report_text, rmse_mm, write_report
from perception.calibration.ball_table import BallPlaces, read_boxes, read_places
from perception.calibration.balls import FitConfig, calibrate, leave_one_out
from perception.calibration.least_squares import minimise
from perception.camera import load_camera
from perception.camera.observe import ball_plane_m, ball_row_slopes
from perception.camera.parameters import BALL_ROWS, MOUNTING
from perception.camera.store import camera_to_toml
from robot.cli import _calibrate_balls as calibrate_verb
from robot.cli import project as project_verb
from robot.cli.main import main
from robot.core.errors import CalibrationError, ConfigError, DataError
from robot.core.geometry import Pose2
from tests.helpers import shared_data

START = load_camera("c922_640x480")
TRUE = dataclasses.replace(
    START,
    mounting=dataclasses.replace(
        START.mounting, x_m=0.12, pitch_rad=0.27, roll_rad=0.02, yaw_rad=-0.04, height_m=0.164
    ),
    contact=dataclasses.replace(
        START.contact,
        ball=0.42,
        ball_bow_px=6.0,
        small_by_height_px=-3.0,
        small_by_width_px=2.0,
        small_by_column_px=-4.0,
        small_by_column_and_height_px=5.0,
    ),
)


def session(noise_px: float = 0.0, count: int = 60, seed: int = 1) -> BallPlaces:
    """Balls on the floor of TRUE; boxes built so that TRUE's contact rule points at them."""
    rng = np.random.default_rng(seed)
    bearing, away = rng.uniform(-0.36, 0.28, count), rng.uniform(0.6, 3.2, count)
    places = np.stack((away * np.cos(bearing), away * np.sin(bearing)), axis=1)
    points = TRUE.project(np.hstack((places, np.full((count, 1), ball_plane_m(TRUE)))))
    width = 10.0 + 38.0 / away
    height = width * rng.uniform(0.65, 1.0, count)
    u, rule = points[:, 0], TRUE.contact
    v = points[:, 1].copy()
    for name, slope in zip(BALL_ROWS, ball_row_slopes(u, width, height, TRUE), strict=True):
        v -= getattr(rule, name) * slope
    u, v = (axis + rng.normal(0, noise_px, count) + 0.5 for axis in (u, v))
    bottom = v + rule.ball * height
    boxes = np.stack((u - width / 2, bottom - height, u + width / 2, bottom), axis=1)
    return BallPlaces(tuple(map(str, range(count))), boxes, places, Pose2(), (0.0, 0.0, 0.0))


def test_a_known_mounting_is_found_again():
    config = FitConfig(prior_sigma=dict.fromkeys(FitConfig().prior_sigma, 10.0))  # the data alone must tell
    fit = calibrate(session(), START, config)
    for name, value, sigma in zip(fit.names, fit.values, fit.sigmas, strict=True):
        truth = getattr(TRUE.mounting if name in MOUNTING else TRUE.contact, name)
        assert abs(value - truth) < 0.3 * sigma, name
    assert fit.camera.mounting.height_m == pytest.approx(TRUE.mounting.height_m, abs=1e-3)
    assert rmse_mm(fit.errors_m) < 1.0


def test_uncertainties_are_those_of_repeated_sessions():
    fits = [calibrate(session(1.0, seed=seed), START) for seed in range(12)]
    values = np.array([fit.values for fit in fits])
    for column, name in enumerate(fits[0].names):
        if name in ("pitch_rad", "roll_rad", "yaw_rad"):
            truth = getattr(TRUE.mounting, name)
            pulls = (values[:, column] - truth) / np.array([fit.sigmas[column] for fit in fits])
            assert 0.3 < np.sqrt(np.mean(pulls**2)) < 2.0, name


def test_wrong_boxes_hardly_move_the_fit():
    table = session(0.5)
    boxes = table.boxes_px.copy()
    boxes[::10, [1, 3]] += 25.0  # six of sixty boxes are of something else
    spoiled = dataclasses.replace(table, boxes_px=boxes)
    clean, robust = calibrate(table, START), calibrate(spoiled, START)
    plain = calibrate(spoiled, START, FitConfig(huber=1e9))
    good = np.arange(60) % 10 != 0
    assert rmse_mm(robust.errors_m, good) < 2.0 * rmse_mm(clean.errors_m, good)
    assert rmse_mm(robust.errors_m, good) < 0.5 * rmse_mm(plain.errors_m, good)
    assert (robust.weights[::10] < 0.5).all()


def test_leave_one_out_is_larger_than_in_sample_and_predicts_a_new_session():
    table = session(1.0, count=30)
    fit = calibrate(table, START)
    held_out = leave_one_out(table, fit, START)
    fresh = session(1.0, count=200, seed=99)
    new = fit.locate(fresh.boxes_px) - fresh.places_in_robot_m
    assert rmse_mm(fit.errors_m) < rmse_mm(held_out)
    assert rmse_mm(held_out) == pytest.approx(rmse_mm(new), rel=0.35)


def test_balls_of_one_group_are_left_out_together():
    """Two boxes of the same ball err together: leaving out one of them alone forgives its error."""
    table = session(0.0)
    boxes = table.boxes_px.copy()
    far = np.argsort(-table.places_in_robot_m[:, 0])[:12]
    boxes[far, 1] -= 4.0
    boxes[far, 3] -= 4.0
    table = dataclasses.replace(table, boxes_px=boxes)
    fit = calibrate(table, START, FitConfig(huber=1e9))
    group = np.arange(60)
    group[far] = -1
    alone, together = (rmse_mm(leave_one_out(table, fit, START, g)[far]) for g in (None, group))
    assert together > 1.2 * alone


def test_wrong_units_are_called_by_their_name():
    """Metres in the `_mm` columns were once "all balls lie on one line"."""
    table = session()
    metres = dataclasses.replace(table, places_in_robot_m=table.places_in_robot_m / 1000.0)
    with pytest.raises(CalibrationError, match=r"largest distance .* is \d mm: are these metres\?"):
        calibrate(metres, START)
    thousandfold = dataclasses.replace(table, places_in_robot_m=table.places_in_robot_m * 1000.0)
    with pytest.raises(CalibrationError, match="are these metres"):
        calibrate(thousandfold, START)


def test_a_height_told_in_metres_is_refused_by_the_verbs(tmp_path, capsys):
    for way in ("balls", "points"):
        argv = ["calibrate", way, str(tmp_path / "t.csv"), "--height-mm", "0.17", "--out", str(tmp_path / "c.toml")]
        assert main(argv) == 2
        assert "is it in metres?" in capsys.readouterr().err


def test_impossible_tables_are_refused_with_a_mend():
    table = session()
    with pytest.raises(CalibrationError, match="too few") as few:
        calibrate(table.only(np.arange(60) < 8), START)
    assert "record" in few.value.hint
    line = dataclasses.replace(table, places_in_robot_m=np.stack((np.linspace(0.5, 3, 60), np.zeros(60)), axis=1))
    with pytest.raises(CalibrationError, match="one line"):
        calibrate(line, START)
    behind = dataclasses.replace(table, places_in_robot_m=-table.places_in_robot_m)
    with pytest.raises(CalibrationError, match="behind the camera"):
        calibrate(behind, START)
    sky = dataclasses.replace(table, boxes_px=480.0 - table.boxes_px[:, [0, 3, 2, 1]])
    with pytest.raises(CalibrationError, match="no minimum") as upside_down:
        calibrate(sky, START)
    assert "y grows downwards" in upside_down.value.hint
    leaning = dataclasses.replace(START, mounting=dataclasses.replace(START.mounting, roll_rad=1.0))
    with pytest.raises(CalibrationError, match="moved roll_rad"):
        calibrate(table, leaning)
    mixed = dataclasses.replace(table, boxes_px=np.roll(table.boxes_px, 7, axis=0))
    with pytest.raises(CalibrationError, match="do not belong together"):
        calibrate(mixed, START)


def test_a_fit_that_ends_where_nothing_can_be_has_no_minimum():
    """The cost falls towards 1, beyond which a parameter is impossible: no ValueError, and no answer either."""

    def residual(theta):
        if theta[0] > 1.0:
            raise ValueError("impossible")
        return np.array([[theta[0] - 5.0, 0.0]])

    edge = 1.0 - 1e-9  # nearer to the limit than the step of the numeric derivative
    least = minimise(residual, np.array([edge]), np.array([0.0]), np.array([1.0]), 2.0)
    assert not least.found


HEADER = [
    "frame",
    "robot_x_mm",
    "robot_y_mm",
    "robot_theta",
    "ball_x_mm",
    "ball_y_mm",
    "x_min",
    "x_max",
    "y_min",
    "y_max",
]


def write(path, rows, header=HEADER):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def test_bad_files_are_named_with_line_and_mend(tmp_path):
    good = [1, 100.0, 0.0, 3.1415, 900.0, 0.0, 300, 340, 200, 240]
    with pytest.raises(DataError, match="cannot read"):
        read_places(tmp_path / "none.csv")
    with pytest.raises(DataError, match="no column y_max"):
        read_boxes(write(tmp_path / "a.csv", [good[:-1]], HEADER[:-1]))
    with pytest.raises(DataError, match="line 3: ball_x_mm is 'x'"):
        read_places(write(tmp_path / "b.csv", [good, [*good[:4], "x", *good[5:]]]))
    with pytest.raises(DataError, match="no rows"):
        read_boxes(write(tmp_path / "c.csv", []))
    with pytest.raises(DataError, match="frame 1: the box"):
        read_boxes(write(tmp_path / "d.csv", [[*good[:6], 340, 300, 200, 240]]))
    with pytest.raises(DataError, match="the robot moved"):
        read_places(write(tmp_path / "e.csv", [good, [2, 900.0, *good[2:]]]))
    (tmp_path / "f.csv").write_bytes(b"\xff\xfe\x00frame")
    with pytest.raises(DataError, match="not a CSV"):
        read_boxes(tmp_path / "f.csv")


def test_the_robots_heading_is_averaged_around_the_circle(tmp_path):
    rows = [
        [i, 100.0, 50.0, theta, -900.0, 50.0, 300, 340, 200, 240] for i, theta in enumerate((3.1406, -3.1406, 3.1416))
    ]
    table = read_places(write(tmp_path / "wrap.csv", rows))
    assert abs(abs(table.robot_pose.theta_rad) - np.pi) < 1e-3
    assert table.places_in_robot_m[0] == pytest.approx([1.0, 0.0], abs=2e-3)


def test_project_reads_boxes_only(tmp_path):
    camera = tmp_path / "cal.toml"
    camera.write_text(camera_to_toml(TRUE, "made by a test"))
    assert load_camera(camera) == TRUE  # floats survive the file bit for bit
    row = ["7", "secret", "", "?", "nan", "", 300, 340, 200, 240]
    table, out = write(tmp_path / "t.csv", [row, ["8", *row[1:6], 300, 340, 2, 10]]), tmp_path / "out.csv"
    assert project_verb.run(project_verb.Args(points=table, calibration=str(camera), out=out)) == 0
    with out.open() as stream:
        lines = list(csv.DictReader(stream))
    assert list(lines[0]) == ["frame", "x_in_robot_mm", "y_in_robot_mm", "sigma_mm"]
    assert lines[0]["frame"] == "7"
    assert 400 < float(lines[0]["x_in_robot_mm"]) < 1500
    assert 1 < float(lines[0]["sigma_mm"]) < 100
    assert lines[1]["x_in_robot_mm"] == "nan"


def test_calibrate_needs_somewhere_to_write(tmp_path):
    with pytest.raises(ConfigError, match="nowhere"):
        calibrate_verb.run_balls(calibrate_verb.Balls(points=tmp_path / "x.csv"))


def test_the_real_session_keeps_its_measured_accuracy(tmp_path):
    source = shared_data("ball-range", "calibration-session.csv")
    cal, out = tmp_path / "cal.toml", tmp_path / "out.csv"
    assert calibrate_verb.run_balls(calibrate_verb.Balls(points=source, out=cal, report=tmp_path / "report")) == 0
    assert (tmp_path / "report" / "report.txt").is_file()
    assert len((tmp_path / "report" / "residuals.csv").read_text().splitlines()) == 76
    assert project_verb.run(project_verb.Args(points=source, calibration=str(cal), out=out)) == 0
    table = read_places(source)
    with out.open() as stream:
        got = (
            np.array([[float(r["x_in_robot_mm"]), float(r["y_in_robot_mm"])] for r in csv.DictReader(stream)]) / 1000.0
        )
    errors, away = got - table.places_in_robot_m, np.hypot(*table.places_in_robot_m.T)
    assert rmse_mm(errors, (away >= 0.4) & (away <= 3.2)) <= 60.0
    assert rmse_mm(errors, away < 1.5) < 16.0
    fitted = load_camera(cal)
    assert fitted.mounting.height_m == pytest.approx(0.17, abs=0.006)  # what the ruler says


def test_report_names_what_is_uncertain(tmp_path):
    table = session(1.0, count=20)
    fit = calibrate(table, START)
    held_out = leave_one_out(table, fit, START)
    text = report_text(table, fit, held_out)
    for word in ("pitch_rad", "degrees", "leave-one-out", "worst balls"):
        assert word in text
    assert {path.name for path in write_report(tmp_path, table, fit, held_out)} >= {"report.txt", "residuals.csv"}
