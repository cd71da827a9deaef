"""What stands around a field: legs, chairs, tables, trusses, boxes, and red or orange things that are no ball."""

from __future__ import annotations

import math

import numpy as np

from sim.camera.mjcf import geom, numbers
from sim.camera.textures import Rgb

_CLOTHES: tuple[Rgb, ...] = (
    (0.12, 0.17, 0.32),
    (0.08, 0.08, 0.09),
    (0.45, 0.4, 0.33),
    (0.6, 0.62, 0.65),
    (0.25, 0.3, 0.22),
)
_WARM: tuple[Rgb, ...] = ((0.85, 0.1, 0.08), (0.95, 0.35, 0.05), (0.9, 0.45, 0.1), (0.75, 0.05, 0.1), (0.9, 0.2, 0.05))


def _capsule(a: tuple[float, float, float], b: tuple[float, float, float], radius_m: float, colour: Rgb) -> str:
    ends = numbers((*a, *b))
    return f'<geom type="capsule" fromto="{ends}" size="{radius_m:.4f}" rgba="{numbers((*colour, 1.0))}"/>'


def _colour(rng: np.random.Generator) -> Rgb:
    r, g, b = rng.uniform(0.03, 0.95, 3)
    return (float(r), float(g), float(b))


def _person(rng: np.random.Generator, x: float, y: float) -> list[str]:
    cloth = _CLOTHES[int(rng.integers(0, len(_CLOTHES)))]
    shoe = _colour(rng)
    parts = []
    turn = float(rng.uniform(-math.pi, math.pi))
    for side in (-1.0, 1.0):
        lx, ly = x + side * 0.12 * math.cos(turn), y + side * 0.12 * math.sin(turn)
        lean = float(rng.uniform(-0.06, 0.06))
        parts.append(_capsule((lx, ly, 0.1), (x + lean, y + lean, 0.95), float(rng.uniform(0.06, 0.09)), cloth))
        parts.append(
            geom("box", (lx, ly, 0.04), (0.12, 0.05, 0.04), colour=shoe, extra=f'euler="0 0 {turn + 1.57:.3f}"')
        )
    parts.append(_capsule((x, y, 1.1), (x, y, 1.5), 0.17, _WARM[0] if rng.random() < 0.15 else _colour(rng)))
    return parts


def _chair(rng: np.random.Generator, x: float, y: float) -> list[str]:
    colour, seat = _colour(rng), _colour(rng)
    parts = [geom("box", (x, y, 0.45), (0.22, 0.22, 0.02), colour=seat)]
    for dx, dy in ((0.2, 0.2), (0.2, -0.2), (-0.2, 0.2), (-0.2, -0.2)):
        parts.append(geom("cylinder", (x + dx, y + dy, 0.22), (0.012, 0.22), colour=colour))
    return parts


def _table(rng: np.random.Generator, x: float, y: float) -> list[str]:
    colour = (0.05, 0.1, 0.35) if rng.random() < 0.4 else _colour(rng)
    return [geom("box", (x, y, 0.37), (rng.uniform(0.4, 1.0), rng.uniform(0.3, 0.5), 0.37), colour=colour)]


def _truss(rng: np.random.Generator, x: float, y: float) -> list[str]:
    shade = float(rng.uniform(0.35, 0.75))
    colour = (shade, shade, shade)
    parts = [
        geom("cylinder", (x + dx, y + dy, 1.0), (0.02, 1.0), colour=colour) for dx in (0, 0.25) for dy in (0, 0.25)
    ]
    for k in range(4):
        parts.append(_capsule((x, y, 0.25 * k), (x + 0.25, y, 0.25 * (k + 1)), 0.01, colour))
    return parts


def _box(rng: np.random.Generator, x: float, y: float) -> list[str]:
    size = rng.uniform(0.05, 0.3, 3)
    return [geom("box", (x, y, size[2]), size, colour=_colour(rng), extra=f'euler="0 0 {rng.uniform(0, 3):.3f}"')]


def _warm_thing(rng: np.random.Generator, x: float, y: float) -> list[str]:
    """A cone, extinguisher, bag, band or toy in the ball's colours, but never a ball's size and shape on the carpet."""
    colour = _WARM[int(rng.integers(0, len(_WARM)))]
    kind = int(rng.integers(0, 4))
    if kind == 0:
        return [geom("cylinder", (x, y, 0.07 * (k + 0.5)), (0.12 - 0.025 * k, 0.035), colour=colour) for k in range(4)]
    if kind == 1:
        return [_capsule((x, y, 0.08), (x, y, 0.45), 0.08, colour)]
    if kind == 2:
        size = rng.uniform(0.03, 0.2, 3)
        return [geom("box", (x, y, size[2] + rng.uniform(0, 0.4)), size, colour=colour)]
    length = float(rng.uniform(0.3, 1.5))
    return [_capsule((x - length, y, 0.6), (x + length, y, 0.55), 0.02, colour)]


def clutter_geoms(
    rng: np.random.Generator, count: int, bounds_m: tuple[float, float, float, float], reach_m: float = 2.5
) -> list[str]:
    """Return clutter outside the walls.

    Args:
        rng: the source of randomness.
        count: number of things.
        bounds_m: the walls, (x_min, x_max, y_min, y_max).
        reach_m: how far behind the walls things may stand.
    """
    makers = (_person, _chair, _table, _truss, _box, _warm_thing)
    x_min, x_max, y_min, y_max = bounds_m
    parts: list[str] = []
    for _ in range(count):
        maker = makers[int(rng.choice(len(makers), p=[0.25, 0.15, 0.12, 0.1, 0.16, 0.22]))]
        away = float(rng.uniform(0.25, reach_m))
        side = int(rng.integers(0, 4))
        x, y = float(rng.uniform(x_min - 1, x_max + 1)), float(rng.uniform(y_min - 1, y_max + 1))
        if side == 0:
            x = x_min - away
        elif side == 1:
            x = x_max + away
        elif side == 2:
            y = y_min - away
        else:
            y = y_max + away
        parts += maker(rng, x, y)
    return parts
