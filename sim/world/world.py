"""The physical world of one trial: steps of 1 ms, driven by motor duties, dribbler and kicks.

Per step: wheels, nod, dribbler and floor friction give forces; MuJoCo adds the rigid contacts and integrates. The hot
path works on plain floats: NumPy costs more than the physics on arrays this small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot.core.body import RobotBody
from robot.core.geometry import Pose2, Twist2, wrap_angle
from sim.camera.gl import import_mujoco
from sim.setup import BallPush, Source, TrialSetup, Waypoint, generator
from sim.world.arena import STEP_S, arena_xml
from sim.world.ball import floor_friction
from sim.world.drive import Drive
from sim.world.mouth import Mouth
from sim.world.nod import Nod

_TOUCH_GAP_M = 0.0015
_AT_BAR_GAP_M = 0.008
"""A human referee sees no gap smaller than this between a resting ball and the dribbler."""


_NOWHERE_M = (15.0, 15.0)


def pose_on_path(path: Sequence[Waypoint], t_s: float) -> Pose2:
    """Return where a robot on that path is at a time: the ends hold, between waypoints it glides."""
    before = path[0]
    for after in path:
        if after.t_s >= t_s:
            share = (t_s - before.t_s) / (after.t_s - before.t_s) if after.t_s > before.t_s else 0.0
            share = min(1.0, max(0.0, share))
            a, b = before.pose, after.pose
            turn = wrap_angle(b.theta_rad - a.theta_rad)
            return Pose2(
                a.x_m + share * (b.x_m - a.x_m), a.y_m + share * (b.y_m - a.y_m), wrap_angle(a.theta_rad + share * turn)
            )
        before = after
    return before.pose


@dataclass(frozen=True, kw_only=True, slots=True)
class Actuation:
    """What drives the world for one step."""

    wheel_duty: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    dribbler_duty: float = 0.0
    kick_speed_m_s: float = 0.0
    chip: bool = False
    charge: bool = False


class World:
    """One robot, one ball, boards and goals. Deterministic: the same setup and the same actuation, the same bits."""

    def __init__(self, setup: TrialSetup, body: RobotBody) -> None:
        mujoco = import_mujoco()
        self._step = mujoco.mj_step
        self.setup, self.body = setup, body
        self.model = mujoco.MjModel.from_xml_string(arena_xml(setup, body))
        self.data = mujoco.MjData(self.model)
        mass = body.mass_kg * setup.mass_factor
        self._mass = mass
        self.drive = Drive(setup.drive, setup.battery, body, mass)
        self.mouth = Mouth(setup.mouth, setup.ball, body)
        self.nod = Nod(setup.nod)
        self._kick_rng = generator(setup.seed, Source.KICKER)
        self._half_front: float = math.sqrt(max(0.0, body.radius_m**2 - body.mouth_x_m**2))
        self.data.qpos[:3] = (setup.robot_start.x_m, setup.robot_start.y_m, setup.robot_start.theta_rad)
        self.data.qpos[3:6] = (*setup.ball_start_m, setup.ball.radius_m)
        if not setup.scene.ball_in_play:
            self.data.qpos[3:5] = _NOWHERE_M
        self.data.qpos[6:10] = (1.0, 0.0, 0.0, 0.0)
        self._pushes = sorted(setup.scene.pushes, key=lambda push: push.t_s)
        self.others: tuple[Pose2, ...] = ()
        self._place_others(0.0)
        mujoco.mj_forward(self.model, self.data)
        self._ball_id = int(self.model.body("ball").id)
        self.step_count = 0
        self.accel_in_robot_m_s2 = (0.0, 0.0)
        self.break_beam = False
        self.ball_touched = self.bar_touched = self.ball_at_bar = False
        self._read()

    def _place_others(self, t_s: float) -> None:
        """Put the other robots where their paths say."""
        self.others = tuple(pose_on_path(path, t_s) for path in self.setup.scene.others)
        for k, pose in enumerate(self.others):
            self.data.mocap_pos[k] = (pose.x_m, pose.y_m, 0.0)
            self.data.mocap_quat[k] = (math.cos(0.5 * pose.theta_rad), 0.0, 0.0, math.sin(0.5 * pose.theta_rad))

    def _push_ball(self, push: BallPush) -> None:
        (vx, vy), r = push.velocity_m_s, self.setup.ball.radius_m
        if push.place_m is not None:
            self.data.qpos[3:6] = (*push.place_m, r)
        # Upright, so that the spin, which MuJoCo keeps in the body frame, is also that of the field frame.
        self.data.qpos[6:10] = (1.0, 0.0, 0.0, 0.0)
        spin = (-vy / r, vx / r, 0.0) if push.rolling else (0.0, 0.0, 0.0)
        self.data.qvel[3:9] = (vx, vy, 0.0, *spin)
        self._read()

    def _read(self) -> None:
        """Copy the state out of MuJoCo once a step."""
        self._q: list[float] = self.data.qpos.tolist()
        self._v: list[float] = self.data.qvel.tolist()
        c, s = math.cos(self._q[2]), math.sin(self._q[2])
        self._c, self._s = c, s
        dx, dy = self._q[3] - self._q[0], self._q[4] - self._q[1]
        self.ball_in_robot_m: tuple[float, float] = (c * dx + s * dy, -s * dx + c * dy)

    @property
    def robot_pose(self) -> Pose2:
        """The robot in the field frame."""
        return Pose2(self._q[0], self._q[1], wrap_angle(self._q[2]))

    @property
    def twist_in_robot(self) -> Twist2:
        """The robot's velocity in its own frame."""
        vx, vy, omega = self._v[0], self._v[1], self._v[2]
        return Twist2(self._c * vx + self._s * vy, -self._s * vx + self._c * vy, omega)

    @property
    def omega_rad_s(self) -> float:
        """The robot's turn rate."""
        return self._v[2]

    @property
    def ball_m(self) -> tuple[float, float, float]:
        """The ball's centre in the field frame."""
        return self._q[3], self._q[4], self._q[5]

    @property
    def ball_velocity_m_s(self) -> tuple[float, float, float]:
        """The ball's velocity in the field frame."""
        return self._v[3], self._v[4], self._v[5]

    @property
    def tilt_rad(self) -> tuple[float, float]:
        """Pitch and roll of the body."""
        return self.nod.pitch_rad, self.nod.roll_rad

    def ball_gap_m(self) -> float:
        """Distance between ball and robot hull on the floor, metres; negative while they press."""
        x, y = self.ball_in_robot_m
        radius = self.setup.ball.radius_m
        if x > 0.0 and abs(y) <= self._half_front:
            return x - self.body.mouth_x_m - radius
        return math.hypot(x, y) - self.body.radius_m - radius

    def carry_robot(self, pose: Pose2) -> None:
        """Put the robot elsewhere at once; its velocity in its own frame stays, so that no sensor notices."""
        twist = self.twist_in_robot
        c, s = math.cos(pose.theta_rad), math.sin(pose.theta_rad)
        self.data.qpos[:3] = (pose.x_m, pose.y_m, pose.theta_rad)
        self.data.qvel[:2] = (c * twist.vx_m_s - s * twist.vy_m_s, s * twist.vx_m_s + c * twist.vy_m_s)
        import_mujoco().mj_forward(self.model, self.data)
        self._read()

    def step(self, actuation: Actuation) -> None:
        """Advance by 1 ms."""
        dt = STEP_S
        if self.others:
            self._place_others(self.step_count * dt)
        while self._pushes and self._pushes[0].t_s <= self.step_count * dt:
            self._push_ball(self._pushes.pop(0))
        q, v, c, s = self._q, self._v, self._c, self._s
        vx, vy, omega = c * v[0] + s * v[1], -s * v[0] + c * v[1], v[2]
        drive = self.drive
        fx, fy, torque = drive.step(actuation.wheel_duty, vx, vy, omega, dt)
        bx, by = self.ball_in_robot_m
        mouth = self.mouth
        mouth.step_bar(actuation.dribbler_duty, drive.battery_v / self.setup.drive.nominal_v, dt)
        mouth.step_charger(actuation.charge, dt)
        ball_fx = ball_fy = 0.0
        tx = ty = tz = 0.0
        on_floor = q[5] < self.setup.ball.radius_m + 0.001
        near = -0.02 < bx - self.body.mouth_x_m < 0.06 and -0.06 < by < 0.06
        if on_floor and (v[3] or v[4] or v[6] or v[7] or v[8] or near):
            wx, wy, wz = self._spin_in_field()
            ball_fx, ball_fy, tx, ty, tz = floor_friction(self.setup.ball, v[3], v[4], wx, wy, wz, dt)
        if near:
            rvx = c * v[3] + s * v[4] - (vx - omega * by)
            rvy = -s * v[3] + c * v[4] - (vy + omega * bx)
            px, py = mouth.pull(bx, by, q[5], rvx, rvy)
            if px or py:
                ball_fx += c * px - s * py
                ball_fy += s * px + c * py
                fx -= px
                fy -= py
                torque -= bx * py - by * px
        if actuation.kick_speed_m_s > 0.0:
            self._kick(actuation.kick_speed_m_s, actuation.chip)
        data = self.data
        data.qfrc_applied[:3] = (c * fx - s * fy, s * fx + c * fy, torque)
        data.xfrc_applied[self._ball_id] = (ball_fx, ball_fy, 0.0, tx, ty, tz)
        self._step(self.model, data)
        self.step_count += 1
        old = v
        self._read()
        v = self._v
        # What the body felt over the step, contacts included.
        ax, ay = (v[0] - old[0]) / dt, (v[1] - old[1]) / dt
        self.accel_in_robot_m_s2 = (c * ax + s * ay, -s * ax + c * ay)
        self.nod.step(fx / self._mass, fy / self._mass, dt)
        bx, by = self.ball_in_robot_m
        self.break_beam = mouth.step_beam(bx, by, self._q[5])
        low = self._q[5] < self.body.height_m
        gap = self.ball_gap_m()
        self.ball_touched = low and gap < _TOUCH_GAP_M
        in_mouth = low and bx > 0.0 and abs(by) < 0.5 * self.body.mouth_width_m
        self.bar_touched = in_mouth and gap < _TOUCH_GAP_M
        self.ball_at_bar = in_mouth and gap < _AT_BAR_GAP_M

    def _spin_in_field(self) -> tuple[float, float, float]:
        """Return the ball's spin; MuJoCo keeps a free body's in the body frame, turned by its quaternion."""
        w, x, y, z = self._q[6:10]
        a, b, c = self._v[6:9]
        # v' = v + 2 w (u x v) + 2 u x (u x v), u = (x, y, z).
        ux, uy, uz = 2 * (y * c - z * b), 2 * (z * a - x * c), 2 * (x * b - y * a)
        return a + w * ux + y * uz - z * uy, b + w * uy + z * ux - x * uz, c + w * uz + x * uy - y * ux

    def _kick(self, speed_m_s: float, chip: bool) -> None:
        bx, by = self.ball_in_robot_m
        shot = self.mouth.kick(speed_m_s, bx, by, self._q[5], self._kick_rng)
        if shot is None:
            return
        speed, angle = shot
        direction = self._q[2] + angle
        flat, up = (speed * math.sqrt(0.5), speed * math.sqrt(0.5)) if chip else (speed, 0.0)
        along, side = (math.cos(direction), math.sin(direction)), (-math.sin(direction), math.cos(direction))
        sideways = self._v[3] * side[0] + self._v[4] * side[1]
        self.data.qvel[3:9] = (flat * along[0] + sideways * side[0], flat * along[1] + sideways * side[1], up, 0, 0, 0)
        self._read()

    def state_bytes(self) -> bytes:
        """Return every bit of the physical state, for proofs of determinism."""
        own = np.array([*self.drive.angle_rad, *self.drive.speed_rad_s, self.mouth.bar_rad_s, *self.tilt_rad])
        return bytes(self.data.qpos.tobytes() + self.data.qvel.tobytes() + own.tobytes())
