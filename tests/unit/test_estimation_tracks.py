"""Ball and object tracks: gates, birth and death, the blind zone, the break-beam, honest covariance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perception.estimation.config import EstimationConfig
from perception.estimation.estimator import Estimator
from robot.core.geometry import Pose2, Twist2
from robot.core.messages import ObjectClass, Vec2, Verdict
from tests.estimation_world import BODY, CAMERA, FIELD, World, frame, sighting, telemetry

REST = Twist2()


def standing(seconds: float = 0.05) -> tuple[Estimator, int]:
    """An estimator of a robot that stands still, and its time."""
    estimator = Estimator(EstimationConfig(), BODY, FIELD, CAMERA)
    steps = round(seconds * 200)
    for k in range(steps):
        estimator.on_telemetry(telemetry(k, k * 5_000_000))
    return estimator, (steps - 1) * 5_000_000


def watch(estimator: Estimator, t_ns: int, *places_m: Vec2, steps: int = 7) -> int:
    """One more camera period, then a frame that shows balls there; returns its time."""
    for _ in range(steps):
        t_ns += 5_000_000
        estimator.on_telemetry(telemetry(0, t_ns))
    estimator.on_observations(frame(0, t_ns), tuple(sighting(t_ns, p) for p in places_m))
    return t_ns


def test_two_sightings_make_a_ball_and_one_does_not() -> None:
    estimator, t = standing()
    t = watch(estimator, t, (1.0, 0.2))
    assert not estimator.world_model(t).ball.valid
    t = watch(estimator, t, (1.0, 0.2))
    ball = estimator.world_model(t).ball
    assert ball.valid
    assert ball.visible
    assert ball.ball_in_robot_m == pytest.approx((1.0, 0.2), abs=0.01)
    assert ball.sightings == 2


def test_one_false_box_never_moves_the_ball() -> None:
    """The original's recorded jump: the ball at (0.342, -0.010) m, then one frame at (1.895, -0.615) m."""
    estimator, t = standing()
    for _ in range(10):
        t = watch(estimator, t, (0.45, -0.01))
    before = estimator.world_model(t).ball.ball_in_robot_m
    t = watch(estimator, t, (1.895, -0.615))
    after = estimator.world_model(t).ball
    assert after.valid
    assert not after.visible
    assert math.dist(after.ball_in_robot_m, before) < 0.005
    t = watch(estimator, t, (0.45, -0.01))
    again = estimator.world_model(t).ball
    assert again.visible
    assert math.dist(again.ball_in_robot_m, before) < 0.01


def test_a_phantom_beside_the_ball_does_not_win() -> None:
    """A false box that comes with better scores than the ball, in every third frame, is never the target."""
    estimator, t = standing()
    for k in range(60):
        places: tuple[Vec2, ...] = ((0.8, 0.1), (2.0, -0.6)) if k % 3 == 0 else ((0.8, 0.1),)
        t = watch(estimator, t, *places)
        ball = estimator.world_model(t).ball
        assert k < 2 or math.dist(ball.ball_in_robot_m, (0.8, 0.1)) < 0.03


def test_a_phantom_disappears_when_it_should_be_seen_and_is_not() -> None:
    estimator, t = standing()
    for _ in range(3):
        t = watch(estimator, t, (1.2, 0.0))
    assert estimator.world_model(t).ball.valid
    for _ in range(8):
        t = watch(estimator, t)
    assert not estimator.world_model(t).ball.valid
    for _ in range(2):
        t = watch(estimator, t, (0.9, 0.1))
    assert estimator.world_model(t).ball.ball_in_robot_m == pytest.approx((0.9, 0.1), abs=0.02)


