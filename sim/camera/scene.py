"""The visible world as an MJCF model: carpet, lines, boards, goals, room, clutter, balls and robots as movable bodies.

Only looks: the physics has its own, far smaller model (`sim.world`). Lines are thin boxes a little above the carpet,
because a texture's mipmaps let them fade within 3 m at a camera height of 0.17 m (measured).
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from perception.field.model import field_model
from robot.core.body import RobotBody
from robot.core.field import BALL_RADIUS_M, FieldGeometry
from sim.camera.clutter import clutter_geoms
from sim.camera.lookalikes import lookalike_geoms
from sim.camera.mjcf import SceneText, geom, numbers
from sim.camera.robot_parts import add_team, robot_geoms
from sim.camera.style import VenueStyle
from sim.camera.textures import carpet, room_wall, speckled

LINE_TOP_M = 0.0006
FAR_M = 40.0


def _line(x0: float, y0: float, x1: float, y1: float, width_m: float, material: str) -> str:
    length, angle = math.hypot(x1 - x0, y1 - y0), math.atan2(y1 - y0, x1 - x0)
    return geom(
        "box", (0.5 * (x0 + x1), 0.5 * (y0 + y1), 0.0), (0.5 * (length + width_m), 0.5 * width_m, LINE_TOP_M),
        material=material, extra=f'euler="0 0 {angle:.6f}"',
    )  # fmt: skip


def line_geoms(field: FieldGeometry, width_m: float, material: str = "line") -> list[str]:
    """Return the field's markings (`perception.field.model`) as thin boxes; a full circle has 48."""
    model = field_model(field)
    lines = [_line(*line.start_m, *line.end_m, width_m, material) for line in model.lines]
    for arc in model.arcs:
        (x, y), r = arc.centre_m, arc.radius_m
        steps = max(1, round(48 * arc.sweep_rad / math.tau))
        angles = [arc.start_rad + arc.sweep_rad * k / steps for k in range(steps + 1)]
        ring = [(x + r * math.cos(angle), y + r * math.sin(angle)) for angle in angles]
        lines += [_line(*a, *b, width_m, material) for a, b in itertools.pairwise(ring)]
    return lines


def goal_geoms(field: FieldGeometry, side: float, thickness_m: float) -> list[str]:
    """Return the three walls of one goal; `side` is +1 or -1 along x. Its mouth is on the goal line."""
    x, half, t = side * 0.5 * field.length_m, 0.5 * field.goal_width_m, 0.5 * thickness_m
    h, d = 0.5 * field.goal_height_m, field.goal_depth_m
    return [
        geom("box", (x + side * (d + t), 0.0, h), (t, half + 2 * t, h), material="goal"),
        geom("box", (x + side * 0.5 * d, half + t, h), (0.5 * d, t, h), material="goal"),
        geom("box", (x + side * 0.5 * d, -half - t, h), (0.5 * d, t, h), material="goal"),
    ]


def _blob_shadow(radius_m: float, strength: float, drift: tuple[float, float]) -> list[str]:
    """Return nested dark transparent discs: a soft shadow without a shadow map (which costs 22 ms a frame)."""
    discs = []
    for k, grow in enumerate((1.45, 1.35, 1.25, 1.15, 1.05, 0.95, 0.85, 0.75)):
        shift = 0.3 * radius_m * (grow - 0.6)
        discs.append(
            geom(
                "cylinder",
                (drift[0] * shift, drift[1] * shift, LINE_TOP_M + 0.0002 * (k + 1)),
                (radius_m * grow, 0.00005),
                colour=(0, 0, 0),
                alpha=0.2 * strength,
            )
        )
    return discs


