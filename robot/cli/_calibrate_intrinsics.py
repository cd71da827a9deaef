"""`blackout calibrate intrinsics`: the lens from a video, a folder of pictures or the live camera."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray

from perception.calibration.board import Board, BoardKind, parse_squares
from perception.calibration.board_finder import find_board
from perception.calibration.board_views import ViewCollector, ViewConfig
from perception.calibration.intrinsics import Picture, collect, fit_intrinsics
from perception.calibration.intrinsics_report import report_text, write_report
from perception.camera import load_camera
from perception.camera.store import write_camera
from perception.capture.files import PictureFolder, open_pictures
from perception.capture.opening import open_source
from perception.capture.source import CaptureConfig
from robot.cli._outputs import check_outputs
from robot.core.clock import MonotonicClock
from robot.core.errors import CameraError, ConfigError

LOOK_HZ = 10.0
"""The next view is another one only after a moment, and finding the board takes one."""

SILENCE_S = 10.0
"""A camera that gives no picture for this long is taken for unplugged: it opens itself again when it is back before."""


@dataclass(frozen=True)
class Intrinsics:
    """The lens (focal lengths, principal point, distortion) from pictures of a board.

    Example: blackout calibrate intrinsics file:board.mp4 --squares 9x6 --out lens.toml --report runs/lens
    """

    source: Annotated[str, tyro.conf.Positional]
    """file:VIDEO, file:FOLDER or a camera such as /dev/video0 (then it says what to show next)."""
    out: Path | None = None
    """Camera file to write: the lens that was found, everything else from --camera."""
    report: Path | None = None
    """A folder for report.txt, views.csv and the pictures coverage, residuals, undistorted."""
    camera: str = "c922_640x480"
    """Camera file (or shipped name) whose mounting and noise are kept."""
    kind: Annotated[BoardKind, tyro.conf.EnumChoicesFromValues] = BoardKind.CHARUCO
    """charuco or chessboard."""
    squares: str = "9x6"
    """Columns x rows of squares (squares, not inner corners)."""
    square_mm: float = 30.0
    """Side of a square; the lens does not depend on it."""
    max_pictures: int = 300
    """Look at no more pictures of a video than this, evenly spread."""
    size: str = "640x480"
    """Picture size asked of a live camera."""
    rate_hz: float = 30.0
    """Picture rate asked of a live camera; about ten a second are looked at."""
    seconds: float = 180.0
    """Stop a live camera after this long."""


def run_intrinsics(args: Intrinsics) -> int:
    """Collect, fit, report; returns 0."""
    if args.out is None and args.report is None:
        raise ConfigError("nowhere to write", hint="add --out lens.toml and --report FOLDER")
    check_outputs(files=[args.out], folders=[args.report])
    columns, rows = parse_squares(args.squares)
    board = Board(kind=args.kind, columns=columns, rows=rows, square_m=args.square_mm / 1000.0)
    if args.max_pictures < 1:
        raise ConfigError("no picture to look at", hint="--max-pictures 1 or more")
    if not 0.0 < args.seconds < 86_400.0:
        raise ConfigError(f"no time to look: {args.seconds:g} s", hint="for example --seconds 180")
    live, keep = args.source.startswith("/dev/"), dict[str, NDArray[np.uint8]]()
    if not live:
        collector = collect(_pictures(args), board)
        print(f"{len(collector.views)} views kept, {collector.blurred} blurred, {collector.repeated} show nothing new")
    else:
        collector = _live(args, board, keep)
    views = collector.chosen()
    fit = fit_intrinsics(views, collector.size_px)
    text = report_text(fit, board)
    print(text)
    camera = replace(load_camera(args.camera), intrinsics=fit.intrinsics)
    if args.out is not None:
        comment = f"Lens by `blackout calibrate intrinsics`; everything else from {args.camera}.\n\n{text}"
        write_camera(args.out, camera, comment)
        print(
            f"wrote {args.out}; its [mounting] is still that of {args.camera}: write yours there, x_m exactly, "
            f"the rest roughly; next: blackout calibrate lines (or balls) --camera {args.out}"
        )
    if args.report is not None:
        largest = max(fit.views, key=lambda view: view.fill)
        sample = keep.get(largest.name) if live else _picture(args, largest.name)
        for path in write_report(args.report, fit, board, sample):
            print(f"wrote {path}")
    return 0


def _pictures(args: Intrinsics) -> Iterator[Picture]:
    source = open_pictures(Path(args.source.removeprefix("file:")), 30.0)
    every = 1 if isinstance(source, PictureFolder) else max(1, -(-source.count // args.max_pictures))
    try:
        for index in range(0, source.count, every):
            image = source.read(index)
            if image is not None:
                name = source.paths[index].name if isinstance(source, PictureFolder) else f"frame {index}"
                yield name, image
    finally:
        source.close()


def _picture(args: Intrinsics, name: str) -> NDArray[np.uint8] | None:
    """Read one picture again, for the report: hundreds kept in memory are more than a small computer has."""
    return next((image for found, image in _pictures(args) if found == name), None)


def _live(args: Intrinsics, board: Board, keep: dict[str, NDArray[np.uint8]]) -> ViewCollector:
    """Collect from a camera, saying what is missing whenever that changes.

    Ends when nothing is missing, on Ctrl-C, or when the camera is unplugged after enough views were taken.

    Raises:
        CameraError: no more pictures, and too few views to fit.
    """
    width, _, height = args.size.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise ConfigError(f"not a picture size: {args.size!r}", hint="for example --size 640x480")
    try:
        config = CaptureConfig(device=args.source, width_px=int(width), height_px=int(height), rate_hz=args.rate_hz)
    except ValueError as error:
        raise ConfigError(str(error), hint="for example --size 640x480 --rate-hz 30") from error
    every, next_seq = max(1, round(args.rate_hz / LOOK_HZ)), 0
    collector = ViewCollector(ViewConfig(), (int(width), int(height)))
    clock = MonotonicClock()
    seen_ns = clock.now_ns()
    end_ns = seen_ns + round(args.seconds * 1e9)
    wishes: list[str] | None = None
    print("show the board to the camera, still for a second at each place; Ctrl-C ends it")
    try:
        with open_source(config, clock) as source:
            while clock.now_ns() < end_ns and wishes != []:
                frame = source.next_frame(1.0)
                if frame is None:
                    if source.ended or clock.now_ns() - seen_ns > SILENCE_S * 1e9:
                        _go_on_without(args.source, collector)
                        break
                    continue
                seen_ns = clock.now_ns()
                if frame.seq < next_seq:
                    continue
                next_seq = frame.seq + every
                name = f"frame {frame.seq}"
                view = find_board(frame.image_bgr, board, name)
                problem = "no board" if view is None else collector.offer(view)
                if problem is None:
                    keep[name] = frame.image_bgr
                now = collector.missing()
                if problem is None and now != wishes:
                    wishes = now
                    print(f"{len(collector.views)} views; " + ("; ".join(wishes) if wishes else "all is there"))
    except KeyboardInterrupt:
        print("stopped; fitting what is there")
    return collector


def _go_on_without(source: str, collector: ViewCollector) -> None:
    """Say that a camera is gone and what is done with its views.

    Raises:
        CameraError: they are too few to fit.
    """
    views, needed = len(collector.views), collector.config.min_views
    if views < needed:
        raise CameraError(
            f"{source} gave no more pictures after {views} views, {needed} are needed",
            hint="is it still plugged in? Then start again",
        )
    print(f"{source} gave no more pictures: is it still plugged in? Fitting the {views} views that were taken")
