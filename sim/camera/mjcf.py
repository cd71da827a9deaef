"""Small helpers that write MJCF text: numbers, geoms, textures as PNG assets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2

from robot.core.errors import SimulationError
from sim.camera.textures import Image, Rgb


def numbers(values: Iterable[float]) -> str:
    """Return numbers as MJCF wants them, to six digits: the same seed gives the same model."""
    return " ".join(f"{float(v):.6g}" for v in values)


@dataclass(slots=True)
class SceneText:
    """The growing scene: world geoms, assets, and PNG files for textures."""

    assets: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def texture(self, name: str, image_rgb: Image) -> None:
        """Add a 2D texture."""
        ok, png = cv2.imencode(".png", cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if not ok:
            raise SimulationError(f"cannot encode the texture {name}")
        self.files[f"{name}.png"] = png.tobytes()
        self.assets.append(f'<texture name="{name}" type="2d" file="{name}.png"/>')

    def material(self, name: str, colour: Rgb, *, texture: str = "", extra: str = "") -> None:
        """Add a material; `extra` is MJCF, e.g. `specular="0.5"`."""
        link = f'texture="{texture}" ' if texture else ""
        self.assets.append(f'<material name="{name}" {link}rgba="{numbers((*colour, 1.0))}" {extra}/>')


def geom(
    kind: str,
    position_m: Iterable[float],
    size_m: Iterable[float],
    *,
    colour: Rgb | None = None,
    alpha: float = 1.0,
    material: str = "",
    extra: str = "",
) -> str:
    """Return one visual geom (no contacts)."""
    paint = f'material="{material}" ' if material else ""
    if colour is not None:
        paint += f'rgba="{numbers((*colour, alpha))}" '
    return f'<geom type="{kind}" pos="{numbers(position_m)}" size="{numbers(size_m)}" {paint}{extra}/>'
