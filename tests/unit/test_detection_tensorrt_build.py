"""Building engines: three TensorRT versions, each asked only for what it has; failures with reason and mend."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from perception.detection.backends.nvidia.api import TensorRt, import_tensorrt
from perception.detection.backends.nvidia.build import build_plan
from perception.detection.backends.nvidia.log import tensorrt_logger
from perception.detection.backends.nvidia.onnx_graph import make_symmetric, network_for_tensorrt
from perception.detection.backends.nvidia.progress import BuildProgress
from perception.detection.backends.nvidia.report import measure, trtexec_command
from perception.detection.config import EngineConfig
from perception.detection.model import MODELS_DIR, read_meta
from robot.core.errors import DetectorError, MissingExtraError
from tests.fake_nvidia import Severity, World
from tests.fake_tensorrt import fake_tensorrt
from tests.toy_network import write_int8, write_toy

VERSIONS = ("8.6.1", "10.3.0", "11.4.0")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_toy(tmp_path_factory.mktemp("toy"))
    write_int8(path)
    return path


def api(version: str, world: World, monkeypatch: pytest.MonkeyPatch) -> TensorRt:
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt(version, world))
    return import_tensorrt()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_each_version_is_asked_for_what_it_has(
    version: str, precision: str, world: World, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = api(version, world, monkeypatch)
    path = toy.with_name("toy.int8.onnx") if precision == "int8" else toy
    network = network_for_tensorrt(path, precision, typed=not trt.precision_flags)
    engine = EngineConfig(workspace_mib=64, optimization_level=4, sparse=True)
    built = build_plan(trt, network, precision, engine, b"")
    assert built.plan == b"PLAN|" + version.encode() + b"|" + network
    options = world.builds[0]["options"]
    expected = {"SPARSE_WEIGHTS"} | ({"TF32"} if precision != "fp32" else set())
    if not version.startswith("11"):
        expected |= {"fp32": set(), "fp16": {"FP16"}, "int8": {"FP16", "INT8"}}[precision]
    assert options.flags == expected
    assert options.pools == {"WORKSPACE": 64 << 20}
    assert options.builder_optimization_level == 4
    half = any(c.data_type == onnx.TensorProto.FLOAT16 for c in onnx.load_from_string(network).graph.initializer)
    assert half == (version.startswith("11") and precision == "fp16")


def test_tensorrt_that_is_missing_or_too_old_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingExtraError, match="system-site-packages"):
        import_tensorrt()
    old = fake_tensorrt("8.2.1", world)
    old.ICudaEngine = type("ICudaEngine", (), {"num_bindings": 3})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorrt", old)
    with pytest.raises(DetectorError, match=r"8\.2\.1 is too old: it has no num_io_tensors, .*(?s:.)*onnxruntime"):
        import_tensorrt()


def test_without_cuda_the_factory_returns_nothing(world: World, toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trt = api("10.3.0", world, monkeypatch)
    world.fail.add("builder")
    with pytest.raises(DetectorError, match=r"CUDA initialization failure(?s:.)*JetPack"):
        build_plan(trt, toy.read_bytes(), "fp32", EngineConfig(), b"")


def test_a_model_that_the_parser_refuses_shows_every_fault(
    world: World, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The int8 model as it is for processors: what would happen without `onnx_graph`."""
    content = toy.with_name("toy.int8.onnx").read_bytes()
    for version, where in (("8.6.1", "at node 3"), ("10.3.0", "at node Conv_3")):
        with pytest.raises(DetectorError, match=rf"cannot read the model: .*zero point.*{where}; .*{where}"):
            build_plan(api(version, world, monkeypatch), content, "int8", EngineConfig(), b"")


