"""How one venue looks: every colour, height and light of a scene, drawn from one generator."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from sim.camera.textures import Rgb

_CARPETS: tuple[tuple[float, Rgb], ...] = (
    (0.24, (0.10, 0.42, 0.27)),  # league green
    (0.12, (0.08, 0.55, 0.33)),  # bright, over-exposed hall
    (0.22, (0.42, 0.42, 0.24)),  # olive, the phone's view of a laboratory
    (0.14, (0.12, 0.30, 0.22)),  # dark green
    (0.10, (0.60, 0.60, 0.58)),  # grey
    (0.10, (0.30, 0.36, 0.20)),  # worn moss
    (0.08, (0.15, 0.38, 0.42)),  # cyan cast
)
_BOARDS: tuple[Rgb, ...] = ((0.04, 0.04, 0.05), (0.85, 0.85, 0.83), (0.45, 0.45, 0.46), (0.10, 0.16, 0.32))
_ROOMS: tuple[Rgb, ...] = (
    (0.88, 0.88, 0.85),
    (0.75, 0.78, 0.80),
    (0.55, 0.52, 0.48),
    (0.10, 0.10, 0.12),
    (0.20, 0.26, 0.45),
)
_GOALS: tuple[Rgb, ...] = ((0.92, 0.92, 0.90), (0.80, 0.80, 0.78), (0.06, 0.06, 0.06), (0.80, 0.70, 0.22))
_SHELLS: tuple[Rgb, ...] = (
    (0.05, 0.05, 0.06), (0.12, 0.12, 0.13), (0.30, 0.30, 0.32), (0.85, 0.85, 0.83),
    (0.08, 0.10, 0.28), (0.35, 0.05, 0.06), (0.05, 0.22, 0.12), (0.60, 0.60, 0.62),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class RobotStyle:
    """One team's robots: the shell's colour and lower edge, what shows below it, and the top."""

    shell: Rgb
    shell_bottom_m: float
    height_m: float
    chassis: Rgb
    wheel: Rgb
    hub: Rgb
    top: Rgb
    has_dots: bool
    open_frame: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class VenueStyle:
    """Appearance of one venue; `texture_seed` makes its textures and clutter."""

    texture_seed: int
    carpet: Rgb
    carpet_grain: float
    carpet_worn: float
    carpet_tile_m: float
    line: Rgb
    line_width_m: float
    board: Rgb
    board_height_m: float
    room: Rgb
    room_distance_m: tuple[float, float, float, float]
    hall_floor: Rgb
    goal: Rgb
    goal_thickness_m: float
    ball: Rgb
    ball_glow: float
    teams: tuple[RobotStyle, RobotStyle]
    clutter: int
    ambient: float
    light: float
    light_direction: tuple[float, float, float]
    shadow_strength: float


def _jitter(rng: np.random.Generator, colour: Rgb, amount: float) -> Rgb:
    gain = 1.0 + float(rng.uniform(-amount, amount))
    return tuple(float(np.clip(c * gain * (1.0 + rng.uniform(-amount, amount) * 0.5), 0.0, 1.0)) for c in colour)  # type: ignore[return-value]


def sample_ball_colour(rng: np.random.Generator) -> Rgb:
    """Return an orange between yellowish orange and red, as cameras and balls give it."""
    return colorsys.hsv_to_rgb(
        float(rng.uniform(0.0, 0.06)), float(rng.uniform(0.75, 1.0)), float(rng.uniform(0.7, 1.0))
    )


def sample_robot_style(rng: np.random.Generator) -> RobotStyle:
    """Draw one team's robots."""
    closed = rng.random() < 0.35
    shade = float(rng.choice([0.06, 0.12, 0.35, 0.6, 0.75]))
    return RobotStyle(
        shell=_jitter(
            rng, _SHELLS[int(rng.choice(len(_SHELLS), p=[0.3, 0.2, 0.1, 0.12, 0.08, 0.05, 0.05, 0.1]))], 0.25
        ),
        shell_bottom_m=0.006 if closed else float(rng.uniform(0.055, 0.10)),
        height_m=float(rng.uniform(0.125, 0.15)),
        chassis=_jitter(rng, (shade, shade, shade), 0.1),
        wheel=_jitter(rng, (0.08, 0.08, 0.08), 0.5) if rng.random() < 0.7 else (0.4, 0.4, 0.42),
        hub=_jitter(rng, (0.6, 0.6, 0.6) if rng.random() < 0.7 else (0.5, 0.15, 0.1), 0.4),
        top=_jitter(rng, (0.04, 0.04, 0.04), 0.5) if rng.random() < 0.8 else (0.8, 0.8, 0.8),
        has_dots=bool(rng.random() < 0.7),
        open_frame=bool(not closed and rng.random() < 0.3),
    )


def sample_venue_style(rng: np.random.Generator) -> VenueStyle:
    """Draw the appearance of a venue.

    The ranges come from looking at the real pictures: dull carpets, plain walls behind white goals, halls with people
    behind black boards, strong casts (those are the camera's part: `sim.camera.imaging`).
    """
    weights = np.array([w for w, _ in _CARPETS])
    carpet = _jitter(rng, _CARPETS[int(rng.choice(len(_CARPETS), p=weights / weights.sum()))][1], 0.2)
    line = float(rng.uniform(0.72, 1.0))
    ambient = float(rng.uniform(0.35, 0.65))
    azimuth = float(rng.uniform(-np.pi, np.pi))
    slope = float(rng.uniform(0.1, 0.7))
    room_gap = [float(rng.uniform(0.02, 0.3)) if rng.random() < 0.4 else float(rng.uniform(0.5, 4.0)) for _ in range(4)]
    return VenueStyle(
        texture_seed=int(rng.integers(0, 2**31)),
        carpet=carpet,
        carpet_grain=float(rng.uniform(0.03, 0.16)),
        carpet_worn=float(rng.uniform(0.01, 0.10)),
        carpet_tile_m=float(rng.uniform(0.9, 1.8)),
        line=(line, line, line * float(rng.uniform(0.92, 1.0))),
        line_width_m=float(rng.uniform(0.009, 0.013)) if rng.random() < 0.65 else float(rng.uniform(0.013, 0.025)),
        board=_jitter(rng, _BOARDS[int(rng.choice(4, p=[0.4, 0.3, 0.2, 0.1]))], 0.3),
        board_height_m=float(rng.uniform(0.05, 0.16)) if rng.random() < 0.85 else float(rng.uniform(0.16, 0.4)),
        room=_jitter(rng, _ROOMS[int(rng.choice(5, p=[0.4, 0.2, 0.15, 0.15, 0.1]))], 0.1),
        room_distance_m=(room_gap[0], room_gap[1], room_gap[2], room_gap[3]),
        hall_floor=_jitter(rng, tuple(rng.uniform(0.15, 0.75, 3)), 0.1),
        goal=_jitter(rng, _GOALS[int(rng.choice(4, p=[0.6, 0.2, 0.1, 0.1]))], 0.1),
        goal_thickness_m=float(rng.uniform(0.01, 0.03)),
        ball=sample_ball_colour(rng),
        ball_glow=float(rng.uniform(0.0, 0.3)),
        teams=(sample_robot_style(rng), sample_robot_style(rng)),
        clutter=int(rng.integers(4, 26)),
        ambient=ambient,
        light=float(rng.uniform(0.85, 1.25)) - ambient,
        light_direction=(slope * float(np.cos(azimuth)), slope * float(np.sin(azimuth)), -1.0),
        shadow_strength=float(rng.uniform(0.15, 0.6)),
    )
