"""PyTorch modules to ONNX files with dynamic axes, and their measured distance from PyTorch."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import re
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch.export import Dim

from maskgit_daemon.errors import MaskgitError
from maskgit_export.families.base import Graph

OPSET = 20
"""ONNX opset 20 with IR version 10: what ONNX Runtime loads since 1.18."""
IR_VERSION = 10
EXTERNAL_ABOVE = 500_000_000
"""Bytes of weights above which they go to a file beside the graph: less memory to write and load,
and a must above 2 GB."""

Arrays = dict[str, NDArray[Any]]


def export_graph(graph: Graph, path: Path) -> None:
    """Write ``graph`` to ``path`` (weights over 0.5 GB to ``path``.data beside it).

    Raises :class:`OSError` if the disk is full and :class:`MaskgitError` if torch cannot trace it.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    release_memory()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph.module.eval(),
            tuple(graph.inputs.values()),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            opset_version=OPSET,
            dynamic_shapes=[dynamic_axes(graph.axes.get(name, {})) for name in graph.inputs],
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise MaskgitError(f"PyTorch could not trace {path.stem}; use the tested torch version.")
    for node in program.model.graph:
        # Names of functions and files of the exporting machine are of no use to anyone else.
        node.metadata_props.clear()
        node.doc_string = None
    program.model.ir_version = IR_VERSION
    weights = sum(p.numel() * p.element_size() for p in graph.module.state_dict().values())
    program.save(os.fspath(path), external_data=weights > EXTERNAL_ABOVE)


def release_memory() -> None:
    """Give freed memory back to the system where the C library otherwise keeps it (glibc)."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def dynamic_axes(axes: Mapping[int, str]) -> dict[int, Any]:
    """torch.export's description of axes named ``h``, or ``8*h`` for a multiple."""
    dims: dict[int, Any] = {}
    for axis, name in axes.items():
        match = re.fullmatch(r"(?:(\d+)\*)?(\w+)", name)
        if not match:
            raise ValueError(f"axis name {name!r}")
        dim = Dim(match[2])
        dims[axis] = int(match[1]) * dim if match[1] else dim
    return dims


def session(path: Path, threads: int = 0) -> ort.InferenceSession:
    """A CPU session on a graph, quiet but for errors."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])


def run(path: Path, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
    """One run of the graph in ``path``; outputs by name."""
    made = session(path)
    names = [output.name for output in made.get_outputs()]
    return dict(zip(names, made.run(names, dict(feeds)), strict=True))


def torch_outputs(graph: Graph, feeds: Mapping[str, torch.Tensor]) -> Arrays:
    """The module's own outputs by name, in the order of ``graph.inputs``."""
    with torch.no_grad():
        out = graph.module(*(feeds[name] for name in graph.inputs))
    values = out if isinstance(out, tuple) else (out,)
    return {n: v.numpy() for n, v in zip(graph.outputs, values, strict=True)}


def deviation(reference: Arrays, outputs: Arrays) -> dict[str, dict[str, float]]:
    """How far ``outputs`` are from ``reference``, for the manifest.

    Ids: ``changed``, the share that differs.  Numbers: ``max`` and ``mean`` absolute difference and
    ``std``, the standard deviation of the reference, for scale.
    """
    found: dict[str, dict[str, float]] = {}
    for name, wanted in reference.items():
        got = outputs[name]
        if np.issubdtype(wanted.dtype, np.integer):
            found[name] = {"changed": float(np.mean(wanted != got))}
        else:
            error = np.abs(wanted.astype(np.float64) - got)
            found[name] = {
                "max": float(f"{error.max():.3g}"),
                "mean": float(f"{error.mean():.3g}"),
                "std": float(f"{wanted.std():.3g}"),
            }
    return found


def total_bytes(path: Path) -> int:
    """Size of a graph with its external data, in bytes."""
    return path.stat().st_size + sum(f.stat().st_size for f in external_files(path))


def external_files(path: Path) -> list[Path]:
    """The files with external weights beside a graph."""
    model = onnx.load(os.fspath(path), load_external_data=False)
    names = {
        entry.value
        for tensor in model.graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return [path.parent / name for name in sorted(names)]
