"""`blackout localize` and `fit-motion`: real runs with thresholds, a made-up run with known constants, bad logs."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perception.estimation.config import EstimationConfig, MotionConfig
from perception.estimation.logs.evaluation import nees, nees_inside, path_errors
from perception.estimation.logs.motion_fit import fit_motion
from perception.estimation.logs.navigation_log import BOX, ODOMETRY, REFERENCE, NavigationLog, read_log
from perception.estimation.logs.offline import Seed, localize, raw_odometry
from robot.cli.localize import parse_pose
from robot.cli.main import main
from robot.core.errors import CalibrationError, ConfigError, DataError
from robot.core.geometry import Pose2, Twist2, exponential_map, wrap_angles
from robot.runtime.robot_config import open_robot
from tests.estimation_world import BODY, CAMERA, FIELD
from tests.helpers import shared_data

HEADER = "frame,odo_x,odo_y,odo_theta,pos_x,pos_y,pos_theta,goal_in_fov,has_goal,x_min,x_max,y_min,y_max,t"


@pytest.mark.parametrize(("name", "limit_m", "raw_m"), [("random-1", 0.13, 0.25), ("square-1", 0.22, 0.42)])
def test_real_runs(name: str, limit_m: float, raw_m: float, tmp_path: Path) -> None:
    """RMSE, heading and consistency of the shipped robot on the real runs, through the command itself."""
    path = shared_data("navigation", f"{name}.csv")
    out = tmp_path / "poses.csv"
    assert main(["localize", str(path), "--seed-from-log", "--out", str(out)]) == 0
    log = read_log(path)
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(log)
    table = np.array([[float(v) for v in row.values()] for row in rows])
    assert list(rows[0]) == ["t", "x_m", "y_m", "theta_rad", "sigma_x_m", "sigma_y_m", "sigma_theta_rad"]
    assert table[:, 0] == pytest.approx(log.t_s, abs=1e-6)
    errors = path_errors(log, table[:, 1:4])
    assert errors.rmse_m < limit_m
    assert errors.heading_median_deg < 1.5
    assert path_errors(log, raw_odometry(log, log.reference_pose(0))).rmse_m == pytest.approx(raw_m, abs=0.01)
    robot = open_robot("robocin_half_field")
    seed = Seed(log.reference_pose(0), 0.02, math.radians(1.2))
    poses = localize(log, robot.config.estimation, robot.config.body, robot.field, robot.camera, seed)
    assert poses.poses == pytest.approx(table[:, 1:4], abs=1e-6)
    assert nees_inside(nees(log, poses)) >= 0.8


def test_constants_of_one_run_serve_the_other() -> None:
    """Fitted on random-1, dead reckoning on square-1 beats raw odometry by far, and the other way round."""
    logs = {name: read_log(shared_data("navigation", f"{name}.csv")) for name in ("random-1", "square-1")}
    for fitted, tested, limit_m in (("random-1", "square-1", 0.15), ("square-1", "random-1", 0.2)):
        motion = fit_motion([logs[fitted]], MotionConfig()).config
        log = logs[tested]
        config = EstimationConfig(motion=motion, history_s=2.0)
        blind = replace(log, boxes=(None,) * len(log))
        table = localize(blind, config, BODY, FIELD, CAMERA, Seed(log.reference_pose(0)))
        assert path_errors(log, table.poses).rmse_m < limit_m


def test_the_reference_is_no_input() -> None:
    """Garbage in pos_* after the first row changes nothing."""
    log = read_log(shared_data("navigation", "random-1.csv"))
    assert log.reference is not None
    garbage = log.reference.copy()
    garbage[1:] = 1e6
    robot = open_robot("robocin_half_field")
    args = (robot.config.estimation, robot.config.body, robot.field, robot.camera, Seed(log.reference_pose(0)))
    honest, blind = localize(log, *args), localize(replace(log, reference=garbage), *args)
    np.testing.assert_array_equal(honest.poses, blind.poses)


def made_up_log(motion: MotionConfig, seed: int = 3) -> NavigationLog:
    """A minute of driving with odometry that is wrong by known constants, and a slightly noisy reference."""
    rng = np.random.default_rng(seed)
    dt, rows = 0.045, 700
    t_s = 5.0 + np.cumsum(rng.uniform(0.8, 1.2, rows) * dt)
    fine = np.arange(0.0, t_s[-1] + 1.0, 0.005)
    true, odometry = [Pose2(0.5, 0.2, 1.0)], [Pose2(0.0, 0.0, -2.0)]
    for t in fine[1:]:
        v = Twist2(0.9 * math.sin(0.5 * t), 0.6 * math.cos(0.31 * t), 1.2 * math.sin(0.83 * t))
        reported_x = v.vx_m_s / motion.scale_x
        reported = Twist2(
            reported_x,
            (v.vy_m_s - motion.lateral_per_forward * reported_x) / motion.scale_y,
            v.omega_rad_s / motion.scale_theta,
        )
        true.append(true[-1] @ exponential_map(v, 0.005))
        odometry.append(odometry[-1] @ exponential_map(reported, 0.005))

    def sampled(poses: list[Pose2], times: np.ndarray) -> np.ndarray:
        index = np.searchsorted(fine, times)
        return np.array([(poses[i].x_m, poses[i].y_m, poses[i].theta_rad) for i in index])

    reference = sampled(true, t_s) + rng.normal(0.0, [0.005, 0.005, 0.004], (rows, 3))
    return NavigationLog("made up", t_s, sampled(odometry, t_s + motion.lead_s), (None,) * rows, reference)


def test_known_constants_are_found() -> None:
    known = MotionConfig(scale_x=0.94, scale_y=0.86, lateral_per_forward=-0.04, scale_theta=1.012, lead_s=0.07)
    fit = fit_motion([made_up_log(known)], MotionConfig())
    truth = np.array([0.07, 0.94, 0.86, -0.04, 1.012])
    assert fit.values() == pytest.approx(truth, abs=0.004)
    assert (np.abs(fit.values() - truth) < 4.0 * fit.sigmas).all()
    assert (fit.rms_after < 0.3 * fit.rms_before).all()


def test_perfect_constants_give_a_perfect_path() -> None:
    """The whole chain (increments, lead, wrapping angles) has no error of its own."""
    known = MotionConfig(scale_x=0.94, scale_y=0.86, lateral_per_forward=-0.04, scale_theta=1.012, lead_s=0.07)
    log = made_up_log(known)
    config = EstimationConfig(motion=known, history_s=2.0)
    table = localize(log, config, BODY, FIELD, CAMERA, Seed(log.reference_pose(0), 0.01, 0.01))
    errors = path_errors(log, table.poses)
    assert errors.rmse_m < 0.06
    assert errors.relative_rmse_m < 0.02
    assert path_errors(log, raw_odometry(log, log.reference_pose(0))).rmse_m > 0.15


def test_too_little_to_fit_is_said() -> None:
    log = made_up_log(MotionConfig())
    with pytest.raises(CalibrationError, match="rows"):
        fit_motion([log.part(0, 30)], MotionConfig())
    still = replace(log, odometry=np.zeros_like(log.odometry))
    with pytest.raises(CalibrationError, match="drove only"):
        fit_motion([still], MotionConfig())


def write(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


GOOD = ["1,0.0,0.0,0.0,1.0,0.5,0.1,0,0,0,0,0,0,1.00", "2,0.1,0.0,0.0,1.1,0.5,0.1,1,1,100,300,30,90,1.05"]


@pytest.mark.parametrize(
    ("header", "rows", "said"),
    [
        (HEADER.replace("odo_theta,", ""), GOOD, "odo_theta"),
        (HEADER, [], "no rows"),
        (HEADER, [GOOD[1], GOOD[0]], "line 3: time does not increase"),
        (HEADER, [GOOD[0], GOOD[0]], "line 3: time does not increase"),
        (HEADER, [GOOD[0], GOOD[1].replace("0.1,0.0", "nan,0.0", 1)], "line 3: odo_x is 'nan'"),
        (HEADER, [GOOD[0], GOOD[1].replace("0.1,0.0", "abc,0.0", 1)], "line 3: odo_x is 'abc'"),
        (HEADER, [GOOD[0], GOOD[1].replace("1.05", "inf")], "line 3: t is 'inf'"),
        (HEADER, [GOOD[0], "2,0.1,0.0"], "line 3"),
    ],
)
def test_bad_logs_are_named_with_their_line(
    header: str, rows: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says what and where, the mend is there, and an older result is not lost."""
    log, out = write(tmp_path / "log.csv", *rows, header=header), tmp_path / "poses.csv"
    out.write_text("older result\n")
    with pytest.raises(DataError, match=said) as caught:
        read_log(log)
    assert caught.value.hint
    assert main(["localize", str(log), "--seed", "0,0,0", "--out", str(out)]) == 2
    assert said in capsys.readouterr().err
    assert out.read_text() == "older result\n"
    assert read_log(write(log, *GOOD)).boxes == (None, (100.0, 30.0, 300.0, 90.0))


