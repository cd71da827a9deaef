"""The shipped ONNX files, made fit for TensorRT.

Three things do not fit as they are:

- The int8 models are quantised for processors: uint8 activations with zero points, and int32 biases. TensorRT takes
  only int8 with zero point 0, and biases in float. An unsigned range that starts at 0 also stands for a ReLU that the
  quantiser removed: without it the symmetric range would let negative values through, so it is put back.
- Weights stored as float16 behind a Cast are no constants to TensorRT's convolutions: they are put back as float32.
- TensorRT 11 has no FP16 flag: the network's own types rule, so half precision must stand in the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from perception.detection.half_weights import SUFFIX as STORED_AS_HALF
from perception.detection.half_weights import with_float_weights
from robot.core.errors import DetectorError, MissingExtraError

VERSION = 2
"""Goes into engine keys: raise it when what comes out of here changes."""


def network_for_tensorrt(onnx_path: Path, precision: str, *, typed: bool) -> bytes:
    """Return the ONNX model to parse for a precision.

    Args:
        onnx_path: a shipped or exported model.
        precision: `fp32`, `fp16` or `int8` (the file must then hold QuantizeLinear nodes).
        typed: no precision flags (TensorRT 11): fp16 must be in the file itself.

    Raises:
        DetectorError: the file does not fit the precision.
        MissingExtraError: it has to be rewritten and `onnx` is not installed.
    """
    content = onnx_path.read_bytes()
    quantised = b"QuantizeLinear" in content  # also part of DequantizeLinear; spares the import where nothing changes
    if quantised != (precision == "int8"):
        raise DetectorError(
            f"{onnx_path.name} is {'an int8' if quantised else 'not an int8'} model, and {precision} was asked for",
            hint="give the .int8.onnx file for int8, and the plain one for fp32 and fp16",
        )
    if precision == "int8":
        model = _onnx().load_from_string(content)
        make_symmetric(model.graph)
        return bytes(model.SerializeToString())
    if precision == "fp16" and typed:
        return to_half(content)
    if STORED_AS_HALF.encode() in content:
        return bytes(with_float_weights(_onnx().load_from_string(content)).SerializeToString())
    return content


def to_half(content: bytes) -> bytes:
    """Return the model with float16 weights and arithmetic; inputs and outputs stay float32."""
    model = with_float_weights(_onnx().load_from_string(content))
    try:
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise MissingExtraError(
            "onnxruntime is needed to convert to float16", hint="pip install onnxruntime"
        ) from error
    return bytes(convert_float_to_float16(model, keep_io_types=True).SerializeToString())


def make_symmetric(graph: Any) -> None:
    """Rewrite a Q/DQ graph in place: int8 with zero point 0, float biases, weights as float behind Q and DQ.

    The new scale keeps the larger end of the old range: max(|low|, high) / 127.
    """
    helper, numpy_helper = _onnx().helper, _onnx().numpy_helper
    constants = {c.name: numpy_helper.to_array(c) for c in graph.initializer}
    added: dict[str, Any] = {}
    renamed: dict[tuple[str, str], tuple[str, str]] = {}

    def add(name: str, value: Any) -> str:
        added[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def symmetric(scale: str, zero: str) -> tuple[str, str]:
        if (scale, zero) not in renamed:
            low, high = _range(constants[scale], constants[zero])
            wide = np.maximum(np.maximum(np.abs(low), high) / 127.0, np.finfo(np.float32).tiny).astype(np.float32)
            new = add(f"{scale}_symmetric", wide), add(f"{zero}_symmetric", np.zeros_like(wide, np.int8))
            renamed[(scale, zero)] = new
        return renamed[(scale, zero)]

    nodes: list[Any] = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            values, scale = constants[node.input[0]], constants[node.input[1]]
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1) if scale.ndim else 0
            real = (values.astype(np.float32) * _along(scale, axis, values.ndim)).astype(np.float32)
            if values.dtype == np.int32:  # a bias
                add(node.output[0], real)
                continue
            if values.dtype != np.int8 or constants[node.input[2]].any():
                raise DetectorError("the int8 model's weights are not symmetric int8", hint="quantise it again")
            stored = add(f"{node.input[0]}_real", real)
            inputs = [stored, *node.input[1:]]
            nodes.append(helper.make_node("QuantizeLinear", inputs, [f"{stored}_q"], f"{stored}_q", axis=axis))
            node.input[0] = f"{stored}_q"
        elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = constants[node.input[2]]
            if zero.dtype != np.int8 or zero.any():
                old = node.input[1], node.input[2]
                node.input[1], node.input[2] = symmetric(*old)
                if node.op_type == "QuantizeLinear" and not (zero - np.iinfo(zero.dtype).min).any():
                    kept = f"{node.output[0]}_not_negative"
                    nodes.append(helper.make_node("Relu", [node.input[0]], [kept], kept))
                    node.input[0] = kept
        nodes.append(node)
    used = {name for node in nodes for name in node.input} | {output.name for output in graph.output}
    initializers = [c for c in [*graph.initializer, *added.values()] if c.name in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(initializers)


def count_2_4(content: bytes) -> tuple[int, int]:
    """Return how many of a model's 1x1 convolution weights are 2:4 sparse along their inputs, and how many there are.

    Sparse: of every four consecutive input channels at most two weights are not zero, and some are zero.
    """
    graph = with_float_weights(_onnx().load_from_string(content)).graph
    sparse = total = 0
    for tensor in graph.initializer:
        if len(tensor.dims) == 4 and tuple(tensor.dims[2:]) == (1, 1) and tensor.dims[1] % 4 == 0:
            weight = _onnx().numpy_helper.to_array(tensor).reshape(tensor.dims[0], -1, 4)
            total += 1
            sparse += int((weight != 0).sum(axis=2).max() <= 2)
    return sparse, total


def _range(scale: Any, zero: Any) -> tuple[Any, Any]:
    """Return the real values that the least and the greatest code stand for."""
    limits, offset = np.iinfo(zero.dtype), zero.astype(np.int64)
    return (limits.min - offset) * scale.astype(np.float64), (limits.max - offset) * scale.astype(np.float64)


def _along(scale: Any, axis: int, dimensions: int) -> Any:
    """Return the scale shaped to multiply along one axis."""
    if scale.ndim == 0 or scale.size == 1:
        return scale.reshape(())
    return scale.reshape([-1 if i == axis else 1 for i in range(dimensions)])


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError(
            "onnx is needed to make this model fit for TensorRT", hint="pip install onnx"
        ) from error
    return onnx
