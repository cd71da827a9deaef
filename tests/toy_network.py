"""A network of two convolutions in the form that the detector expects, plain and quantised as ours are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from perception.detection.anchors import AnchorSpec
from perception.detection.model import ModelMeta, file_sha256

SPEC = AnchorSpec(input_size_px=(64, 32), strides_px=(32,), shapes_px=(((16, 16),),))
INT64_MAX = np.iinfo(np.int64).max


def write_toy(folder: Path, name: str = "toy") -> Path:
    """Write a float32 toy model with its JSON; returns the ONNX file."""
    rng = np.random.default_rng(3)

    def constant(label: str, value: object, dtype: type = np.float32) -> onnx.TensorProto:
        return numpy_helper.from_array(np.asarray(value, dtype), label)

    constants = [
        constant("w1", rng.normal(0, 0.4, (8, 3, 4, 4))),
        constant("b1", rng.normal(0, 0.5, 8)),
        constant("w2", rng.normal(0, 0.2, (7, 8, 8, 8))),
        constant("b2", rng.normal(0, 0.5, 7)),
        constant("low", 0.0),
        constant("high", 6.0),
        constant("shape", [1, SPEC.count, 7], np.int64),
        *(constant(f"at{i}", [i], np.int64) for i in (0, 3, 7)),
        constant("axis", [2], np.int64),
    ]
    nodes = [
        helper.make_node("Conv", ["images", "w1", "b1"], ["c1"], "conv1", kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Clip", ["c1", "low", "high"], ["r1"], "relu6"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "conv2", kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Transpose", ["c2"], ["t"], "transpose", perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["t", "shape"], ["all"], "reshape"),
        helper.make_node("Slice", ["all", "at0", "at3", "axis"], ["logits"], "logits_"),
        helper.make_node("Slice", ["all", "at3", "at7", "axis"], ["offsets"], "offsets_"),
    ]
    width, height = SPEC.input_size_px
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, height, width])],
        [
            helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, SPEC.count, 3]),
            helper.make_tensor_value_info("offsets", onnx.TensorProto.FLOAT, [1, SPEC.count, 4]),
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / f"{name}.onnx"
    onnx.save(model, str(path))
    meta = ModelMeta(name=name, sha256=file_sha256(path), precision="fp32", anchors=SPEC, trained_by="nobody")
    meta.write(path)
    return path


def write_int8(toy: Path) -> Path:
    """Quantise a toy model as perception.training.quantise does (uint8 activations, int32 biases); returns the file."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    from perception.detection.model import read_meta

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            rng = np.random.default_rng(4)
            self._blobs: Iterator[np.ndarray] = iter(  # type: ignore[type-arg]
                rng.uniform(-1, 1, (12, 1, 3, 32, 64)).astype(np.float32)
            )

        def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[type-arg]
            blob = next(self._blobs, None)
            return None if blob is None else {"images": blob}

    meta, out = read_meta(toy), toy.with_name(f"{toy.stem}.int8.onnx")
    quantize_static(
        str(toy),
        str(out),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    dataclasses.replace(meta, name=f"{meta.name}.int8", precision="int8", sha256=file_sha256(out)).write(out)
    return out
