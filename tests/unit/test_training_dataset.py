"""Data sets of strangers: labels of another form, cut pictures, splits of one's own, scores of nothing."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest

from perception.detection.model import read_meta
from perception.training import split
from perception.training.command import run
from perception.training.config import SourceConfig, load_recipe
from perception.training.dataset import ROOT, Item, held_back_items, items_of, load_split, read_yolo, training_items
from robot.cli.main import main
from robot.core.errors import ConfigError, DataError

MARCH, APRIL = "play-20260301-1200_run", "play-20260402-0900_run"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings of three pictures each, named as `export-frames` names them; one of April looks like March."""
    for name in ("images", "labels"):
        (tmp_path / "own" / name).mkdir(parents=True)
    for run_name, greys in ((MARCH, (10, 60, 110)), (APRIL, (160, 210, 112))):
        for k, grey in enumerate(greys):
            picture = np.full((60, 80, 3), grey, np.uint8)
            cv2.imwrite(str(tmp_path / "own" / "images" / f"{run_name}_{k:05d}.jpg"), picture)
            (tmp_path / "own" / "labels" / f"{run_name}_{k:05d}.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    return tmp_path / "own"


@pytest.mark.parametrize(
    "text",
    [
        "1 0.5 0.5 0.1 0.1 0.9\n" * 5,  # with a score: thirty values would also make six rows of five
        "1 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9 0.5\n",  # a polygon
        "1 320 240 20 20\n",  # pixels
        "1 nan 0.5 0.1 0.1\n",
        "1 0.5 0.5 0.0 0.1\n",
        "1.5 0.5 0.5 0.1 0.1\n",
        b"\xff\xfe1 0.5",
    ],
)
def test_labels_of_another_form_are_refused_instead_of_making_nonsense(text: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=r"a\.txt"):
        read_yolo(path, (640, 480))


def test_a_box_that_reaches_over_the_edge_is_still_clipped(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("2 0.95 0.5 0.2 1.0\n")
    np.testing.assert_allclose(read_yolo(path, (100, 100))[0], [[85, 0, 100, 100]], atol=1e-4)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.7, 0.99])
def test_a_cut_jpeg_is_refused_though_opencv_fills_it_with_grey(keep: float, folder: Path) -> None:
    item = items_of(folder)[0]
    whole = item.image.read_bytes()
    item.image.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(DataError, match="cannot read the picture"):
        item.load()
    item.image.write_bytes(whole + bytes(700))  # as some cameras end their frames
    assert item.load().image_bgr.shape == (60, 80, 3)


def test_a_picture_that_went_away_is_named(folder: Path) -> None:
    item = items_of(folder)[0]
    item.image.unlink()
    with pytest.raises(DataError, match="cannot read the picture"):
        item.load()


@pytest.mark.parametrize(("stem", "number"), [(f"{MARCH}_00012", 12), ("00007_00188", 188), ("00258", 258), ("ab", -1)])
def test_the_number_of_a_picture_is_the_one_its_name_ends_with(stem: str, number: int) -> None:
    assert Item(image=Path(f"{stem}.jpg"), label=Path(f"{stem}.txt")).number == number


def test_scores_of_nothing_are_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="holds back no picture"):
        held_back_items(folder, "ssl_images")
    pytest.importorskip("pycocotools", reason="scores need the [train] extra")
    assert main(["evaluate-detector", "--model", "fast", "--precision", "fp32", "--folder", str(folder)]) == 2
    assert "python -m perception.training.split" in capfd.readouterr().err


def test_a_source_that_has_nothing_to_draw_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="no training pictures"):
        training_items(SourceConfig(folder="own", emphasis=((0, 9, 0.0),)), folder.parent)


def make(folder: Path, out: Path | None, *patterns: str) -> int:
    words = ["split", "--folder", str(folder), *(w for p in patterns for w in ("--hold-back", p))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", words + (["--out", str(out)] if out else []))
        return run(split.main)


def test_whole_recordings_are_held_back_and_what_looks_like_them_is_left_out(folder: Path) -> None:
    out = folder / "split.toml"
    assert make(folder, out, "play-20260301-*") == 0
    made = load_split(str(out))
    assert made.held_back == {f"{MARCH}_{k:05d}" for k in range(3)}
    assert made.left_out == {f"{APRIL}_00002"}
    trained, _ = training_items(SourceConfig(folder="own", split=str(out)), folder.parent)
    assert [i.image.stem for i in trained] == [f"{APRIL}_{k:05d}" for k in range(2)]
    assert {i.image.stem for i in held_back_items(folder, str(out))} == made.held_back


@pytest.mark.parametrize(
    ("patterns", "named", "message"),
    [((), True, "none of the 6 pictures"), (("*",), True, "all of the 6"), (("play*",), False, "--out FILE.toml")],
)
def test_a_split_that_would_be_none_is_refused_with_the_mend(
    patterns: tuple[str, ...], named: bool, message: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert make(folder, folder / "split.toml" if named else None, *patterns) == 1
    assert message in capfd.readouterr().err
    assert not (folder / "split.toml").exists()


def test_a_split_that_leaves_nothing_to_train_on_is_refused(folder: Path) -> None:
    """Recordings of one place by a robot that stood still all look alike."""
    with pytest.raises(DataError, match=r"none would be left(?s:.)*--near less than 300"):
        split.make_split(folder, ["play-20260301-*"], near_rmse=300.0)
    assert len(split.make_split(folder, ["play-20260301-*"], near_rmse=0.5)[1]) == 0


@pytest.mark.parametrize("text", ['held_back = ["a"]\n', "held_back = 3\nleft_out = []\n", "[[bands]]\n"])
def test_a_toml_that_is_no_split_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(ConfigError, match="is no split"):
        load_split(str(tmp_path / "s.toml"))


def test_a_split_without_bands_has_none(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('held_back = ["a"]\nleft_out = []\n')
    assert load_split(str(tmp_path / "s.toml")).bands == ()


def test_the_recipe_for_own_recordings_in_the_docs_is_one(tmp_path: Path) -> None:
    """It goes on from the shipped model: same input and anchors, or the weights would not fit."""
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    begin = page.index('    base = "fast_hard" ')
    (tmp_path / "own.toml").write_text(textwrap.dedent(page[begin : page.index("\n## ", begin)]))
    recipe = load_recipe(tmp_path / "own.toml")
    shipped = read_meta(ROOT / recipe.start_from)
    assert recipe.model.anchors == shipped.anchors
    assert [s.split for s in recipe.sources] == ["runs/own_pictures/split.toml", ""]
