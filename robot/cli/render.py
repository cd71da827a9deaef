"""Render labelled pictures of the simulated camera for training, with a contact sheet to look at.

Example:
    blackout render --count 2000 --seed 7 --out runs/rendered --preview runs/rendered.png

Writes OUT/images/NNNNN.jpg (640x480, as compressed by the camera) and OUT/labels/NNNNN.txt in YOLO form:
`class x_centre y_centre width height`, relative; classes 0 robot, 1 ball, 2 goal.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from robot.cli._outputs import check_outputs
from robot.core.config import find_config, load
from robot.core.errors import ConfigError, DataError
from robot.core.field import FieldGeometry

_COLOURS = ((255, 80, 0), (0, 255, 255), (255, 0, 255))
_COLUMNS, _TILES = 5, 30


@dataclass(frozen=True)
class Args:
    """Flags of `blackout render`."""

    out: Path
    """folder to write images/ and labels/ into"""
    count: int = 100
    """number of pictures"""
    seed: int = 1
    """the same seed gives the same pictures"""
    field: str = "division_b"
    """field: a TOML file or a shipped name"""
    lookalikes: int = 0
    """red and orange things, shoes, cones and lights outside the field, unlabelled: hard negatives"""
    first: int = 0
    """number of the first file, to add to a folder (with another seed)"""
    preview: Path | None = None
    """also write a contact sheet (PNG) of the first pictures with their boxes"""


def run(args: Args) -> int:
    """Render; returns 0."""
    if args.count < 1 or args.lookalikes < 0 or args.first < 0:
        raise ConfigError("--count must be at least 1, --lookalikes and --first not negative", hint="--count 100")
    check_outputs(files=[args.preview], folders=[args.out])
    from sim.camera.dataset import labelled_pictures  # MuJoCo is an extra: `blackout --help` must work without it

    images, labels = args.out / "images", args.out / "labels"
    images.mkdir(parents=True, exist_ok=True)
    old = [k for k in range(args.first, args.first + args.count) if (images / f"{k:05d}.jpg").exists()]
    if old:
        raise DataError(
            f"{images / f'{old[0]:05d}.jpg'} is there already: pictures of two runs would be mixed",
            hint="give another --out, or remove that folder; --first N --seed S adds to it",
        )
    labels.mkdir(parents=True, exist_ok=True)
    tiles: list[NDArray[np.uint8]] = []
    counts = [0, 0, 0]
    field = load(FieldGeometry, find_config(args.field, "fields"))
    for k, picture in enumerate(labelled_pictures(args.count, args.seed, field, lookalikes=args.lookalikes)):
        stem = f"{args.first + k:05d}"
        lines = [label.yolo_line(picture.size_px) for label in picture.labels]
        (labels / f"{stem}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
        # Last and at once: on a full disk a picture with an emptied label file would be trained on as a true negative.
        part = images / f"{stem}.part"
        part.write_bytes(picture.jpeg)
        part.replace(images / f"{stem}.jpg")
        for label in picture.labels:
            counts[label.object_class] += 1
        if args.preview and len(tiles) < _TILES:
            tile = np.asarray(cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
            for label in picture.labels:
                x0, y0, x1, y1 = (round(v) for v in label.box_px)
                cv2.rectangle(tile, (x0 - 1, y0 - 1), (x1, y1), _COLOURS[label.object_class], 1)
            tiles.append(np.asarray(cv2.resize(tile, (320, 240), interpolation=cv2.INTER_AREA), np.uint8))
        if (k + 1) % 500 == 0:
            print(f"{k + 1} of {args.count}")
    if args.preview and tiles:
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % _COLUMNS)
        rows = [np.hstack(tiles[i : i + _COLUMNS]) for i in range(0, len(tiles), _COLUMNS)]
        args.preview.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(args.preview), np.vstack(rows))
    print(f"{args.count} pictures in {args.out}: {counts[0]} robots, {counts[1]} balls, {counts[2]} goals")
    return 0
