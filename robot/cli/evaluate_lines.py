"""Score the finder of lines and goal posts on rendered pictures with exact labels, and draw what it sees in yours.

Example:
    blackout evaluate-lines --count 60 --seed 11 --out runs/lines
    blackout evaluate-lines --count 120 --seed 21 --at-goals           # goal posts are rare elsewhere
    blackout evaluate-lines --images ../shared/data/calibration --out runs/lines_real

With `--images` there are no labels: overlays are written and counts printed. Yellow: segments; magenta: points;
cyan: junctions and the circle; blue: the hull of the carpet's edge; orange: posts; red: true markings and posts that
were to be seen.
"""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.camera import CameraModel, load_camera
from perception.camera.parameters import CameraIntrinsics
from perception.field.boundary import CarpetScanner
from perception.field.edge import floor_hull
from perception.field.lines import FieldFeatures, LineConfig, LineFinder
from perception.field.posts import PostConfig
from robot.cli._outputs import check_outputs
from robot.core.config import find_config, load
from robot.core.errors import ConfigError
from robot.core.field import FieldGeometry
from robot.core.messages import BoxPx, Vec2

_SUFFIXES = (".jpg", ".jpeg", ".png")
_SHIFT = 4


@dataclass(frozen=True)
class Args:
    """Flags of `blackout evaluate-lines`."""

    count: int = 60
    """number of rendered pictures"""
    seed: int = 11
    """the same seed gives the same pictures"""
    field: str = "division_b"
    """field: a TOML file or a shipped name"""
    camera: str = "c922_640x480"
    """camera: a TOML file or a shipped name"""
    at_goals: bool = False
    """stand before goals and look at them, rather than anywhere on the field"""
    masks: bool = True
    """hide the boxes of robots and balls from the finder, as the detector's boxes do on board"""
    out: Path | None = None
    """folder for overlays, a contact sheet (sheet.png) and scores.json"""
    images: Path | None = None
    """a folder of real pictures instead of rendered ones: overlays only"""
    every: int = 1
    """of the folder's pictures take each n-th"""


