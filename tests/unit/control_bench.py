"""A small kinematic stage for the control room: robot, ball, walls, a late camera; no pixels, no firmware, no filter.

The robot follows commands through a delay and a first-order lag. The camera sees the ball in a wedge, at 30 Hz, with
noise that grows with range, 80 ms late. The track is the sightings' running mean, so it errs as a filter's would.
The ball is pushed by the body, bounces off the walls, is held by a turning dribbler and shaken off by hard braking.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from control.config import ControlConfig
from control.motion.limits import MotionLimiter
from control.player import Decision, Player
from robot.core.body import RobotBody
from robot.core.field import BALL_RADIUS_M, FieldGeometry
from robot.core.geometry import Pose2, Twist2, exponential_map, wrap_angle
from robot.core.messages import (
    BallState,
    Localisation,
    Mode,
    MotionCommand,
    MotionTarget,
    RefereeCode,
    RefereeCommand,
    RobotState,
    TelemetryFrame,
    WorldModel,
)

TICK_NS = 10_000_000
DT_S = 0.01
PREPARE_S = 0.5
Vec2 = tuple[float, float]
DIVISION_B = FieldGeometry()


@dataclass
class Camera:
    """What the camera can see of the floor, robot frame.

    Figures of the shipped detector in the simulator: sure to 5 m, to 8 m while the robot turns slowly; a track is
    confirmed by its third sighting; range errs by a share of its square, for a trial, from the mounting's pitch.
    """

    half_view_rad: float = math.radians(26.0)
    min_range_m: float = 0.38
    max_range_m: float = 8.0
    sharp_rad_s: float = 1.2
    blurred_range_m: float = 4.8
    blind_rad_s: float = 4.0
    period_ticks: int = 3
    delay_ticks: int = 7
    miss_share: float = 0.05
    edge_columns: int = 24
    confirm_sightings: int = 3
    pitch_error_m_per_m2: float = 0.02
    edge_short_per_m: float = 0.015
    sees_walls: bool = True


@dataclass
class Bench:
    """One trial. `robot` and `ball` are the truth; the player only ever gets `world()`."""

    robot: Pose2
    ball: Vec2
    seed: int = 0
    config: ControlConfig = field(default_factory=ControlConfig)
    body: RobotBody = field(default_factory=RobotBody)
    geometry: FieldGeometry = DIVISION_B
    camera: Camera = field(default_factory=Camera)
    edges: bool = True
    response_s: float = 0.03
    delay_ticks: int = 2
    ball_velocity: Vec2 = (0.0, 0.0)
    phantom: Callable[[float], Vec2 | None] | None = None
    beam_flicker: float = 0.0
    first_contact_kick_m_s: float = 0.0
    mode: Mode = Mode.ACTIVE

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.range_bias = self.camera.pitch_error_m_per_m2 * float(self.rng.standard_normal())
        self.player = Player(self.config, self.body, self.geometry)
        self.limiter = MotionLimiter(self.config, self.body)
        self.tick = 0
        self.twist = Twist2()
        self.pipe: deque[MotionCommand] = deque(maxlen=self.delay_ticks + 1)
        self.pending: deque[tuple[int, Pose2, Vec2 | None, tuple[Vec2, ...]]] = deque()
        self.track: Vec2 | None = None
        self.track_weight = 0.0
        self.sightings = 0
        self.last_seen = -(10**9)
        self.visible = False
        self.free_range: tuple[Vec2, ...] = ()
        self.free_range_tick = 0
        self.touched = False
        self.wall_hits_m_s: list[float] = []
        self.history: list[tuple[str, str]] = []
        self.commands: list[MotionCommand] = []
        self.truth: list[tuple[Pose2, Vec2, bool]] = []
        self.in_mouth = False
        self.at_wall = False
        self.accel_in_robot: Vec2 = (0.0, 0.0)
        self.decision: Decision | None = None

    @property
    def t_s(self) -> float:
        return self.tick * DT_S

    # --- physics ------------------------------------------------------------------------------------------------

    def _move_robot(self, command: MotionCommand) -> None:
        self.pipe.append(command)
        wanted = self.pipe[0].twist_in_robot
        k = 1.0 - math.exp(-DT_S / self.response_s)
        now = self.twist
        self.twist = Twist2(
            now.vx_m_s + k * (wanted.vx_m_s - now.vx_m_s),
            now.vy_m_s + k * (wanted.vy_m_s - now.vy_m_s),
            now.omega_rad_s + k * (wanted.omega_rad_s - now.omega_rad_s),
        )
        moved = self.robot @ exponential_map(self.twist, DT_S)
        x_min, x_max, y_min, y_max = self.geometry.wall_bounds_m()
        r = self.body.radius_m
        x = min(max(moved.x_m, x_min + r), x_max - r)
        y = min(max(moved.y_m, y_min + r), y_max - r)
        self.accel_in_robot = (0.0, 0.0)
        if (x, y) != (moved.x_m, moved.y_m):
            pushed = (moved.x_m - x, moved.y_m - y)
            if not self.at_wall:  # the blow: the speed into the wall is lost within a few milliseconds
                blow = self.robot.inverse().rotate(pushed)
                self.accel_in_robot = (-blow[0] / DT_S / 0.02, -blow[1] / DT_S / 0.02)
            self.wall_hits_m_s.append(math.hypot(*pushed) / DT_S)
        self.at_wall = (x, y) != (moved.x_m, moved.y_m)
        self.robot = Pose2(x, y, moved.theta_rad)

    def _move_ball(self, dribbling: bool) -> None:
        vx, vy = self.ball_velocity
        speed = math.hypot(vx, vy)
        if speed > 0.0:
            left = max(0.0, speed - 0.35 * DT_S) / speed
            vx, vy = vx * left, vy * left
        bx, by = self.ball[0] + vx * DT_S, self.ball[1] + vy * DT_S
        x_min, x_max, y_min, y_max = self.geometry.wall_bounds_m()
        x, y = self.robot.inverse().transform((bx, by))
        hold = self.body.ball_hold_x_m(BALL_RADIUS_M)
        inside = abs(y) < 0.5 * self.body.mouth_width_m - 0.005
        if inside and x < hold + 0.012 and x > 0.0:
            if self._kicked_away():
                return
            wanted = self.robot.rotate((self.twist.vx_m_s, self.twist.vy_m_s))
            closing = math.hypot(vx - wanted[0], vy - wanted[1])
            if dribbling and closing < 0.8:  # the bar grips
                bx, by = self.robot.transform((hold, y * 0.98))
                vx, vy = self.robot.rotate((self.twist.vx_m_s, self.twist.vy_m_s + self.twist.omega_rad_s * hold))
            elif x < hold:  # it bounces off the bar
                bx, by = self.robot.transform((hold + 0.001, y))
                vx, vy = self.robot.rotate((max(1.5 * self.twist.vx_m_s, 0.0), 0.0))
        elif not (inside and x > 0.0) and math.hypot(x, y) < self.body.radius_m + BALL_RADIUS_M:
            if self._kicked_away():
                return
            reach = (self.body.radius_m + BALL_RADIUS_M) / max(1e-6, math.hypot(x, y))
            bx, by = self.robot.transform((x * reach, y * reach))
            push = 0.6 + 1.2 * self.twist.speed_m_s()
            vx, vy = self.robot.rotate((push * x * 3.0, push * y * 3.0))
        r = BALL_RADIUS_M
        if not x_min + r <= bx <= x_max - r:
            bx, vx = min(max(bx, x_min + r), x_max - r), -0.5 * vx
        if not y_min + r <= by <= y_max - r:
            by, vy = min(max(by, y_min + r), y_max - r), -0.5 * vy
        self.ball, self.ball_velocity = (bx, by), (vx, vy)
        x, y = self.robot.inverse().transform(self.ball)
        self.in_mouth = abs(y) < 0.5 * self.body.mouth_width_m and 0.0 < x < hold + 0.010

    def _kicked_away(self) -> bool:
        """True when this is the first contact, and it knocks the ball away."""
        first, self.touched = not self.touched, True
        if not first or self.first_contact_kick_m_s <= 0.0:
            return False
        angle = self.robot.theta_rad + 0.5
        kick = self.first_contact_kick_m_s
        self.ball_velocity = (kick * math.cos(angle), kick * math.sin(angle))
        self.ball = self.robot.transform((self.body.ball_hold_x_m() + 0.04, 0.02))
        self.in_mouth = False
        return True

    # --- senses -------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        if self.tick % self.camera.period_ticks:
            return
        seen = self._sight(self.ball)
        if self.rng.random() < self.camera.miss_share:
            seen = None
        ghost = self.phantom(self.t_s) if self.phantom else None
        if seen is None and ghost is not None:
            seen = self._sight(ghost)
        self.pending.append((self.tick, self.robot, seen, self._edge() if self.edges else ()))

    def _sight(self, place: Vec2) -> Vec2 | None:
        """Return the noisy world position of something on the floor, or None where the camera does not see it."""
        x, y = self.robot.inverse().transform(place)
        distance, bearing = math.hypot(x, y), math.atan2(y, x)
        if abs(bearing) > self.camera.half_view_rad:
            return None
        turning = abs(self.twist.omega_rad_s)
        sure = self.camera.max_range_m if turning <= self.camera.sharp_rad_s else self.camera.blurred_range_m
        if x < self.camera.min_range_m or distance > min(sure, self.camera.max_range_m):
            return None
        if turning > self.camera.blind_rad_s:
            return None
        distance += self.range_bias * distance**2 + self.rng.normal(0.0, 0.004 + 0.008 * distance**2)
        bearing += self.rng.normal(0.0, 0.006)
        return self.robot.transform((distance * math.cos(bearing), distance * math.sin(bearing)))

    def _edge(self) -> tuple[Vec2, ...]:
        x_min, x_max, y_min, y_max = self.geometry.wall_bounds_m()
        edge = []
        # measured in the simulator: far walls look nearer, by up to a fifth at 7 m, differently in every picture
        short = self.camera.edge_short_per_m * (1.0 + 0.5 * float(self.rng.standard_normal()))
        for bearing in np.linspace(-self.camera.half_view_rad, self.camera.half_view_rad, self.camera.edge_columns):
            c, s = math.cos(self.robot.theta_rad + bearing), math.sin(self.robot.theta_rad + bearing)
            tx = ((x_max if c > 0 else x_min) - self.robot.x_m) / c if abs(c) > 1e-9 else math.inf
            ty = ((y_max if s > 0 else y_min) - self.robot.y_m) / s if abs(s) > 1e-9 else math.inf
            wall = max(min(tx, ty), 0.3) if self.camera.sees_walls else 20.0
            error = -short * wall + self.rng.normal(0.0, 0.004 * (1.0 + wall))
            edge.append((float(bearing), float(wall * (1.0 + error))))
        return tuple(edge)

    def _track(self) -> None:
        while self.pending and self.pending[0][0] <= self.tick - self.camera.delay_ticks:
            taken, _, seen, edge = self.pending.popleft()
            self.free_range, self.free_range_tick = edge, taken
            self.visible = seen is not None
            if seen is None:
                continue
            far = 0.5 + 0.03 * math.dist(seen, (self.robot.x_m, self.robot.y_m)) ** 2
            if self.track is not None and math.dist(seen, self.track) > far:
                self.track, self.sightings = None, 0  # another object: a new track
            weight = 1.0 / (0.01 + 0.012 * math.dist(seen, (self.robot.x_m, self.robot.y_m)) ** 2) ** 2
            if self.track is None:
                self.track, self.track_weight = seen, weight
            else:
                k = weight / (0.8 * self.track_weight + weight)
                self.track = (
                    self.track[0] + k * (seen[0] - self.track[0]),
                    self.track[1] + k * (seen[1] - self.track[1]),
                )
                self.track_weight = 0.8 * self.track_weight + weight
            self.sightings += 1
            self.last_seen = taken
        if self.track is not None:
            x, y = self.robot.inverse().transform(self.track)
            should_see = abs(math.atan2(y, x)) < 0.4 and 0.45 < x < 3.0
            if (self.tick - self.last_seen) * DT_S > (0.5 if should_see else 6.0):
                self.track, self.sightings = None, 0

    def world(self) -> WorldModel:
        """Return the belief of this tick."""
        t = self.tick * TICK_NS
        beam = self.in_mouth and self.rng.random() >= self.beam_flicker
        if self.in_mouth and self.track is not None:
            self.track = self.ball
        track = self.track or (0.0, 0.0)
        head = {"seq": self.tick, "t_capture_ns": t, "t_receive_ns": t, "valid": True}
        robot = RobotState(
            **head,
            world_from_robot=self.robot,
            twist_in_robot=self.twist,
            covariance=((0.0,) * 3,) * 3,
            localisation=Localisation.ODOMETRY,
            inputs_ok=True,
        )
        ball = BallState(
            seq=self.tick,
            t_capture_ns=t,
            t_receive_ns=t,
            valid=(self.track is not None and self.sightings >= self.camera.confirm_sightings) or beam,
            ball_in_world_m=track,
            ball_in_robot_m=self.robot.inverse().transform(track),
            age_ns=(self.tick - self.last_seen) * TICK_NS,
            visible=self.visible,
            in_dribbler=beam,
            sightings=self.sightings,
        )
        telemetry = TelemetryFrame(
            **head,
            t_mcu_us=self.tick * 10_000,
            gyro_z_rad_s=self.twist.omega_rad_s,
            accel_in_robot_m_s2=self.accel_in_robot,
            wheel_speed_rad_s=(0.0, 0.0, 0.0, 0.0),
            odometry_twist=self.twist,
            odometry_pose=self.robot,
            break_beam=beam,
            dribbler_rad_s=0.0,
            kicker_charge=0.0,
            battery_v=24.0,
            armed=True,
            estop=False,
            fault_bits=0,
            last_command_seq=0,
        )
        age = (self.tick - self.free_range_tick) * TICK_NS
        return WorldModel(
            **head,
            robot=robot,
            ball=ball,
            free_range_m=self.free_range,
            free_range_age_ns=age,
            telemetry=telemetry,
        )

    # --- the loop -----------------------------------------------------------------------------------------------

    def referee(self, code: RefereeCode) -> RefereeCommand:
        """Return the referee's command of this trial with that code."""
        seq = list(RefereeCode).index(code)
        return RefereeCommand(seq=seq, t_capture_ns=0, t_receive_ns=0, valid=True, code=code)

    def step(self, code: RefereeCode = RefereeCode.FORCE_START) -> MotionTarget:
        """Advance by one tick under a referee command."""
        self._look()
        self._track()
        world = self.world()
        t = self.tick * TICK_NS
        self.decision = self.player.decide(world, self.referee(code), (), self.mode, t)
        command = self.limiter.apply(self.decision.target, world, t)
        self.commands.append(command)
        state = (self.decision.plan.skill, self.decision.plan.state)
        if not self.history or self.history[-1] != state:
            self.history.append(state)
        self._move_robot(command)
        self._move_ball(command.dribbler_rad_s > 0.0)
        self.truth.append((self.robot, self.ball, self.in_mouth))
        self.tick += 1
        return self.decision.target

    def play(self, limit_s: float = 60.0, hold_s: float = 2.0) -> float | None:
        """Play until the ball was held, standing, for `hold_s`; return the time of grabbing, or None.

        As in a real trial the robot stands under STOP before it starts (and sees what is before it); time counts from
        the first FORCE_START.
        """
        if self.tick == 0:
            while self.t_s < PREPARE_S:
                self.step(RefereeCode.STOP)
            self.history.clear()
        held = 0
        moved = False
        while self.t_s < limit_s + PREPARE_S:
            self.step()
            standing = self.twist.speed_m_s() < 0.02 and abs(self.twist.omega_rad_s) < 0.05
            moved = moved or not standing
            held = held + 1 if self.in_mouth and standing and moved else 0
            if held * DT_S >= hold_s:
                return self.t_s - hold_s - PREPARE_S
        return None


def random_bench(seed: int, **changes: object) -> Bench:
    """Return a trial with a random robot pose and a random ball, anywhere inside the walls."""
    rng = np.random.default_rng([seed, 77])
    geometry = changes.get("geometry", DIVISION_B)
    assert isinstance(geometry, FieldGeometry)
    x_min, x_max, y_min, y_max = geometry.wall_bounds_m()
    robot = Pose2(
        float(rng.uniform(x_min + 0.12, x_max - 0.12)),
        float(rng.uniform(y_min + 0.12, y_max - 0.12)),
        wrap_angle(float(rng.uniform(-math.pi, math.pi))),
    )
    while True:
        ball = (float(rng.uniform(x_min + 0.03, x_max - 0.03)), float(rng.uniform(y_min + 0.03, y_max - 0.03)))
        if math.dist(ball, (robot.x_m, robot.y_m)) > 0.25:
            break
    return Bench(robot=robot, ball=ball, seed=seed, **changes)  # type: ignore[arg-type]
