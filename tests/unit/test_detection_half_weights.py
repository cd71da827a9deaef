"""Weights stored as float16: half the file, the same numbers in every runtime, plain constants for TensorRT."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the train or gpu extra")

import onnxruntime  # noqa: E402
from onnx import numpy_helper  # noqa: E402

from perception.detection.backends.nvidia.onnx_graph import network_for_tensorrt  # noqa: E402
from perception.detection.half_weights import with_float_weights, with_half_weights  # noqa: E402
from tests.toy_network import write_toy  # noqa: E402


def outputs(content: bytes, images: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return list(session.run(["logits", "offsets"], {"images": images}))


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, Path]:
    """A toy model, and the same with half weights."""
    plain = write_toy(tmp_path)
    half = tmp_path / "half.onnx"
    onnx.save(with_half_weights(onnx.load(str(plain))), str(half))
    return plain, half


def test_every_runtime_computes_what_the_rounded_weights_give(stored: tuple[Path, Path]) -> None:
    plain, half = stored
    model = onnx.load(str(plain))
    for tensor in model.graph.initializer:
        if tensor.name in ("w1", "w2"):
            rounded = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    images = np.random.default_rng(1).uniform(-1, 1, (1, 3, 32, 64)).astype(np.float32)
    wanted = outputs(model.SerializeToString(), images)
    for got, want in zip(outputs(half.read_bytes(), images), wanted, strict=True):
        np.testing.assert_array_equal(got, want)
    network = cv2.dnn.readNetFromONNX(str(half))
    network.setInput(images)
    np.testing.assert_allclose(network.forward("logits").reshape(-1), wanted[0].reshape(-1), atol=1e-4)


def test_the_file_is_half_as_large(stored: tuple[Path, Path]) -> None:
    plain, half = stored
    assert half.stat().st_size < 0.6 * plain.stat().st_size


def test_tensorrt_gets_plain_constants(stored: tuple[Path, Path]) -> None:
    graph = onnx.load_from_string(network_for_tensorrt(stored[1], "fp32", typed=False)).graph
    assert "Cast" not in {node.op_type for node in graph.node}
    kinds = {i.name: i.data_type for i in graph.initializer}
    assert kinds["w1"] == kinds["w2"] == onnx.TensorProto.FLOAT
    half = onnx.load_from_string(network_for_tensorrt(stored[1], "fp16", typed=True)).graph
    assert all(
        i.data_type == onnx.TensorProto.FLOAT16 and ".half" not in i.name
        for i in half.initializer
        if i.name.startswith("w")
    )


def test_a_second_pass_changes_nothing(stored: tuple[Path, Path]) -> None:
    once = onnx.load(str(stored[1]))
    assert with_half_weights(onnx.load(str(stored[1]))) == once
    back = with_float_weights(once)
    assert {i.name for i in back.graph.initializer} == {i.name for i in onnx.load(str(stored[0])).graph.initializer}


def test_a_weight_beyond_float16_is_refused(tmp_path: Path) -> None:
    model = onnx.load(str(write_toy(tmp_path)))
    big = next(i for i in model.graph.initializer if i.name == "w1")
    big.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(big) * np.float32(1e6), "w1"))
    with pytest.raises(ValueError, match="w1"):
        with_half_weights(model)
