"""Engines belong to a model, a GPU, a TensorRT and options: a miss says what differs, damage is deleted."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from perception.detection.backends.nvidia.cache import EngineCache, build_command, cache_directory, write_whole
from perception.detection.backends.nvidia.keys import EngineKey, engine_key
from perception.detection.config import DetectionConfig, EngineConfig
from robot.core.errors import DetectorError
from tests.fake_nvidia import ORIN

KEY = engine_key("ab" * 32, "fp16", EngineConfig(), ORIN, "TensorRT 10.3.0")
OTHER = {
    "onnx_sha256": "cd" * 32,
    "runtime": "TensorRT 10.16.2",
    "gpu": "Orin NX",
    "compute_capability": "8.6",
    "multiprocessors": 4,
    "driver": 13020,
    "precision": "int8",
    "workspace_mib": 256,
    "optimization_level": 5,
    "sparse": True,
    "dla_core": 0,
    "graph_version": 99,
    "format": 99,
}


def test_the_list_of_ingredients_is_complete() -> None:
    assert set(OTHER) == {f.name for f in dataclasses.fields(EngineKey)}


@pytest.mark.parametrize("name", OTHER)
def test_every_ingredient_changes_the_key_and_is_named_when_it_differs(name: str, tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    changed = dataclasses.replace(KEY, **{name: OTHER[name]})
    assert changed.digest != KEY.digest
    cache.write_engine("full", changed, b"plan")
    with pytest.raises(DetectorError, match=r"nearest is full-.*: .* there, .* here\)\n.*mend: BUILD") as caught:
        cache.read_engine("full", KEY, "BUILD")
    shown = str(OTHER[name])[:12] if name == "onnx_sha256" else str(OTHER[name])
    assert f"{shown} there" in caught.value.message


def test_configuration_and_gpu_reach_the_key() -> None:
    engine = EngineConfig(workspace_mib=256, optimization_level=5, sparse=True, dla_core=1)
    gpu = dataclasses.replace(ORIN, name="X", compute_capability=(9, 0), multiprocessors=3, driver=1)
    key = engine_key("ef" * 32, "int8", engine, gpu, "R")
    same = [f.name for f in dataclasses.fields(EngineKey) if getattr(key, f.name) == getattr(KEY, f.name)]
    assert same == ["graph_version", "format"]


def test_where_and_how_pictures_are_scaled_does_not_change_the_engine() -> None:
    config = EngineConfig(directory="elsewhere", gpu_letterbox=False)
    assert engine_key("ab" * 32, "fp16", config, ORIN, "TensorRT 10.3.0") == KEY


def test_what_was_stored_comes_back(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "new" / "folder")
    path = cache.write_engine("models/full.onnx", KEY, b"plan")
    assert cache.read_engine("models/full.onnx", KEY, "BUILD") == b"plan"
    about = json.loads(path.with_suffix(".json").read_text())
    assert about["key"] == dataclasses.asdict(KEY)
    assert sorted(p.name for p in path.parent.iterdir()) == sorted([path.name, path.with_suffix(".json").name])


def test_nothing_there_names_the_command_and_the_folder(tmp_path: Path) -> None:
    with pytest.raises(DetectorError) as caught:
        EngineCache(tmp_path / "none").read_engine("full", KEY, "BUILD IT")
    assert caught.value.hint == "BUILD IT"
    assert str(tmp_path / "none") in caught.value.message


@pytest.mark.parametrize("damage", ["cut", "altered", "no_json", "json_cut", "json_of_another"])
def test_a_damaged_engine_is_deleted_and_the_next_build_is_good(damage: str, tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    path = cache.write_engine("full", KEY, b"a plan of some length")
    about = path.with_suffix(".json")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "altered":
        path.write_bytes(b"A" + path.read_bytes()[1:])
    elif damage == "no_json":
        about.unlink()
    elif damage == "json_cut":
        about.write_text(about.read_text()[:-20])
    else:
        content = json.loads(about.read_text())
        content["key"]["driver"] = 1
        about.write_text(json.dumps(content))
    with pytest.raises(DetectorError, match=r"was damaged, and has been deleted\n.*mend: BUILD"):
        cache.read_engine("full", KEY, "BUILD")
    assert list(tmp_path.iterdir()) == []
    cache.write_engine("full", KEY, b"plan")
    assert cache.read_engine("full", KEY, "BUILD") == b"plan"


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "engine"
    write_whole(path, b"old")

    def power_cut(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", power_cut)
    with pytest.raises(OSError, match="no space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["engine"]


def test_timing_caches_are_shared_by_models_but_not_by_versions_or_gpus(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    assert cache.read_timing(KEY) == b""
    cache.write_timing(KEY, b"times")
    assert cache.read_timing(dataclasses.replace(KEY, onnx_sha256="0", precision="int8", sparse=True)) == b"times"
    for name in ("runtime", "gpu", "compute_capability"):
        assert cache.read_timing(dataclasses.replace(KEY, **{name: OTHER[name]})) == b""


def test_the_directory_is_the_configured_or_systemds_or_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/blackout:/other")
    assert cache_directory(EngineConfig(directory="runs/engines")) == Path("runs/engines")
    assert cache_directory(EngineConfig()) == Path("/var/cache/blackout")
    monkeypatch.delenv("CACHE_DIRECTORY")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_directory(EngineConfig()) == Path("/xdg/blackout")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/robot")
    assert cache_directory(EngineConfig()) == Path("/home/robot/.cache/blackout")


def test_the_command_builds_what_the_configuration_asks_for() -> None:
    """Every option of the key stands in it, or the engine that it builds would not be found either."""
    assert build_command(DetectionConfig(backend="tensorrt"), "fp16", Path("d")) == (
        "blackout build-engine --model full --precision fp16"
    )
    engine = EngineConfig(
        directory="d", workspace_mib=64, optimization_level=5, sparse=True, dla_core=1, gpu_letterbox=False
    )
    command = build_command(DetectionConfig(model="m.onnx", backend="tensorrt", engine=engine), "int8", Path("d"))
    assert command == (
        "blackout build-engine --model m.onnx --precision int8 --sparse --workspace-mib 64 --optimization-level 5 "
        "--dla-core 1 --no-gpu-letterbox --out d"
    )
    assert "--backend onnxruntime" in build_command(DetectionConfig(), "fp16", Path("d"))


@pytest.mark.parametrize("field", [{"workspace_mib": 1}, {"optimization_level": 6}, {"dla_core": -2}])
def test_options_out_of_range_are_refused(field: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        EngineConfig(**field)  # type: ignore[arg-type]
