"""Find robots, balls and goals in pictures; writes boxes as JSON.

Example:
    blackout detect ../shared/data/ssl-images/images --json runs/boxes.json --draw runs/boxes
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from robot.cli._outputs import check_outputs
from robot.core.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
COLOURS_BGR = ((255, 80, 0), (0, 220, 255), (255, 0, 255))


@dataclass(frozen=True)
class Args:
    """Flags of `blackout detect`."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Pictures, or folders of pictures (not searched deeper)."""
    json: Path
    """Where the list of boxes goes: file, class, score, box [x_min, y_min, x_max, y_max] in picture pixels."""
    model: str = "full"
    """A shipped model's name, or an ONNX file with its JSON beside it."""
    precision: str = "auto"
    """auto, fp32 or int8."""
    score: float = 0.05
    """Boxes with a lower score are left out."""
    threads: int = 1
    """Processor threads for the network."""
    draw: Path | None = None
    """Folder for copies of the pictures with the boxes drawn."""


def pictures(paths: tuple[Path, ...]) -> list[Path]:
    """Return the picture files that the arguments name.

    Raises:
        DataError: a path does not exist, or a folder has no picture.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise DataError(f"no pictures in {path}", hint=f"give a folder that holds {', '.join(SUFFIXES)} files")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"no such file or folder: {path}", hint="check the path")
    if not found:
        raise DataError("no pictures given", hint="blackout detect PICTURE_OR_FOLDER --json FILE")
    return found


def run(args: Args) -> int:
    """Detect; returns 0."""
    import cv2
    import numpy as np

    from perception.detection import DetectionConfig, load_detector
    from robot.core.errors import ConfigError

    files = pictures(args.paths)
    check_outputs(files=[args.json], folders=[args.draw])
    try:
        config = DetectionConfig(
            model=args.model, precision=args.precision, score_threshold=args.score, threads=args.threads
        )
    except ValueError as error:
        raise ConfigError(str(error), hint="blackout detect --help") from error
    detector = load_detector(config)
    rows = []
    for path in files:
        read = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if read is None:
            raise DataError(f"cannot read the picture {path}", hint="is it a whole JPEG or PNG file?")
        image = np.asarray(read, np.uint8)
        for d in detector.detect(image):
            box = [round(v, 2) for v in d.box_px]
            rows.append(
                {"file": path.name, "class": d.object_class.name.lower(), "score": round(d.score, 5), "box": box}
            )
            if args.draw is not None:
                corners = [tuple(round(v) for v in box[:2]), tuple(round(v) for v in box[2:])]
                colour = COLOURS_BGR[int(d.object_class)]
                cv2.rectangle(image, corners[0], corners[1], colour, 1)
                cv2.putText(image, f"{d.score:.2f}", corners[0], cv2.FONT_HERSHEY_PLAIN, 0.8, colour)
        if args.draw is not None:
            args.draw.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(args.draw / f"{path.stem}.png"), image)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(rows, indent=0) + "\n", encoding="utf-8")
    print(f"{len(rows)} boxes in {len(files)} pictures: {args.json}   [{detector.description}]", file=sys.stderr)
    return 0
