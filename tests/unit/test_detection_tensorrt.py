"""The tensorrt backend on a make-believe GPU: same boxes as ONNX Runtime, right memory, every failure with its mend."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from perception.detection import DetectionConfig, SsdDetector, load_detector
from perception.detection.backends import backend_names, open_backend
from perception.detection.backends.nvidia.build import build_plan
from perception.detection.backends.nvidia.cache import EngineCache
from perception.detection.backends.nvidia.gpu import Gpu
from perception.detection.backends.nvidia.keys import engine_key
from perception.detection.backends.nvidia.log import tensorrt_logger
from perception.detection.backends.tensorrt import TensorRtBackend
from perception.detection.config import EngineConfig
from perception.detection.detector import choose_precision
from perception.detection.kernels.build import kernel_path
from perception.detection.letterbox import Letterbox
from perception.detection.model import read_meta
from robot.core.errors import DetectorError, MissingExtraError
from tests.fake_nvidia import CARD, ORIN, Severity, World, build_host_kernel, install
from tests.fake_tensorrt import fake_tensorrt
from tests.toy_network import SPEC, write_toy

PICTURES = [
    np.random.default_rng(i).integers(0, 256, size, np.uint8) for i, size in enumerate([(48, 64, 3), (30, 90, 3)])
]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    return build_host_kernel(tmp_path_factory.mktemp("kernel"))


class Bench:
    """A toy model, a GPU and a TensorRT; `build` does what `blackout build-engine` does."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, kernel: Callable[..., None]) -> None:
        self.world, self.folder, self._monkeypatch = World(), folder, monkeypatch
        self.world.kernel = kernel
        self.model = write_toy(folder)
        self.config = DetectionConfig(
            model=str(self.model),
            backend="tensorrt",
            precision="fp32",
            score_threshold=0.2,
            engine=EngineConfig(directory=str(folder / "engines")),
        )
        self.use(ORIN, "10.3.0")

    def use(self, gpu: Gpu, version: str) -> None:
        self.gpu, self.version = gpu, version
        self.module = fake_tensorrt(version, self.world)
        install(self._monkeypatch, self.world, self.module, gpu)

    def build(self) -> Path:
        from perception.detection.backends.nvidia.api import import_tensorrt

        cache, meta = EngineCache(self.folder / "engines"), read_meta(self.model)
        built = build_plan(import_tensorrt(), self.model.read_bytes(), "fp32", self.config.engine, b"")
        key = engine_key(meta.sha256, "fp32", self.config.engine, self.gpu, f"TensorRT {self.version}")
        kernel_path(cache.directory, self.gpu.arch).parent.mkdir(parents=True, exist_ok=True)
        kernel_path(cache.directory, self.gpu.arch).write_bytes(b"\x7fELF")
        return cache.write_engine(str(self.model), key, built.plan)

    def open(self, gpu_letterbox: bool = True) -> TensorRtBackend:
        engine = dataclasses.replace(self.config.engine, gpu_letterbox=gpu_letterbox)
        config = dataclasses.replace(self.config, engine=engine)
        backend = open_backend(self.model, read_meta(self.model), config)
        assert isinstance(backend, TensorRtBackend)
        return backend


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: Callable[..., None]) -> Bench:
    return Bench(tmp_path, monkeypatch, kernel)