def test_a_ball_out_of_the_picture_is_kept() -> None:
    """Behind the robot or in the blind zone a missing detection proves nothing."""
    for place in ((0.20, 0.0), (-1.0, 0.5), (0.5, 1.5)):
        estimator, t = standing()
        for _ in range(4):
            t = watch(estimator, t, place)
        for _ in range(60):
            t = watch(estimator, t)
        ball = estimator.world_model(t).ball
        assert ball.valid, place
        assert not ball.visible
        assert ball.age_ns == 60 * 35_000_000
        assert math.dist(ball.ball_in_robot_m, place) < 0.02


def test_a_ball_at_rest_comes_to_rest() -> None:
    world = World(ball_m=(2.0, 0.4))
    world.drive(2.0, REST)
    speeds, errors = [], []
    for _ in range(20):
        world.drive(0.1, REST)
        speeds.append(math.hypot(*world.world().ball.velocity_in_world_m_s))
        errors.append(world.ball_error_m())
    assert np.mean(speeds) < 0.03
    assert np.mean(errors) < 0.02


def test_covariance_grows_with_range() -> None:
    sigmas = []
    for range_m in (0.6, 1.5, 3.0):
        world = World(ball_m=(range_m, 0.0))
        world.drive(0.6, REST)
        sigmas.append(math.sqrt(world.world().ball.covariance_m2[0][0]))
    assert sigmas[0] < 0.01
    assert sigmas[0] < 0.6 * sigmas[1] < 0.6 * 0.6 * sigmas[2]


def test_ball_errors_match_their_covariance() -> None:
    """NEES of the ball over 24 seeds, while the robot drives and turns: mean near 2 (two degrees of freedom).

    In each, the camera's pitch is wrong by something that calibration may leave: the same in all frames.
    """
    values, rng = [], np.random.default_rng(5)
    for seed in range(24):
        world = World(ball_m=(1.6, 0.2), seed=seed, pitch_error_rad=float(rng.normal(0.0, 0.003)))
        world.drive(0.3, REST)
        world.drive(0.4, Twist2(0.5, 0.1, 0.3))
        ball = world.world().ball
        assert world.ball_m is not None
        true = world.pose.inverse().transform(world.ball_m)
        turn = world.world().robot.world_from_robot
        error = np.array(turn.rotate((ball.ball_in_robot_m[0] - true[0], ball.ball_in_robot_m[1] - true[1])))
        values.append(float(error @ np.linalg.solve(np.array(ball.covariance_m2), error)))
    # Cautious by design: bearing may be biased too, and the ball may move.
    assert 0.5 < np.mean(values) < 3.0


def test_a_rolling_ball_has_its_velocity() -> None:
    estimator, t = standing()
    speed, place = 1.5, 0.8
    for _ in range(20):
        t = watch(estimator, t, (place, 0.3))
        place += speed * 0.035
        speed -= 0.35 * 0.035
    vx, vy = estimator.world_model(t).ball.velocity_in_world_m_s
    assert vx == pytest.approx(speed, abs=0.2)
    assert abs(vy) < 0.1


def test_a_kicked_ball_is_found_again() -> None:
    """The track cannot follow a kick through its gate: a new one takes over within a few frames."""
    estimator, t = standing()
    for _ in range(20):
        t = watch(estimator, t, (0.8, 0.0))
    place = 0.8
    for _ in range(8):
        place += 4.0 * 0.035
        t = watch(estimator, t, (place, 0.0))
    ball = estimator.world_model(t).ball
    assert ball.visible
    assert ball.ball_in_robot_m[0] == pytest.approx(place, abs=0.1)
    assert ball.velocity_in_world_m_s[0] > 2.0


def test_the_ball_is_carried_through_the_blind_zone() -> None:
    """From the last sighting at about 0.35 m to the mouth on dead reckoning, then the break-beam takes over."""
    errors = []
    for seed in range(6):
        world = World(ball_m=(0.8, 0.05), seed=seed)
        world.drive(0.4, REST)
        while world.ball_in_robot()[0] > BODY.ball_hold_x_m() + 0.005:
            world.tick(Twist2(0.4, 0.06, 0.0))
        ball = world.world().ball
        assert ball.valid
        assert not ball.visible
        assert ball.age_ns > 300_000_000
        errors.append(world.ball_error_m())
    assert max(errors) < 0.03
    assert np.median(errors) < 0.015


