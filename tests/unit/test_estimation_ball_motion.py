"""Friction, bounces and kicks of the ball, and the consistency of its track, against the simulator's own ball."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from perception.estimation.config import BALL_TRACK, ROBOT_TRACK
from perception.estimation.tracks.assignment import assign
from perception.estimation.tracks.bounces import Disc, Segment, Surroundings, field_walls
from perception.estimation.tracks.friction import slide
from perception.estimation.tracks.point import PointFilter
from perception.estimation.tracks.track import EgoPath, Sighting
from perception.estimation.tracks.tracker import Tracker
from robot.core.field import BALL_RADIUS_M, FieldGeometry
from robot.core.geometry import Pose2, Twist2
from robot.core.messages import ObjectClass, Vec2
from sim.scenarios.trials import make_trial
from sim.setup import BallPush, SceneConfig, Waypoint
from sim.world.world import Actuation
from sim.world.world import World as Physics
from tests.estimation_world import BODY, FIELD, World, frame, sighting, telemetry
from tests.unit.test_estimation_tracks import standing, watch

REST = Twist2()


def physics(ball_m: Vec2, *pushes: BallPush, others: tuple[Pose2, ...] = (), seed: int = 1) -> Physics:
    """The simulator's world with its friction drawn from the seed, our robot out of the way in a corner."""
    setup = make_trial(1, seed)
    scene = SceneConfig(pushes=pushes, others=tuple((Waypoint(0.0, pose),) for pose in others))
    return Physics(replace(setup, robot_start=Pose2(-4.3, -2.8, 0.0), ball_start_m=ball_m, scene=scene), BODY)


def moving(position_m: Vec2, velocity_m_s: Vec2, *, kicked: bool) -> PointFilter:
    """A filter that knows a ball's motion well."""
    point = PointFilter(BALL_TRACK, position_m, 1e-6 * np.eye(2))
    point.x[2:] = velocity_m_s
    point.P[2:, 2:] = 1e-4 * np.eye(2)
    point.surface_m_s = (0.0, 0.0) if kicked else None
    return point


@pytest.mark.parametrize("kicked", [True, False])
@pytest.mark.parametrize("speed_m_s", [1.0, 3.0, 6.0])
def test_prediction_follows_the_simulators_ball(speed_m_s: float, kicked: bool) -> None:
    """Half a second ahead, over the frictions of ten trials: 8 % of the way and 0.45 m/s at most, inside 3 sigma."""
    for seed in range(10):
        truth = physics((-3.5, 0.4), BallPush(t_s=0.0, velocity_m_s=(speed_m_s, 0.0), rolling=not kicked), seed=seed)
        point = moving((-3.5, 0.4), (speed_m_s, 0.0), kicked=kicked)
        for _ in range(500):
            truth.step(Actuation())
        for _ in range(15):
            point.advance(0.5 / 15)
        way = truth.ball_m[0] + 3.5
        assert abs(point.x[0] - truth.ball_m[0]) < 0.08 * way
        assert abs(point.x[2] - truth.ball_velocity_m_s[0]) < 0.45
        assert abs(point.x[0] - truth.ball_m[0]) < 3.0 * math.sqrt(point.P[0, 0])


def test_a_kicked_ball_rolls_at_five_sevenths_of_its_speed() -> None:
    change, surface, slid_s = slide((3.5, 0.0), (0.0, 0.0), 3.6, 5.0)
    assert 3.5 + change[0] == pytest.approx(2.5)
    assert surface == pytest.approx((2.5, 0.0))
    assert slid_s == pytest.approx(1.0 / 3.6)
    # Backspin: a ball that spins against its motion loses more.
    change, surface, _ = slide((2.0, 0.0), (-1.0, 0.0), 3.6, 5.0)
    assert 2.0 + change[0] == pytest.approx((5.0 * 2.0 - 2.0) / 7.0)
    assert surface[0] == pytest.approx(2.0 + change[0])


