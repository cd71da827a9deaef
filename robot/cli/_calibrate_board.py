"""`blackout calibrate board`: a board to print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from perception.calibration.board import Board, BoardKind, parse_squares, write_board
from robot.cli._outputs import check_outputs


@dataclass(frozen=True)
class BoardFile:
    """Write a board to print, in its true size.

    Example: blackout calibrate board board.pdf --kind charuco --squares 9x6 --square-mm 30
    """

    out: Annotated[Path, tyro.conf.Positional]
    """File to write: .pdf, .svg or .png."""
    kind: Annotated[BoardKind, tyro.conf.EnumChoicesFromValues] = BoardKind.CHARUCO
    """charuco (found even when only a part is seen: best for the picture's corners) or chessboard."""
    squares: str = "9x6"
    """Columns x rows of squares (squares, not inner corners)."""
    square_mm: float = 30.0
    """Side of a square; 9x6 of 30 mm fit on A4."""


def run_board(args: BoardFile) -> int:
    """Write it; returns 0."""
    check_outputs(files=[args.out])
    columns, rows = parse_squares(args.squares)
    board = Board(kind=args.kind, columns=columns, rows=rows, square_m=args.square_mm / 1000.0)
    write_board(args.out, board)
    print(f"wrote {args.out}: {board.text()}")
    print("print it at 100 % (no fitting to the page), measure the 100 mm line, glue it to something flat")
    return 0