def test_break_beam_places_the_ball_in_the_mouth() -> None:
    world = World(ball_m=(1.0, 0.0))
    world.drive(0.5, REST)
    world.ball_m, world.blind, world.break_beam = None, True, True
    world.drive(0.1, REST)
    ball = world.world().ball
    assert ball.in_dribbler
    assert ball.ball_in_robot_m == pytest.approx((BODY.ball_hold_x_m(), 0.0), abs=1e-6)
    world.drive(1.0, Twist2(0.5, 0.0, 1.5))
    ball = world.world().ball
    assert ball.ball_in_robot_m == pytest.approx((BODY.ball_hold_x_m(), 0.0), abs=1e-6)
    assert math.hypot(*ball.velocity_in_world_m_s) == pytest.approx(0.5, abs=0.15)
    world.break_beam = False
    world.drive(0.03, Twist2(0.5, 0.0, 1.5))
    assert not world.world().ball.in_dribbler
    assert world.world().ball.valid


def test_a_flicker_of_the_beam_is_not_a_ball() -> None:
    estimator, t = standing()
    for k in range(200):
        t += 5_000_000
        estimator.on_telemetry(telemetry(k, t, break_beam=k % 4 == 0))
    ball = estimator.world_model(t).ball
    assert not ball.in_dribbler
    assert not ball.valid


def test_a_dirty_beam_does_not_hide_a_ball_in_plain_sight() -> None:
    world = World(ball_m=(1.0, 0.0))
    world.break_beam = True
    world.drive(0.5, REST)
    ball = world.world().ball
    assert ball.in_dribbler
    assert world.ball_error_m() < 0.03


def test_the_ball_that_should_be_in_the_mouth_and_is_not_fades() -> None:
    estimator, t = standing()
    for _ in range(4):
        t = watch(estimator, t, (BODY.ball_hold_x_m(), 0.0))
    assert estimator.world_model(t).ball.valid
    for _ in range(200):
        t = watch(estimator, t)
    assert not estimator.world_model(t).ball.valid


def test_a_mark_that_is_too_small_for_a_ball_is_none() -> None:
    """Recorded in simulation: a 26 px box at 0.33 m, where a ball is 80 px wide, held the robot for 12 s."""
    estimator, t = standing()
    for _ in range(8):
        for _ in range(7):
            t += 5_000_000
            estimator.on_telemetry(telemetry(0, t))
        mark = sighting(t, (0.33, 0.0), box_px=(312.0, 404.0, 338.0, 425.0))
        far = sighting(t, (2.0, 0.5), box_px=(200.0, 100.0, 214.0, 114.0))
        assert estimator.on_observations(frame(0, t), (mark, far)) == (Verdict.OUTLIER, Verdict.OK)
    assert estimator.world_model(t).ball.ball_in_robot_m == pytest.approx((2.0, 0.5), abs=0.05)


def test_balls_off_the_carpet_are_not_born() -> None:
    estimator, t = standing()
    edge = tuple((b, 1.0) for b in np.linspace(-0.5, 0.5, 11).tolist())
    for _ in range(5):
        t += 35_000_000
        estimator.on_telemetry(telemetry(0, t - 5_000_000))
        estimator.on_telemetry(telemetry(0, t))
        verdicts = estimator.on_observations(frame(0, t, free_range_m=edge), (sighting(t, (2.5, 0.0)),))
        assert verdicts == (Verdict.OUTLIER,)
    assert not estimator.world_model(t).ball.valid
    world = estimator.world_model(t)
    assert world.free_range_m == edge
    assert world.free_range_age_ns == 0


