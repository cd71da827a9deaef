"""Calibration boards: a chessboard or a ChArUco board, its corners, and files to print it from (PDF, SVG, PNG)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from robot.core.errors import ConfigError
from robot.core.geometry import FloatArray

MIN_SQUARES, MAX_SQUARES = 4, 20
"""No chessboard is found by two inner corners in a row, no ChArUco board by less than eight in all."""

_MARKER_SHARE = 0.75
_DICTIONARY = "DICT_5X5_100"
_CELLS = 7
"""A 5x5 marker with its black border."""

_MARGIN_M = 0.01
_POINTS_PER_M = 72.0 / 0.0254
_RULER_M = 0.1

Rectangle = tuple[float, float, float, float]
"""x, y of the upper left corner, width, height; metres, y down."""


class BoardKind(Enum):
    """What is printed in the white squares: nothing, or markers that also work when only a part is seen."""

    CHESSBOARD = "chessboard"
    CHARUCO = "charuco"


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board of `columns` x `rows` squares (squares, not inner corners) with sides of `square_m`."""

    kind: BoardKind = BoardKind.CHARUCO
    columns: int = 9
    rows: int = 6
    square_m: float = 0.03

    def __post_init__(self) -> None:
        if not (MIN_SQUARES <= self.columns <= MAX_SQUARES and MIN_SQUARES <= self.rows <= MAX_SQUARES):
            raise ConfigError(
                f"a board of {self.columns} x {self.rows} squares cannot be used",
                hint=f"{MIN_SQUARES} to {MAX_SQUARES} squares each way",
            )
        if not 0.002 <= self.square_m <= 0.5:
            raise ConfigError(
                f"squares of {1000 * self.square_m:g} mm cannot be meant", hint="measure one square, in millimetres"
            )
        if self.kind is BoardKind.CHARUCO and self.columns * self.rows // 2 > 100:
            raise ConfigError("more than 100 markers are needed for this board", hint="take fewer squares: 9x6")

    @property
    def corners_m(self) -> FloatArray:
        """The inner corners (N, 3), metres on the board, row by row; x right, y down, z = 0."""
        x, y = np.meshgrid(np.arange(1, self.columns), np.arange(1, self.rows))
        flat = np.stack((x.ravel(), y.ravel(), np.zeros(x.size)), axis=1)
        return np.asarray(flat * self.square_m, dtype=float)

    @cached_property
    def charuco(self) -> Any:
        """OpenCV's own board object (ChArUco boards only)."""
        return cv2.aruco.CharucoBoard(
            (self.columns, self.rows), self.square_m, _MARKER_SHARE * self.square_m, self._dictionary
        )

    @property
    def _dictionary(self) -> Any:
        return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, _DICTIONARY))

    def text(self) -> str:
        """Return the board in words."""
        return f"{self.kind.value} {self.columns}x{self.rows} squares of {1000 * self.square_m:g} mm"

    def black(self) -> list[Rectangle]:
        """Return all black rectangles of the board, metres from its upper left corner."""
        side = self.square_m
        found: list[Rectangle] = []
        marker = 0
        for row in range(self.rows):
            for column in range(self.columns):
                # OpenCV's order since 4.6: the upper left square is black.
                if (row + column) % 2 == 0:
                    found.append((column * side, row * side, side, side))
                elif self.kind is BoardKind.CHARUCO:
                    found += self._marker(marker, column * side, row * side)
                    marker += 1
        return found

    def _marker(self, number: int, x0: float, y0: float) -> list[Rectangle]:
        bits = np.zeros((_CELLS, _CELLS), np.uint8)
        bits = np.asarray(self._dictionary.generateImageMarker(number, _CELLS, bits, 1), np.uint8)
        cell = _MARKER_SHARE * self.square_m / _CELLS
        off = 0.5 * (1.0 - _MARKER_SHARE) * self.square_m
        dark = np.argwhere(bits < 128)
        return [(x0 + off + float(c) * cell, y0 + off + float(r) * cell, cell, cell) for r, c in dark]

    def picture(self, pixels_per_square: int = 60, margin: float = 0.5) -> NDArray[np.uint8]:
        """Return the board as a grey picture with a white margin of so many squares."""
        scale = pixels_per_square / self.square_m
        edge = round(margin * pixels_per_square)
        height, width = self.rows * pixels_per_square + 2 * edge, self.columns * pixels_per_square + 2 * edge
        image = np.full((height, width), 255, np.uint8)
        for x, y, w, h in self.black():
            left, top = edge + round(x * scale), edge + round(y * scale)
            image[top : edge + round((y + h) * scale), left : edge + round((x + w) * scale)] = 0
        return image


