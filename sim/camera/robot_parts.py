"""What other robots look like from the floor: shell with decals, wheels, plates, kicker, dribbler, coloured dots."""

from __future__ import annotations

import math

import numpy as np

from robot.core.body import RobotBody
from sim.camera.mjcf import SceneText, geom, numbers
from sim.camera.style import RobotStyle
from sim.camera.textures import robot_shell

_SEGMENTS = 40
_DOTS = ((0.95, 0.1, 0.7), (0.1, 0.85, 0.25))
_CENTRES = ((0.1, 0.25, 0.95), (0.95, 0.85, 0.1))


def shell_outline(body: RobotBody) -> np.ndarray:
    """Return the (n, 2) outline of the hull, counter-clockwise from the rear, with its flat front at the mouth."""
    angles = np.linspace(-math.pi, math.pi, _SEGMENTS, endpoint=False)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * body.radius_m
    points[:, 0] = np.minimum(points[:, 0], body.mouth_x_m)
    return points


def shell_mesh(name: str, body: RobotBody, bottom_m: float, top_m: float) -> str:
    """Return the MJCF mesh of a closed shell; u runs around from the rear, v from top to bottom."""
    outline = shell_outline(body)
    ring = np.concatenate([outline, outline[:1]])
    count = len(ring)
    u = np.linspace(0.0, 1.0, count)
    vertices: list[tuple[float, float, float]] = []
    coordinates: list[tuple[float, float]] = []
    for z, v in ((bottom_m, 1.0), (top_m, 0.0)):
        for (x, y), around in zip(ring, u, strict=True):
            vertices.append((x, y, z))
            coordinates.append((around, v))
    faces: list[tuple[int, int, int]] = []
    for i in range(count - 1):
        faces += [(i, i + 1, count + i + 1), (i, count + i + 1, count + i)]
    for z, upward in ((bottom_m, False), (top_m, True)):
        base = len(vertices)
        vertices += [(x, y, z) for x, y in outline]
        coordinates += [(0.01, 0.3)] * len(outline)
        for i in range(1, len(outline) - 1):
            faces.append((base, base + i, base + i + 1) if upward else (base, base + i + 1, base + i))
    return (
        f'<mesh name="{name}" inertia="shell" vertex="{numbers(np.ravel(vertices))}" '
        f'texcoord="{numbers(np.ravel(coordinates))}" face="{" ".join(str(i) for f in faces for i in f)}"/>'
    )


def add_team(scene: SceneText, rng: np.random.Generator, team: int, style: RobotStyle, body: RobotBody) -> None:
    """Add the mesh, texture and materials that the robots of one team share."""
    scene.texture(f"shell{team}", robot_shell(rng, style.shell, to_the_floor=style.shell_bottom_m < 0.03))
    scene.material(f"shell{team}", (1.0, 1.0, 1.0), texture=f"shell{team}", extra='specular="0.3" shininess="0.3"')
    scene.assets.append(shell_mesh(f"shell{team}", body, style.shell_bottom_m, style.height_m))


def robot_geoms(rng: np.random.Generator, team: int, style: RobotStyle, body: RobotBody) -> list[str]:
    """Return the geoms of one robot, in its body frame (origin on the floor)."""
    parts = [f'<geom type="mesh" mesh="shell{team}" material="shell{team}"/>']
    if style.shell_bottom_m > 0.03:
        parts += _chassis(style, body)
    parts.append(geom("box", (body.mouth_x_m - 0.001, 0, 0.028), (0.003, 0.036, 0.02), colour=style.chassis))
    parts.append(
        geom(
            "cylinder",
            (body.mouth_x_m + 0.004, 0, 0.036),
            (0.007, 0.036),
            colour=(0.12, 0.1, 0.1),
            extra='euler="1.5708 0 0"',
        )
    )
    if style.has_dots:
        centre = _CENTRES[team]
        parts.append(geom("cylinder", (0, 0, style.height_m + 0.001), (0.025, 0.001), colour=centre))
        for x, y in ((0.035, 0.055), (0.035, -0.055), (-0.055, 0.035), (-0.055, -0.035)):
            parts.append(
                geom("cylinder", (x, y, style.height_m + 0.001), (0.02, 0.001), colour=_DOTS[int(rng.integers(0, 2))])
            )
    elif rng.random() < 0.4:  # a cap, a mast, a camera box: the top may carry things in this challenge
        parts.append(
            geom(
                "box",
                (rng.uniform(-0.03, 0.05), rng.uniform(-0.03, 0.03), style.height_m + 0.012),
                rng.uniform(0.01, 0.035, 3),
                colour=style.top,
            )
        )
    return parts


def _chassis(style: RobotStyle, body: RobotBody) -> list[str]:
    """Return what shows below a high shell: plates, motors, wheels, posts."""
    inner = 0.058 if style.open_frame else 0.068
    bottom = style.shell_bottom_m
    parts = [
        geom("cylinder", (0, 0, 0.012), (body.radius_m - 0.006, 0.003), colour=style.chassis),
        geom(
            "cylinder", (-0.006, 0, 0.5 * (0.015 + bottom)), (inner, 0.5 * (bottom - 0.015)), colour=(0.05, 0.05, 0.05)
        ),
    ]
    if style.open_frame:
        for height in np.linspace(0.035, bottom, 3):
            parts.append(geom("cylinder", (-0.004, 0, float(height)), (0.066, 0.0015), colour=(0.1, 0.3, 0.16)))
    for angle in body.wheel_angles_rad:
        c, s = math.cos(angle), math.sin(angle)
        turn = f'zaxis="{c:.5f} {s:.5f} 0"'
        rim, radius = body.wheel_mount_radius_m, body.wheel_radius_m
        parts.append(geom("cylinder", (rim * c, rim * s, radius), (radius, 0.008), colour=style.wheel, extra=turn))
        parts.append(
            geom(
                "cylinder",
                (rim * c * 1.03, rim * s * 1.03, radius),
                (radius * 0.65, 0.0075),
                colour=style.hub,
                extra=turn,
            )
        )
        post = angle + 0.42
        parts.append(
            geom(
                "cylinder",
                (0.08 * math.cos(post), 0.08 * math.sin(post), 0.5 * bottom),
                (0.005, 0.5 * bottom),
                colour=style.chassis,
            )
        )
    return parts
