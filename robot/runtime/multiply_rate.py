"""How fast this processor multiplies and adds, and how often a network does: the bound on the network's speed.

The rates are measured with large matrix products in ONNX Runtime, the kind of work that its kernels are best at. A
network's depthwise layers and its way between memories keep it above the bound that its multiplications set.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 768
"""Of the square matrices: 768^3 = 0.45 GMAC, a few milliseconds, and they fit in the second and third caches."""


@dataclass(frozen=True, kw_only=True)
class Macs:
    """Multiply-add operations of one run of a network, by the kind of their operands."""

    fp32: int
    int8: int

    def least_ms(self, fp32_per_s: float, int8_per_s: float) -> float:
        """Return the time that the multiplications alone take at these rates."""
        return 1e3 * (self.fp32 / fp32_per_s + self.int8 / int8_per_s)


def count_macs(onnx_path: Path) -> Macs:
    """Count the multiply-adds of a model's convolutions and matrix products.

    Raises:
        ImportError: the package `onnx` is not installed.
    """
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(str(onnx_path)))
    graph = model.graph
    values = [*graph.value_info, *graph.input, *graph.output]
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
    shapes |= {c.name: list(c.dims) for c in graph.initializer}
    quantised = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    counted = {False: 0, True: 0}
    for node in graph.node:
        if node.op_type == "Conv":
            pixels = int(np.prod(shapes[node.output[0]][2:]))
            counted[node.input[1] in quantised] += pixels * int(np.prod(shapes[node.input[1]]))
        elif node.op_type == "MatMul":
            columns = shapes[node.input[1]][-1]
            counted[node.input[1] in quantised] += int(np.prod(shapes[node.input[0]])) * columns
    return Macs(fp32=counted[False], int8=counted[True])


def product_calls(threads: int) -> dict[str, Callable[[], object]]:
    """Return calls that multiply two SIDE x SIDE matrices: `fp32`, and `int8` (uint8 by int8, int32 sums).

    Raises:
        ImportError: the package `onnx` is not installed.
    """
    import onnxruntime

    rng = np.random.default_rng(0)
    calls: dict[str, Callable[[], object]] = {}
    for kind in ("fp32", "int8"):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        session = onnxruntime.InferenceSession(_product(kind), options, providers=["CPUExecutionProvider"])
        first: Any = rng.integers(0, 255, (SIDE, SIDE)).astype(np.float32 if kind == "fp32" else np.uint8)
        calls[kind] = functools.partial(session.run, None, {"a": first})
    return calls


def _product(kind: str) -> bytes:
    """Return an ONNX model that multiplies its input `a` by a constant matrix."""
    from onnx import TensorProto, helper, numpy_helper

    integer = kind == "int8"
    weights = np.random.default_rng(1).integers(-127, 127, (SIDE, SIDE))
    constant = numpy_helper.from_array(weights.astype(np.int8 if integer else np.float32), "b")
    given = helper.make_tensor_value_info("a", TensorProto.UINT8 if integer else TensorProto.FLOAT, [SIDE, SIDE])
    wanted = helper.make_tensor_value_info("y", TensorProto.INT32 if integer else TensorProto.FLOAT, [SIDE, SIDE])
    node = helper.make_node("MatMulInteger" if integer else "MatMul", ["a", "b"], ["y"])
    graph = helper.make_graph([node], "product", [given], [wanted], [constant])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
