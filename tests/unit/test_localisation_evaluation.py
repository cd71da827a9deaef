"""Localisation trials and their verdicts: the drive stays on the field, no sensor feels the hand, scores are right."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from perception.camera.model import load_camera
from robot.core.body import RobotBody
from robot.core.geometry import Pose2
from robot.runtime.robot_config import open_robot
from robot.runtime.simulation import play_trial
from sim.evaluation.localisation import TrialTrack, judge, tracked_errors
from sim.evaluation.wander import TOP_SPEED_M_S, Wanderer
from sim.scenarios.localisation import KidnapSimulation, make_localisation_trial
from sim.scenarios.trials import SEED_RADIUS_M


class Blind:
    """A detector that is never asked: these trials have no pictures."""

    model_name = "none"

    def detect(self, image_bgr: object) -> tuple[()]:
        """See nothing."""
        return ()


class Notes:
    """Keeps the truth of every tick."""

    path = None

    def __init__(self) -> None:
        self.poses: list[tuple[int, Pose2, float]] = []

    def note(self, topic: str, t_ns: int, data: dict) -> None:  # type: ignore[type-arg]
        if topic == "truth/state":
            twist = data["twist_in_robot"]
            self.poses.append((t_ns, Pose2(**data["robot"]), math.hypot(twist["vx_m_s"], twist["vy_m_s"])))

    def batch(self, batch: object) -> None: ...
    def result(self, result: object) -> None: ...
    def frame(self, frame: object) -> None: ...
    def close(self) -> None: ...


@pytest.mark.parametrize("seed", [9201, 9202])
def test_a_trial_is_driven_as_planned_and_the_robot_is_carried_away(seed: int) -> None:
    robot, trial, notes = open_robot("default"), make_localisation_trial(seed), Notes()
    with KidnapSimulation(trial, RobotBody(), load_camera("c922_640x480"), render=False) as world:
        outcome = play_trial(robot, world, Blind(), notes, Wanderer(trial.legs))  # type: ignore[arg-type]
    assert outcome.sim_s == pytest.approx(trial.end_s, abs=0.02)
    assert make_localisation_trial(seed) == trial
    assert math.dist(trial.seed_in_field_m, (notes.poses[0][1].x_m, notes.poses[0][1].y_m)) <= SEED_RADIUS_M
    jumps = [
        (t_ns, b)
        for (_, a, _), (t_ns, b, _) in zip(notes.poses, notes.poses[1:], strict=False)
        if a.distance_to(b) > 0.05
    ]
    assert len(jumps) == 1  # 5 cm in 10 ms are 5 m/s: only a hand is that fast
    assert jumps[0][0] * 1e-9 == pytest.approx(trial.kidnap_s, abs=0.02)
    assert jumps[0][1].distance_to(trial.kidnap_to) < 0.05
    assert max(abs(p.x_m) for _, p, _ in notes.poses) < 4.7  # the boards stand at 4.8 and 3.3 m
    assert max(abs(p.y_m) for _, p, _ in notes.poses) < 3.2
    speeds = [v for _, _, v in notes.poses]
    assert 0.5 < max(speeds) < TOP_SPEED_M_S + 0.2


def a_track(error_m: float = 0.01) -> TrialTrack:
    """Ten seconds at 100 Hz: found after 2 s, carried away at 6 s, noticed at 6.5 s, found again at 8 s."""
    t = np.arange(1000) * 0.01
    truth = np.column_stack((1.0 + 0.5 * t, 0.2 * np.ones(1000), 0.1 * np.ones(1000)))
    truth[t >= 6.0, 0] -= 4.0
    estimate = truth + np.array([error_m, 0.0, 0.0])
    lost = (t >= 6.0) & (t < 8.0)
    estimate[lost] = truth[lost] + (4.0, 0.0, 0.0)
    return TrialTrack(
        seed=7,
        start_s=0.5,
        kidnap_s=6.0,
        t_s=t,
        truth=truth,
        speed_m_s=0.5 * np.ones(1000),
        estimate=estimate,
        covariance=np.tile(np.diag([0.01**2, 0.01**2, 0.005**2]), (1000, 1, 1)),
        on_field=(t >= 2.0) & ~((t >= 6.5) & (t < 8.0)),
        ambiguous=np.zeros(1000, bool),
        step_ms=np.ones(1000),
    )


def test_a_trial_is_measured_as_it_was() -> None:
    verdict = judge(a_track())
    assert verdict.converged()
    assert verdict.converged_s == pytest.approx(1.5, abs=0.011)
    assert verdict.converged_path_m == pytest.approx(1.0, abs=0.01)
    assert verdict.wrong_s == 0.0
    assert (verdict.noticed_s, verdict.recovered_s) == pytest.approx((0.5, 2.0), abs=0.011)
    assert verdict.ate_rmse_m == pytest.approx(0.01)
    assert verdict.rpe_m == pytest.approx(0.0, abs=1e-9)
    assert verdict.nees_inside == 1.0  # one sigma off
    assert verdict.wrong_after_s == 0.0
    errors = tracked_errors([a_track(), a_track(0.03)])
    assert errors["position_median_m"] == pytest.approx(0.02, abs=0.0101)
    assert errors["seconds"] == pytest.approx(12.0, abs=0.1)


def test_the_mirror_twin_is_right_only_where_it_is_declared() -> None:
    track = a_track()
    mirrored = replace(track, estimate=track.estimate * (-1.0, -1.0, 1.0) + (0.0, 0.0, np.pi))
    silent = judge(mirrored)
    assert not silent.converged()
    assert silent.wrong_s == pytest.approx(4.0, abs=0.02)
    declared = judge(replace(mirrored, ambiguous=np.ones(1000, bool)))
    assert declared.converged()
    assert declared.mirror_declared
    assert declared.ate_rmse_m == pytest.approx(0.01)


def test_a_pose_that_is_right_for_a_moment_has_not_converged() -> None:
    track = a_track()
    claims = (track.t_s >= 2.0) & (track.t_s < 2.5)
    assert not judge(replace(track, on_field=claims)).converged()


def test_late_or_far_is_not_in_time() -> None:
    late = replace(a_track(), on_field=a_track().t_s >= 5.9)
    assert not judge(late).converged()  # five seconds and a bit after FORCE_START, and not for a second
    far = replace(a_track(), on_field=(a_track().t_s >= 4.6) & (a_track().t_s < 6.5))
    assert judge(far).converged_path_m == pytest.approx(2.3, abs=0.02)
    assert not judge(far).converged()
