"""Smaller variants of a graph: int8 weights and matrix products for CPUs, fp16 for GPUs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from maskgit_export.fuse import CONTRIB, add_contrib, fold_moves, fuse_rotations
from maskgit_export.halve import to_fp16
from maskgit_export.quantise_convolutions import quantise_convolutions, random_grids

INT8_PRODUCTS = frozenset({"transformer", "text_encoder"})
"""Graphs made of matrix products."""
MIN_WEIGHTS = 4096
EXTERNAL_ABOVE = 500_000_000

Array = NDArray[Any]


def convert(fp32: Path, path: Path, name: str, precision: str, codes: int) -> bool:
    """Write the graph ``fp32`` in ``precision`` to ``path``; False where it does not pay.

    ``codes``: how many the model has.
    """
    if precision == "int8" and name in INT8_PRODUCTS:
        save(to_int8(onnx.load(os.fspath(fp32))), path)
        return True
    if precision == "int8" and name == "decoder":
        quantise_convolutions(fp32, path, random_grids(codes))
        return True
    if precision == "fp16":
        # The nearest code is searched in float32: rounding there would change tokens.
        exact = ("MatMul",) if name == "encoder" else ()
        save(to_fp16(onnx.load(os.fspath(fp32)), exact=exact), path)
        return True
    return False


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a model, weights over 0.5 GB to ``path``.data beside it."""
    large = model.ByteSize() > EXTERNAL_ABOVE
    onnx.save(model, os.fspath(path), save_as_external_data=large, location=f"{path.name}.data")


def to_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Matrix products with constant weights in int8; ``model`` itself is changed and returned.

    Weights: symmetric, one scale a column (output channel).  Activations: each *row* is divided by
    its own largest magnitude and rounded to 1/127 of it, so no row of a batch, nor any other token,
    can change the rounding of another.  ``MatMulIntegerToFloat`` is a contributed operator of ONNX
    Runtime (all builds since 2020); every other added one is standard.
    """
    fold_moves(model)
    fuse_rotations(model)
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    used = uses(graph.node)
    add = constants(model)
    unit, zero, axis, tiny, one = (
        add("int8_unit", np.float32(1 / 127)),
        add("int8_zero", np.uint8(128)),
        add("int8_axis", np.array([-1], np.int64)),
        add("int8_tiny", np.float32(1e-12)),
        add("int8_one", np.float32(1)),
    )
    nodes: list[NodeProto] = []
    quantised: dict[str, tuple[str, str]] = {}
    replaced: set[str] = set()
    for node in graph.node:
        weight = weights.get(node.input[1]) if node.op_type == "MatMul" else None
        if weight is None or len(weight.dims) != 2 or np.prod(weight.dims) < MIN_WEIGHTS:
            nodes.append(node)
            continue
        x, w = node.input
        if x not in quantised:
            nodes += [
                # Read twice instead of Abs, which would write a copy of the whole matrix.
                helper.make_node("ReduceMax", [x, axis], [f"{x}_most"], keepdims=1),
                helper.make_node("ReduceMin", [x, axis], [f"{x}_least"], keepdims=1),
                helper.make_node("Neg", [f"{x}_least"], [f"{x}_depth"]),
                helper.make_node("Max", [f"{x}_most", f"{x}_depth", tiny], [f"{x}_peak"]),
                helper.make_node("Div", [x, f"{x}_peak"], [f"{x}_unit"]),
                helper.make_node("QuantizeLinear", [f"{x}_unit", unit, zero], [f"{x}_int8"]),
            ]
            quantised[x] = f"{x}_int8", f"{x}_peak"
        if w not in replaced:
            values, scales = quantise_columns(numpy_helper.to_array(weight).astype(np.float32))
            add(f"{w}_int8", values)
            add(f"{w}_scale", scales / np.float32(127))
            replaced.add(w)
        used[w] -= 1
        ints, peak = quantised[x]
        out = node.output[0]
        nodes += [
            helper.make_node(
                "MatMulIntegerToFloat",
                [ints, f"{w}_int8", one, f"{w}_scale", zero],
                [f"{out}_unit"],
                name=node.name,
                domain=CONTRIB,
            ),
            helper.make_node("Mul", [f"{out}_unit", peak], [out]),
        ]
    kept = [t for t in graph.initializer if t.name not in replaced or used[t.name]]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    add_contrib(model)
    return model


def store_half(path: Path) -> None:
    """Rewrite a graph so that large float32 weights are stored as float16 and cast when it loads.

    The arithmetic stays float32 and ONNX Runtime folds the casts away: half the file, for the
    price of weights rounded to 11 bits.
    """
    model = onnx.load(os.fspath(path))
    graph = model.graph
    casts: list[NodeProto] = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < MIN_WEIGHTS:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    save(model, path)


def quantise_columns(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(I,O) float32 → int8 (I,O) in −127…127 and scales (O): weight ≈ int8 · scale."""
    scales = np.maximum(np.abs(weight).max(0), 1e-12).astype(np.float32) / np.float32(127)
    return np.rint(weight / scales).clip(-127, 127).astype(np.int8), scales


def constants(model: onnx.ModelProto) -> Callable[[str, Array | np.generic], str]:
    """A function that adds a named constant to the model and returns the name."""

    def add(name: str, value: Array | np.generic) -> str:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    return add


def uses(nodes: Any) -> dict[str, int]:
    """How many node inputs read each name."""
    counts: dict[str, int] = {}
    for node in nodes:
        for name in node.input:
            counts[name] = counts.get(name, 0) + 1
    return counts
