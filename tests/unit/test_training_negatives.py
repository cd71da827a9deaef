"""Hard negatives and confusion: what counts as a false box, what is mined, and that nothing held back is."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from perception.training.dataset import Item, items_of
from perception.training.scoring import negatives
from perception.training.scoring.confusion import as_html, confusion_matrix
from robot.cli.main import main
from robot.core.errors import DataError
from robot.core.messages import Detection, ObjectClass

ROBOT, BALL, GOAL = ObjectClass


def seen(kind: ObjectClass, score: float, *box: float) -> Detection:
    return Detection(object_class=kind, score=score, box_px=(box[0], box[1], box[2], box[3]))


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    """Three pictures of 100x100: a robot at (10, 10, 50, 50) and a ball at (60, 60, 70, 70); the same; nothing."""
    for name in ("images", "labels"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for k in range(3):
        cv2.imwrite(str(tmp_path / "data" / "images" / f"{k}.png"), np.full((100, 100, 3), 50 * k, np.uint8))
        text = "0 0.3 0.3 0.4 0.4\n1 0.65 0.65 0.1 0.1\n" if k < 2 else ""
        (tmp_path / "data" / "labels" / f"{k}.txt").write_text(text)
    return items_of(tmp_path / "data")


def results(items: list[Item]) -> list[tuple[Item, list[Detection]]]:
    return [
        (
            items[0],
            [seen(ROBOT, 0.9, 11, 11, 50, 50), seen(BALL, 0.8, 80, 10, 90, 20), seen(BALL, 0.7, 60, 60, 70, 70)],
        ),
        (items[1], [seen(BALL, 0.6, 25, 25, 35, 35), seen(GOAL, 0.5, 10, 12, 50, 50), seen(ROBOT, 0.2, 80, 0, 99, 30)]),
        (items[2], [seen(BALL, 0.95, 5, 5, 15, 15), seen(GOAL, 0.4, 0, 60, 90, 99)]),
    ]


def test_only_confident_boxes_away_from_every_label_are_false_on_the_background(items: list[Item]) -> None:
    found = [negatives.on_background(item.load(), boxes, 0.3) for item, boxes in results(items)]
    # On the second picture: a ball on the robot, a goal in the robot's place, and a robot that is not confident.
    assert [[d.score for d in boxes] for boxes in found] == [[0.8], [], [0.95, 0.4]]


def test_they_are_counted_per_picture_and_class_beside_recall(items: list[Item]) -> None:
    counted = negatives.count(results(items), 0.3)
    assert counted.background == pytest.approx((0.0, 2 / 3, 1 / 3))
    assert counted.all_false == pytest.approx((0.0, 1.0, 2 / 3))
    assert counted.recall[:2] == pytest.approx((0.5, 0.5))
    (line,) = negatives.comparison_table([("real", "before", counted)])[2:]
    assert line.startswith("| real (3) | before | **1.000**, 0.000 / 0.667 / 0.333 |")


def test_mining_copies_whole_pictures_worst_first_and_lists_the_boxes(items: list[Item], tmp_path: Path) -> None:
    out = tmp_path / "mined"
    chosen = negatives.mine(results(items), out, 0.3, limit=5)
    assert [item.image.name for item, _ in chosen] == ["2.png", "0.png"]
    mined = items_of(out)
    assert [i.image.name for i in mined] == ["00000_2.png", "00001_0.png"]
    assert mined[0].load().classes.tolist() == []
    assert mined[1].load().classes.tolist() == [0, 1]
    assert mined[1].image.read_bytes() == items[0].image.read_bytes()
    listed = json.loads((out / "negatives.json").read_text())
    assert listed[1] == {"image": "00001_0.png", "false": [{"class": "ball", "score": 0.8, "box": [80, 10, 90, 20]}]}
    with pytest.raises(DataError, match="is not empty"):
        negatives.mine(results(items), out, 0.3, limit=5)
    assert len(negatives.mine(results(items), tmp_path / "one", 0.3, limit=1)) == 1


def test_confusion_counts_wrong_names_made_up_and_missed_ones(items: list[Item]) -> None:
    table = confusion_matrix(results(items), 0.3)
    # rows: robot, ball, goal, nothing labelled; columns: robot, ball, goal, nothing detected
    assert table.tolist() == [[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0], [0, 3, 1, 0]]
    page = as_html(table, 0.3)
    assert page.count("<tr>") == 5
    assert "<td>3</td>" in page


def test_a_label_is_taken_once(items: list[Item]) -> None:
    twice = [(items[0], [seen(ROBOT, 0.9, 10, 10, 50, 50), seen(ROBOT, 0.8, 11, 11, 50, 50)])]
    assert confusion_matrix(twice, 0.3)[:, 0].tolist() == [1, 0, 0, 1]


def test_the_evaluation_scores_degraded_pictures_and_the_file_that_tensorrt_gets(
    items: list[Item], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pycocotools", reason="scores need the [train] extra")
    pytest.importorskip("onnx", reason="rewriting for TensorRT needs the package onnx")
    flags = ["--folder", str(items[0].image.parents[1]), "--split", ""]
    report = tmp_path / "rows.json"
    assert main(["evaluate-detector", *flags, "--precision", "int8", "--robustness", "--json", str(report)]) == 0
    rows = json.loads(report.read_text())["rows"]
    said = capsys.readouterr().out
    assert len(rows) > 10
    assert all(f"| {row['name']} |" in said for row in rows)
    assert main(["evaluate-detector", *flags, "--precision", "fp16", "--as-tensorrt"]) == 0
    assert "fp16 for TensorRT" in capsys.readouterr().out


def test_the_verbs_compare_and_mine_with_a_real_model(
    items: list[Item], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(items[0].image.parents[1])
    flags = ["--folder", folder, "--split", "", "--score", "0.05", "--precision", "int8"]
    report = tmp_path / "report.json"
    assert main(["false-positives", "full", "full", *flags, "--json", str(report)]) == 0
    first, second = json.loads(report.read_text())
    assert first == second
    assert first["pictures"] == 3
    assert main(["mine-negatives", *flags, "--out", str(tmp_path / "mined"), "--limit", "0"]) == 2
    assert main(["mine-negatives", *flags, "--out", str(tmp_path / "mined"), "--gallery", str(tmp_path / "page")]) == 0
    assert "[[sources]]" in capsys.readouterr().out
    assert "Confusion" in (tmp_path / "page" / "index.html").read_text()
    assert main(["false-positives", "--folder", str(tmp_path / "none")]) == 2
    assert "none: no such folder, so no real pictures are counted" in capsys.readouterr().err
