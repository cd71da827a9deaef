"""Weights kept as half precision in the file, float32 in the arithmetic: half the size, for all runtimes alike.

A large initializer `W` becomes a float16 initializer `W.half` and a Cast to float32 named `W`. ONNX Runtime and OpenCV
fold the Cast when they load the file; TensorRT wants constants for weights: `with_float_weights` puts them back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

SUFFIX = ".half"
SMALLEST = 256
"""Initializers with fewer values (biases, bounds) stay as they are."""


def with_half_weights(model: Any) -> Any:
    """Return the ONNX ModelProto with its large float32 initializers stored as float16 (the argument is changed).

    Raises:
        ValueError: a weight is too large for float16.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    large = [i for i in graph.initializer if i.data_type == TensorProto.FLOAT and np.prod(i.dims) >= SMALLEST]
    for tensor in large:
        with np.errstate(over="ignore"):
            half = numpy_helper.to_array(tensor).astype(np.float16)
        if not np.isfinite(half).all():
            raise ValueError(f"{tensor.name} does not fit into float16")
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(half, tensor.name + SUFFIX))
        cast = helper.make_node(
            "Cast", [tensor.name + SUFFIX], [tensor.name], name=tensor.name + ".cast", to=TensorProto.FLOAT
        )
        graph.node.insert(0, cast)
    return model


def with_float_weights(model: Any) -> Any:
    """Return the ONNX ModelProto with every weight that is stored as float16 put back (the argument is changed)."""
    from onnx import numpy_helper

    graph = model.graph
    stored = {i.name: i for i in graph.initializer}
    for node in list(graph.node):
        if node.op_type == "Cast" and node.input[0] in stored and node.input[0].endswith(SUFFIX):
            tensor = stored[node.input[0]]
            values = numpy_helper.to_array(tensor).astype(np.float32)
            graph.initializer.remove(tensor)
            graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
            graph.node.remove(node)
    return model