def test_a_build_that_fails_tells_what_tensorrt_logged(
    world: World, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = api("10.3.0", world, monkeypatch)
    tensorrt_logger(trt.module).log(Severity.ERROR, "an old error of another engine")
    world.fail.add("build")
    with pytest.raises(DetectorError, match=r"any implementation for node Conv_0(?s:.)*--workspace-mib") as caught:
        build_plan(trt, toy.read_bytes(), "fp32", EngineConfig(), b"")
    assert "old error" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "note"),
    [(b"", b"+", "new"), (b"times", b"times+", "5 bytes"), (b"foreign", b"+", "begun anew")],
)
def test_the_timing_cache_is_used_where_it_fits(
    before: bytes, after: bytes, note: str, world: World, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build_plan(api("10.3.0", world, monkeypatch), toy.read_bytes(), "fp32", EngineConfig(), before)
    assert built.timing_cache == after
    assert note in built.notes[-1]


def test_dla_only_where_there_is_one(world: World, toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trt, engine = api("10.3.0", world, monkeypatch), EngineConfig(dla_core=1)
    with pytest.raises(DetectorError, match="no DLA core 1: TensorRT sees 0"):
        build_plan(trt, toy.read_bytes(), "fp16", engine, b"")
    world.dla_cores = 2
    with pytest.raises(DetectorError, match="fp16 or int8 only"):
        build_plan(trt, toy.read_bytes(), "fp32", engine, b"")
    build_plan(trt, toy.read_bytes(), "fp16", engine, b"")
    options = world.builds[0]["options"]
    assert (options.default_device_type, options.DLA_core) == ("DLA", 1)
    assert "GPU_FALLBACK" in options.flags


def test_progress_is_shown_and_a_build_can_be_stopped(world: World, toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = BuildProgress()
    progress.start("Building", 3)
    progress.start("Tactics", 10)
    assert progress.step("Tactics", 4)
    assert progress.text == "Building 0/3, Tactics 5/10"
    progress.finish("Tactics")
    assert progress.text == "Building 0/3"
    progress.finish("Building")
    trt = api("10.3.0", world, monkeypatch)
    build_plan(trt, toy.read_bytes(), "fp32", EngineConfig(), b"", progress)
    assert progress.text == ""
    progress.stop()
    with pytest.raises(DetectorError, match="cannot build"):
        build_plan(trt, toy.read_bytes(), "fp32", EngineConfig(), b"", progress)
    build_plan(api("8.6.1", world, monkeypatch), toy.read_bytes(), "fp32", EngineConfig(), b"", progress)  # no monitor


def test_there_is_one_logger_per_process_and_it_keeps_the_last_errors(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    module: ModuleType = fake_tensorrt("10.3.0", world)
    logger = tensorrt_logger(module)
    assert tensorrt_logger(module) is logger
    for i in range(20):
        logger.log(Severity.ERROR, f"error {i}")
    logger.log(Severity.WARNING, "a warning")
    errors = logger.take_errors()
    assert errors.startswith("error 12; ")
    assert "warning" not in errors
    assert logger.take_errors() == "TensorRT gave no reason"
    assert {r.levelname for r in caplog.records if r.name == "perception.detection.tensorrt"} == {"ERROR", "WARNING"}


def run_onnx(model: bytes | str, blob: np.ndarray) -> list[np.ndarray]:  # type: ignore[type-arg]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": blob})  # type: ignore[no-any-return]


def unfit(model: bytes) -> list[str]:
    """Return what TensorRT would refuse: zero points, unsigned codes, int32 biases, weights without a Q."""
    graph = onnx.load_from_string(model).graph
    constants = {c.name: numpy_helper.to_array(c) for c in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = constants[node.input[2]]
            if zero.dtype != np.int8 or zero.any() or (node.op_type[0] == "D" and node.input[0] in constants):
                found.append(node.name)
    return found


def test_the_int8_model_keeps_its_meaning_when_it_is_made_symmetric(toy: Path) -> None:
    path = toy.with_name("toy.int8.onnx")
    assert unfit(path.read_bytes())
    network = network_for_tensorrt(path, "int8", typed=False)
    assert unfit(network) == []
    onnx.checker.check_model(onnx.load_from_string(network))
    blob = np.random.default_rng(6).uniform(-1, 1, (1, 3, 32, 64)).astype(np.float32)
    plain, before, after = (run_onnx(m, blob) for m in (str(toy), str(path), network))
    for index in range(2):
        spread = np.abs(plain[index]).max()
        assert np.abs(before[index] - plain[index]).max() < 0.05 * spread
        assert np.abs(after[index] - plain[index]).max() < 0.05 * spread


def test_the_wider_end_of_the_old_range_still_fits() -> None:
    """uint8 with zero point 200 and scale 0.01 holds -2.0 to 0.55; int8 with zero point 0 must reach -2.0 too."""
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "q"),
            onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "d"),
        ],
        "range",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [4])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [4])],
        [numpy_helper.from_array(np.float32(0.01), "s"), numpy_helper.from_array(np.uint8(200), "z")],
    )
    make_symmetric(graph)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    x = np.array([-1.99, -0.5, 0.0, 0.55], np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x})[0], x, atol=2.0 / 127 / 2 + 1e-6)