def test_helpers_are_no_backends() -> None:
    assert backend_names() == ("onnxruntime", "tensorrt")


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0", "11.4.0"])
@pytest.mark.parametrize("gpu", [ORIN, CARD], ids=["integrated", "discrete"])
@pytest.mark.parametrize("on_gpu", [True, False], ids=["gpu letterbox", "cpu letterbox"])
def test_it_finds_the_boxes_that_onnxruntime_finds(bench: Bench, version: str, gpu: Gpu, on_gpu: bool) -> None:
    """Through letterbox kernel, buffers, copies and stream; pictures of changing size; nothing left at the end."""
    bench.use(gpu, version)
    bench.build()
    meta = read_meta(bench.model)
    plain = load_detector(dataclasses.replace(bench.config, backend="onnxruntime"))
    backend = bench.open(gpu_letterbox=on_gpu)
    detector = SsdDetector(backend, meta, bench.config)
    for picture in [*PICTURES, PICTURES[0]]:
        expected, found = plain.detect(picture), detector.detect(picture)
        assert len(found) == len(expected) > 0
        for one, other in zip(found, expected, strict=True):
            assert one.object_class == other.object_class
            assert one.score == pytest.approx(other.score, abs=1e-4)
            assert one.box_px == pytest.approx(other.box_px, abs=1e-2)
    assert ("htod" in bench.world.journal) == (gpu is CARD)
    assert ("dtoh" in bench.world.journal) == (gpu is CARD)
    assert ("kernel" in bench.world.journal) == on_gpu
    assert bench.world.stacks[threading.get_ident()] == [], "a context was left on the stack"
    backend.close()
    assert bench.world.reachable == {}, "GPU memory was left behind"
    assert gpu.name in detector.description
    assert ("mapped" if gpu is ORIN else "copied") in detector.description


def test_raw_outputs_are_those_of_the_network(bench: Bench) -> None:
    bench.build()
    blob, _ = Letterbox(SPEC.input_size_px)(PICTURES[0])
    reference = open_backend(bench.model, read_meta(bench.model), DetectionConfig())
    backend = bench.open(gpu_letterbox=False)
    for found, expected in zip(backend.run(blob), reference.run(blob), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_teardown_goes_from_buffers_to_context_to_engine_to_runtime_to_stream(bench: Bench) -> None:
    bench.build()
    backend = bench.open()
    SsdDetector(backend, read_meta(bench.model), bench.config).detect(PICTURES[0])
    before = len(bench.world.journal)
    backend.close()
    ends = bench.world.journal[before:]
    assert ends[0] == "synchronize"
    order = [ends.index(x) for x in ("free pinned", "free device", "context gone", "engine gone", "runtime gone")]
    assert order == sorted(order)
    assert ends[-1] == "stream gone"
    assert not any("WITHOUT CONTEXT" in entry for entry in bench.world.journal)
    backend.close()
    assert len(bench.world.journal) == before + len(ends), "closing twice does something"
    with pytest.raises(DetectorError, match="has been closed"):
        backend.run(np.zeros((1, 3, 32, 64), np.float32))


def test_another_thread_may_use_it(bench: Bench) -> None:
    bench.build()
    detector = SsdDetector(bench.open(), read_meta(bench.model), bench.config)
    expected = detector.detect(PICTURES[0])
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(detector.detect(PICTURES[0])))
    thread.start()
    thread.join()
    assert found == [expected]
    assert all(stack == [] for stack in bench.world.stacks.values())


def test_play_never_builds(bench: Bench) -> None:
    with pytest.raises(
        DetectorError, match=r"no engine for this model(?s:.)*mend: blackout build-engine --model .*toy"
    ):
        bench.open()
    assert bench.world.builds == []


def test_an_engine_of_another_tensorrt_is_explained(bench: Bench) -> None:
    bench.build()
    bench.use(ORIN, "10.16.2")
    with pytest.raises(DetectorError, match=r"TensorRT: TensorRT 10\.3\.0 there, TensorRT 10\.16\.2 here"):
        bench.open()


def test_a_damaged_engine_is_deleted_and_never_reaches_tensorrt(bench: Bench) -> None:
    path = bench.build()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DetectorError, match=r"damaged, and has been deleted(?s:.)*build-engine"):
        bench.open()
    assert not path.exists()
    assert bench.world.journal == []
    bench.build()
    bench.open().close()


