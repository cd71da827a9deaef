"""ONNX Runtime on a GPU: the providers' options, engines only from `build-engine`, and no way back to the processor."""

from __future__ import annotations

import ctypes
import dataclasses
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from perception.detection import DetectionConfig, load_detector
from perception.detection.backends import open_backend
from perception.detection.backends.nvidia.gpu import read_gpu
from perception.detection.backends.nvidia.providers import (
    CPU,
    CUDA,
    TENSORRT,
    engine_directory,
    infer_library_version,
    mark_ready,
    provider_list,
    session_key,
    session_model,
)
from perception.detection.backends.onnxruntime import OnnxRuntimeBackend
from perception.detection.config import EngineConfig
from perception.detection.model import read_meta
from robot.core.errors import DetectorError
from tests.fake_nvidia import ORIN
from tests.toy_network import write_int8, write_toy

needs_gpu_wheel = pytest.mark.skipif(
    CUDA not in onnxruntime.get_available_providers(),
    reason="this onnxruntime was built without CUDA: its silent fall-back cannot be provoked",
)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_toy(tmp_path_factory.mktemp("toy"))
    write_int8(path)
    return path


@pytest.fixture
def orin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perception.detection.backends.nvidia.providers.read_gpu", lambda: ORIN)


def config(toy: Path, *providers: str, **fields: Any) -> DetectionConfig:
    return DetectionConfig(model=str(toy), providers=providers, **{"precision": "fp32", **fields})


@needs_gpu_wheel
@pytest.mark.usefixtures("orin")
@pytest.mark.parametrize("providers", [(CUDA,), (CUDA, CPU)], ids=["CUDA alone", "CUDA then CPU"])
def test_a_gpu_that_does_not_come_up_is_an_error_not_a_slow_robot(providers: tuple[str, ...], toy: Path) -> None:
    """The driver reports a GPU here and CUDA's libraries do not load: ONNX Runtime goes on without a word."""
    with pytest.raises(DetectorError, match=r"(started without CUDAExecutionProvider|cannot load)(?s:.)*mend"):
        load_detector(config(toy, *providers))


@needs_gpu_wheel
def test_without_a_driver_the_machine_is_named(toy: Path) -> None:
    try:
        read_gpu()
    except DetectorError:
        with pytest.raises(DetectorError, match=r"NVIDIA driver(?s:.)*CPUExecutionProvider"):
            load_detector(config(toy, CUDA))
    else:
        pytest.skip("there is a GPU here")


class FakeSession:
    """Takes what it is given; pretends that every provider came up."""

    last: FakeSession

    def __init__(self, model: Any, options: Any, providers: Any, enable_fallback: int) -> None:
        self.model, self.options, self.providers, self.enable_fallback = model, options, providers, enable_fallback
        self.fallback = True
        FakeSession.last = self
        source = onnxruntime.capi.onnxruntime_inference_collection.InferenceSession
        self._real = source(model, providers=[CPU])
        self.get_inputs, self.get_outputs = self._real.get_inputs, self._real.get_outputs

    def get_providers(self) -> list[str]:
        return [p if isinstance(p, str) else p[0] for p in self.providers] + [CPU]

    def disable_fallback(self) -> None:
        self.fallback = False

    def run(self, names: Any, feed: Any) -> Any:
        return self._real.run(names, feed)


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> type[FakeSession]:
    monkeypatch.setattr(onnxruntime, "InferenceSession", FakeSession)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    return FakeSession


@pytest.mark.usefixtures("orin")
def test_no_node_may_end_on_the_processor_unless_it_is_allowed(toy: Path, sessions: type[FakeSession]) -> None:
    key = "session.disable_cpu_ep_fallback"
    open_backend(toy, read_meta(toy), config(toy, CUDA))
    assert sessions.last.options.get_session_config_entry(key) == "1"
    assert (sessions.last.enable_fallback, sessions.last.fallback) == (0, False)
    for providers in ((CUDA, CPU), (CPU,)):
        open_backend(toy, read_meta(toy), config(toy, *providers))
        with pytest.raises(RuntimeError, match=key):
            sessions.last.options.get_session_config_entry(key)