def run(args: Args) -> int:
    """Evaluate or draw; returns 0."""
    if args.count < 1 or args.every < 1:
        raise ConfigError("--count and --every must be at least 1", hint="blackout evaluate-lines --help")
    cv2.setNumThreads(1)
    camera = load_camera(args.camera)
    check_outputs(folders=[args.out])
    if args.images is not None:
        return _draw_folder(args, camera)
    # MuJoCo is an extra: `blackout --help` must work without it.
    from sim.evaluation.field_pictures import field_pictures
    from sim.evaluation.lines import LineScores
    from sim.evaluation.posts import PostScores

    field = load(FieldGeometry, find_config(args.field, "fields"))
    scores, posts, spent, tiles = LineScores(), PostScores(), [], []
    for k, picture in enumerate(field_pictures(args.count, args.seed, camera, field, at_goals=args.at_goals)):
        boxes = picture.boxes_px if args.masks else ()
        edge, mask, found, cost = _look(picture.image_bgr, picture.camera, boxes)
        spent.append(cost)
        scores.add(picture, found)
        posts.add(picture.posts, found.posts, picture.camera)
        if args.out is not None:
            drawn = draw(picture.image_bgr, edge, mask, found, picture.camera, boxes)
            for u, v in picture.points_px[picture.visible]:
                drawn[round(2 * v), round(2 * u)] = (0, 0, 255)
            for post in picture.posts:
                if post.visible:
                    _stroke(drawn, post.foot_px, post.top_px, (0, 0, 255), 1)
            cv2.imwrite(str(args.out / f"{k:04d}.png"), drawn)
            tiles.append(drawn)
    cost_ms = 1000.0 * np.array(spent)
    total = cost_ms.sum(axis=1)
    print(*scores.lines(), *posts.lines(), sep="\n")
    boundary, lines, feet = np.median(cost_ms, axis=0)
    print(
        f"CPU time: boundary {boundary:.2f} ms, lines {lines:.2f} ms, posts {feet:.2f} ms, "
        f"together {np.median(total):.2f} ms median, {np.percentile(total, 99):.2f} ms p99"
    )
    if args.out is not None:
        _write_sheet(args.out / "sheet.png", tiles)
        report = asdict(scores) | {
            "precision": scores.precision(),
            "recall": scores.recall(),
            "posts": asdict(posts) | {"precision": posts.precision(), "recall": posts.recall()},
            "cost_ms_median": float(np.median(total)),
            "cost_ms_p99": float(np.percentile(total, 99)),
        }
        (args.out / "scores.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        print(f"overlays: {args.out}")
    return 0


def _look(
    image_bgr: NDArray[np.uint8], camera: CameraModel, boxes_px: tuple[BoxPx, ...]
) -> tuple[tuple[Vec2, ...], NDArray[np.bool_], FieldFeatures, tuple[float, float, float]]:
    """Return carpet edge, mask, features, and the seconds that boundary, lines and posts take (once warm)."""
    scanner = CarpetScanner(camera=camera)
    finders = [LineFinder(LineConfig(posts=PostConfig(enabled=enabled)), camera) for enabled in (False, True)]
    for _ in range(2):  # the first run fills tables and caches
        begin = time.thread_time()
        edge, mask = scanner.scan_with_mask(image_bgr)
        scanned = time.thread_time()
        finders[0].find(image_bgr, mask, edge, boxes_px)
        lines = time.thread_time()
        found = finders[1].find(image_bgr, mask, edge, boxes_px)
        cost = (scanned - begin, lines - scanned, time.thread_time() - lines - (lines - scanned))
    return edge, mask, found, cost


def _draw_folder(args: Args, camera: CameraModel) -> int:
    assert args.images is not None
    if not args.images.is_dir():
        raise ConfigError(f"no such folder: {args.images}", hint="--images FOLDER of .jpg or .png files")
    paths = sorted(p for p in args.images.iterdir() if p.suffix.lower() in _SUFFIXES)[:: args.every]
    if not paths:
        raise ConfigError(f"no pictures in {args.images}", hint="--images FOLDER of .jpg or .png files")
    tiles = []
    for path in paths:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise ConfigError(f"cannot read the picture {path}", hint="is it a whole .jpg or .png?")
        pixels = np.asarray(image, np.uint8)
        if pixels.shape[1] < 400:  # thumbnails: lines need pixels, even interpolated ones
            grow = 640 / pixels.shape[1]
            pixels = np.asarray(cv2.resize(pixels, None, fx=grow, fy=grow, interpolation=cv2.INTER_CUBIC), np.uint8)
        mine = _camera_for(camera, pixels)
        edge, mask = CarpetScanner(camera=mine).scan_with_mask(pixels)
        found = LineFinder(LineConfig(), mine).find(pixels, mask, edge)
        kinds = "".join(j.kind.value for j in found.junctions)
        print(
            f"{path.name}: {len(found.segments)} segments, {len(found.points)} points, junctions {kinds or 'none'}, "
            f"{'circle' if found.circle else 'no circle'}, {len(found.posts)} posts"
        )
        tiles.append(draw(pixels, edge, mask, found, mine))
        if args.out is not None:
            cv2.imwrite(str(args.out / f"{path.stem}.png"), tiles[-1])
    if args.out is not None:
        _write_sheet(args.out / "sheet.png", tiles)
    return 0


def _camera_for(camera: CameraModel, image: NDArray[np.uint8]) -> CameraModel:
    """Return the camera scaled to a picture of another size: a guess, good enough to draw."""
    height, width = image.shape[:2]
    k = camera.intrinsics
    if (width, height) == (k.width_px, k.height_px):
        return camera
    scale = width / k.width_px
    inner = CameraIntrinsics(
        width_px=width,
        height_px=height,
        fx=k.fx * scale,
        fy=k.fy * scale,
        cx=0.5 * (width - 1),
        cy=0.5 * (height - 1),
        distortion=k.distortion,
    )
    return CameraModel(intrinsics=inner, mounting=camera.mounting, contact=camera.contact, noise=camera.noise)


def draw(
    image_bgr: NDArray[np.uint8],
    edge_px: tuple[Vec2, ...],
    mask: NDArray[np.bool_],
    found: FieldFeatures,
    camera: CameraModel,
    boxes_px: tuple[BoxPx, ...] = (),
) -> NDArray[np.uint8]:
    """Return the picture at twice its size with what was found drawn over it."""
    drawn = np.asarray(cv2.resize(image_bgr, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST), np.uint8)

    def path(points: list[Vec2], colour: tuple[int, int, int]) -> None:
        for a, b in itertools.pairwise(points):
            _stroke(drawn, a, b, colour, 1)

    if edge_px:
        path([(u, v) for u, v in floor_hull(edge_px, mask, image_bgr.shape[1::-1], boxes_px).tolist()], (255, 80, 0))
    for segment in found.segments:
        path(list(segment.ends_px), (0, 255, 255))
        for end in segment.ends_px:
            cv2.circle(drawn, _at(end), 4 << _SHIFT, (0, 255, 255), 1, cv2.LINE_AA, _SHIFT)
    for point in found.points:
        cv2.circle(drawn, _at(point.pixel_px), 2 << _SHIFT, (255, 0, 255), 1, cv2.LINE_AA, _SHIFT)
    for junction in found.junctions:
        u, v = junction.pixel_px
        cv2.putText(drawn, junction.kind.value, (round(2 * u) + 6, round(2 * v) - 6), 0, 0.8, (255, 255, 0), 2)
    if found.circle is not None:
        angle = np.linspace(0.0, 2.0 * np.pi, 121)
        (x, y), r = found.circle.centre_in_robot_m, LineConfig().circle.radius_m
        ring = camera.project(
            np.column_stack((x + r * np.cos(angle), y + r * np.sin(angle), 0.0 * angle)), found.circle.tilt_rad
        )
        ring = ring[np.isfinite(ring).all(axis=1)]
        path([(float(u), float(v)) for u, v in np.clip(ring, -2000, 4000)], (255, 255, 0))
    for post in found.posts:
        _stroke(drawn, post.foot_px, post.top_px or post.foot_px, (0, 140, 255), 2)
        cv2.circle(drawn, _at(post.foot_px), 6 << _SHIFT, (0, 140, 255), 2, cv2.LINE_AA, _SHIFT)
    return drawn


def _at(point: Vec2) -> tuple[int, int]:
    """Return a pixel of the picture in the drawing of twice its size, in the sixteenths that OpenCV wants."""
    return round(2 * (point[0] + 0.25) * (1 << _SHIFT)), round(2 * (point[1] + 0.25) * (1 << _SHIFT))


def _stroke(drawn: NDArray[np.uint8], a: Vec2, b: Vec2, colour: tuple[int, int, int], thickness: int) -> None:
    cv2.line(drawn, _at(a), _at(b), colour, thickness, cv2.LINE_AA, _SHIFT)


def _write_sheet(path: Path, tiles: list[NDArray[np.uint8]], columns: int = 3, most: int = 30) -> None:
    if not tiles:
        return
    small = [np.asarray(cv2.resize(t, (640, 480), interpolation=cv2.INTER_AREA), np.uint8) for t in tiles[:most]]
    small += [np.zeros_like(small[0])] * (-len(small) % columns)
    cv2.imwrite(str(path), np.vstack([np.hstack(small[i : i + columns]) for i in range(0, len(small), columns)]))
