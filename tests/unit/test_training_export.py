"""Exporting: nothing that ships is overwritten unasked, no int8 model outlives its weights, damage is named."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")
pytest.importorskip("onnx", reason="training needs the [train] extra")
pytest.importorskip("onnxslim", reason="training needs the [train] extra")

from perception.detection.model import MODELS_DIR, read_meta  # noqa: E402
from perception.training import export as module  # noqa: E402
from perception.training.command import run as call  # noqa: E402
from perception.training.export import export, load_run  # noqa: E402
from perception.training.network import SsdLite  # noqa: E402
from perception.training.train import train  # noqa: E402
from robot.core.errors import DataError, DetectorError  # noqa: E402
from tests.unit.test_training_network import SPEC, tiny_recipe  # noqa: E402


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of the recipe `tiny`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return train(tiny_recipe(tmp_path / "data"), tmp_path / "run", tmp_path).parent


def type_in(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["export", *words])
    return call(module.main)


def test_what_blackout_train_says_next_leaves_the_shipped_weights_alone(
    run: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shipped = {p: p.stat().st_mtime_ns for p in MODELS_DIR.glob("*.onnx")}
    assert type_in(monkeypatch, str(run)) == 0
    assert read_meta(run / "tiny.onnx").name == "tiny"
    assert {p: p.stat().st_mtime_ns for p in MODELS_DIR.glob("*.onnx")} == shipped
    assert f"next: python -m perception.training.quantise {run / 'tiny.onnx'}" in capfd.readouterr().out


def test_an_int8_model_of_the_weights_before_does_not_stay(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would run: precision `auto` takes int8 where there is one."""
    for name in ("own.int8.onnx", "own.int8.json", "other.int8.onnx"):
        (run / name).write_text("of older weights")
    assert type_in(monkeypatch, str(run), "--name", "own") == 0
    assert sorted(p.name for p in run.glob("*.onnx")) == ["other.int8.onnx", "own.onnx"]
    assert not (run / "own.int8.json").exists()


def test_weights_that_diverged_are_refused_and_the_file_before_stays(tmp_path: Path) -> None:
    network = SsdLite(SPEC, width=0.25)
    with torch.no_grad():
        network.last.conv.weight.fill_(float("nan"))
    (tmp_path / "a.onnx").write_text("the one before")
    with pytest.raises(DetectorError, match="diverged"):
        export(network, tmp_path / "a.onnx")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.onnx", "the one before")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ema.pt", b"", "is damaged"),
        ("ema.pt", b"half a file", "is damaged"),
        ("recipe.json", b"{", "is damaged"),
        ("ema.pt", None, "is no training run"),
    ],
)
def test_a_damaged_run_is_named(name: str, content: bytes | None, message: str, run: Path) -> None:
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_run(run)


def test_weights_of_another_network_than_the_recipes_are_named(run: Path) -> None:
    recipe = (run / "recipe.json").read_text()
    (run / "recipe.json").write_text(recipe.replace('"width": 0.25', '"width": 0.5'))
    with pytest.raises(DataError, match=r"do not fit(?s:.)*resumed with another \[model\]"):
        load_run(run)