@pytest.mark.parametrize(("failure", "kept"), [("refuse", False), ("out of memory", True)])
def test_an_engine_that_tensorrt_refuses(bench: Bench, failure: str, kept: bool) -> None:
    path = bench.build()
    tensorrt_logger(bench.module).log(Severity.ERROR, "an old error, about memory")
    bench.world.fail.add(failure)
    words = "it was kept, memory being the reason" if kept else "it has been deleted"
    with pytest.raises(DetectorError, match=rf"refuses the engine: \w(?s:.)*{words}(?s:.)*build-engine"):
        bench.open()
    assert path.exists() == kept
    assert bench.world.reachable == {}
    assert bench.world.stacks[threading.get_ident()] == []


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("context", "cannot prepare the engine"),
        ("address", "refuses the buffer of 'images'"),
        ("dtype", "'images' is half, not float32"),
        ("memory", "the GPU is out of memory"),
        ("device", "CUDA cannot start"),
        ("module", r"driver refuses letterbox-sm_87(?s:.)*kernels\.build --arch sm_87"),
    ],
)
def test_failures_while_opening_leave_nothing_behind(bench: Bench, failure: str, message: str) -> None:
    bench.build()
    bench.world.fail.add(failure)
    with pytest.raises(DetectorError, match=message):
        bench.open()
    assert bench.world.reachable == {}
    bench.world.fail.clear()
    backend = bench.open()
    assert SsdDetector(backend, read_meta(bench.model), bench.config).detect(PICTURES[0])


def test_tensors_of_another_network_are_refused(bench: Bench) -> None:
    bench.build()
    meta = read_meta(bench.model)
    anchors = dataclasses.replace(meta.anchors, shapes_px=(((16, 16), (8, 8)),))
    with pytest.raises(DetectorError, match="the model's JSON says"):
        open_backend(bench.model, dataclasses.replace(meta, anchors=anchors), bench.config)


def test_false_from_execute_is_an_error_with_tensorrts_reason_and_the_next_frame_is_good(bench: Bench) -> None:
    """No copy of the failed frame may be under way afterwards: the next frame writes to the same memory."""
    bench.use(CARD, "10.3.0")
    bench.build()
    detector = SsdDetector(bench.open(), read_meta(bench.model), bench.config)
    expected = detector.detect(PICTURES[0])
    bench.world.fail.add("execute")
    with pytest.raises(DetectorError, match="would not run the engine: IExecutionContext::enqueueV3"):
        detector.detect(PICTURES[0])
    assert [stream.queue for stream in bench.world.streams.values()] == [[]]
    bench.world.fail.clear()
    assert detector.detect(PICTURES[0]) == expected


def test_a_fault_on_the_gpu_is_an_error_and_the_stack_stays_clean(bench: Bench) -> None:
    bench.build()
    backend = bench.open()
    detector = SsdDetector(backend, read_meta(bench.model), bench.config)
    bench.world.fail.add("synchronize")
    with pytest.raises(DetectorError, match=r"illegal memory access(?s:.)*start the process again"):
        detector.detect(PICTURES[0])
    assert bench.world.stacks[threading.get_ident()] == []
    backend._close_at_exit()  # a dead GPU at the end of the program: a line in the log, no exception
    bench.world.fail.clear()


def test_a_kernel_that_was_not_compiled_is_named(bench: Bench) -> None:
    bench.build()
    kernel_path(bench.folder / "engines", "sm_87").unlink()
    with pytest.raises(DetectorError, match=r"not been compiled for sm_87(?s:.)*gpu_letterbox = false"):
        bench.open()
    bench.open(gpu_letterbox=False).close()


def test_ptx_serves_where_there_is_no_cubin(bench: Bench) -> None:
    bench.build()
    kernel_path(bench.folder / "engines", "sm_87").unlink()
    kernel_path(bench.folder / "engines", "compute_87").write_bytes(b"//\n.version 8.5\n")
    bench.open().close()


def test_missing_pycuda_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.build()
    monkeypatch.setitem(__import__("sys").modules, "pycuda.driver", None)
    with pytest.raises(MissingExtraError, match=r"blackout-robot\[gpu\]"):
        bench.open()


def test_auto_means_half_precision(bench: Bench) -> None:
    """Also on processors that would take int8: an Orin's has 8-bit dot products."""
    for config in (DetectionConfig(backend="tensorrt"), DetectionConfig(providers=("TensorrtExecutionProvider",))):
        assert choose_precision(config, frozenset({"asimddp"})) == "fp16"
    bench.config = dataclasses.replace(bench.config, precision="auto")
    with pytest.raises(DetectorError, match="--precision fp16"):
        load_detector(bench.config)
