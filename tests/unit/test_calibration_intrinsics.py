"""A lens is found again from rendered boards; what cannot tell it is refused with the mend."""

from __future__ import annotations

import dataclasses
import itertools
import math
import weakref
import zlib

import cv2
import numpy as np
import pytest

from perception.calibration.board import MIN_SQUARES, Board, BoardKind, parse_squares, write_board
from perception.calibration.board_finder import find_board
from perception.calibration.board_views import ViewCollector, ViewConfig
from perception.calibration.intrinsics import collect, fit_intrinsics
from perception.camera import CameraIntrinsics, load_camera
from robot.cli import _calibrate_intrinsics as verb
from robot.cli.main import main
from robot.core.errors import CalibrationError, ConfigError
from sim.camera.board_pictures import BoardPose, BoardRenderer, PictureStyle, board_poses
from sim.evaluation.calibration import lens_difference

LENS = CameraIntrinsics(
    width_px=640, height_px=480, fx=612.0, fy=615.0, cx=331.0, cy=228.0, distortion=(0.08, -0.19, 0.001, -0.0015, 0.0)
)
CHARUCO = Board()
CHESS = Board(kind=BoardKind.CHESSBOARD)


def pictures(board: Board, count: int, seed: int = 3, *, smear_px: float = 0.0, max_tilt_rad: float = math.radians(45)):
    rng = np.random.default_rng(seed)
    renderer = BoardRenderer(board, LENS)
    for index, pose in enumerate(itertools.islice(board_poses(board, LENS, rng, max_tilt_rad=max_tilt_rad), count)):
        style = PictureStyle(softness_px=float(rng.uniform(0.5, 1.1)), noise=3.0, smear_px=smear_px)
        yield f"{index:03d}.png", renderer.render(pose, style, rng)


@pytest.fixture(scope="module")
def charuco_pictures():
    return list(pictures(CHARUCO, 30))


@pytest.mark.parametrize("board", [CHARUCO, CHESS], ids=lambda board: board.kind.value)
def test_a_lens_is_found_again(board, charuco_pictures):
    taken = charuco_pictures if board is CHARUCO else pictures(board, 24)
    collector = collect(taken, board)
    fit = fit_intrinsics(collector.chosen(), collector.size_px)
    assert fit.intrinsics.fx == pytest.approx(LENS.fx, rel=0.003)
    assert fit.intrinsics.fy == pytest.approx(LENS.fy, rel=0.003)
    median, worst = lens_difference(LENS, fit.intrinsics)
    assert median < 0.3
    assert worst < 1.5
    assert fit.rms_px < 0.25
    assert fit.held_out_px < 0.3
    # A lens without its distortion would be off by pixels: the numbers above mean something.
    assert lens_difference(LENS, dataclasses.replace(LENS, distortion=(0.0,) * 5))[1] > 2.0
    for name, sigma in zip(("fx", "fy", "cx", "cy"), fit.sigmas, strict=True):
        assert abs(getattr(fit.intrinsics, name) - getattr(LENS, name)) < 5.0 * sigma + 0.3, name


