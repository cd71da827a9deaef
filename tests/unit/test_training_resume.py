"""Resuming a run: with its own recipe only, from a whole checkpoint only."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")

from perception.training import train as train_module  # noqa: E402
from perception.training.config import SourceConfig, TrainingConfig  # noqa: E402
from perception.training.curves import read_log  # noqa: E402
from perception.training.studies import ablation, compression  # noqa: E402
from perception.training.train import prepare, train  # noqa: E402
from robot.core.config import to_dict  # noqa: E402
from robot.core.errors import ConfigError, DataError  # noqa: E402
from tests.unit.test_training_network import cut_run, tiny_recipe  # noqa: E402

SCORES = [f"{p}_{n}" for p in ("all", "photos") for n in ("ap", "ap50", "robot_ap50", "ball_ap50", "goal_ap50")]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingConfig, Path]:
    """A recipe and the folder of its run, killed after two of four steps."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("begun")
    config = tiny_recipe(folder / "data")
    cut_run(config, folder / "run", folder, 2)
    return config, folder / "run"


@pytest.fixture
def run(begun: tuple[TrainingConfig, Path], tmp_path: Path) -> Path:
    """A copy of that run."""
    shutil.copytree(begun[1], tmp_path / "run")
    return tmp_path / "run"


def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def reached(*_args: Any) -> None:
        raise AssertionError("the run began")

    monkeypatch.setattr(train_module, "prepare", reached)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 8}, r"steps \(4, now 8\)"),
        ({"seed": 5, "batch": 3}, r"seed \(1, now 5\), batch \(2, now 3\)"),
        ({"augment": {"jpeg": 0.5}}, r"augment\.jpeg \(0\.3, now 0\.5\)"),
        ({"model": {"width": 0.5}}, r"model\.width \(0\.25, now 0\.5\)"),
        ({"sources": (SourceConfig(folder="elsewhere"),)}, r"sources \("),
    ],
)
def test_a_changed_recipe_is_refused_and_the_runs_own_stays(
    changes: dict[str, Any], words: str, begun: tuple[TrainingConfig, Path], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = begun[0]
    nested = {k: dataclasses.replace(getattr(config, k), **v) if isinstance(v, dict) else v for k, v in changes.items()}
    before = (run / "recipe.json").read_bytes()
    no_training(monkeypatch)
    with pytest.raises(DataError, match=words) as error:
        train(dataclasses.replace(config, **nested), run, run, resume=True)
    assert "--out" in error.value.hint
    assert (run / "recipe.json").read_bytes() == before


def test_what_does_not_change_the_weights_may_change(begun: tuple[TrainingConfig, Path], run: Path) -> None:
    """A recipe that is older than the last field of the code is the same recipe, too."""
    recipe = json.loads((run / "recipe.json").read_text())
    del recipe["augment"]["doubled_robots"]
    (run / "recipe.json").write_text(json.dumps(recipe))
    config = dataclasses.replace(begun[0], max_minutes=9.0, save_every_steps=7, evaluate_every_steps=7)
    train(config, run, begun[1].parent, resume=True)
    assert torch.load(run / "last.pt", weights_only=True)["step"] == 4
    assert json.loads((run / "recipe.json").read_text()) == to_dict(config)


def test_the_recipe_is_written_when_everything_else_was_found(tmp_path: Path) -> None:
    config = dataclasses.replace(tiny_recipe(tmp_path / "data"), checkpoint="nothing.pt")
    with pytest.raises(DataError, match="train the stage before"):
        train(config, tmp_path / "run", tmp_path)
    assert not (tmp_path / "run" / "recipe.json").exists()


@pytest.mark.parametrize("content", [None, b"{", b"[]", b'{"name": "tiny"}'])
def test_a_run_without_a_recipe_is_refused(
    content: bytes | None, begun: tuple[TrainingConfig, Path], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run / "recipe.json").unlink() if content is None else (run / "recipe.json").write_bytes(content)
    no_training(monkeypatch)
    with pytest.raises((DataError, ConfigError), match=r"recipe\.json"):
        train(begun[0], run, begun[1].parent, resume=True)


@pytest.mark.parametrize("keep", [0, 10, 2000, -40])
def test_a_cut_checkpoint_is_named(
    keep: int, begun: tuple[TrainingConfig, Path], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = run / "last.pt"
    last.write_bytes(last.read_bytes()[:keep])
    stage = dataclasses.replace(begun[0], checkpoint="last.pt")
    with pytest.raises(DataError, match=r"cannot start from .*last\.pt(?s:.)*train the stage before"):
        prepare(stage, None, run)  # type: ignore[arg-type] - draws nothing from the feeder
    no_training(monkeypatch)
    with pytest.raises(DataError, match=r"cannot start from .*last\.pt(?s:.)*train anew"):
        train(begun[0], run, begun[1].parent, resume=True)


@pytest.mark.parametrize("content", [{}, {"network": {}}, [1], {"network": 7}])
def test_a_checkpoint_of_something_else_is_named(content: Any, begun: tuple[TrainingConfig, Path], run: Path) -> None:
    torch.save(content, run / "last.pt")
    with pytest.raises(DataError, match=r"last\.pt"):
        prepare(dataclasses.replace(begun[0], checkpoint="last.pt"), None, run)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"last\.pt"):
        train(begun[0], run, begun[1].parent, resume=True)


def test_nothing_to_resume_from_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(dataclasses.replace(tiny_recipe(tmp_path / "data"), steps=1), tmp_path / "run", tmp_path, resume=True)
    assert capsys.readouterr().out.startswith(f"no {tmp_path / 'run' / 'last.pt'} to resume from: a new run begins\n")


def test_the_first_line_after_a_resume_is_a_mean_of_its_own_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at step 18, logged next at step 20: two steps were summed, and divided by 20."""
    config = dataclasses.replace(tiny_recipe(tmp_path / "data"), steps=20, save_every_steps=18)
    monkeypatch.setattr(train_module, "detection_loss", lambda a, b, *_: (0 * a.sum() + 3.0, 0 * b.sum() + 1.0))
    cut_run(config, tmp_path / "run", tmp_path, 19)
    train(config, tmp_path / "run", tmp_path, resume=True)
    assert [(e["step"], e["class_loss"], e["box_loss"]) for e in read_log(tmp_path / "run")] == [(20, 3.0, 1.0)]


@pytest.mark.parametrize("study", [ablation, compression])
def test_a_study_of_other_steps_does_not_report_the_old_run(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    config = dataclasses.replace(tiny_recipe(folder), steps=1, seed=8)
    monkeypatch.setattr(study, "ROOT", tmp_path)
    monkeypatch.setattr(study, "load_recipe", lambda _: config)
    monkeypatch.setattr(study, "variants", lambda recipe, *rest: {"one": dataclasses.replace(recipe, steps=rest[-1])})
    monkeypatch.setattr(study, "final_scores", lambda _: dict.fromkeys(SCORES, 0.5), raising=False)
    monkeypatch.setattr(study, "scores", lambda *_: [0.5] * 4, raising=False)
    argv = [study.__name__, "own", "--out", str(tmp_path / "study"), "--steps"]
    for steps in ("1", "1"):
        monkeypatch.setattr("sys.argv", [*argv, steps])
        study.main()
    monkeypatch.setattr("sys.argv", [*argv, "2"])
    with pytest.raises(DataError, match=r"steps \(1, now 2\)"):
        study.main()
