"""The sources of a recipe: a bad label ends a run before it begins; bands of several real ones are scored as one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")

from perception.training import train as train_module  # noqa: E402
from perception.training.config import SourceConfig  # noqa: E402
from perception.training.network import SsdLite  # noqa: E402
from perception.training.train import score, train  # noqa: E402
from robot.core.errors import DataError  # noqa: E402
from tests.unit.test_training_network import tiny_recipe  # noqa: E402


def with_split(folder: Path) -> SourceConfig:
    """Make the tiny recipe's folder a real source: its first two pictures are held back."""
    lines = ['held_back = ["00000", "00001"]', "left_out = []"]
    lines += ["[[bands]]", 'name = "photos"', "ranges = [[0, 9]]"]
    path = folder / "split.toml"
    path.write_text("\n".join(lines) + "\n")
    return SourceConfig(folder=str(folder), split=str(path))


@pytest.mark.parametrize(("name", "split"), [("00005", False), ("00005", True), ("00000", True)])
def test_a_bad_label_ends_a_run_before_it_begins(
    name: str, split: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_recipe(tmp_path / "data")
    if split:
        config = dataclasses.replace(config, sources=(with_split(tmp_path / "data"),))
    (tmp_path / "data" / "labels" / f"{name}.txt").write_text("1 300 200 40 40\n")

    def reached(*_args: Any) -> None:
        raise AssertionError("the run began")

    monkeypatch.setattr(train_module, "prepare", reached)
    with pytest.raises(DataError, match=rf"{name}\.txt has a box outside"):
        train(config, tmp_path / "run", tmp_path)


def test_bands_of_one_name_are_scored_together(tmp_path: Path) -> None:
    """Two real sources, each with `photos`: the second's replaced the first's."""
    pytest.importorskip("pycocotools", reason="scoring needs the [train] extra")
    sources = []
    for name in ("first", "second"):
        config = tiny_recipe(tmp_path / name)
        sources.append(with_split(tmp_path / name))
    (tmp_path / "second" / "labels" / "00000.txt").write_text("")
    config = dataclasses.replace(config, sources=tuple(sources))
    network = SsdLite(config.model.anchors, config.model.width).eval()
    parts = score(network, config, tmp_path)
    assert parts["all"].pictures == parts["photos"].pictures == 4