def columns_of(log: NavigationLog) -> dict[str, np.ndarray]:
    rows = len(log)
    assert log.reference is not None
    table = {"t": log.t_s, "has_goal": np.zeros(rows), **{name: np.zeros(rows) for name in BOX}}
    return table | dict(zip(ODOMETRY, log.odometry.T, strict=True)) | dict(zip(REFERENCE, log.reference.T, strict=True))


def written(folder: Path, table: dict[str, np.ndarray]) -> Path:
    rows = [",".join(repr(float(v)) for v in row) for row in zip(*table.values(), strict=True)]
    return write(folder / "log.csv", *rows, header=",".join(table))


@pytest.mark.parametrize(
    ("columns", "factor", "said"),
    [
        (["t"], 1000.0, "t cannot be in seconds"),
        (["odo_x", "odo_y"], 1000.0, "odo_x, odo_y cannot be in metres"),
        (["odo_theta"], 180.0 / math.pi, "odo_theta cannot be in radians"),
        (["pos_x", "pos_y"], 1000.0, "pos_x, pos_y cannot be in metres"),
        (["pos_theta"], 180.0 / math.pi, "pos_theta cannot be in radians"),
    ],
)
def test_wrong_units_are_named(columns: list[str], factor: float, said: str, tmp_path: Path) -> None:
    table = columns_of(made_up_log(MotionConfig()).part(0, 200))
    assert len(read_log(written(tmp_path, table))) == 200
    for name in columns:
        table[name] = table[name] * factor
    with pytest.raises(DataError, match=said) as caught:
        read_log(written(tmp_path, table))
    assert "radians" in caught.value.hint


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("rate_rad_s", [0.9, -3.0])
def test_a_reference_that_counts_its_turns_is_in_radians(rate_rad_s: float, wrapped: bool, tmp_path: Path) -> None:
    """A robot that turned four times and more: unwrapped radians are read, degrees are refused, wrapped or not."""
    table = columns_of(made_up_log(MotionConfig()))
    spin = rate_rad_s * (table["t"] - table["t"][0])
    table["odo_theta"] = wrap_angles(table["odo_theta"] + 0.97 * spin)
    theta = np.unwrap(table["pos_theta"]) + spin
    log = read_log(written(tmp_path, table | {"pos_theta": theta}))
    assert (np.abs(theta) > 2.0 * math.tau).mean() > 0.1
    assert log.reference is not None
    assert log.reference[:, 2] == pytest.approx(theta)
    degrees = np.degrees(wrap_angles(theta) if wrapped else theta)
    with pytest.raises(DataError, match="pos_theta cannot be in radians"):
        read_log(written(tmp_path, table | {"pos_theta": degrees}))


