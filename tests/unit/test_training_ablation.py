"""The ablation trains each variant on what its name says, for equally long, and never on a real ball when simulated."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")

from perception.training.config import SourceConfig, load_recipe
from perception.training.dataset import Sample, items_of, with_margins
from perception.training.feeder import Feeder
from perception.training.studies.ablation import variants
from perception.training.studies.label_margins import margins
from robot.core.messages import Detection, ObjectClass


def test_each_variant_has_its_sources_and_the_same_budget() -> None:
    parts = variants(load_recipe("fast"), 40)
    alone = parts.pop("real_alone")
    assert (alone.sources, alone.steps) == (parts["real"].sources, 24), "60 % of 40 batches"
    margins = parts.pop("both_margins")
    assert [bool(s.label_margins) for s in margins.sources] == [False, True], "only exact boxes get a margin"
    drawn = {name: [bool(s.split) for s in c.sources if s.share > 0] for name, c in parts.items()}
    assert drawn == {"real": [True], "simulated": [False], "both": [True, False]}
    assert all(any(s.split for s in c.sources) for c in parts.values()), "every variant is scored on real pictures"
    assert {(c.steps, c.max_minutes, c.start_from, c.seed) for c in parts.values()} == {(40, 0.0, "", 3)}


def test_a_recipe_without_simulated_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match="simulated"):
        variants(load_recipe("full_real"), 40)


def test_no_ball_is_cut_out_of_pictures_that_are_only_scored(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "images/a1.png"), np.full((80, 80, 3), 90, np.uint8))
    (tmp_path / "labels/a1.txt").write_text("1 0.5 0.5 0.25 0.25\n")
    recipe = load_recipe("fast")
    for share, balls in ((1.0, True), (0.0, False)):
        real = SourceConfig(folder=str(tmp_path), split="ssl_images", share=share)
        more = SourceConfig(folder=str(tmp_path))
        feeder = Feeder(dataclasses.replace(recipe, sources=(real, more)), tmp_path)
        assert bool(feeder.pieces.balls) is balls


def test_a_label_has_a_margin_where_the_box_of_a_detector_has_none() -> None:
    exact = np.array([[20, 30, 40, 40], [0, 0, 10, 10]], np.float32)
    sample = Sample(image_bgr=np.zeros((50, 42, 3), np.uint8), boxes_px=exact, classes=np.array([1, 2]))
    rows = ((9.0,) * 4, (0.1, 0.2, 0.3, 0.4), (0.5, 0.0, 0.0, 0.1))
    grown = with_margins(sample, rows)
    assert grown.boxes_px.tolist() == [[18, 28, 42, 44], [0, 0, 10, 11]], "cut at the picture's edges"
    assert with_margins(sample, ()) is sample


def test_margins_are_measured_as_what_a_label_goes_beyond_a_detection(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "images/a1.png"), np.zeros((100, 200, 3), np.uint8))
    (tmp_path / "labels/a1.txt").write_text("1 0.5 0.5 0.2 0.4\n")  # edges 80, 30, 120, 70
    seen = Detection(object_class=ObjectClass.BALL, score=0.9, box_px=(84.0, 40.0, 116.0, 70.0))
    far = Detection(object_class=ObjectClass.BALL, score=0.9, box_px=(0.0, 0.0, 20.0, 20.0))
    shares, pairs = margins(lambda image: (seen, far), items_of(tmp_path))
    assert pairs == [0, 1, 0], "what no label overlaps is no pair"
    assert np.isnan(shares[0]).all()
    np.testing.assert_allclose(shares[1], [0.125, 1 / 3, 0.125, 0.0], atol=1e-6)