@pytest.mark.usefixtures("orin")
def test_an_engine_must_have_been_built(toy: Path, tmp_path: Path, sessions: type[FakeSession]) -> None:
    """Missing: refused with the command. Built: found again, in its own directory. Other options: refused."""
    engine = EngineConfig(directory=str(tmp_path / "engines"), workspace_mib=64, sparse=True)
    wanted = config(toy, TENSORRT, CUDA, precision="fp16", engine=engine)
    meta = read_meta(toy)
    mend = r"build-engine --model .*toy\.onnx --precision fp16 --backend onnxruntime --sparse --workspace-mib 64 --out"
    with pytest.raises(DetectorError, match=rf"no TensorRT engine(?s:.)*{mend}"):
        open_backend(toy, meta, wanted)
    OnnxRuntimeBackend(toy, meta, wanted, building=True).run(np.zeros((1, 3, 32, 64), np.float32))
    key = session_key(meta, wanted, ORIN, onnxruntime.__version__)
    directory = engine_directory(meta, wanted, key)
    assert directory.is_dir()
    with pytest.raises(DetectorError, match="no TensorRT engine"):
        open_backend(toy, meta, wanted)  # a build that was interrupted left the folder and no mark
    mark_ready(directory, key)
    backend = open_backend(toy, meta, wanted)
    assert "TensorrtExecutionProvider" in backend.description
    (name, options), (second, _) = sessions.last.providers
    assert (name, second) == (TENSORRT, CUDA)
    assert options == {
        "device_id": 0,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(directory),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(directory),
        "trt_max_workspace_size": 64 << 20,
        "trt_builder_optimization_level": 3,
        "trt_fp16_enable": True,
        "trt_int8_enable": False,
        "trt_sparsity_enable": True,
    }
    for damage in (lambda p: p.unlink(), lambda p: p.write_bytes(b"pl")):
        built = directory / "TensorrtExecutionProvider_graph_0_sm87.engine"
        built.write_bytes(b"plan")
        mark_ready(directory, key)
        open_backend(toy, meta, wanted)
        damage(built)
        with pytest.raises(DetectorError, match=rf"it was damaged(?s:.)*{mend}"):
            open_backend(toy, meta, wanted)  # the provider would build for minutes without a word
    mark_ready(directory, key)
    open_backend(toy, meta, wanted)
    for changed in ({"sparse": False}, {"workspace_mib": 65}):
        other = dataclasses.replace(wanted, engine=dataclasses.replace(engine, **changed))  # type: ignore[arg-type]
        with pytest.raises(DetectorError, match="no TensorRT engine"):
            open_backend(toy, meta, other)


@pytest.mark.usefixtures("orin")
def test_dla_and_precisions_reach_the_provider(toy: Path, tmp_path: Path) -> None:
    engine = EngineConfig(directory=str(tmp_path), dla_core=1)
    int8 = toy.with_name("toy.int8.onnx")
    for path, precision, flags in (
        (toy, "fp32", (False, False)),
        (toy, "auto", (True, False)),
        (int8, "int8", (True, True)),
    ):
        wanted = config(path, TENSORRT, precision=precision, engine=engine)
        ((_, options),) = provider_list(read_meta(path), wanted, "1.31.1", building=True)
        assert (options["trt_fp16_enable"], options["trt_int8_enable"]) == flags
        assert (options["trt_dla_enable"], options["trt_dla_core"]) == (True, 1)


def test_the_model_is_made_fit_only_for_who_needs_it(toy: Path) -> None:
    int8 = toy.with_name("toy.int8.onnx")
    assert session_model(toy, read_meta(toy), config(toy, CPU)) == str(toy)
    assert session_model(int8, read_meta(int8), config(int8, CPU)) == str(int8)
    assert session_model(int8, read_meta(int8), config(int8, CUDA)) == str(int8)
    assert isinstance(session_model(int8, read_meta(int8), config(int8, TENSORRT)), bytes)
    assert isinstance(session_model(toy, read_meta(toy), config(toy, CUDA, precision="fp16")), bytes)
    assert session_model(toy, read_meta(toy), config(toy, TENSORRT, precision="fp16")) == str(toy)


def test_half_precision_on_the_processor_is_refused(toy: Path) -> None:
    with pytest.raises(DetectorError, match="fp16 runs on a GPU only"):
        load_detector(config(toy, CPU, precision="fp16"))


def test_the_version_of_a_library_that_is_not_there() -> None:
    try:
        ctypes.CDLL("libnvinfer.so.10")
    except OSError:
        assert "10" not in infer_library_version()
    else:
        assert infer_library_version() != "none"


DRIVER = """
#include <string.h>
static int initialised;
int cuInit(unsigned f) { initialised = 1; return INIT; }
int cuGetErrorName(int e, const char **t) { *t = "CUDA_ERROR_NO_DEVICE"; return 0; }
int cuDeviceGet(int *d, int i) { *d = 40 + i; return initialised ? 0 : 3; }
int cuDeviceGetName(char *n, int len, int d) { strncpy(n, "Orin", len); return d == 40 ? 0 : 101; }
int cuDriverGetVersion(int *v) { *v = 12060; return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) {
    *v = a == 16 ? 8 : a == 18 ? 1 : a == 75 ? 8 : a == 76 ? 7 : -1; return d == 40 ? 0 : 101; }
"""


@pytest.fixture
def driver(tmp_path: Path) -> Any:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc here: the stand-in for the driver library cannot be compiled")

    def build(status: int) -> str:
        source, library = tmp_path / "cuda.c", tmp_path / f"libcuda{status}.so"
        source.write_text(DRIVER)
        subprocess.run(["gcc", "-shared", "-fPIC", f"-DINIT={status}", str(source), "-o", str(library)], check=True)
        return str(library)

    return build


def test_the_drivers_facts(driver: Any) -> None:
    gpu = read_gpu(driver(0))
    assert gpu == ORIN
    assert gpu.arch == "sm_87"
    assert gpu.description == "Orin (sm_87, 8 multiprocessors, driver for CUDA 12.6)"


def test_a_driver_without_a_gpu_and_no_driver_at_all(driver: Any) -> None:
    with pytest.raises(DetectorError, match=r"cuInit says CUDA_ERROR_NO_DEVICE \(100\)(?s:.)*JetPack"):
        read_gpu(driver(100))
    with pytest.raises(DetectorError, match="no NVIDIA driver on this machine"):
        read_gpu("libno-such-driver.so.1")