def test_balls_outside_the_walls_are_not_born_once_localised() -> None:
    estimator, t = standing()
    estimator.seed(Pose2(4.0, 0.0, 0.0), 0.05, 0.05, t)
    for _ in range(5):
        t = watch(estimator, t, (2.5, 0.0))
    assert not estimator.world_model(t).ball.valid
    for _ in range(5):
        t = watch(estimator, t, (0.6, 0.0))
    assert estimator.world_model(t).ball.ball_in_world_m == pytest.approx((4.6, 0.0), abs=0.03)


def test_robots_keep_their_identity() -> None:
    """Two robots that pass close by each other's side keep their track numbers."""
    estimator, t = standing()
    for k in range(40):
        t += 35_000_000
        estimator.on_telemetry(telemetry(0, t - 5_000_000))
        estimator.on_telemetry(telemetry(0, t))
        left, right = (1.5 + 0.01 * k, 0.30), (1.9 - 0.01 * k, -0.30)
        seen = tuple(sighting(t, p, object_class=ObjectClass.ROBOT) for p in (left, right))
        estimator.on_observations(frame(0, t), seen[:: 1 if k % 2 else -1])
    objects = {o.track_id: o for o in estimator.world_model(t).objects}
    assert len(objects) == 2
    assert objects[min(objects)].position_in_world_m != objects[max(objects)].position_in_world_m
    assert all(o.sightings == 40 for o in objects.values())
    assert all(o.object_class is ObjectClass.ROBOT for o in objects.values())


def test_seeding_moves_the_world_and_not_the_ball() -> None:
    world = World(ball_m=(1.0, 0.3))
    world.drive(1.0, REST)
    before = world.world().ball
    world.estimator.seed(Pose2(-2.0, 1.0, math.pi / 2), 0.05, 0.05, world.t_ns)
    after = world.world().ball
    assert after.ball_in_robot_m == pytest.approx(before.ball_in_robot_m, abs=1e-9)
    x, y = before.ball_in_robot_m
    assert after.ball_in_world_m == pytest.approx((-2.0 - y, 1.0 + x), abs=1e-9)


def test_velocity_turns_with_the_world() -> None:
    """A ball that rolls ahead of a robot that learns that it looks along +y rolls along +y."""
    estimator, t = standing()
    for k in range(20):
        t = watch(estimator, t, (0.8 + 0.05 * k, 0.3))
    vx, vy = estimator.world_model(t).ball.velocity_in_world_m_s
    estimator.seed(Pose2(-2.0, 1.0, math.pi / 2), 0.05, 0.05, t)
    assert vx > 1.0
    assert estimator.world_model(t).ball.velocity_in_world_m_s == pytest.approx((-vy, vx), abs=1e-9)


def test_a_ball_in_the_way_is_pushed_not_driven_through() -> None:
    """Remembered 0.13 m ahead and out of sight, it is at the hull when the robot has driven 0.1 m, not inside it."""
    world = World(ball_m=(0.30, 0.0), noise=0.2)
    world.drive(0.4, REST)
    assert world.world().ball.valid
    world.blind = True
    while world.pose.x_m < 0.26:
        world.tick(Twist2(0.6, 0.0, 0.0))
    x, y = world.world().ball.ball_in_robot_m
    assert x >= BODY.ball_hold_x_m() - 1e-6
    assert abs(y) < 0.02


def test_world_model_changes_no_belief() -> None:
    world = World(ball_m=(1.0, 0.3))
    world.drive(0.5, Twist2(0.3, 0.0, 0.2))
    first = world.world()
    for k in range(5):
        world.estimator.world_model(world.t_ns + k * 3_000_000)
    last = world.world()
    assert (first.robot.world_from_robot, first.ball.ball_in_robot_m) == (
        last.robot.world_from_robot,
        last.ball.ball_in_robot_m,
    )


