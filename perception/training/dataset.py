"""Labelled pictures: YOLO folders (real sets and the simulator's output have the same form) and the committed split.

Pictures are decoded on demand; a sample's boxes are edges in pixels. An empty label file is a true negative and stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from perception.training.config import HERE, SourceConfig
from robot.core.config import read_toml
from robot.core.errors import ConfigError, DataError

ROOT = HERE.parents[1]
IGNORE = -1
"""Class of boxes that are neither object nor background (mostly outside the crop, or too small to be sure of)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """A picture (h, w, 3) uint8 BGR with boxes (N, 4) float32 edges in pixels and classes (N,) int64."""

    image_bgr: NDArray[np.uint8]
    boxes_px: NDArray[np.float32]
    classes: NDArray[np.int64]


def with_margins(sample: Sample, margins: Sequence[tuple[float, float, float, float]]) -> Sample:
    """Return the sample with each class's boxes grown by shares of their size, cut at the picture's edge."""
    if not margins or not len(sample.classes):
        return sample
    height, width = sample.image_bgr.shape[:2]
    grow = np.asarray(margins, np.float32)[sample.classes] * np.array([-1, -1, 1, 1], np.float32)
    size = np.tile(sample.boxes_px[:, 2:] - sample.boxes_px[:, :2], 2)
    boxes = np.clip(sample.boxes_px + grow * size, 0, np.array([width, height] * 2, np.float32))
    return replace(sample, boxes_px=boxes.astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class Item:
    """One labelled picture on disk; `number` is the number that its file name ends with (-1 when there is none)."""

    image: Path
    label: Path

    @property
    def number(self) -> int:
        """The number that the file name ends with, or -1."""
        digits = re.search(r"[0-9]+$", self.image.stem)
        return int(digits[0]) if digits else -1

    def load(self) -> Sample:
        """Read picture and labels.

        Raises:
            DataError: either is unreadable, or a label line is malformed.
        """
        image = read_picture(self.image)
        boxes, classes = read_yolo(self.label, (image.shape[1], image.shape[0]))
        return Sample(image_bgr=image, boxes_px=boxes, classes=classes)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Return a picture as (h, w, 3) uint8 BGR.

    OpenCV fills the missing part of a cut JPEG with grey and says nothing, so its end is looked for: it can stand
    nowhere in the second half but at the end (the first may hold a thumbnail), though some cameras append zeros.

    Raises:
        DataError: it is missing, cut, or no picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the picture {path}: {error.strerror}", hint="check the path") from error
    cut = data.startswith(b"\xff\xd8") and data.find(b"\xff\xd9", len(data) // 2) < 0
    image = None if cut or not data else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"cannot read the picture {path}", hint="is it cut? render or copy it again")
    return image  # type: ignore[return-value]


def read_yolo(path: Path, size_px: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read a YOLO label file: lines `class x_centre y_centre width height`, relative to the picture.

    Rows of six (with a score), polygons and coordinates in pixels are refused: they would make boxes of nonsense.

    Returns:
        Boxes (N, 4) as edges in pixels, clipped to the picture, and classes (N,). An empty file gives N = 0.

    Raises:
        DataError: the file is missing or a line does not fit.
    """
    mend = "lines of: class x_centre y_centre width height, the last four relative to the picture, from 0 to 1"
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
        table = np.array([[float(v) for v in row] for row in rows], np.float32)
    except OSError as error:
        raise DataError(f"no label file {path}", hint="an empty file marks a picture without objects") from error
    except ValueError as error:
        raise DataError(f"{path} is not in YOLO form: {error}", hint=mend) from error
    if not rows:
        table = table.reshape(0, 5)
    if table.shape[1] != 5:
        raise DataError(f"{path} is not in YOLO form: {table.shape[1]} values in a line", hint=mend)
    if not (np.abs(table[:, 1:] - 0.5) <= 0.51).all() or not (table[:, 3:] > 0).all():
        raise DataError(f"{path} has a box outside the picture, or without size", hint=mend)
    classes = table[:, 0].astype(np.int64)
    if (classes != table[:, 0]).any() or (len(classes) and (classes.min() < 0 or classes.max() > 2)):
        raise DataError(f"{path} has a class other than 0, 1, 2", hint="0 robot, 1 ball, 2 goal")
    scale = np.array(size_px, np.float32)
    centre, half = table[:, 1:3] * scale, table[:, 3:5] * scale / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return np.clip(boxes, 0.0, np.tile(scale, 2)), classes


def check_labels(items: Iterable[Item]) -> None:
    """Read the labels alone: pictures are read as they are drawn, and a bad label would end a run after hours.

    Raises:
        DataError: see `read_yolo`.
    """
    for item in items:
        read_yolo(item.label, (1, 1))


def items_of(folder: Path) -> list[Item]:
    """List the labelled pictures of `folder`, by name.

    Raises:
        DataError: there are none.
    """
    images = sorted(p for p in (folder / "images").glob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not images:
        raise DataError(f"no pictures in {folder / 'images'}", hint="see docs/training.md for where data comes from")
    return [Item(image=p, label=folder / "labels" / f"{p.stem}.txt") for p in images]


@dataclass(frozen=True, kw_only=True)
class Split:
    """Which pictures are held back, and which are left out because a held-back one is nearly the same.

    `bands` are named parts of the set that are scored apart: ranges of the numbers in the file names.
    """

    held_back: frozenset[str]
    left_out: frozenset[str]
    bands: tuple[tuple[str, tuple[tuple[int, int], ...]], ...]

    def by_band(self, items: Sequence[Item]) -> dict[str, list[Item]]:
        """Return the items of each band that has any; bands may overlap."""
        parts = {
            name: [i for i in items if any(first <= i.number <= last for first, last in ranges)]
            for name, ranges in self.bands
        }
        return {name: part for name, part in parts.items() if part}


def load_split(name: str) -> Split:
    """Read a split: a committed one by its name (`perception/training/splits/NAME.toml`), or a TOML file.

    Args:
        name: `ssl_images`, or a path that ends in `.toml`, relative to the project's root as a recipe's folders are.

    Raises:
        ConfigError: it is missing, not TOML, or no split.
    """
    path = ROOT / name if name.endswith(".toml") else HERE / "splits" / f"{name}.toml"
    data = read_toml(path)
    try:
        return Split(
            held_back=frozenset(data["held_back"]),
            left_out=frozenset(data["left_out"]),
            bands=tuple(
                (b["name"], tuple((first, last) for first, last in b["ranges"])) for b in data.get("bands", ())
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path} is no split: {error!r}", hint="python -m perception.training.split --help"
        ) from error


def training_items(source: SourceConfig, root: Path) -> tuple[list[Item], NDArray[np.float64]]:
    """Return the training pictures of a source and the chance of each to be drawn (sums to 1).

    Raises:
        DataError: there are none, or none that may be drawn.
    """
    items = items_of(root / source.folder)
    if source.split:
        split = load_split(source.split)
        items = [i for i in items if i.image.stem not in split.held_back | split.left_out]
    weights = np.ones(len(items))
    for first, last, weight in source.emphasis:
        weights[[first <= i.number <= last for i in items]] = weight
    if not (weights > 0).any() or (weights < 0).any():
        raise DataError(
            f"no training pictures in {root / source.folder}",
            hint="the split holds all of them back, or emphasis leaves no chance to any",
        )
    return items, weights / weights.sum()


def held_back_items(folder: Path, split_name: str) -> list[Item]:
    """Return the held-back pictures of a folder, by name.

    Raises:
        DataError: there are none: the split is of another set, and scores of nothing would look like scores.
    """
    split = load_split(split_name)
    items = [i for i in items_of(folder) if i.image.stem in split.held_back]
    if not items:
        raise DataError(
            f"the split {split_name} holds back no picture of {folder}",
            hint='--split "" takes every picture of the folder; python -m perception.training.split makes a split',
        )
    return items
