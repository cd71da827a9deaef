"""Models on disk, backends and the detector: what does not fit is refused with the mend, what fits finds things."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from perception.detection import DetectionConfig, SsdDetector, load_detector
from perception.detection.anchors import AnchorSpec
from perception.detection.backends import backend_names, open_backend
from perception.detection.backends.onnxruntime import check_providers
from perception.detection.detector import choose_precision, cpu_flags
from perception.detection.model import MODELS_DIR, ModelMeta, find_model, read_meta
from robot.core.errors import DetectorError
from robot.core.messages import ObjectClass
from tests.helpers import shared_data

SPEC = AnchorSpec(input_size_px=(64, 32), strides_px=(32,), shapes_px=(((16, 16),),))
META = ModelMeta(name="toy", sha256="0" * 64, precision="fp32", anchors=SPEC, trained_by="by hand")
SHIPPED = MODELS_DIR / "full.int8.onnx"


class FixedBackend:
    """Says the same about every picture."""

    description = "fixed"

    def __init__(self, logits: NDArray[np.float32], offsets: NDArray[np.float32]) -> None:
        self.outputs = (logits, offsets)
        self.blobs: list[NDArray[np.float32]] = []

    def run(self, blob: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.blobs.append(blob.copy())
        return self.outputs


def toy(score_threshold: float = 0.4) -> tuple[SsdDetector, FixedBackend]:
    backend = FixedBackend(np.full((SPEC.count, 3), -9.0, np.float32), np.zeros((SPEC.count, 4), np.float32))
    ticks = iter(range(0, 10_000, 100))
    config = DetectionConfig(score_threshold=score_threshold)
    return SsdDetector(backend, META, config, now_ns=lambda: next(ticks)), backend


def test_boxes_come_back_in_pixels_of_the_original_picture() -> None:
    detector, backend = toy()
    backend.outputs[0][1, 1] = 1.0  # the anchor at (48, 16), 16 px wide; a 640x320 picture is scaled by 0.1
    (found,) = detector.detect(np.zeros((320, 640, 3), np.uint8))
    assert found.object_class is ObjectClass.BALL
    assert found.score == pytest.approx(1 / (1 + np.exp(-1.0)))
    assert found.box_px == pytest.approx((400.0, 80.0, 560.0, 240.0), abs=1e-3)
    assert backend.blobs[0].shape == (1, 3, 32, 64)


def test_boxes_are_clipped_and_those_in_the_border_are_dropped() -> None:
    detector, backend = toy()
    backend.outputs[0][0, 0] = backend.outputs[0][1, 2] = 1.0
    backend.outputs[1][0] = [-2.5, 0.0, 0.0, 0.0]  # wholly left of the picture
    backend.outputs[1][1] = [0.75, 0.0, 0.0, 0.0]  # reaches over the right edge
    (found,) = detector.detect(np.zeros((320, 640, 3), np.uint8))
    assert found.box_px == pytest.approx((520.0, 80.0, 640.0, 240.0), abs=1e-3)


def test_stage_times_are_those_of_the_last_picture() -> None:
    detector, _ = toy()
    detector.warm_up()
    detector.detect(np.zeros((320, 640, 3), np.uint8))
    times = detector.timings
    assert (times.preprocess_ns, times.inference_ns, times.postprocess_ns) == (100, 100, 100)


@pytest.mark.parametrize(
    "image",
    [np.zeros((32, 64), np.uint8), np.zeros((32, 64, 3), np.float32), np.zeros((0, 64, 3), np.uint8)],
    ids=["grey", "float", "empty"],
)
def test_what_is_no_picture_is_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(DetectorError, match="not a picture"):
        toy()[0].detect(image)


def test_an_unknown_model_names_the_shipped_ones() -> None:
    with pytest.raises(DetectorError, match=r"shipped models: .*full"):
        load_detector(DetectionConfig(model="fulll"))


@pytest.fixture
def shipped_copy(tmp_path: Path) -> Path:
    for suffix in (".onnx", ".json"):
        shutil.copy(SHIPPED.with_suffix(suffix), tmp_path / f"copy{suffix}")
    return tmp_path / "copy.onnx"


def test_a_model_without_its_json_is_refused(shipped_copy: Path) -> None:
    shipped_copy.with_suffix(".json").unlink()
    with pytest.raises(DetectorError, match=r"perception\.training\.export"):
        read_meta(shipped_copy)


def test_a_json_of_another_model_is_refused(shipped_copy: Path) -> None:
    content = bytearray(shipped_copy.read_bytes())
    content[-1] ^= 1
    shipped_copy.write_bytes(content)
    with pytest.raises(DetectorError, match="SHA-256 differs"):
        read_meta(shipped_copy)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 99, "format 99"),
        ("classes", ["ball", "robot", "goal"], "has classes"),
        ("colour", "red", "unknown key 'colour'"),
        ("anchors", {"input_size_px": [0, 320], "strides_px": [], "shapes_px": []}, "must be positive"),
    ],
)
def test_a_json_that_does_not_fit_is_refused(shipped_copy: Path, key: str, value: object, message: str) -> None:
    path = shipped_copy.with_suffix(".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(DetectorError, match=message):
        read_meta(shipped_copy)


@pytest.mark.parametrize("text", ["", "{", "5", "[]", "null", '{"anchors": 3}', "\xff"])
def test_a_file_that_is_no_such_json_is_refused(shipped_copy: Path, text: str) -> None:
    shipped_copy.with_suffix(".json").write_text(text, encoding="latin-1")
    with pytest.raises(DetectorError, match="cannot use"):
        load_detector(DetectionConfig(model=str(shipped_copy)))


def test_every_log_of_the_shipped_weights_has_its_curves() -> None:
    logs = {p.stem for p in (MODELS_DIR / "logs").glob("*.jsonl")}
    assert logs
    assert logs == {p.stem for p in (MODELS_DIR / "logs").glob("*.png")}


def test_anchors_that_do_not_fit_the_network_are_refused(shipped_copy: Path) -> None:
    meta = read_meta(shipped_copy)
    fewer = dataclasses.replace(meta.anchors, shapes_px=(((7.0, 7.0),), *meta.anchors.shapes_px[1:]))
    with pytest.raises(DetectorError, match="its JSON says"):
        open_backend(shipped_copy, dataclasses.replace(meta, anchors=fewer), DetectionConfig())


def test_a_cut_onnx_file_is_refused(shipped_copy: Path) -> None:
    meta = read_meta(shipped_copy)
    shipped_copy.write_bytes(shipped_copy.read_bytes()[:100_000])
    with pytest.raises(DetectorError, match="cannot load"):
        open_backend(shipped_copy, meta, DetectionConfig())


def test_an_unknown_backend_names_those_that_exist() -> None:
    assert "onnxruntime" in backend_names()
    with pytest.raises(DetectorError, match=r"one of: .*onnxruntime"):
        open_backend(SHIPPED, read_meta(SHIPPED), DetectionConfig(backend="caffe"))


def test_a_provider_that_this_build_lacks_is_an_error_not_a_fall_back() -> None:
    config = DetectionConfig(providers=("NoSuchExecutionProvider", "CPUExecutionProvider"), precision="int8")
    with pytest.raises(DetectorError, match="has no NoSuchExecutionProvider"):
        load_detector(config)


def test_a_provider_that_did_not_come_up_is_an_error() -> None:
    check_providers(("CPUExecutionProvider",), ("CPUExecutionProvider",))
    with pytest.raises(DetectorError, match="started without CUDAExecutionProvider"):
        check_providers(("CUDAExecutionProvider", "CPUExecutionProvider"), ("CPUExecutionProvider",))


def test_auto_takes_int8_only_where_the_processor_gains(tmp_path: Path) -> None:
    assert choose_precision(DetectionConfig(), frozenset({"avx512_vnni"})) == "int8"
    assert choose_precision(DetectionConfig(), frozenset({"avx2"})) == "fp32"
    assert choose_precision(DetectionConfig(precision="fp32"), frozenset({"avx512_vnni"})) == "fp32"
    gpu = DetectionConfig(providers=("CUDAExecutionProvider",))
    assert choose_precision(gpu, frozenset({"avx512_vnni"})) == "fp32"
    (tmp_path / "cpuinfo").write_text("processor : 0\nFeatures : fp asimd asimddp\n")
    assert "asimddp" in cpu_flags(tmp_path / "cpuinfo")
    assert cpu_flags(tmp_path / "missing") == frozenset()


def test_a_path_is_taken_as_it_is(shipped_copy: Path) -> None:
    assert find_model(str(shipped_copy), "fp32") == shipped_copy
    assert load_detector(DetectionConfig(model=str(shipped_copy), precision="int8")).model_name == "full.int8"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("backend", ["onnxruntime", "tensorrt"])
def test_a_path_to_another_precision_than_asked_for_is_refused(
    precision: str, backend: str, shipped_copy: Path
) -> None:
    with pytest.raises(DetectorError, match=f"is int8, not {precision}"):
        load_detector(DetectionConfig(model=str(shipped_copy), precision=precision, backend=backend))


@pytest.mark.parametrize(
    "field",
    [{"precision": "fp64"}, {"score_threshold": 1.5}, {"iou_threshold": -0.1}, {"threads": 0}, {"providers": ()}],
)
def test_a_config_out_of_range_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        DetectionConfig(**field)  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_shipped_model_finds_the_balls_of_a_real_picture(precision: str) -> None:
    folder = shared_data("ssl-images")
    image = cv2.imread(str(folder / "images" / "00400.jpg"))
    detector = load_detector(DetectionConfig(precision=precision))
    found = detector.detect(image)
    assert found == detector.detect(image)
    balls = [d.box_px for d in found if d.object_class is ObjectClass.BALL]
    labels = [line.split() for line in (folder / "labels" / "00400.txt").read_text().splitlines()]
    centres = [(float(x) * 224, float(y) * 224) for kind, x, y, *_ in labels if kind == "1"]
    assert centres
    for x, y in centres:
        assert any(b[0] < x < b[2] and b[1] < y < b[3] for b in balls)
    assert detector.model_name == ("full" if precision == "fp32" else "full.int8")