def test_the_body_leans_with_acceleration() -> None:
    """Speeding up at 3 m/s^2 lifts the nose by the configured nod; far balls are trusted less meanwhile."""
    world = World(ball_m=(2.5, 0.0), noise=0.3)
    world.drive(0.6, REST)
    calm = world.world()
    moments = []
    for _ in range(40):
        world.tick(Twist2(3.0, 0.0, 0.0), accel_m_s2=3.0)
        moments.append(world.world())
    pitch, roll = moments[-1].robot.tilt_rad
    assert pitch == pytest.approx(-3.0 * 0.0025, rel=0.15)
    assert abs(roll) < 0.001
    past = world.estimator.tilt_at(world.t_ns - 190_000_000)
    assert abs(past[0]) < abs(pitch)
    assert abs(calm.robot.tilt_rad[0]) < 0.001
    assert max(m.ball.covariance_m2[0][0] for m in moments) > calm.ball.covariance_m2[0][0]


def test_robots_need_three_sightings() -> None:
    estimator, t = standing()
    for k in range(3):
        assert not estimator.world_model(t).objects, k
        t += 35_000_000
        estimator.on_telemetry(telemetry(0, t - 5_000_000))
        estimator.on_telemetry(telemetry(0, t))
        estimator.on_observations(frame(0, t), (sighting(t, (1.5, 0.2), object_class=ObjectClass.ROBOT, score=1.0),))
    assert len(estimator.world_model(t).objects) == 1


@pytest.mark.parametrize(("scores", "found"), [((0.35,) * 12, False), ((0.6,) * 4 + (0.35,) * 8, True)])
def test_faint_boxes_found_no_robot_and_feed_one_that_is_there(scores: tuple[float, ...], found: bool) -> None:
    """The corner of a far goal looks a little like a robot, frame after frame."""
    estimator, t = standing()
    for score in scores:
        t += 35_000_000
        estimator.on_telemetry(telemetry(0, t - 5_000_000))
        estimator.on_telemetry(telemetry(0, t))
        seen = sighting(t, (2.5, 0.2), object_class=ObjectClass.ROBOT, score=score)
        estimator.on_observations(frame(0, t), (seen,))
    objects = estimator.world_model(t).objects
    assert [o.sightings for o in objects] == ([12] if found else [])


def test_driving_blind_costs_certainty() -> None:
    """With the ball behind its back, a robot that drives a metre knows it less well than one that stands."""
    variances = []
    for twist in (REST, Twist2(1.0, 0.0, 0.0)):
        world = World(ball_m=(0.6, 0.0), noise=0.2)
        world.drive(0.6, REST)
        world.drive(0.4, Twist2(0.0, 0.0, 6.0))
        world.drive(0.3, REST)
        world.drive(1.2, twist, accel_m_s2=8.0)
        ball = world.world().ball
        assert ball.valid
        assert not ball.visible
        variances.append(ball.covariance_m2[0][0] + ball.covariance_m2[1][1])
    assert variances[1] > variances[0] + 1.5 * 0.02**2


def test_a_wrong_pitch_fades_as_the_robot_comes_near() -> None:
    """0.23 degrees of pitch error put a ball at 3 m 0.2 m too near; at 0.7 m it is placed within 2 cm."""
    for seed in range(3):
        world = World(ball_m=(3.0, 0.0), seed=seed, pitch_error_rad=0.004)
        world.drive(0.6, REST)
        assert world.ball_error_m() > 0.12
        while world.ball_in_robot()[0] > 0.7:
            world.tick(Twist2(1.5, 0.0, 0.0))
        assert world.ball_error_m() < 0.025


def test_a_ball_that_is_seen_replaces_one_that_is_only_remembered() -> None:
    """Something was taken for a ball in the blind zone; the true ball, seen steadily, becomes the ball in the end."""
    estimator, t = standing()
    for _ in range(20):
        t = watch(estimator, t, (-0.5, 0.3))
    for k in range(180):
        t = watch(estimator, t, (1.2, 0.1))
        place = estimator.world_model(t).ball.ball_in_robot_m
        if k < 10:
            assert math.dist(place, (-0.5, 0.3)) < 0.05
    assert math.dist(place, (1.2, 0.1)) < 0.02
