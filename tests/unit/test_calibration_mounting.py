"""A wrong mounting is found from the directions of lines, from lines on a turn, and from field points."""

from __future__ import annotations

import csv
import dataclasses
import math

import cv2
import numpy as np
import pytest

from perception.calibration.field_points import FieldPoints, fit_points, read_points
from perception.calibration.line_attitude import AttitudeConfig, LineView, fit_attitude
from perception.calibration.line_bundle import LineFitConfig
from perception.calibration.line_fit import fit_lines
from perception.calibration.line_map import LineMap
from perception.calibration.line_report import lines_text
from perception.camera import CameraModel, load_camera
from perception.camera.parameters import CALIBRATED, MOUNTING, CalibrationUncertainty
from perception.field.boundary import CarpetScanner
from perception.field.lines import LineConfig, LineFinder
from perception.field.model import field_model
from robot.cli.main import main
from robot.core.clock import NS_PER_S
from robot.core.errors import CalibrationError, DataError
from robot.core.field import FieldGeometry
from robot.core.geometry import Pose2
from tests.helpers import shared_data
from tests.seen_lines import C922, MODEL, line_views, mounted


def turning(x: float = 2.4, y: float = 0.4, count: int = 30) -> list[Pose2]:
    return [Pose2(x, y, 0.3 + math.tau * k / count) for k in range(count)]


@pytest.mark.parametrize("wrong", [(2.0, 1.0), (-3.0, 0.0), (0.5, -2.5), (0.0, 0.0)])
def test_directions_alone_tell_pitch_and_roll(wrong):
    fit = fit_attitude(line_views(mounted(*wrong, yaw_deg=2.0, height_mm=8.0), turning()), C922)
    assert math.degrees(fit.pitch_rad) == pytest.approx(wrong[0], abs=0.15)
    assert math.degrees(fit.roll_rad) == pytest.approx(wrong[1], abs=0.15)
    assert max(fit.sigma_rad()) < math.radians(0.2)


def test_directions_count_with_gyro_drift_and_false_lines():
    seen = line_views(mounted(2.0, 1.0), turning())
    rng = np.random.default_rng(4)
    spoiled = []
    for view in seen:
        turned = Pose2(0.0, 0.0, view.odom_from_robot.theta_rad + 0.005 * view.t_ns * 1e-9)
        false = tuple(float(v) for v in rng.uniform((50, 150, 50, 150), (600, 470, 600, 470)))
        spoiled.append(
            dataclasses.replace(view, odom_from_robot=turned, segments_px=(*view.segments_px, false)),
        )
    fit = fit_attitude(spoiled, C922)
    assert math.degrees(fit.pitch_rad) == pytest.approx(2.0, abs=0.3)
    assert math.degrees(fit.roll_rad) == pytest.approx(1.0, abs=0.3)
    assert fit.drift_rad_s == pytest.approx(0.005, abs=0.002)
    assert fit.inliers < fit.segments


def test_sigmas_of_the_attitude_are_honest():
    pulls = []
    for seed in range(12):
        fit = fit_attitude(line_views(mounted(1.0, -1.0), turning(), noise_px=1.0, seed=seed), C922)
        pulls.append((fit.pitch_rad - math.radians(1.0)) / fit.sigma_rad()[0])
        pulls.append((fit.roll_rad + math.radians(1.0)) / fit.sigma_rad()[1])
    assert np.sqrt(np.mean(np.square(pulls))) < 1.5  # never over-confident; repeated sights make it cautious


def test_nothing_is_said_without_lines():
    assert fit_attitude([], C922) is None
    assert fit_attitude([LineView(t_ns=0, segments_px=((0.0, 300.0, 200.0, 300.0),))], C922) is None


def test_a_turn_tells_the_whole_mounting():
    true = mounted(2.0, 1.0, 2.0, 7.0)
    ahead = [Pose2(2.4, 0.4, 0.3).transform((0.12 * k, 0.0)) for k in range(9)]
    poses = [*turning(), *(Pose2(x, y, 0.3) for x, y in ahead)]
    fit = fit_lines(line_views(true, poses), C922, MODEL)
    found = fit.camera.mounting
    assert found.height_m == pytest.approx(true.mounting.height_m, abs=0.0015)
    for name, limit_deg in (("pitch_rad", 0.1), ("roll_rad", 0.1), ("yaw_rad", 0.5)):
        off = math.degrees(getattr(found, name) - getattr(true.mounting, name))
        assert abs(off) < limit_deg, name
    assert fit.used.mean() > 0.9
    assert np.array(fit.camera.uncertainty.covariance).shape == (len(CALIBRATED),) * 2
    # Before the fit the same points lie far off: the picture of the report shows something.
    off_before = np.abs(LineMap.of(MODEL).nearest(fit.before_m)[0])
    assert np.nanmedian(off_before) > 4.0 * np.median(np.abs(fit.errors_m[fit.used]))