def test_a_heading_of_ninety_without_a_turn_is_in_degrees(tmp_path: Path) -> None:
    table = columns_of(made_up_log(MotionConfig()).part(0, 200))
    table["odo_theta"], table["pos_theta"] = np.zeros(200), np.full(200, 90.0)
    with pytest.raises(DataError, match="pos_theta cannot be in radians"):
        read_log(written(tmp_path, table))


def test_missing_file_and_missing_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "poses.csv"
    assert main(["localize", str(tmp_path / "none.csv"), "--seed", "0,0,0", "--out", str(out)]) == 2
    header = HEADER.replace("pos_x,pos_y,pos_theta,", "")
    rows = [",".join(row.split(",")[:4] + row.split(",")[7:]) for row in GOOD]
    log = write(tmp_path / "log.csv", *rows, header=header)
    assert main(["localize", str(log), "--seed-from-log", "--out", str(out)]) == 2
    assert "no reference" in capsys.readouterr().err
    assert not out.exists()
    assert main(["localize", str(log), "--seed", "1.0,0.5,0.1", "--out", str(out), "--evaluate"]) == 2
    assert "no reference to compare with" in capsys.readouterr().err
    assert not out.exists()
    with pytest.raises(DataError) as caught:
        fit_motion([replace(made_up_log(MotionConfig()), reference=None)], MotionConfig())
    assert "add the columns pos_x" in caught.value.hint
    assert main(["localize", str(log), "--seed", "1.0,0.5,0.1", "--out", str(out)]) == 0
    with out.open() as stream:
        rows_out = list(csv.DictReader(stream))
    assert float(rows_out[0]["x_m"]) == pytest.approx(1.0)
    assert len(rows_out) == 2


def test_seed_flags(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", *GOOD)
    base = ["localize", str(log), "--out", str(tmp_path / "poses.csv")]
    assert main(base) == 2
    assert main([*base, "--seed", "0,0,0", "--seed-from-log"]) == 2
    assert main([*base, "--seed", "0,0"]) == 2
    assert main([*base, "--seed", "0,0,0", "--seed-sigma-m", "-1"]) == 2
    assert main([*base, "--seed=-500,0,1"]) == 2  # millimetres
    assert main([*base, "--seed=-0.5,0,90"]) == 2  # degrees
    assert main([*base, "--seed=-0.5,0,90deg"]) == 0
    assert parse_pose("1, 2, -90deg").theta_rad == pytest.approx(-math.pi / 2)
    with pytest.raises(ConfigError):
        parse_pose("1,2,nan")


def test_a_reboot_of_the_odometry_costs_one_step() -> None:
    """Odometry that starts again at zero in mid-run: that increment is left out, the rest goes on."""
    log = made_up_log(MotionConfig())
    odometry = log.odometry.copy()
    zero = log.odometry_pose(300).inverse()
    again = [zero @ log.odometry_pose(row) for row in range(300, len(log))]
    odometry[300:] = [(p.x_m, p.y_m, p.theta_rad) for p in again]
    rebooted, config = replace(log, odometry=odometry), EstimationConfig(history_s=2.0)
    table = localize(rebooted, config, BODY, FIELD, CAMERA, Seed(log.reference_pose(0)))
    errors = path_errors(log.part(0, 300), table.poses[:300])
    assert errors.rmse_m < 0.06
    assert np.isfinite(table.poses).all()
    later = path_errors(log.part(310, 700), table.poses[310:])
    assert later.relative_rmse_m < 0.1
    assert later.rmse_m < 0.3