def test_the_verb_writes_lens_report_and_pictures(tmp_path, charuco_pictures, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, image in charuco_pictures:
        cv2.imwrite(str(folder / name), image)
    out, report = tmp_path / "lens.toml", tmp_path / "report"
    assert main(["calibrate", "intrinsics", f"file:{folder}", "--out", str(out), "--report", str(report)]) == 0
    text = capsys.readouterr().out
    assert "reprojection error" in text
    camera = load_camera(out)
    assert camera.intrinsics.fx == pytest.approx(LENS.fx, rel=0.003)
    assert camera.mounting == load_camera("c922_640x480").mounting
    names = {path.name for path in report.iterdir()}
    assert names == {"report.txt", "views.csv", "coverage.png", "residuals.png", "undistorted.png"}
    assert len((report / "views.csv").read_text().splitlines()) > 15


def test_a_video_is_read_too(tmp_path, charuco_pictures):
    path = tmp_path / "board.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (640, 480))
    for _, image in charuco_pictures:
        writer.write(image)
    writer.release()
    out, report = tmp_path / "lens.toml", tmp_path / "report"
    assert main(["calibrate", "intrinsics", f"file:{path}", "--out", str(out), "--report", str(report)]) == 0
    assert load_camera(out).intrinsics.fx == pytest.approx(LENS.fx, rel=0.005)
    assert (report / "undistorted.png").exists()


def test_a_long_film_is_not_kept_in_memory(tmp_path, monkeypatch):
    """300 pictures of 1920x1080 are 1.9 GB: the computer on the robot has not so much to spare."""
    taken: list[weakref.ref] = []
    most = 0

    class Film:
        rate_hz, count = 30.0, 60

        def read(self, index):
            nonlocal most
            most = max(most, sum(picture() is not None for picture in taken))
            image = np.full((48, 64, 3), index, np.uint8)
            taken.append(weakref.ref(image))
            return image

        def close(self):
            pass

    monkeypatch.setattr(verb, "open_pictures", lambda path, rate_hz: Film())
    assert main(["calibrate", "intrinsics", "file:film.avi", "--out", str(tmp_path / "lens.toml")]) == 1
    assert len(taken) == 60
    assert most < 10
    assert main(["calibrate", "intrinsics", "file:x", "--out", str(tmp_path / "l.toml"), "--max-pictures", "0"]) == 2


def refusal(taken, board: Board, config: ViewConfig | None = None) -> CalibrationError:
    def calibrate() -> None:
        collector = collect(taken, board, config)
        fit_intrinsics(collector.chosen(), collector.size_px, config)

    with pytest.raises(CalibrationError) as refused:
        calibrate()
    return refused.value


def test_what_cannot_tell_a_lens_is_refused_with_the_mend(charuco_pictures):
    few = refusal(charuco_pictures[:6], CHARUCO)
    assert "too few" in few.message
    assert "more pictures" in few.hint
    frontal = refusal(pictures(CHARUCO, 30, max_tilt_rad=math.radians(6)), CHARUCO)
    assert "straight ahead" in frontal.message
    assert "tilt the board" in frontal.hint
    blurred = refusal(pictures(CHARUCO, 5, smear_px=16.0), CHARUCO)
    assert "blurred" in blurred.message
    assert "still" in blurred.hint
    nothing = refusal([("wall.png", np.full((480, 640, 3), 128, np.uint8))] * 3, CHARUCO)
    assert "no charuco 9x6" in nothing.message
    assert "there is no picture" in refusal([], CHARUCO).message
    mixed = refusal([charuco_pictures[0], ("small.png", np.zeros((240, 320, 3), np.uint8))], CHARUCO)
    assert "small.png is 320x240" in mixed.message


def test_the_wrong_board_is_named():
    chess = list(pictures(CHESS, 2))
    counted_corners = refusal(chess, Board(kind=BoardKind.CHESSBOARD, columns=8, rows=5))
    assert "but of 9x6" in counted_corners.message
    assert counted_corners.hint.startswith("add --squares 9x6")
    assert "without markers" in refusal(chess, CHARUCO).message
    marked = list(pictures(CHARUCO, 2))
    assert "markers are seen" in refusal(marked, Board(columns=12, rows=7)).message
    assert "--kind charuco" in refusal(marked, Board(kind=BoardKind.CHESSBOARD, columns=13, rows=10)).hint


def test_a_board_seen_in_the_middle_only_is_refused():
    rng = np.random.default_rng(1)
    renderer = BoardRenderer(CHARUCO, LENS)
    taken = []
    for index in range(14):
        turn = tuple(float(v) for v in rng.uniform(-0.6, 0.6, 3))
        pose = BoardPose(x_m=float(rng.uniform(-0.03, 0.03)), y_m=0.0, z_m=0.75, turn_rad=turn)
        taken.append((f"{index}", renderer.render(pose, PictureStyle(), rng)))
    refused = refusal(taken, CHARUCO, ViewConfig(min_novelty=0.0))
    assert "of the picture's width" in refused.message
    assert "upper left" in refused.hint


def test_guidance_names_what_is_missing_until_nothing_is(charuco_pictures):
    collector = ViewCollector(ViewConfig(), (640, 480))
    wishes = collector.missing()
    assert any("upper left" in wish for wish in wishes)
    assert any("tilted" in wish for wish in wishes)
    assert any("nearer, so that" in wish for wish in wishes)
    for name, image in charuco_pictures:
        view = find_board(image, CHARUCO, name)
        if view is not None:
            collector.offer(view)
    assert len(collector.missing()) < len(wishes)
    same = find_board(charuco_pictures[0][1], CHARUCO)
    assert same is not None
    assert collector.offer(same) == "nothing new"
    assert collector.offer(dataclasses.replace(same, edge_px=20.0)) == "blurred"


def test_a_bent_board_is_refused(charuco_pictures):
    collector = collect(charuco_pictures, CHARUCO)
    rng = np.random.default_rng(0)
    bent = [
        dataclasses.replace(view, corners_px=view.corners_px + rng.normal(0, 2.0, view.corners_px.shape))
        for view in collector.chosen()
    ]
    with pytest.raises(CalibrationError, match="no lens explains") as refused:
        fit_intrinsics(bent, collector.size_px)
    assert "flat" in refused.value.hint


def test_one_misread_view_is_dropped(charuco_pictures):
    collector = collect(charuco_pictures, CHARUCO)
    views = collector.chosen()
    shifted = views[0].corners_px.copy()
    shifted[: len(shifted) // 2] += 6.0
    fit = fit_intrinsics([dataclasses.replace(views[0], corners_px=shifted), *views[1:]], collector.size_px)
    assert views[0].name in fit.dropped
    assert fit.intrinsics.fx == pytest.approx(LENS.fx, rel=0.003)


@pytest.mark.parametrize("kind", list(BoardKind))
def test_a_written_board_is_a_board(tmp_path, kind):
    board = Board(kind=kind, columns=7, rows=5, square_m=0.025)
    for suffix in (".pdf", ".svg", ".png"):
        write_board(tmp_path / f"board{suffix}", board)
    image = cv2.imread(str(tmp_path / "board.png"), cv2.IMREAD_GRAYSCALE)
    small = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    view = find_board(np.asarray(small), board)
    assert view is not None
    assert len(view.corners_px) == 6 * 4
    pdf = (tmp_path / "board.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-1.4")
    assert pdf.count(b" re f") == len(board.black()) + 1
    offset = int(pdf.rsplit(b"startxref\n", 1)[1].split()[0])
    assert pdf[offset : offset + 4] == b"xref"
    png = (tmp_path / "board.png").read_bytes()
    body = png[37:50]
    assert body[:4] == b"pHYs"
    assert int.from_bytes(body[4:8], "big") == pytest.approx(300 / 0.0254, rel=0.01)  # it prints in its true size
    assert int.from_bytes(png[50:54], "big") == zlib.crc32(body)
    with pytest.raises(ConfigError, match="cannot write a board"):
        write_board(tmp_path / "board.doc", board)


def test_the_charuco_pattern_is_opencvs_own():
    """Markers and squares in the order of OpenCV >= 4.6: its own drawing of the same board."""
    theirs = np.asarray(CHARUCO.charuco.generateImage((9 * 70, 6 * 70), None, 0, 1))
    ours = CHARUCO.picture(70, margin=0.0)
    assert np.mean(theirs != ours) < 0.03  # rounding of marker cells


def test_sizes_are_read():
    assert parse_squares("9x6") == (9, 6)
    with pytest.raises(ConfigError, match="not a board size"):
        parse_squares("9,6")
    with pytest.raises(ConfigError, match="cannot be used"):
        Board(columns=3, rows=6)
    with pytest.raises(ConfigError, match="cannot be meant"):
        Board(square_m=3.0)


@pytest.mark.parametrize("kind", [kind.value for kind in BoardKind])
def test_a_kind_is_named_as_the_mends_name_it(tmp_path, kind, capsys):
    assert main(["calibrate", "board", str(tmp_path / "board.png"), "--kind", kind]) == 0
    assert f"{kind} 9x6" in capsys.readouterr().out
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((480, 640, 3), 128, np.uint8))
    (tmp_path / "board.png").unlink()
    flags = ["--kind", kind, "--out", str(tmp_path / "lens.toml")]
    assert main(["calibrate", "intrinsics", f"file:{tmp_path}", *flags]) == 1
    assert f"no {kind} 9x6" in capsys.readouterr().err


@pytest.mark.parametrize("kind", list(BoardKind))
def test_the_smallest_board_can_be_found(kind):
    board = Board(kind=kind, columns=MIN_SQUARES, rows=MIN_SQUARES)
    assert find_board(board.picture(), board) is not None