def scene_xml(
    style: VenueStyle,
    field: FieldGeometry,
    body: RobotBody,
    *,
    robots: int,
    balls: int,
    lookalikes: int = 0,
    golf_balls_outside: bool = True,
) -> tuple[str, dict[str, bytes]]:
    """Build the scene.

    Args:
        style: the venue's looks.
        field: its dimensions.
        body: outline of the other robots.
        robots: number of movable robots, named `robot0...`, alternating between the two teams.
        balls: number of movable balls, named `ball0...`.
        lookalikes: number of things behind the boards that could be taken for a ball.
        golf_balls_outside: whether golf balls are among them.

    Returns:
        The MJCF text and its texture files by name.
    """
    rng = np.random.default_rng(style.texture_seed)
    scene = SceneText()
    x_min, x_max, y_min, y_max = field.wall_bounds_m()
    centre, half = (0.5 * (x_min + x_max), 0.5 * (y_min + y_max)), (0.5 * (x_max - x_min), 0.5 * (y_max - y_min))
    repeat = f'texuniform="true" texrepeat="{1 / style.carpet_tile_m:.4f} {1 / style.carpet_tile_m:.4f}" specular="0"'
    scene.texture("carpet", carpet(rng, style.carpet, grain=style.carpet_grain, worn=style.carpet_worn))
    scene.material("carpet", (1, 1, 1), texture="carpet", extra=repeat)
    scene.material("line", style.line, extra='specular="0.05"')
    scene.texture("goal", speckled(rng, style.goal, amount=0.02))
    scene.material("goal", (1, 1, 1), texture="goal", extra='specular="0.1"')
    scene.texture("ball", speckled(rng, style.ball, amount=0.08))
    scene.material(
        "ball", (1, 1, 1), texture="ball", extra=f'specular="0.35" shininess="0.25" emission="{style.ball_glow:.3f}"'
    )
    world = [
        geom("plane", (*centre, 0), (*half, 1), material="carpet"),
        geom("plane", (*centre, -0.004), (half[0] + 6, half[1] + 6, 1), colour=style.hall_floor),
        *line_geoms(field, style.line_width_m),
        *_boards(style, centre, half),
        *_room(scene, rng, style, centre, half),
        *clutter_geoms(rng, style.clutter, field.wall_bounds_m()),
        *lookalike_geoms(style, lookalikes, field.wall_bounds_m(), golf_balls=golf_balls_outside),
    ]
    for k, side in enumerate((1.0, -1.0)):
        inner = x_max - 0.5 * field.length_m if side > 0 else -0.5 * field.length_m - x_min
        if inner > 0.5 * field.goal_depth_m:  # half fields have one goal only
            world.append(f'<body name="goal{k}">{"".join(goal_geoms(field, side, style.goal_thickness_m))}</body>')
    drift = (style.light_direction[0], style.light_direction[1])
    for team in (0, 1):
        add_team(scene, rng, team, style.teams[team], body)
    for k in range(robots):
        team = k % 2
        parts = robot_geoms(rng, team, style.teams[team], body)
        world.append(_movable(f"robot{k}", parts + _blob_shadow(body.radius_m, style.shadow_strength, drift)))
    for k in range(balls):
        sphere = geom("sphere", (0, 0, BALL_RADIUS_M), (BALL_RADIUS_M,), material="ball")
        world.append(_movable(f"ball{k}", [sphere, *_blob_shadow(BALL_RADIUS_M, style.shadow_strength, drift)]))
    light = numbers([style.light] * 3)
    text = (
        '<mujoco><compiler angle="radian" autolimits="true"/>'
        '<visual><quality shadowsize="1024" numslices="24" numstacks="14" numquads="1"/><map znear="0.001" zfar="2"/>'
        f'<headlight ambient="{numbers([style.ambient] * 3)}" diffuse="0.08 0.08 0.08" specular="0 0 0"/></visual>'
        '<statistic extent="10" center="0 0 0"/>'
        '<default><geom contype="0" conaffinity="0" group="0"/></default>'
        f"<asset>{''.join(scene.assets)}</asset><worldbody>"
        f'<light type="directional" pos="0 0 4" dir="{numbers(style.light_direction)}" diffuse="{light}" '
        'specular="0.3 0.3 0.3" castshadow="true"/>'
        f"{''.join(world)}</worldbody></mujoco>"
    )
    return text, scene.files


def _movable(name: str, parts: list[str]) -> str:
    """Return a body that is placed by hand (mocap), at first out of sight."""
    return f'<body name="{name}" mocap="true" pos="0 0 -{FAR_M:g}">{"".join(parts)}</body>'


def _boards(style: VenueStyle, centre: tuple[float, float], half: tuple[float, float]) -> list[str]:
    t, h = 0.012, 0.5 * style.board_height_m
    (cx, cy), (hx, hy) = centre, half
    return [
        geom("box", (cx + hx + t, cy, h), (t, hy + 2 * t, h), colour=style.board),
        geom("box", (cx - hx - t, cy, h), (t, hy + 2 * t, h), colour=style.board),
        geom("box", (cx, cy + hy + t, h), (hx, t, h), colour=style.board),
        geom("box", (cx, cy - hy - t, h), (hx, t, h), colour=style.board),
    ]


def _room(
    scene: SceneText,
    rng: np.random.Generator,
    style: VenueStyle,
    centre: tuple[float, float],
    half: tuple[float, float],
) -> list[str]:
    """Return the room's four walls, facing inwards, each with its own texture."""
    height = 1.6
    parts = []
    places = ((1, 0, half[0]), (-1, 0, half[0]), (0, 1, half[1]), (0, -1, half[1]))
    for k, (nx, ny, reach) in enumerate(places):
        name, away = f"room{k}", reach + 0.03 + style.room_distance_m[k]
        scene.texture(name, room_wall(rng, style.room))
        width = 0.5 * height * 4  # the texture's aspect
        scene.material(
            name,
            (1, 1, 1),
            texture=name,
            extra=f'texuniform="true" texrepeat="{0.5 / width:.4f} {0.5 / height:.4f}" specular="0"',
        )
        # x times y points into the room: planes show on that side only.
        axes = f'xyaxes="{numbers((ny, -nx, 0.0, 0.0, 0.0, 1.0))}"'
        place = (centre[0] + nx * away, centre[1] + ny * away, height)
        parts.append(geom("plane", place, (max(half) + 6, height, 1), material=name, extra=axes))
    return parts