def test_a_kick_is_slower_than_rolling_would_be() -> None:
    """The same first speed: after half a second the kicked ball is behind the rolling one by what sliding costs."""
    kicked, rolling = moving((0.0, 0.0), (4.0, 0.0), kicked=True), moving((0.0, 0.0), (4.0, 0.0), kicked=False)
    for point in (kicked, rolling):
        point.advance(0.5)
    assert rolling.x[0] - kicked.x[0] > 0.25
    assert kicked.x[2] == pytest.approx(4.0 * 5.0 / 7.0 - 0.35 * (0.5 - 4.0 * 2.0 / 7.0 / 3.6), abs=0.02)


@pytest.mark.parametrize("obstacle", ["wall", "robot", "goal"])
def test_a_bounce_is_predicted(obstacle: str) -> None:
    """Foretold 0.3 s before it happens, the ball is within 3 sigma afterwards, and moves away from the wall."""
    for seed in range(6):
        others: tuple[Pose2, ...] = ()
        if obstacle == "wall":
            start, velocity, around = (0.0, 2.6), (0.6, 2.0), Surroundings(field_walls(FIELD, Pose2(), 0.02))
        elif obstacle == "goal":
            start, velocity, around = (4.2, 0.1), (2.5, 0.3), Surroundings(field_walls(FIELD, Pose2(), 0.02))
        else:
            others = (Pose2(1.0, 0.03, math.pi / 2),)
            start, velocity, around = (0.5, 0.0), (2.0, 0.0), Surroundings(discs=(Disc((1.0, 0.03), 0.089, 0.02),))
        truth = physics(start, BallPush(t_s=0.0, velocity_m_s=velocity), others=others, seed=seed)
        point = moving(start, velocity, kicked=True)
        for _ in range(12):
            for _ in range(33):
                truth.step(Actuation())
            point.advance(0.033, 0.0, around)
        error = point.x[:2] - np.array(truth.ball_m[:2])
        assert error @ np.linalg.solve(point.P[:2, :2], error) < 11.8, (seed, error)
        slip = point.x[2:] - np.array(truth.ball_velocity_m_s[:2])
        assert slip @ np.linalg.solve(point.P[2:, 2:], slip) < 11.8, (seed, slip)
        assert np.dot(point.x[2:], velocity) < 0.0 or obstacle == "wall"
        assert np.sign(point.x[3]) == np.sign(truth.ball_velocity_m_s[1]) or obstacle != "wall"


def test_nothing_is_reflected_that_does_not_reach_the_wall() -> None:
    around = Surroundings((Segment((1.0, -1.0), (1.0, 1.0)),), (Disc((0.0, 2.0), 0.09),))
    assert around.first_hit((0.0, 0.0), (0.9, 0.0)) is None
    assert around.first_hit((0.9, 0.0), (0.2, 0.0)) is None
    assert around.first_hit((0.0, 1.5), (1.5, 1.5)) is None
    hit = around.first_hit((0.5, 0.0), (1.5, 0.5))
    assert hit is not None
    assert hit.place[0] == pytest.approx(1.0 - BALL_RADIUS_M)
    assert hit.normal == pytest.approx((-1.0, 0.0))
    hit = around.first_hit((0.0, 1.0), (0.0, 2.5))
    assert hit is not None
    assert hit.place == pytest.approx((0.0, 2.0 - 0.09 - BALL_RADIUS_M))
    assert around.first_hit((0.0, 2.05), (0.0, 2.5)) is None  # inside: the belief is wrong elsewhere


class Watched(World):
    """The estimator's world with the simulator's ball in it."""

    def roll(self, truth: Physics) -> None:
        self.truth = truth
        self.ball_m = truth.ball_m[:2]

    def tick(self, target: Twist2, accel_m_s2: float = 3.0) -> None:
        """One telemetry period; the ball moves on."""
        for _ in range(5):
            self.truth.step(Actuation())
        self.ball_m = self.truth.ball_m[:2]
        super().tick(target, accel_m_s2)