def test_a_new_mounting_keeps_what_is_known_of_the_contact_rule():
    """After a bump lines are enough; the file's ball session still holds, and so does its doubt."""
    balls = 0.01 * np.eye(len(CALIBRATED))
    balls[6:8, 6:8] = [[4e-3, 1e-2], [1e-2, 4.0]]
    balls[5, 6] = balls[6, 5] = 1e-4
    start = dataclasses.replace(
        C922, uncertainty=CalibrationUncertainty(covariance=tuple(tuple(row) for row in balls.tolist()))
    )
    pose = Pose2(1.6, 0.1, 0.05)
    fits = [
        fit_lines(line_views(C922, turning()), start, MODEL),
        fit_points(field_points(C922, pose), start, pose),
    ]
    for fit in fits:
        found = np.array(fit.camera.uncertainty.covariance)
        np.testing.assert_array_equal(found[6:, 6:], balls[6:, 6:])
        assert (found[:6, 6:] == 0.0).all()
        assert (np.diag(found)[:6] < 0.01).all()


def test_points_without_a_pose_keep_what_is_known_of_place_and_yaw():
    """They tell height, pitch and roll alone: an earlier fit's doubt about the rest is not forgotten."""
    start = fit_lines(line_views(C922, turning()), C922, MODEL).camera
    before = np.array(start.uncertainty.covariance)
    fit = fit_points(field_points(C922, Pose2(1.6, 0.1, 0.05)), start)
    after = np.array(fit.camera.uncertainty.covariance)
    told, kept = [MOUNTING.index(name) for name in fit.names], [0, 1, 5, *range(6, len(CALIBRATED))]
    assert before[5, 5] > 0.0
    np.testing.assert_array_equal(after[np.ix_(kept, kept)], before[np.ix_(kept, kept)])
    assert np.sqrt(np.diag(after)[told]) == pytest.approx(fit.sigmas)
    assert (after[np.ix_(told, kept)] == 0.0).all()


def test_turns_that_tell_nothing_are_refused_with_the_mend():
    still = [Pose2(2.4, 0.4, 0.3)] * 20
    with pytest.raises(CalibrationError, match="headings only") as refused:
        fit_lines(line_views(C922, still), C922, MODEL)
    assert "turn once around" in refused.value.hint
    smaller = field_model(FieldGeometry(length_m=5.0, width_m=3.4, defense_depth_m=0.5, defense_width_m=1.2))
    with pytest.raises(CalibrationError) as wrong_field:
        fit_lines(line_views(mounted(1.0), turning()), C922, smaller)
    assert "field" in wrong_field.value.message + wrong_field.value.hint


def test_views_from_before_an_interruption_are_left_out():
    """After a silence of the telemetry odometry goes on as if the robot had not moved: it may have been carried."""
    true = mounted(1.0, 0.5, 0.0, 5.0)
    before = [
        dataclasses.replace(view, odom_from_robot=Pose2(0.3, -0.4, 0.5) @ view.odom_from_robot)
        for view in line_views(true, turning(-2.0, 1.0, 12))
    ]
    later = [
        dataclasses.replace(view, breaks=1, t_ns=view.t_ns + 10 * NS_PER_S) for view in line_views(true, turning())
    ]
    fit = fit_lines([*before, *later], C922, MODEL)
    assert fit.views == 30
    for name, limit in (("height_m", 0.0015), ("pitch_rad", 0.002), ("roll_rad", 0.002)):
        assert getattr(fit.camera.mounting, name) == pytest.approx(getattr(true.mounting, name), abs=limit), name
    with pytest.raises(CalibrationError, match="interruptions"):
        fit_lines([*before[:3], *later[:4]], C922, MODEL)


