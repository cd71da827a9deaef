"""The heads' last 1x1 convolutions, rewritten as matrix products before a model is quantised.

A quantised convolution must also quantise what comes out of it, and box offsets in 8 bits cost AP; left in float32,
these small layers took a fifth of the int8 network's time (their inputs turned back to float and into another memory
layout). ONNX Runtime multiplies 8-bit matrices into float32 results, and its 8-bit convolutions already keep channels
last, so as products the predictors run in 8 bits, their results stay float32, and no layout is changed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from robot.core.errors import DetectorError


def as_products(graph: Any) -> list[str]:
    """Replace every pair 1x1 `Conv`, `Transpose` to channels-last by `Transpose`, `MatMul`, `Reshape`, `Add`, in place.

    Args:
        graph: an ONNX graph whose other nodes use the convolution's result in no other way.

    Returns:
        The names of the products.

    Raises:
        DetectorError: there is no such pair, or its convolution is not a plain 1x1 one with a bias.
    """
    from onnx import helper, numpy_helper

    constants = {c.name: c for c in graph.initializer}
    producer = {output: node for node in graph.node for output in node.output}
    channels_last: dict[str, str] = {}
    names: list[str] = []
    nodes: list[Any] = []
    replaced: set[str] = set()

    def constant(name: str, value: Any) -> str:
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    for node in graph.node:
        conv = producer.get(node.input[0]) if node.op_type == "Transpose" else None
        if conv is None or conv.op_type != "Conv":
            nodes.append(node)
            continue
        weight = numpy_helper.to_array(constants[conv.input[1]])
        if weight.shape[2:] != (1, 1) or len(conv.input) != 3:
            raise DetectorError(f"{conv.name} is no 1x1 convolution with a bias", hint="export the model again")
        source, name, count = conv.input[0], conv.name, weight.shape[0]
        if source not in channels_last:
            channels_last[source] = f"{source}_channels_last"
            nodes.append(
                helper.make_node("Transpose", [source], [channels_last[source]], f"{source}_turn", perm=[0, 2, 3, 1])
            )
        columns = constant(f"{name}_columns", weight[:, :, 0, 0].T)
        # The reshaping in between keeps ONNX Runtime from merging product and bias into a float32 Gemm.
        shape = constant(f"{name}_rows_shape", np.array([1, -1, count], np.int64))
        nodes += [
            helper.make_node("MatMul", [channels_last[source], columns], [f"{name}_product"], f"{name}_matmul"),
            helper.make_node("Reshape", [f"{name}_product", shape], [f"{name}_rows"], f"{name}_to_rows"),
            helper.make_node("Add", [f"{name}_rows", conv.input[2]], [node.output[0]], f"{name}_bias"),
        ]
        names.append(f"{name}_matmul")
        replaced.add(conv.name)
    if not names:
        raise DetectorError("the model has no head that ends in a 1x1 convolution", hint="export the model again")
    kept = [node for node in nodes if node.name not in replaced]
    used = {name for node in kept for name in node.input}
    initializers = [c for c in graph.initializer if c.name in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]  # shapes are inferred again
    graph.node.extend(kept)
    graph.initializer.extend(initializers)
    return names
