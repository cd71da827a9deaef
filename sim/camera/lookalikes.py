"""Things outside the field that could be taken for a ball: spare balls, shoes, bags, cones, lamps, balls on the boards.

Everything stands behind the boards (the hall's floor, shelves, laps) or on top of them; nothing is on the carpet. The
colours are those of balls. A venue's ordinary clutter is in `sim.camera.clutter`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from robot.core.field import BALL_RADIUS_M
from sim.camera.mjcf import geom
from sim.camera.style import VenueStyle, sample_ball_colour
from sim.camera.textures import Rgb

HALL_FLOOR_M = -0.004
_BOARD_M = 0.03
"""The boards are 24 mm thick."""

_SEED = 0x10A11

Place = tuple[float, float]
Maker = Callable[[np.random.Generator, Place, VenueStyle], list[str]]


def _warm(rng: np.random.Generator, style: VenueStyle) -> Rgb:
    """Return the ball's own colour, or another that a ball could have."""
    return style.ball if rng.random() < 0.5 else sample_ball_colour(rng)


def _near(rng: np.random.Generator, sigma_m: float) -> float:
    """Return an offset of at most two sigma."""
    return sigma_m * float(np.clip(rng.standard_normal(), -2.0, 2.0))


def _sphere(place: Place, z: float, radius_m: float, colour: Rgb) -> str:
    return geom("sphere", (*place, z), (radius_m,), colour=colour)


def _spare_balls(rng: np.random.Generator, place: Place, style: VenueStyle) -> list[str]:
    """One to three golf balls on the hall's floor, just like ours."""
    count = int(rng.integers(1, 4))
    spots = [(place[0] + _near(rng, 0.12), place[1] + _near(rng, 0.12)) for _ in range(count)]
    return [_sphere(spot, HALL_FLOOR_M + BALL_RADIUS_M, BALL_RADIUS_M, style.ball) for spot in spots]


def _ball_on_a_post(rng: np.random.Generator, place: Place, style: VenueStyle) -> list[str]:
    """A golf ball on something as high as a board: it shows where a ball behind the carpet's edge would."""
    z = float(rng.uniform(0.05, 0.35))
    post = geom("cylinder", (*place, 0.5 * z), (0.03, 0.5 * z), colour=style.board)
    return [post, _sphere(place, z + BALL_RADIUS_M, BALL_RADIUS_M, style.ball)]


def _big_ball(rng: np.random.Generator, place: Place, style: VenueStyle) -> list[str]:
    """A larger ball (tennis to basketball), which at its distance is as large in the picture as ours nearer by."""
    radius = float(rng.uniform(0.03, 0.12))
    return [_sphere(place, HALL_FLOOR_M + radius, radius, _warm(rng, style))]


def _shoes(rng: np.random.Generator, place: Place, style: VenueStyle) -> list[str]:
    colour, turn = _warm(rng, style), float(rng.uniform(0.0, math.pi))
    parts = []
    for side in (-0.09, 0.09):
        x, y = place[0] - side * math.sin(turn), place[1] + side * math.cos(turn)
        tip = (x + 0.09 * math.cos(turn), y + 0.09 * math.sin(turn), 0.035)
        parts.append(geom("box", (x, y, 0.035), (0.09, 0.045, 0.035), colour=colour, extra=f'euler="0 0 {turn:.3f}"'))
        parts.append(geom("sphere", tip, (0.045,), colour=colour))
    return parts


def _bag(rng: np.random.Generator, place: Place, style: VenueStyle) -> list[str]:
    a, b, c = (float(v) for v in rng.uniform(0.08, 0.22, 3))
    return [geom("ellipsoid", (*place, c), (a, b, c), colour=_warm(rng, style))]


def _cone(rng: np.random.Generator, place: Place, style: VenueStyle) -> list[str]:
    colour = _warm(rng, style)
    return [geom("cylinder", (*place, 0.06 * (k + 0.5)), (0.11 - 0.02 * k, 0.03), colour=colour) for k in range(5)]


def _lamps(rng: np.random.Generator, place: Place, style: VenueStyle) -> list[str]:
    """Two or three small lights at about the height of the boards: bright, round, orange to red."""
    parts = []
    for _ in range(int(rng.integers(2, 4))):
        spot = (place[0] + _near(rng, 0.15), place[1] + _near(rng, 0.15))
        parts.append(_sphere(spot, float(rng.uniform(0.04, 0.6)), float(rng.uniform(0.012, 0.03)), (1.0, 0.45, 0.12)))
    return parts


_MAKERS: tuple[tuple[float, float, Maker], ...] = (
    (0.26, 0.3, _spare_balls),
    (0.18, 0.04, _ball_on_a_post),
    (0.14, 0.13, _big_ball),
    (0.14, 0.25, _shoes),
    (0.10, 0.23, _bag),
    (0.08, 0.12, _cone),
    (0.10, 0.4, _lamps),
)
"""How often, how far it reaches from its place (m), and what."""


def lookalike_geoms(
    style: VenueStyle, count: int, bounds_m: tuple[float, float, float, float], *, golf_balls: bool = True
) -> list[str]:
    """Return `count` lookalikes in the strip between the boards and the room's walls, at most 2 m deep.

    Nothing reaches into the field: what has no room behind a board is left out.

    Args:
        style: the venue; its texture seed decides what stands where, apart from everything else in the scene.
        count: number of things; some are several balls.
        bounds_m: the boards, (x_min, x_max, y_min, y_max).
        golf_balls: among them golf balls just like ours, which no detector can tell from one on the field.
    """
    rng = np.random.default_rng((style.texture_seed, _SEED))
    x_min, x_max, y_min, y_max = bounds_m
    makers = [m for m in _MAKERS if golf_balls or m[2] not in (_spare_balls, _ball_on_a_post)]
    weights = np.array([weight for weight, _, _ in makers])
    parts: list[str] = []
    for _ in range(count):
        side = int(rng.integers(0, 4))
        _, reach_m, maker = makers[int(rng.choice(len(makers), p=weights / weights.sum()))]
        free_m = style.room_distance_m[side] - reach_m  # in the order +x, -x, +y, -y
        away = _BOARD_M + reach_m + float(rng.uniform(0.0, 1.0)) * min(2.0, max(0.0, free_m))
        if free_m < 0.02:
            continue
        x, y = float(rng.uniform(x_min, x_max)), float(rng.uniform(y_min, y_max))
        place = ((x_max + away, y), (x_min - away, y), (x, y_max + away), (x, y_min - away))[side]
        parts += maker(rng, place, style)
    return parts