@pytest.mark.parametrize("off", [{"height_mm": 50.0}, {"pitch_deg": 10.0}])
def test_a_file_of_another_robot_is_suspected(off):
    """A lens file begins with the mounting of the shipped camera, which may be no start for the robot at hand."""
    with pytest.raises(CalibrationError) as refused:
        fit_lines(line_views(mounted(**off), turning()), C922, MODEL)
    assert "[mounting]" in refused.value.hint


def test_a_turn_that_leaves_yaw_open_keeps_the_files():
    """A stage 1 trial once gave a yaw of -2.9 degrees, sigma 2.2, and exit code 0: yaw is kept, the rest is found."""
    true = mounted(1.0, 0.5, 2.0, 5.0)
    fit = fit_lines(line_views(true, turning()), C922, MODEL)
    assert fit.yaw_kept
    assert fit.camera.mounting.yaw_rad == C922.mounting.yaw_rad
    assert fit.sigmas[5] > math.radians(2.0)
    for name, limit in (("height_m", 0.0015), ("pitch_rad", 0.002), ("roll_rad", 0.002)):
        assert getattr(fit.camera.mounting, name) == pytest.approx(getattr(true.mounting, name), abs=limit), name
    assert "the file's is kept; turn on the spot once around" in lines_text(fit, C922)


def test_a_height_or_tilt_that_the_lines_leave_open_is_refused():
    views = line_views(mounted(1.0), turning())
    with pytest.raises(CalibrationError, match=r"height is known to 1 mm only") as refused:
        fit_lines(views, C922, MODEL, LineFitConfig(max_sigma={"height_m": 0.0005}))
    assert "turn on the spot once around" in refused.value.hint


def test_the_map_knows_distances_and_finds_places():
    markings = LineMap.of(MODEL)
    off, normal = markings.nearest(np.array([[4.5, 1.7], [4.4, 2.0], [0.62, 0.0], [0.0, 3.2]]))
    assert np.abs(off) == pytest.approx([0.0, 0.1, 0.0, 0.2], abs=1e-9)
    assert abs(normal[1, 0]) == pytest.approx(1.0)
    points, _, _ = MODEL.sample(0.1)
    near = points[(np.abs(points[:, 0] - 3.0) < 2.0) & (np.abs(points[:, 1]) < 1.6)]
    pose = Pose2(1.3, -0.7, 0.4)
    local = np.array([pose.inverse().transform((float(x), float(y))) for x, y in near])
    found = markings.place(local[::2], 0.4 + 0.5 * math.pi)
    moved = np.array([found.transform((float(x), float(y))) for x, y in local])
    assert np.median(np.abs(markings.nearest(moved)[0])) < 0.02


# --- field points -----------------------------------------------------------------------------------------------


def field_points(true: CameraModel, pose: Pose2, noise_px: float = 0.0, seed: int = 1) -> FieldPoints:
    rng = np.random.default_rng(seed)
    places = np.array([(3.5, 1.0), (3.5, -1.0), (4.5, 0.5), (4.5, -0.5), (3.5, 0.0), (4.5, 1.0), (4.5, -1.0)])
    local = np.array([pose.inverse().transform((float(x), float(y))) for x, y in places])
    pixels = true.project(np.column_stack((local, np.zeros(len(local)))))
    inside = ((pixels > 0) & (pixels < (640, 480))).all(axis=1)
    return FieldPoints(pixels[inside] + rng.normal(0, noise_px, (int(inside.sum()), 2)), places[inside])


def test_points_at_a_known_pose_tell_all_of_the_mounting():
    true, pose = mounted(2.0, 1.0, -2.0, 5.0), Pose2(1.6, 0.1, 0.05)
    fit = fit_points(field_points(true, pose), C922, pose, height_sigma_m=0.1)
    for name in ("height_m", "pitch_rad", "roll_rad", "yaw_rad"):
        assert getattr(fit.camera.mounting, name) == pytest.approx(getattr(true.mounting, name), abs=2e-3), name
    assert np.abs(fit.residuals_px).max() < 0.2


