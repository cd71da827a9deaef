"""The physical world as an MJCF model: boards, goals, one robot on planar joints, one ball. Rigid contacts only.

Wheels, ball friction, dribbler and kicker are ours (`sim.world.*`): MuJoCo's rolling friction lets a sliding ball hop
(measured, see docs/simulator.md), and wheels as bodies cost five times as much. So the floor carries the ball with a
frictionless contact, and the robot does not touch it at all.
"""

from __future__ import annotations

import math

from robot.core.body import RobotBody
from robot.core.field import FieldGeometry
from sim.camera.mjcf import geom, numbers
from sim.camera.robot_parts import shell_outline
from sim.setup import TrialSetup

STEP_S = 0.001
WALL_HEIGHT_M = 0.1
_WALL_M = 0.1
_GOAL_WALL_M = 0.02
_SIDE_STIFFNESS = 3.0e5
_FLOOR_STIFFNESS = 3.0e4
"""Softer, and with half the impedance: deep enough (0.16 mm) that a resting ball lies still instead of hopping by
micrometres for ever, since a step of gravity without contact is all it takes to leave a stiff floor."""


def damping_ratio(restitution: float) -> float:
    """Return the damping ratio of a linear spring-dashpot contact that pushes only, by its restitution.

    The contact ends when its force does, before the bodies part: e = exp(-z / sqrt(1 - z^2) * phi) with
    phi = pi - atan(2 z sqrt(1 - z^2) / (1 - 2 z^2)) (Schwager and Poeschel 2007, eq. 20). Solved by bisection.
    """
    low, high = 0.0, 0.7
    for _ in range(60):
        z = 0.5 * (low + high)
        root = math.sqrt(1.0 - z * z)
        phi = math.pi - math.atan2(2.0 * z * root, 1.0 - 2.0 * z * z)
        low, high = (z, high) if math.exp(-z / root * phi) > restitution else (low, z)
    return 0.5 * (low + high)


def bounce(restitution: float, stiffness: float) -> str:
    """Return a `solref` in MuJoCo's direct form (stiffness 1/s^2, damping 1/s) with that restitution."""
    return numbers((-stiffness, -2.0 * damping_ratio(restitution) * math.sqrt(stiffness)))


def _walls(field: FieldGeometry) -> list[str]:
    x_min, x_max, y_min, y_max = field.wall_bounds_m()
    cx, cy, hx, hy = 0.5 * (x_min + x_max), 0.5 * (y_min + y_max), 0.5 * (x_max - x_min), 0.5 * (y_max - y_min)
    t, h = 0.5 * _WALL_M, 0.5 * WALL_HEIGHT_M
    places = (
        ((cx + hx + t, cy, h), (t, hy + 2 * t, h)),
        ((cx - hx - t, cy, h), (t, hy + 2 * t, h)),
        ((cx, cy + hy + t, h), (hx, t, h)),
        ((cx, cy - hy - t, h), (hx, t, h)),
    )
    return [geom("box", place, size, extra='class="wall"') for place, size in places]


def _goals(field: FieldGeometry) -> list[str]:
    x_min, x_max, _, _ = field.wall_bounds_m()
    h, t, half = 0.5 * field.goal_height_m, 0.5 * _GOAL_WALL_M, 0.5 * field.goal_width_m
    parts = []
    for side in (1.0, -1.0):
        line = side * 0.5 * field.length_m
        if not x_min <= line <= x_max:
            continue
        middle = line + side * 0.5 * field.goal_depth_m
        parts.append(
            geom("box", (line + side * (field.goal_depth_m + t), 0, h), (t, half + 2 * t, h), extra='class="wall"')
        )
        for y in (half + t, -half - t):
            parts.append(geom("box", (middle, y, h), (0.5 * field.goal_depth_m, t, h), extra='class="wall"'))
    return parts


def _hull(body: RobotBody) -> str:
    outline = shell_outline(body)
    vertices = [v for z in (0.01, body.height_m) for x, y in outline for v in (x, y, z)]
    return f'<mesh name="hull" vertex="{numbers(vertices)}"/>'


def _others(setup: TrialSetup) -> str:
    """Return the other robots: hulls that are moved by hand and that nothing moves."""
    return "".join(
        f'<body name="other{k}" mocap="true" pos="0 0 -9"><geom type="mesh" mesh="hull" class="wall" '
        f'friction="{setup.ball.body_friction} 0 0"/></body>'
        for k in range(len(setup.scene.others))
    )


def arena_xml(setup: TrialSetup, body: RobotBody) -> str:
    """Return the MJCF of the physical world; the joints are x, y, yaw of the robot, then the ball's free joint."""
    ball, radius = setup.ball, setup.ball.radius_m
    inertia = 0.4 * ball.mass_kg * radius**2
    mass, yaw_inertia = body.mass_kg * setup.mass_factor, body.yaw_inertia_kg_m2 * setup.mass_factor
    side, floor = bounce(ball.restitution, _SIDE_STIFFNESS), bounce(ball.restitution, _FLOOR_STIFFNESS)
    return f"""<mujoco model="arena">
<compiler angle="radian" autolimits="true" boundmass="0.0001"/>
<option timestep="{STEP_S}" integrator="implicitfast" cone="elliptic" solver="Newton" iterations="20"/>
<default>
  <default class="wall"><geom contype="1" conaffinity="2" friction="0.3 0 0"/></default>
</default>
<asset>{_hull(body)}</asset>
<worldbody>
  <geom name="floor" type="plane" size="20 20 1" contype="0" conaffinity="0"/>
  {"".join(_walls(setup.field))}{"".join(_goals(setup.field))}{_others(setup)}
  <body name="robot">
    <inertial pos="0 0 0" mass="{mass:.6g}" diaginertia="{yaw_inertia:.6g} {yaw_inertia:.6g} {yaw_inertia:.6g}"/>
    <joint name="x" type="slide" axis="1 0 0"/>
    <joint name="y" type="slide" axis="0 1 0"/>
    <joint name="yaw" type="hinge" axis="0 0 1"/>
    <geom name="hull" type="mesh" mesh="hull" contype="2" conaffinity="1" friction="{ball.body_friction} 0 0"/>
  </body>
  <body name="ball">
    <freejoint/>
    <inertial pos="0 0 0" mass="{ball.mass_kg}" diaginertia="{inertia:.6g} {inertia:.6g} {inertia:.6g}"/>
    <geom name="ball" type="sphere" size="{radius}" contype="2" conaffinity="3" condim="3" priority="1"
          friction="{ball.body_friction} 0 0" solref="{side}" solimp="0.98 0.99 0.001"/>
  </body>
</worldbody>
<contact><pair geom1="floor" geom2="ball" condim="1" solref="{floor}" solimp="0.5 0.5 0.001"/></contact>
</mujoco>"""