def test_the_relu_that_the_unsigned_range_stood_for_is_put_back(toy: Path) -> None:
    network = network_for_tensorrt(toy.with_name("toy.int8.onnx"), "int8", typed=False)
    assert [n.op_type for n in onnx.load_from_string(network).graph.node].count("Relu") == 1


def test_the_shipped_int8_model_is_made_fit_and_stays_close() -> None:
    path = MODELS_DIR / "full.int8.onnx"
    network = network_for_tensorrt(path, "int8", typed=False)
    assert unfit(network) == []
    width, height = read_meta(path).anchors.input_size_px
    blob = np.random.default_rng(7).uniform(-1, 1, (1, 3, height, width)).astype(np.float32)
    before, after = run_onnx(str(path), blob), run_onnx(network, blob)
    for index, limit in ((0, 0.25), (1, 0.06)):
        assert np.abs(before[index] - after[index]).mean() < limit


def test_half_precision_in_the_file_stays_close_and_keeps_float_inputs(toy: Path) -> None:
    network = network_for_tensorrt(toy, "fp16", typed=True)
    assert network_for_tensorrt(toy, "fp16", typed=False) == toy.read_bytes()
    blob = np.random.default_rng(8).uniform(-1, 1, (1, 3, 32, 64)).astype(np.float32)
    for plain, half in zip(run_onnx(str(toy), blob), run_onnx(network, blob), strict=True):
        assert half.dtype == np.float32
        np.testing.assert_allclose(half, plain, atol=0.02 * np.abs(plain).max())


def test_a_file_of_another_precision_is_refused(toy: Path) -> None:
    with pytest.raises(DetectorError, match="not an int8 model, and int8 was asked for"):
        network_for_tensorrt(toy, "int8", typed=False)
    with pytest.raises(DetectorError, match="is an int8 model, and fp16 was asked for"):
        network_for_tensorrt(toy.with_name("toy.int8.onnx"), "fp16", typed=False)


def test_trtexec_builds_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = EngineConfig(workspace_mib=64, sparse=True, dla_core=0)
    line = trtexec_command(api("10.3.0", world, monkeypatch), Path("m.onnx"), "int8", engine, Path("e.engine")).split()[
        1:
    ]
    wanted = {"--onnx=m.onnx", "--saveEngine=e.trtexec", "--memPoolSize=workspace:64", "--fp16", "--int8"}
    assert wanted | {"--sparsity=enable", "--useDLACore=0", "--allowGPUFallback"} <= set(line)
    eleven = trtexec_command(api("11.4.0", world, monkeypatch), Path("m.onnx"), "fp16", EngineConfig(), Path("e"))
    assert not {"--fp16", "--useSpinWait"} & set(eleven.split())


def test_timing_leaves_the_warm_up_out() -> None:
    ticks = iter(range(0, 10**9, 1_000_000))
    calls: list[int] = []
    times = measure(lambda: calls.append(1), lambda: next(ticks), warm_up=3, repeats=5)
    assert len(calls) == 8
    assert times == {"median_ms": 1.0, "p99_ms": 1.0, "min_ms": 1.0, "max_ms": 1.0}
