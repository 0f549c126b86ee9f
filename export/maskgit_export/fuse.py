"""Rewrites that make a graph quicker on the CPU and leave its result the same."""

from __future__ import annotations

import onnx
from onnx import NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

MOVES = frozenset({"Split", "Slice", "Transpose"})
CONTRIB = "com.microsoft"


def fold_moves(model: onnx.ModelProto) -> None:
    """Do at once what only cuts up or turns weights, so that the products see their own weight."""
    graph = model.graph
    known = {tensor.name: tensor for tensor in graph.initializer}
    left: list[NodeProto] = []
    for node in graph.node:
        inputs = [known.get(name) for name in node.input]
        if node.op_type not in MOVES or any(tensor is None for tensor in inputs):
            left.append(node)
            continue
        feeds = {t.name: numpy_helper.to_array(t) for t in inputs if t is not None}
        values = ReferenceEvaluator(node).run(None, feeds)
        for name, value in zip(node.output, values, strict=True):
            known[name] = numpy_helper.from_array(value.copy(), name)
            graph.initializer.append(known[name])
    replace_nodes(model, left)


def fuse_rotations(model: onnx.ModelProto) -> None:
    """Rotary positions, eight operators of one pass over memory each, as one of ONNX Runtime.

    The pairs (x[i], x[i + half]) of heads (B,heads,S,2·half) turned by tables (S,half); see
    :func:`maskgit_export.transformer.rotate`.
    """
    graph = model.graph
    made = {name: node for node in graph.node for name in node.output}
    gone: set[str] = set()
    turned: dict[str, NodeProto] = {}
    for node in graph.node:
        parts = _rotation(node, made) if node.op_type == "Concat" else None
        if parts is None:
            continue
        split, cosines, sines, inner = parts
        gone.update(inner)
        turned[node.output[0]] = helper.make_node(
            "RotaryEmbedding",
            [split.input[0], "rotation_start", cosines, sines],
            [node.output[0]],
            domain=CONTRIB,
        )
    if not turned:
        return
    graph.initializer.append(helper.make_tensor("rotation_start", onnx.TensorProto.INT64, [1], [0]))
    nodes = [turned.get(node.output[0], node) for node in graph.node]
    replace_nodes(model, [node for node in nodes if node.output[0] not in gone])


def _rotation(
    node: NodeProto, made: dict[str, NodeProto]
) -> tuple[NodeProto, str, str, set[str]] | None:
    """Split, tables and the outputs between, if ``node`` joins the halves of a rotation."""
    halves = [made.get(name) for name in node.input]
    if [half.op_type if half else "" for half in halves] != ["Sub", "Add"]:
        return None
    products = [made.get(name) for half in halves if half for name in half.input]
    if any(product is None or product.op_type != "Mul" for product in products):
        return None
    (first, cos), (second, sin), *rest = [tuple(p.input) for p in products if p]
    split = made.get(first)
    if split is None or split.op_type != "Split" or list(split.output) != [first, second]:
        return None
    if rest != [(second, cos), (first, sin)]:
        return None
    inner = {name for n in (split, *halves, *products) if n for name in n.output}
    return split, cos, sin, inner


def one_reader(model: onnx.ModelProto) -> None:
    """Let no dequantised value be read twice: ONNX Runtime dequantises it for each reader.

    x · sigmoid(x) becomes the operator that ONNX Runtime has for it, and a shape is asked of the
    integers.
    """
    graph = model.graph
    made = {name: node for node in graph.node for name in node.output}
    nodes: list[NodeProto] = []
    gates: set[str] = set()
    for node in graph.node:
        inputs = [made.get(name) for name in node.input]
        gate = inputs[1] if node.op_type == "Mul" else None
        if gate and gate.op_type == "Sigmoid" and gate.input[0] == node.input[0]:
            gates.add(gate.output[0])
            nodes.append(
                helper.make_node(
                    "QuickGelu", [node.input[0]], node.output, domain=CONTRIB, alpha=1.0
                )
            )
            continue
        if node.op_type == "Shape" and inputs[0] and inputs[0].op_type == "DequantizeLinear":
            node.input[0] = inputs[0].input[0]
        nodes.append(node)
    read = {name for node in nodes for name in node.input}
    replace_nodes(model, [n for n in nodes if n.output[0] not in gates - read])
    add_contrib(model)


def add_contrib(model: onnx.ModelProto) -> None:
    """Say that the model has operators of ONNX Runtime's own."""
    if all(entry.domain != CONTRIB for entry in model.opset_import):
        model.opset_import.append(helper.make_opsetid(CONTRIB, 1))


def replace_nodes(model: onnx.ModelProto, nodes: list[NodeProto]) -> None:
    """Give the model other nodes; initializers that none reads go."""
    graph = model.graph
    used = {name for node in nodes for name in node.input}
    # In place: a second list would be a second copy of all weights.
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in used:
            del graph.initializer[index]
    del graph.node[:]
    graph.node.extend(nodes)