def parse_squares(text: str) -> tuple[int, int]:
    """Return (columns, rows) of "9x6".

    Raises:
        ConfigError: not of that form.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise ConfigError(f"not a board size: {text!r}", hint="columns x rows of squares, for example --squares 9x6")
    return int(parts[0]), int(parts[1])


def write_board(path: Path, board: Board) -> None:
    """Write the board in its true size, with a ruler to check the print by. The suffix chooses PDF, SVG or PNG.

    Raises:
        ConfigError: another suffix, or the file cannot be written.
    """
    writers = {".pdf": _pdf, ".svg": _svg, ".png": _png}
    if path.suffix.lower() not in writers:
        raise ConfigError(f"cannot write a board as {path.suffix or path}", hint="end the name in .pdf, .svg or .png")
    data = writers[path.suffix.lower()](board)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", hint="check the folder") from error


def _page_m(board: Board) -> tuple[float, float]:
    return (
        max(board.columns * board.square_m, _RULER_M) + 2 * _MARGIN_M,
        board.rows * board.square_m + 4 * _MARGIN_M,
    )


def _caption(board: Board) -> str:
    return f"{board.text()}; print at 100 %: this line is {1000 * _RULER_M:g} mm long"


def _svg(board: Board) -> bytes:
    width, height = (1000.0 * v for v in _page_m(board))
    edge = 1000.0 * _MARGIN_M
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}mm" height="{height:g}mm" '
        f'viewBox="0 0 {width:g} {height:g}">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for x, y, w, h in board.black():
        corner, size = (edge + 1000 * x, edge + 1000 * y), (1000 * w, 1000 * h)
        lines.append(f'<rect x="{corner[0]:.4f}" y="{corner[1]:.4f}" width="{size[0]:.4f}" height="{size[1]:.4f}"/>')
    foot = edge + 1000.0 * board.rows * board.square_m + edge
    lines.append(f'<rect x="{edge:g}" y="{foot:g}" width="{1000 * _RULER_M:g}" height="0.4"/>')
    lines.append(
        f'<text x="{edge:g}" y="{foot + 5:g}" font-size="3.5" font-family="sans-serif">{_caption(board)}</text>'
    )
    return ("\n".join([*lines, "</svg>"]) + "\n").encode()


def _pdf(board: Board) -> bytes:
    """One page, drawn with rectangles (PDF 1.4 reference, chapters 3 and 4): y grows upwards there."""
    width, height = (v * _POINTS_PER_M for v in _page_m(board))
    edge = _MARGIN_M * _POINTS_PER_M
    drawing = ["0 g"]
    for rectangle in board.black():
        x, y, w, h = (v * _POINTS_PER_M for v in rectangle)
        drawing.append(f"{edge + x:.4f} {height - edge - y - h:.4f} {w:.4f} {h:.4f} re f")
    foot = height - 2 * edge - board.rows * board.square_m * _POINTS_PER_M
    drawing.append(f"{edge:.4f} {foot:.4f} {_RULER_M * _POINTS_PER_M:.4f} 1 re f")
    drawing.append(f"BT /F1 9 Tf {edge:.4f} {foot - 12:.4f} Td ({_caption(board)}) Tj ET")
    stream = "\n".join(drawing).encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width:.4f} {height:.4f}] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>".encode(),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return (
        out
        + b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table)
        + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(out))
    )


def _png(board: Board) -> bytes:
    """300 dots per inch, said in the file, so that it prints in its true size."""
    per_m = 300 / 0.0254
    pixels = max(20, round(board.square_m * per_m))
    ok, data = cv2.imencode(".png", board.picture(pixels, margin=_MARGIN_M / board.square_m))
    if not ok:
        raise ConfigError("OpenCV cannot write PNG", hint="write a .pdf")
    return _with_density(bytes(data), round(pixels / board.square_m))


def _with_density(png: bytes, per_m: int) -> bytes:
    """Put a pHYs chunk (pixels per metre; PNG specification 11.3.5.3) behind the header."""
    body = b"pHYs" + per_m.to_bytes(4, "big") * 2 + b"\x01"
    chunk = (9).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return png[:33] + chunk + png[33:]
