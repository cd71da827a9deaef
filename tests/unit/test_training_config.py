"""A recipe that cannot be trained is refused when it is read, not after an hour of training."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from perception.training.config import BLOCKS, STRIDES_PX, SourceConfig, TrainingConfig, load_recipe
from robot.core.config import config_hash, from_dict, to_dict
from robot.core.errors import ConfigError
from tests.helpers import PROJECT


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("sources", [], "sources: at least one"),
        ("sources", [{"folder": "a", "share": 0.0}], "sources: at least one"),
        ("sources", [{"folder": "a"}, {"folder": "b", "share": -0.5}], "share must not be negative"),
        ("evaluate_every_steps", 0, "evaluate_every_steps must be at least 1"),
        ("save_every_steps", 0, "save_every_steps must be at least 1"),
        ("threads", 0, "threads must be at least 1"),
        ("max_minutes", -1.0, "max_minutes must not be negative"),
        ("frozen_blocks", -1, "frozen_blocks"),
        ("frozen_blocks", BLOCKS + 1, "frozen_blocks"),
        ("augment.zoom", [1.9, 0.5], "zoom is a range"),
        ("augment.zoom", [0.0, 0.5], "zoom is a range"),
        ("augment.collage_zoom", [-0.4, 1.3], "collage_zoom is a range"),
        ("augment.pasted_ball_px", [24.0, 4.0], "pasted_ball_px is a range"),
        ("augment.noise_sigma", [10.0, 2.0], "noise_sigma is a range"),
        ("augment.noise_sigma", [-1.0, 2.0], "noise_sigma is a range"),
        ("augment.jpeg", 1.5, "jpeg is a chance"),
        ("augment.doubled_robots", -0.1, "doubled_robots is a chance"),
        ("augment.aspect", 1.0, "aspect"),
        ("model.strides_px", [8, 16, 32, 64], "strides_px must be"),
        ("model.strides_px", [4, 8, 16, 32, 64], "strides_px must be"),
        ("model.shapes_px", [[[7, 7]]] * 4, "shapes_px has"),
        ("model.shapes_px", [[[7, 7]]] * 4 + [[]], "shapes_px has"),
        ("model.shapes_px", [[[7, 0]]] * 5, "shapes_px: every anchor"),
        ("model.input_size_px", [640, 470], "multiples of 16"),
        ("model.input_size_px", [0, 480], "multiples of 16"),
        ("model.input_size_px", [-640, 480], "multiples of 16"),
        ("model.width", 0.0, "width must be above 0"),
    ],
)
def test_what_cannot_be_trained_is_refused(key: str, value: Any, words: str) -> None:
    recipe = to_dict(load_recipe("full_crowd"))
    from_dict(TrainingConfig, recipe, where="own.toml")
    table, _, leaf = key.rpartition(".")
    (recipe[table] if table else recipe)[leaf] = value
    with pytest.raises(ConfigError, match=words):
        from_dict(TrainingConfig, recipe, where="own.toml")


def test_what_studies_and_the_docs_use_stays_legal() -> None:
    recipe = load_recipe("full_real")
    scored = SourceConfig(folder="real", split="ssl_images", share=0.0)
    dataclasses.replace(recipe, sources=(scored, SourceConfig(folder="simulated")), max_minutes=0.0, frozen_blocks=0)
    dataclasses.replace(recipe, augment=dataclasses.replace(recipe.augment, noise_sigma=(0.0, 0.0), plain=1.0))


def test_the_sizes_that_pass_are_those_that_the_network_pairs_with_its_anchors() -> None:
    torch = pytest.importorskip("torch", reason="the network needs the [train] extra")
    from perception.detection.anchors import AnchorSpec
    from perception.training.network import SsdLite

    shapes = (((8.0, 8.0),),) * 5
    network = SsdLite(AnchorSpec(input_size_px=(64, 64), strides_px=STRIDES_PX, shapes_px=shapes), width=0.25).eval()
    assert len(network.blocks) == BLOCKS
    model = load_recipe("full_real").model
    for side in range(49, 81):
        spec = AnchorSpec(input_size_px=(side, 64), strides_px=STRIDES_PX, shapes_px=shapes)
        try:
            with torch.no_grad():
                pairs = network(torch.zeros(1, 3, 64, side))[0].shape[1] == spec.count
        except RuntimeError:  # the context does not fit beside the fine features
            pairs = False
        try:
            dataclasses.replace(model, input_size_px=(side, 64))
            passes = True
        except ValueError:
            passes = False
        assert passes == pairs, f"{side} pixels"


def test_a_recipe_says_only_what_differs_from_its_base(tmp_path: Path) -> None:
    whole = load_recipe("full_crowd")
    mine = tmp_path / "mine.toml"
    mine.write_text('base = "full_crowd"\nname = "mine"\n[augment]\nworn = 0.5\n')
    asked = dataclasses.replace(whole, name="mine", augment=dataclasses.replace(whole.augment, worn=0.5))
    assert load_recipe(mine) == asked
    assert load_recipe(mine, {"steps": 7}) == dataclasses.replace(asked, steps=7)


def test_a_base_that_cannot_be_is_refused(tmp_path: Path) -> None:
    a, b = tmp_path / "a.toml", tmp_path / "b.toml"
    a.write_text(f'base = "{b}"\n')
    b.write_text(f'base = "{a}"\n')
    with pytest.raises(ConfigError, match="is a base of itself") as circle:
        load_recipe(a)
    assert "b.toml" in (circle.value.hint or "")
    a.write_text("base = 3\n")
    with pytest.raises(ConfigError, match=r"a\.toml: base should be str"):
        load_recipe(a)
    a.write_text('base = "nowhere"\n')
    with pytest.raises(ConfigError, match="no such recipe: nowhere"):
        load_recipe(a)


def test_shipped_recipes_pass() -> None:
    for path in (PROJECT / "perception/training/recipes").glob("*.toml"):
        load_recipe(path)


@pytest.mark.parametrize("model", ["full", "fast"])
def test_the_shipped_recipes_are_those_that_the_shipped_models_name(model: str) -> None:
    """The hash of a recipe is over all fields: without those that came later it is the one of that day."""
    words = json.loads((PROJECT / f"perception/detection/models/{model}.json").read_text())["trained_by"]
    named = re.findall(r"recipe (\w+) ([0-9a-f]{16})", words)
    assert named
    for name, digest in named:
        recipe = to_dict(load_recipe(name))
        hashes = [config_hash(recipe)]
        for later in (
            ("last_rate",),
            ("paste_nothing", "doubled_robots"),
            ("worn",),
            ("label_margins",),
        ):  # the last first
            for table in (recipe, recipe["augment"], *recipe["sources"]):
                for key in later:
                    table.pop(key, None)
            hashes.append(config_hash(recipe))
        assert digest in hashes, f"{name} was changed after {model} was trained"
