"""`blackout build-engine` from start to report on a make-believe GPU; without one, the mend and exit code 1."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import threading
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from perception.detection import DetectionConfig, load_detector
from perception.detection.backends.nvidia.gpu import read_gpu
from perception.detection.backends.nvidia.report import test_picture as drawn_picture
from perception.detection.config import EngineConfig
from robot.cli import build_engine
from robot.cli.main import main
from robot.core.errors import DetectorError
from tests.fake_nvidia import ORIN, World, build_host_kernel, install
from tests.fake_tensorrt import fake_tensorrt
from tests.toy_network import write_int8, write_toy

FAST = ["--warm-up", "1", "--repeats", "3"]


def test_without_a_gpu_it_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    try:
        read_gpu()
    except DetectorError:
        assert main(["build-engine", "--model", "full", "--precision", "fp16"]) == 1
        errors = capfd.readouterr().err
        assert "NVIDIA driver" in errors
        assert "mend:" in errors
    else:
        pytest.skip("there is a GPU here")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """An Orin with TensorRT 10.3; nvcc is the real one where there is one, else a stand-in."""
    world = World()
    world.kernel = build_host_kernel(tmp_path)
    install(monkeypatch, world, fake_tensorrt("10.3.0", world), ORIN)
    if shutil.which("nvcc") is None:
        nvcc = tmp_path / "nvcc"
        nvcc.write_text('#!/bin/sh\nfor last; do :; done\necho cubin > "$last"\n')
        nvcc.chmod(0o755)
        monkeypatch.setenv("NVCC", str(nvcc))
    return world


def test_built_timed_reported_and_then_found_by_the_robot(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, out = write_toy(tmp_path), tmp_path / "engines"
    flags = ["--model", str(model), "--precision", "fp32", "--workspace-mib", "64", "--out", str(out)]
    assert main(["build-engine", *flags, *FAST]) == 0
    said = capfd.readouterr().out
    for words in ("building; this takes minutes", "GPU: Orin", "TensorRT 10.3.0", "the same with trtexec", "FPS"):
        assert words in said
    (report_file,) = out.glob("*.report.json")
    report = json.loads(report_file.read_text())
    assert report["score_difference"] < 1e-5
    assert 0 < report["detect"]["median_ms"] <= report["detect"]["p99_ms"]
    assert report["stages_median_ms"]["inference"] > 0
    assert report["repeats"] == 3
    assert Path(report["engine"]).is_file()
    assert world.builds[0]["options"].pools == {"WORKSPACE": 64 << 20}
    engine = EngineConfig(directory=str(out), workspace_mib=64)
    config = DetectionConfig(model=str(model), backend="tensorrt", precision="fp32", engine=engine)
    load_detector(config).detect(drawn_picture())
    assert "kernel" in world.journal
    assert main(["build-engine", *flags, *FAST]) == 0
    assert "bytes from earlier builds" in capfd.readouterr().out, "the timing cache was not kept"


def test_the_command_of_the_error_mends_it(world: World, tmp_path: Path) -> None:
    """What play mode prints is what has to be typed, options and all."""
    engine = EngineConfig(
        directory=str(tmp_path / "e"), workspace_mib=99, optimization_level=2, sparse=True, gpu_letterbox=False
    )
    config = DetectionConfig(model=str(write_toy(tmp_path)), backend="tensorrt", precision="fp16", engine=engine)
    with pytest.raises(DetectorError) as caught:
        load_detector(config)
    assert main([*shlex.split(caught.value.hint)[1:], *FAST]) == 0
    load_detector(config).detect(drawn_picture())


def test_int8_is_parsed_in_the_form_that_trtexec_gets_too(world: World, tmp_path: Path) -> None:
    model = write_int8(write_toy(tmp_path))
    assert (
        main(["build-engine", "--model", str(model), "--precision", "int8", "--out", str(tmp_path / "e"), *FAST]) == 0
    )
    report = json.loads(next((tmp_path / "e").glob("*.report.json")).read_text())
    parsed = Path(report["trtexec"].split("--onnx=")[1].split()[0])
    assert parsed.read_bytes() == world.builds[0]["network"] != model.read_bytes()
    assert {"--fp16", "--int8"} <= set(report["trtexec"].split())
    assert report["score_difference"] < 0.1


def test_a_failed_build_leaves_no_engine(world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    world.fail.add("build")
    out = tmp_path / "e"
    assert main(["build-engine", "--model", str(write_toy(tmp_path)), "--out", str(out), *FAST]) == 1
    assert "any implementation for node" in capfd.readouterr().err
    assert not list(out.glob("*.engine"))
    assert not list(out.glob("*.report.json"))


def test_a_folder_that_cannot_be_written_is_told_before_the_build(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "e").write_text("a file where the folder should be")
    flags = ["--model", str(write_toy(tmp_path)), "--no-gpu-letterbox", "--out", str(tmp_path / "e")]
    assert main(["build-engine", *flags, *FAST]) == 1
    assert "cannot write into" in capfd.readouterr().err
    assert not world.builds


def test_onnxruntimes_engine_is_built_and_marked(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from tests.unit.test_detection_tensorrt_providers import CPU, CUDA, TENSORRT, FakeSession

    monkeypatch.setattr(onnxruntime, "InferenceSession", FakeSession)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    flags = ["--backend", "onnxruntime", "--model", str(write_toy(tmp_path)), "--out", str(tmp_path / "e")]
    assert main(["build-engine", *flags, *FAST]) == 0
    assert [p.name for p in (tmp_path / "e").glob("*/*")] == ["ready.json"]
    assert 'providers = ["TensorrtExecutionProvider", "CUDAExecutionProvider"]' in capfd.readouterr().out


def test_a_long_build_shows_time_and_phase(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(build_engine, "_PROGRESS_S", 0.01)
    done = threading.Event()

    def text() -> str:
        done.set()
        return "Tactics 5/10"

    result, seconds = build_engine._with_progress(lambda: done.wait(10.0), text, lambda: None)
    assert (result, seconds < 10.0) == (True, True)
    assert re.search(r"^ +\d+ s  Tactics 5/10$", capfd.readouterr().out, re.MULTILINE)


def test_ctrl_c_tells_the_builder_and_comes_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_engine, "_PROGRESS_S", 0.01)
    stopped = threading.Event()

    def ctrl_c() -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine._with_progress(lambda: stopped.wait(10.0), ctrl_c, stopped.set)
    assert stopped.is_set()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--workspace-mib", "1"], "workspace_mib must be at least 16"),
        (["--repeats", "0"], "repeats at least 1"),
        (["--picture", "no.png"], "cannot read the picture no.png"),
    ],
)
def test_wrong_flags_are_named(flags: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["build-engine", *flags]) == 2
    assert message in capfd.readouterr().err


def test_the_drawn_picture_is_a_picture() -> None:
    picture = drawn_picture()
    assert picture.shape == (480, 640, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 4
