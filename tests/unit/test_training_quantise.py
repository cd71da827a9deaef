"""Quantisation: what runs in 8 bits, what stays float32, and how close the results are."""

from __future__ import annotations

import dataclasses
import json
import logging
import warnings
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")
onnx = pytest.importorskip("onnx", reason="training needs the [train] extra")
pytest.importorskip("onnxslim", reason="training needs the [train] extra")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import helper, numpy_helper  # noqa: E402

from perception.detection.model import ModelMeta, file_sha256, read_meta  # noqa: E402
from perception.training.export import export  # noqa: E402
from perception.training.network import SsdLite  # noqa: E402
from perception.training.predictors import as_products  # noqa: E402
from perception.training.quantise import FLOAT_CONVOLUTIONS, quantise  # noqa: E402
from robot.core.errors import DataError, DetectorError  # noqa: E402
from tests.unit.test_training_network import SPEC as SMALL  # noqa: E402

SPEC = dataclasses.replace(SMALL, input_size_px=(160, 128))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Path]]:
    """A small random network as `NAME.onnx` and `NAME.int8.onnx`, and the pictures that calibrated it."""
    folder = tmp_path_factory.mktemp("quantise")
    rng = np.random.default_rng(0)
    pictures = []
    for k in range(6):
        pictures.append(folder / f"{k}.png")
        small = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)
        cv2.imwrite(str(pictures[-1]), cv2.resize(small, SPEC.input_size_px))
    torch.manual_seed(0)
    network = SsdLite(SPEC, width=0.5)  # at 0.25 the first block would gain a shortcut
    for name, parameter in network.named_parameters():  # equal ones would be merged when exported
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    for head in network.heads:  # untrained predictors say nearly the same everywhere
        for layer in (head.classes, head.boxes):
            torch.nn.init.normal_(layer.weight, std=0.2)
    path = folder / "toy.onnx"
    level = logging.getLogger().level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(network, path)
        meta = ModelMeta(name="toy", sha256=file_sha256(path), precision="fp32", anchors=SPEC, trained_by="nobody")
        meta.write(path)
        quantised = quantise(path, pictures)
    logging.getLogger().setLevel(level)
    return path, quantised, pictures


def outputs(path: Path, image: np.ndarray) -> list[np.ndarray]:  # type: ignore[type-arg]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    blob = (image[..., ::-1].astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]
    return session.run(["logits", "offsets"], {"images": np.ascontiguousarray(blob)})


def test_eight_bits_say_nearly_what_float32_says(models: tuple[Path, Path, list[Path]]) -> None:
    plain, quantised, pictures = models
    image = cv2.imread(str(pictures[2]))
    for got, wanted in zip(outputs(quantised, image), outputs(plain, image), strict=True):
        assert got.shape == wanted.shape
        assert np.corrcoef(got.ravel(), wanted.ravel())[0, 1] > 0.99
        assert np.abs(got - wanted).max() < 0.15 * (wanted.max() - wanted.min())
    meta = read_meta(quantised)
    assert (meta.name, meta.precision) == ("toy.int8", "int8")
    assert (
        json.loads(quantised.with_suffix(".json").read_text())["anchors"]
        == json.loads(plain.with_suffix(".json").read_text())["anchors"]
    )


def test_an_int8_model_and_a_cut_picture_are_refused_and_what_was_there_stays(
    models: tuple[Path, Path, list[Path]], tmp_path: Path
) -> None:
    plain, quantised, pictures = models
    with pytest.raises(DataError, match="is an int8 model already"):
        quantise(quantised, pictures)
    before, level = quantised.read_bytes(), logging.getLogger().level
    (tmp_path / "cut.png").write_bytes(pictures[0].read_bytes()[:40])
    with pytest.raises(DataError, match="cannot read the picture"):
        quantise(plain, [*pictures, tmp_path / "cut.png"])
    assert quantised.read_bytes() == before
    assert logging.getLogger().level == level


def test_the_predictors_run_in_eight_bits_and_the_first_layers_in_float32(
    models: tuple[Path, Path, list[Path]], tmp_path: Path
) -> None:
    """What ONNX Runtime makes of the file: a change there, or in the quantiser, that costs a third of the speed."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(models[1]), options, providers=["CPUExecutionProvider"])
    counts = Counter(node.op_type for node in onnx.load(str(tmp_path / "optimised.onnx")).graph.node)
    assert counts["MatMulIntegerToFloat"] == 2 * len(SPEC.strides_px)
    assert counts["Conv"] + counts["FusedConv"] == FLOAT_CONVOLUTIONS
    assert counts["QLinearConv"] > 50
    assert counts["DequantizeLinear"] == counts["Gemm"] == 0


def graph(kernel: int) -> object:
    weight = np.arange(2 * 3 * kernel * kernel, dtype=np.float32).reshape(2, 3, kernel, kernel)
    tensors = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.array([10, -10], np.float32), "b")]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv"),
        helper.make_node("Transpose", ["c"], ["y"], "turn", perm=[0, 2, 3, 1]),
    ]
    info = helper.make_tensor_value_info
    given, wanted = info("x", onnx.TensorProto.FLOAT, [1, 3, 2, 2]), info("y", onnx.TensorProto.FLOAT, None)
    return helper.make_graph(nodes, "g", [given], [wanted], tensors)


def test_a_product_computes_what_the_convolution_did() -> None:
    made = graph(1)
    assert as_products(made) == ["conv_matmul"]
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(1, 3, 2, 2)).astype(np.float32)
    (found,) = session.run(None, {"x": x})
    expected = x.reshape(3, 4).T @ np.arange(6, dtype=np.float32).reshape(2, 3).T + np.array([10, -10], np.float32)
    np.testing.assert_allclose(found.reshape(4, 2), expected, rtol=1e-5)


def test_other_networks_are_refused() -> None:
    with pytest.raises(DetectorError, match="no 1x1 convolution"):
        as_products(graph(2))
    empty = helper.make_graph([], "g", [], [])
    with pytest.raises(DetectorError, match="no head"):
        as_products(empty)