def test_points_from_an_unknown_pose_tell_height_pitch_roll_and_the_pose():
    true, pose = mounted(-1.5, 0.7, 0.0, 0.0), Pose2(1.4, -0.2, 0.1)
    fit = fit_points(field_points(true, pose, noise_px=0.3), C922)
    assert fit.names == ("height_m", "pitch_rad", "roll_rad")
    assert math.degrees(fit.values[1] - true.mounting.pitch_rad) == pytest.approx(0.0, abs=0.3)
    assert math.degrees(fit.values[2] - true.mounting.roll_rad) == pytest.approx(0.0, abs=0.3)
    assert (fit.robot_pose.x_m, fit.robot_pose.y_m) == pytest.approx((1.4, -0.2), abs=0.06)
    assert np.isfinite(fit.left_out_m).all()


def test_useless_points_are_refused_with_the_mend(tmp_path):
    pose = Pose2(1.6, 0.1, 0.05)
    points = field_points(C922, pose)
    with pytest.raises(CalibrationError, match="too few"):
        fit_points(FieldPoints(points.pixels_px[:3], points.points_m[:3]), C922, pose)
    line = points.points_m[:, 0] > 4.0
    with pytest.raises(CalibrationError, match="one line"):
        fit_points(FieldPoints(points.pixels_px[line], points.points_m[line]), C922, pose)
    with pytest.raises(CalibrationError, match=r"do not belong together|no minimum"):
        fit_points(FieldPoints(points.pixels_px[::-1], points.points_m), C922, pose)
    table = tmp_path / "points.csv"
    table.write_text("u,v,x_m\n1,2,3\n")
    with pytest.raises(DataError, match="no column y_m"):
        read_points(table)
    table.write_text("u,v,x_m,y_m\n1,2,3,4\n1,2,three,4\n")
    with pytest.raises(DataError, match="row 2: x_m is 'three'"):
        read_points(table)
    table.write_text("u,v,x_m,y_m\n# a comment\n1,2,3\n")
    with pytest.raises(DataError, match="row 1: y_m is None"):
        read_points(table)
    with pytest.raises(CalibrationError, match="metres"):
        fit_points(FieldPoints(points.pixels_px, 1000.0 * points.points_m), C922, pose)
    for sigma_px in (0.0, -1.0, math.nan):
        with pytest.raises(CalibrationError, match="pixels cannot be read"):
            fit_points(points, C922, pose, sigma_px=sigma_px)
    with pytest.raises(CalibrationError, match="not finite"):
        fit_points(points, C922, Pose2(math.nan, 0.0, 0.0))


def test_clicked_points_and_lines_agree_in_the_real_picture(tmp_path, capsys):
    """Four points that the original authors clicked, and the lines of the same picture: two ways, one pitch."""
    picture = shared_data("calibration", "calibration_image.jpg")
    table = tmp_path / "points.csv"
    rows = [(215, 99, -0.5, 2.82), (423, 100, 0.5, 2.82), (35, 116, -1.0, 1.82), (599, 113, 1.0, 1.82)]
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows([("u", "v", "x_m", "y_m"), *rows])
    out = tmp_path / "cal.toml"
    argv = ["calibrate", "points", str(table), "--out", str(out), "--report", str(tmp_path / "report")]
    assert main([*argv, "--picture", str(picture)]) == 0
    assert "pitch" in capsys.readouterr().out
    assert (tmp_path / "report" / "residuals.png").is_file()
    camera = load_camera(out)
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "one.jpg").write_bytes(picture.read_bytes())
    assert main(["calibrate", "check", str(folder), "--camera", str(out)]) == 0
    assert main(["calibrate", "check", str(folder), "--camera", "c922_640x480"]) == 1  # mounted 1.5 degrees flatter
    image = np.asarray(cv2.imread(str(picture)), np.uint8)
    edge, mask = CarpetScanner(camera=camera).scan_with_mask(image)
    segments = LineFinder(LineConfig(), camera).find(image, mask, edge).segments
    view = LineView(t_ns=0, segments_px=tuple((*s.ends_px[0], *s.ends_px[1]) for s in segments))
    fit = fit_attitude([view], camera, AttitudeConfig(repeats=1.0))
    assert abs(math.degrees(fit.pitch_rad)) < 0.6
    assert abs(math.degrees(fit.roll_rad)) < 0.4


def test_a_misspelt_way_is_named_and_a_table_alone_means_balls(tmp_path, capsys):
    assert main(["calibrate", "lnes", "turn.mcap"]) == 2
    assert "lnes" in capsys.readouterr().err
    assert main(["calibrate", str(tmp_path / "none.csv"), "--out", str(tmp_path / "cal.toml")]) == 2
    assert "none.csv" in capsys.readouterr().err
