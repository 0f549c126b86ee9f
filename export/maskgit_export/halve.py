"""fp16 variants of a graph for GPUs, with norms and softmax in fp32.

Matrix products and convolutions always run in half precision.  Data movement, activations and sums
do so where everything they read is in half precision already, so whatever follows a norm or a
softmax directly, residual sums of a post-norm transformer for one, stays in float32.  Inputs and
outputs of the graph keep their types.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

PRODUCTS = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose"})
LIGHT = frozenset(
    {"Add", "Sub", "Mul", "Neg", "Gelu", "Sigmoid", "Tanh", "Reshape", "Transpose", "Squeeze"}
    | {"Unsqueeze", "Split", "Concat", "Expand", "Slice", "Resize", "Pad", "Identity"}
)
FIRST_INPUT_ONLY = frozenset({"Gather", "Reshape", "Expand", "Slice", "Resize", "Pad", "Split"})


def to_fp16(model: onnx.ModelProto, *, exact: Iterable[str] = ()) -> onnx.ModelProto:
    """``model`` in mixed precision; it is changed itself and returned.

    ``exact``: kinds of nodes that stay in float32 here, such as the search for the nearest code.
    """
    graph = model.graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    kinds |= {value.name: value.type.tensor_type.elem_type for value in graph.input}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    kinds |= {name: tensor.data_type for name, tensor in weights.items()}
    halves: dict[str, str] = {}
    native: set[str] = set()
    nodes: list[NodeProto] = []
    kept = frozenset(exact)

    def half(name: str) -> str:
        """The name of a value in half precision, cast or converted if it must be."""
        if name not in halves:
            halves[name] = f"{name}_fp16"
            if name in weights:
                values = numpy_helper.to_array(weights[name]).astype(np.float16)
                graph.initializer.append(numpy_helper.from_array(values, halves[name]))
            else:
                nodes.append(
                    helper.make_node("Cast", [name], [halves[name]], to=TensorProto.FLOAT16)
                )
        return halves[name]

    for node in graph.node:
        last = 1 if node.op_type in FIRST_INPUT_ONLY else len(node.input)
        floats = [n for n in node.input[:last] if kinds.get(n) == TensorProto.FLOAT]
        moving = [n for n in floats if n not in weights]
        square = node.op_type == "Mul" and node.input[0] == node.input[1]
        chosen = node.op_type in PRODUCTS or (node.op_type == "Gather" and not moving)
        light = node.op_type in LIGHT and moving and all(n in native for n in moving) and not square
        if not floats or node.op_type in kept or not (chosen or light):
            nodes.append(node)
            continue
        for index, name in enumerate(node.input[:last]):
            if name in floats:
                node.input[index] = half(name)
        nodes.append(node)
        for index, name in enumerate(node.output):
            node.output[index] = halves[name] = f"{name}_fp16"
            native.add(name)
    wanted = {name for node in nodes for name in node.input}
    wanted |= {value.name for value in graph.output}
    del graph.node[:]
    for node in nodes:
        graph.node.append(node)
        for name in node.output:
            plain = name.removesuffix("_fp16")
            if plain in native and plain != name and plain in wanted:
                graph.node.append(helper.make_node("Cast", [name], [plain], to=TensorProto.FLOAT))
    used = {name for node in graph.node for name in node.input}
    left = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(left)
    return model
