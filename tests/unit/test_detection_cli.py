"""`blackout detect`: JSON of boxes for files and folders; every wrong input has its sentence and exit code."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from robot.cli.main import main


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A carpet with an orange ball at (320, 300), 40 px wide."""
    image = np.full((480, 640, 3), (60, 110, 60), np.uint8)
    image[:160] = 200
    cv2.circle(image, (320, 300), 20, (20, 90, 240), -1, cv2.LINE_AA)
    cv2.circle(image, (314, 292), 6, (70, 140, 255), -1, cv2.LINE_AA)
    image = cv2.GaussianBlur(image, (0, 0), 1.2)
    folder = tmp_path / "pictures"
    folder.mkdir()
    cv2.imwrite(str(folder / "ball.png"), image)
    return folder / "ball.png"


def test_a_folder_gives_a_list_of_boxes_in_picture_pixels(picture: Path, tmp_path: Path) -> None:
    out, drawn = tmp_path / "new" / "boxes.json", tmp_path / "drawn"
    assert main(["detect", str(picture.parent), "--json", str(out), "--draw", str(drawn)]) == 0
    rows = json.loads(out.read_text())
    assert all(set(row) == {"file", "class", "score", "box"} for row in rows)
    assert all(row["file"] == "ball.png" and row["class"] in ("robot", "ball", "goal") for row in rows)
    assert all(0.05 <= row["score"] <= 1 for row in rows)
    for x0, y0, x1, y1 in (row["box"] for row in rows):
        assert 0 <= x0 < x1 <= 640
        assert 0 <= y0 < y1 <= 480
    best = max((row for row in rows if row["class"] == "ball"), key=lambda row: row["score"])
    np.testing.assert_allclose(best["box"], [300, 280, 340, 320], atol=6)
    assert cv2.imread(str(drawn / "ball.png")).shape == (480, 640, 3)


def test_the_score_flag_leaves_weak_boxes_out(picture: Path, tmp_path: Path) -> None:
    counts = []
    for score in ("0.01", "0.3"):
        main(["detect", str(picture), "--json", str(tmp_path / "b.json"), "--score", score])
        rows = json.loads((tmp_path / "b.json").read_text())
        assert all(row["score"] >= float(score) for row in rows)
        counts.append(len(rows))
    assert counts[0] > counts[1]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        ("missing", "no such file or folder"),
        ("empty_folder", "no pictures in"),
        ("text_as_picture", "cannot read the picture"),
    ],
)
def test_wrong_inputs_are_named(make: str, sentence: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "thing.jpg"
    if make == "empty_folder":
        path.mkdir()
    elif make == "text_as_picture":
        path.write_text("no picture")
    assert main(["detect", str(path), "--json", str(tmp_path / "b.json")]) == 2
    errors = capfd.readouterr().err
    assert sentence in errors
    assert "mend:" in errors
    assert not (tmp_path / "b.json").exists()


def test_a_missing_model_and_a_wrong_score_are_named(
    picture: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = [str(picture), "--json", str(tmp_path / "b.json")]
    assert main(["detect", *flags, "--model", "nothing"]) == 1
    assert "shipped models" in capfd.readouterr().err
    assert main(["detect", *flags, "--score", "7"]) == 2
    assert "score_threshold" in capfd.readouterr().err
