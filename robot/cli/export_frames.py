"""Turn recordings into a folder of pictures to label, with the detector's guesses as a start; a source for training.

Example:
    blackout export-frames runs/play-20261126-1200/run.mcap --out runs/own_pictures

Writes OUT/images/*.jpg (as recorded, byte for byte), OUT/labels/*.txt in YOLO form (the detector's boxes: correct them
before training) and OUT/labels/classes.txt, which labelling programs ask for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from robot.cli._outputs import check_outputs
from robot.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from perception.detection import SsdDetector

_THUMBNAIL = (16, 16)


@dataclass(frozen=True)
class Args:
    """Flags of `blackout export-frames`."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Recordings (.mcap) with frames; those of `play` lie beside the run and are found."""
    out: Path
    """Folder for images/ and labels/."""
    every_s: float = 0.5
    """At most one picture in so many seconds of play."""
    change: float = 6.0
    """Skip a picture that differs less from the last one kept: root mean square of 16x16 grey thumbnails, of 255."""
    model: str = "full"
    """Detector for the first labels; an empty name writes none, and labels none."""
    precision: str = "auto"
    """auto, fp32 or int8."""
    score: float = 0.3
    """Boxes with a lower score are left out."""
    salvage: bool = False
    """Read a cut recording as far as it goes."""


def run(args: Args) -> int:
    """Export; returns 0."""
    from perception.detection import DetectionConfig, load_detector
    from robot.recording.reader import Recording

    if not args.files or not args.every_s >= 0 or not args.change >= 0:  # so that NaN is refused, too
        raise ConfigError("give recordings; --every-s and --change must be 0 or more", hint="export-frames --help")
    check_outputs(folders=[args.out])
    detector = None
    if args.model:
        try:
            config = DetectionConfig(model=args.model, precision=args.precision, score_threshold=args.score)
        except ValueError as error:
            raise ConfigError(str(error), hint="blackout export-frames --help") from error
        detector = load_detector(config)
    images, labels = args.out / "images", args.out / "labels"
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    (labels / "classes.txt").write_text("robot\nball\ngoal\n", encoding="ascii")
    written = boxes = 0
    for path in args.files:
        recording = Recording(path, salvage=args.salvage)
        before = written
        for number, jpeg in _chosen(recording.encoded_frames(), args.every_s, args.change):
            stem = f"{path.parent.name or 'run'}_{path.stem}_{number:05d}"
            if (images / f"{stem}.jpg").exists():
                raise DataError(
                    f"{stem}.jpg is there already", hint="give another --out: labels may have been corrected"
                )
            (images / f"{stem}.jpg").write_bytes(jpeg)
            if detector is not None:
                lines = _guesses(detector, jpeg)
                boxes += len(lines)
                (labels / f"{stem}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
            written += 1
        if written == before:
            print(f"{path}: no frames (recording.frame_rate_hz was 0, or it is the run's file without its frames)")
    if not written:
        raise DataError("no pictures were exported", hint="record with recording.frame_rate_hz above 0")
    guessed = f", {boxes} boxes guessed by {detector.model_name}: correct them before training" if detector else ""
    print(f"{written} pictures in {args.out}{guessed}")
    return 0


def _chosen(frames: Iterator[tuple[int, bytes]], every_s: float, change: float) -> Iterator[tuple[int, bytes]]:
    """Yield (number, JPEG) of the frames that are late and different enough after the last one yielded."""
    import cv2
    import numpy as np

    last_ns: int | None = None
    last_thumb: Any = None
    for number, (t_capture_ns, jpeg) in enumerate(frames):
        if last_ns is not None and t_capture_ns - last_ns < every_s * 1e9:
            continue
        grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
        if grey is None:
            continue
        thumb = cv2.resize(grey, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        if last_thumb is not None and float(np.sqrt(np.mean((thumb - last_thumb) ** 2))) < change:
            continue
        last_ns, last_thumb = t_capture_ns, thumb
        yield number, jpeg


def _guesses(detector: SsdDetector, jpeg: bytes) -> list[str]:
    """Return the detector's boxes in a JPEG as YOLO lines."""
    import cv2
    import numpy as np

    image = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    height, width = image.shape[:2]
    lines = []
    for d in detector.detect(image):
        x0, y0, x1, y1 = d.box_px
        centre = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height
        lines.append(
            f"{int(d.object_class)} {centre[0]:.6f} {centre[1]:.6f} {(x1 - x0) / width:.6f} {(y1 - y0) / height:.6f}"
        )
    return lines