@pytest.mark.parametrize("kind", ["rest", "roll", "kick"])
def test_the_tracks_covariance_is_honest(kind: str) -> None:
    """NEES of position and velocity, and NIS, over 16 seeds each with another friction, camera pitch and noise.

    Of the position's NEES (two degrees of freedom; 95 % below 5.99) at least 85 % must be below it; its mean is near
    or below 2, as the covariance also allows for what this world does not have (timing, bearing): NIS above 0.2.
    """
    rng = np.random.default_rng(7)
    nees, velocity_nees, nis = [], [], []
    for seed in range(16):
        speed = {"rest": 0.0, "roll": float(rng.uniform(0.5, 2.0)), "kick": float(rng.uniform(2.0, 5.0))}[kind]
        direction = float(rng.uniform(-0.5, 0.5)) + (0.0 if kind == "kick" else math.copysign(1.0, rng.normal()))
        velocity = (speed * math.cos(direction), speed * math.sin(direction))
        push = BallPush(t_s=0.6, velocity_m_s=velocity, rolling=kind == "roll")
        truth = physics((0.9, 0.0), *([push] if speed else []), seed=seed)
        world = Watched(seed=seed, pitch_error_rad=float(rng.normal(0.0, 0.003)), ball_m=(0.9, 0.0))
        world.roll(truth)
        for k in range(240):
            world.tick(Twist2(0.2, 0.1, 0.2))
            if k < 170 or k % 10:
                continue
            ball = world.world().ball
            assert ball.valid, (seed, k)
            if not ball.visible:
                continue
            x, y = world.ball_in_robot()
            pose = world.world().robot.world_from_robot
            error = np.array(pose.rotate((ball.ball_in_robot_m[0] - x, ball.ball_in_robot_m[1] - y)))
            nees.append(float(error @ np.linalg.solve(np.array(ball.covariance_m2), error)))
            vx, vy = truth.ball_velocity_m_s[:2]
            true_velocity = np.array(pose.rotate(world.pose.inverse().rotate((vx, vy))))
            slip = np.array(ball.velocity_in_world_m_s) - true_velocity
            velocity_nees.append(float(slip @ np.linalg.solve(np.array(ball.velocity_covariance_m2_s2), slip)))
            main = world.estimator._ball.main()
            assert main is not None
            nis.append(main.nis)
    assert len(nees) >= 40
    assert np.mean(np.array(nees) < 5.99) > 0.85
    assert 0.3 < np.mean(nees) < 3.0
    assert np.mean(np.array(velocity_nees) < 5.99) > 0.85
    assert 0.2 < np.mean(nis) < 2.6


def test_two_robots_that_cross_keep_their_numbers() -> None:
    """They pass each other 0.25 m apart, one hiding the other, with noise and the boxes in changing order."""
    swapped = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        estimator, t = standing()
        names: list[dict[int, float]] = []
        for k in range(60):
            t += 35_000_000
            estimator.on_telemetry(telemetry(0, t - 5_000_000))
            estimator.on_telemetry(telemetry(0, t))
            near, far = (1.3, 0.5 - 0.017 * k), (1.55, -0.5 + 0.017 * k)
            seen = [
                sighting(t, (x + rng.normal(0, 0.02), y + rng.normal(0, 0.01)), object_class=ObjectClass.ROBOT)
                for x, y in (near, far)
            ]
            hidden = abs(near[1] / near[0] - far[1] / far[0]) < 0.10
            estimator.on_observations(frame(0, t), tuple(seen[:1] if hidden else seen[:: 1 if k % 2 else -1]))
            names.append({o.track_id: o.position_in_world_m[0] for o in estimator.world_model(t).objects})
        assert len(names[-1]) == 2, seed
        swapped += any(abs(names[-1].get(name, 9.0) - x) > 0.12 for name, x in names[10].items())
    assert swapped == 0


