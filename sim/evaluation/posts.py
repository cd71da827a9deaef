"""How good a post finder is, against exact labels: how many are right, how many are seen, how far off they are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from perception.camera.model import CameraModel
from perception.field.features import SeenPost
from robot.core.messages import Vec2
from sim.evaluation.post_labels import TruePost

TOLERANCE_PX = 4.0


@dataclass
class PostScores:
    """Sums over pictures.

    A found post is right when its foot lies within 4 px of the foot of a true post's front face, whether or not that
    one had to be found; recall is over those that `TruePost.visible` asks for. A true post is found once.
    """

    pictures: int = 0
    found: int = 0
    right: int = 0
    true: int = 0
    seen: int = 0
    by_range: dict[str, list[int]] = field(default_factory=dict)
    errors_px: list[float] = field(default_factory=list)
    errors_rad: list[float] = field(default_factory=list)

    def add(self, truth: tuple[TruePost, ...], found: tuple[SeenPost, ...], camera: CameraModel) -> None:
        """Count one picture; `camera` is the believed one."""
        self.pictures += 1
        self.found += len(found)
        hit = set()
        for post in found:
            misses = [_away_px(post.foot_px, one) for one in truth]
            best = int(np.argmin(misses)) if misses else -1
            if best >= 0 and misses[best] <= TOLERANCE_PX and best not in hit:
                hit.add(best)
                self.right += 1
                self.errors_px.append(misses[best])
                self.errors_rad.append(_bearing(camera, post.foot_px) - _bearing(camera, truth[best].foot_px))
        for k, one in enumerate(truth):
            if one.visible:
                self.true += 1
                self.seen += k in hit
                low = math.floor(one.range_m)
                count = self.by_range.setdefault(f"{low}-{low + 1} m", [0, 0])
                count[0] += 1
                count[1] += k in hit

    def precision(self) -> float:
        """Return the share of found posts that are right; 1 if none was found."""
        return self.right / self.found if self.found else 1.0

    def recall(self) -> float:
        """Return the share of visible posts that were found; 1 if there were none."""
        return self.seen / self.true if self.true else 1.0

    def lines(self) -> list[str]:
        """Return the scores as lines of text."""
        text = [
            f"posts: {self.right} of {self.found} found are right (precision {self.precision():.3f}), "
            f"{self.seen} of {self.true} seen (recall {self.recall():.3f})"
        ]
        if self.by_range:
            ranges = sorted(self.by_range.items())
            text.append("posts seen by range: " + ", ".join(f"{name} {seen} of {n}" for name, (n, seen) in ranges))
        if self.errors_px:
            text.append(
                f"posts' feet: {np.median(self.errors_px):.1f} px from the front face (median), "
                f"bearing {math.degrees(float(np.median(np.abs(self.errors_rad)))):.2f} degrees"
            )
        return text


def _away_px(foot_px: Vec2, post: TruePost) -> float:
    """Return how far a foot is from the foot of a post's front face."""
    across = max(0.0, abs(foot_px[0] - post.foot_px[0]) - post.half_width_px)
    return math.hypot(across, foot_px[1] - post.foot_px[1])


def _bearing(camera: CameraModel, pixel: Vec2) -> float:
    ray = camera.rays_in_robot([pixel])[0]
    return math.atan2(float(ray[1]), float(ray[0]))
