"""The ablation trains each variant on what its name says, for equally long, and never on a real ball when simulated."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")

from perception.training.ablation import variants
from perception.training.config import SourceConfig, load_recipe
from perception.training.feeder import Feeder


def test_each_variant_has_its_sources_and_the_same_budget() -> None:
    parts = variants(load_recipe("fast"), 40)
    alone = parts.pop("real_alone")
    assert (alone.sources, alone.steps) == (parts["real"].sources, 24), "60 % of 40 batches"
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
        assert bool(feeder.balls) is balls