def test_robots_covariances_are_honest() -> None:
    """NEES of position and velocity of robots that drive a circle at 0.4 and 1.5 m/s: 85 % below 5.99."""
    for speed in (0.4, 1.5):
        nees, velocity_nees = [], []
        for seed in range(10):
            rng = np.random.default_rng(seed)
            estimator, t = standing()
            # Round a circle of 0.6 m in front of us.
            phase, way = float(rng.uniform(-math.pi, math.pi)), math.copysign(1.0, rng.normal())
            for k in range(36):
                t += 35_000_000
                estimator.on_telemetry(telemetry(0, t - 5_000_000))
                estimator.on_telemetry(telemetry(0, t))
                angle = phase + way * speed / 0.6 * 0.035 * k
                x, y = 1.9 + 0.6 * math.cos(angle), 0.6 * math.sin(angle)
                seen = sighting(t, (x, y), object_class=ObjectClass.ROBOT)
                root = np.linalg.cholesky(np.array(seen.covariance_m2) + 0.02**2 * np.eye(2))
                dx, dy = (root @ rng.normal(size=2)).tolist()
                estimator.on_observations(frame(k, t), (replace(seen, position_in_robot_m=(x + dx, y + dy)),))
                if k < 12 or k % 3:
                    continue
                (robot,) = estimator.world_model(t).objects
                off = np.array(robot.position_in_world_m) - (x, y)
                nees.append(float(off @ np.linalg.solve(np.array(robot.covariance_m2), off)))
                slip = np.array(robot.velocity_in_world_m_s)
                slip = slip - np.array((-way * speed * math.sin(angle), way * speed * math.cos(angle)))
                velocity_nees.append(float(slip @ np.linalg.solve(np.array(robot.velocity_covariance_m2_s2), slip)))
        assert np.mean(np.array(nees) < 5.99) > 0.85
        assert np.mean(np.array(velocity_nees) < 5.99) > 0.85
        assert 0.2 < np.mean(nees) < 3.0


def test_assignment_is_global() -> None:
    """Nearest first would give 0 to B (1.0) and leave A for 1 (9.0); together the other way is better."""
    costs = {(0, 0): 2.0, (0, 1): 1.0, (1, 1): 2.0, (1, 0): 9.0}
    assert sorted(assign(costs, 100.0)) == [(0, 0), (1, 1)]
    assert assign({(3, 7): 5.0}, 4.0) == []
    assert assign({}, 4.0) == []
    assert sorted(assign({(0, 0): 1.0, (1, 0): 2.0}, 50.0)) == [(0, 0)]


def test_two_robots_side_by_side_are_two() -> None:
    """The second stands well inside the first one's gate, but its box is another: it gets a track of its own."""
    estimator, t = standing()
    for _ in range(6):
        t += 35_000_000
        estimator.on_telemetry(telemetry(0, t - 5_000_000))
        estimator.on_telemetry(telemetry(0, t))
        seen = tuple(sighting(t, (2.6, y), object_class=ObjectClass.ROBOT) for y in (-0.1, 0.1))
        estimator.on_observations(frame(0, t), seen)
    assert len(estimator.world_model(t).objects) == 2


def test_a_second_box_in_the_gate_is_explained_only_if_it_shows_the_same_thing() -> None:
    """Two boxes on one robot are one robot; two boxes apart are two, though both lie in the first one's gate."""
    for second_box, count in (((305.0, 102.0, 385.0, 182.0), 1), ((390.0, 100.0, 470.0, 180.0), 2)):
        tracker = Tracker(ROBOT_TRACK)
        ego = EgoPath(0.0, 0.0, (0.0, 0.0), 0.0, 0.0)
        for k in range(12):
            first = wide_sighting((2.0, 0.0), (300.0, 100.0, 380.0, 180.0))
            seen = [first] if k < 5 else [first, wide_sighting((2.0, 0.19), second_box)]
            tracker.observe(k * 35_000_000, seen, lambda _: None, ego)
        assert sum(t.confirmed for t in tracker.tracks) == count


def wide_sighting(place_m: Vec2, box_px: tuple[float, float, float, float]) -> Sighting:
    """A sighting that is vague by 0.1 m."""
    return Sighting(np.array(place_m), 0.01 * np.eye(2), np.zeros((2, 2)), 0.9, box_px=box_px)


def test_a_ball_behind_a_robot_is_kept_and_one_that_should_be_seen_is_not() -> None:
    """A robot drives in front of the ball and stays for two seconds; without it the same silence ends the track."""
    for robot_there in (True, False):
        estimator, t = standing()
        for _ in range(10):
            t = watch(estimator, t, (1.5, 0.0))
        for k in range(60):
            for _ in range(7):
                t += 5_000_000
                estimator.on_telemetry(telemetry(0, t))
            robot = (sighting(t, (0.8, 0.01), object_class=ObjectClass.ROBOT),) if robot_there else ()
            estimator.on_observations(frame(k, t), robot)
        ball = estimator.world_model(t).ball
        assert ball.valid is robot_there
        if robot_there:
            assert math.dist(ball.ball_in_robot_m, (1.5, 0.0)) < 0.02
            assert ball.age_ns > 1_900_000_000
            name = ball.track_id
            t = watch(estimator, t, (1.5, 0.0))
            assert estimator.world_model(t).ball.track_id == name
            assert estimator.world_model(t).ball.visible


def test_a_wheel_hub_of_a_robot_is_no_ball() -> None:
    """A ball's box inside a robot's, not lower than it, founds nothing; in front of the robot it does."""
    estimator, t = standing()
    for in_front in (False, True):
        for _ in range(5):
            for _ in range(7):
                t += 5_000_000
                estimator.on_telemetry(telemetry(0, t))
            robot = sighting(t, (1.2, 0.0), object_class=ObjectClass.ROBOT)
            left, _, right, bottom = robot.box_px
            middle, low = 0.5 * (left + right), bottom + (9.0 if in_front else -1.0)
            hub = sighting(t, (1.1, 0.0), box_px=(middle - 13.0, low - 26.0, middle + 13.0, low))
            estimator.on_observations(frame(0, t), (robot, hub))
        assert estimator.world_model(t).ball.valid is in_front


def test_a_kick_of_our_own_is_followed_from_the_first_sighting() -> None:
    """The kicker's charge falls, the beam clears: the ball is expected ahead, fast, and is the same ball."""
    estimator, t = standing()
    k = 0

    def step(beam: bool, charge: float) -> None:
        nonlocal t, k
        t, k = t + 5_000_000, k + 1
        estimator.on_telemetry(telemetry(k, t, break_beam=beam, kicker_charge=charge))

    for _ in range(40):
        step(True, 1.0)
    name = estimator.world_model(t).ball.track_id
    for beam in (True, True, False, False, False, False):
        step(beam, 0.85)
    ball = estimator.world_model(t).ball
    assert ball.velocity_in_world_m_s[0] == pytest.approx(3.0, abs=0.3)
    assert ball.velocity_covariance_m2_s2[0][0] > 2.0
    place = BODY.ball_hold_x_m()
    for index in range(8):
        for _ in range(7):
            step(False, 0.85)
        place = 0.55 + 4.2 * 0.035 * index
        estimator.on_observations(frame(index, t), (sighting(t, (place, 0.02)),))
    ball = estimator.world_model(t).ball
    assert ball.track_id == name
    assert ball.visible
    assert ball.velocity_in_world_m_s[0] == pytest.approx(4.2, abs=0.6)
    assert ball.ball_in_robot_m[0] == pytest.approx(place, abs=0.05)


def test_every_track_tells_its_covariance_and_age() -> None:
    estimator, t = standing()
    for k in range(20):
        t += 35_000_000
        estimator.on_telemetry(telemetry(0, t - 5_000_000))
        estimator.on_telemetry(telemetry(0, t))
        robot = sighting(t, (1.5 + 0.01 * k, 0.3), object_class=ObjectClass.ROBOT)
        estimator.on_observations(frame(k, t), (robot, sighting(t, (0.8, -0.2))))
    world = estimator.world_model(t + 100_000_000)
    (robot_track,) = world.objects
    assert robot_track.visible
    assert robot_track.age_ns == world.ball.age_ns == 100_000_000
    assert 0.1 < robot_track.velocity_in_world_m_s[0] < 0.35
    for covariance in (robot_track.velocity_covariance_m2_s2, robot_track.covariance_m2, world.ball.covariance_m2):
        assert np.linalg.eigvalsh(np.array(covariance)).min() > 0.0
    assert world.ball.track_id > 0


def test_walls_are_carried_into_the_odometry_frame() -> None:
    walls = field_walls(FieldGeometry(), Pose2(1.0, 2.0, math.pi / 2), 0.1)
    assert len(walls) == 10
    corners = {tuple(round(v, 6) for v in wall.a) for wall in walls[:4]}
    assert (round(1.0 + 3.3, 6), round(2.0 - 4.8, 6)) in corners
    assert all(wall.sigma_m == 0.1 for wall in walls)
