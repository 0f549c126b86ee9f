"""``maskgit export --check``: is a bundle whole, valid ONNX, and does every graph run?"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from maskgit_daemon.bundle import MANIFEST, Bundle, load_bundle, read_manifest
from maskgit_daemon.errors import BundleError
from maskgit_export.onnx_graphs import session, total_bytes

FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}

OUTPUTS = {
    "encoder": {"tokens"},
    "transformer": {"logits"},
    "decoder": {"image"},
    "classifier": {"class_logits"},
    "text_encoder": {"text_hidden", "text_pooled"},
}


class Row(NamedTuple):
    """One graph in one precision.  ``megabytes`` of its files, ``seconds`` of one small run."""

    graph: str
    precision: str
    opset: int
    ir: int
    megabytes: float
    seconds: float
    outputs: str
    deviation: str


def check_bundle(folder: Path) -> list[Row]:
    """Check hashes, run onnx's checker and every graph once on the smallest grid.

    Raises :class:`BundleError` with one sentence at the first fault.
    """
    bundle = load_bundle(folder)
    listed = read_manifest(folder)["graphs"]
    return [
        check_graph(bundle, name, precision, path, listed[name][precision].get("deviation", {}))
        for name, variants in bundle.graphs.items()
        for precision, path in variants.items()
    ]


def check_graph(
    bundle: Bundle, name: str, precision: str, path: Path, deviation: dict[str, Any]
) -> Row:
    """One graph: valid, with the outputs the format asks for, finite on a small input."""
    try:
        # By path, so that weights in a file of their own are found and big graphs are checked too.
        onnx.checker.check_model(os.fspath(path), full_check=True)
        model = onnx.load(os.fspath(path), load_external_data=False)
        made = session(path)
        feeds = {i.name: example(bundle, i.name, i.type, i.shape) for i in made.get_inputs()}
        names = [output.name for output in made.get_outputs()]
        began = time.perf_counter()
        outputs = dict(zip(names, made.run(names, feeds), strict=True))
        seconds = time.perf_counter() - began
    except BundleError:
        raise
    except Exception as error:  # onnx and ONNX Runtime raise many unrelated types
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise BundleError(f"{path} is not a working graph: {reason}.") from error
    if set(outputs) != OUTPUTS[name]:
        raise BundleError(
            f"{path} gives {', '.join(outputs)} where a {name} gives "
            f"{', '.join(sorted(OUTPUTS[name]))}; export the bundle again."
        )
    for output, value in outputs.items():
        expect(bundle, path, output, value)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    return Row(
        graph=name,
        precision=precision,
        opset=opsets.get("", 0),
        ir=model.ir_version,
        megabytes=round(total_bytes(path) / 1e6, 1),
        seconds=round(seconds, 3),
        outputs=", ".join(f"{key} {'×'.join(map(str, v.shape))}" for key, v in outputs.items()),
        deviation=", ".join(
            f"{key} {value}" for facts in deviation.values() for key, value in facts.items()
        ),
    )


def example(
    bundle: Bundle, name: str, kind: str, shape: Sequence[int | str | None]
) -> NDArray[Any]:
    """A batch of two of the input ``name`` on the smallest grid."""
    height, width = bundle.grid_min
    rng = np.random.default_rng(0)
    if name == "image":
        return rng.random((2, 3, height * bundle.stride, width * bundle.stride), np.float32)
    if name == "tokens":
        return rng.integers(0, bundle.codes, (2, height, width))
    if name == "guidance_tokens":
        return np.full((2, height, width), -1, np.int64)
    if name == "condition":
        return np.zeros(2, np.int64)
    sizes = [2 if i == 0 or not isinstance(n, int) else n for i, n in enumerate(shape)]
    if kind == "tensor(int64)":
        return np.ones(sizes, np.int64)
    if kind not in FLOATS:
        raise BundleError(f"An input {name} of type {kind} is unknown; export the bundle again.")
    return rng.standard_normal(sizes).astype(FLOATS[kind])


def expect(bundle: Bundle, path: Path, name: str, value: NDArray[Any]) -> None:
    """Refuse an output that is not what the bundle's format says."""
    height, width = bundle.grid_min
    shapes = {
        "tokens": (2, height, width),
        "logits": (2, height, width, bundle.codes),
        "image": (2, 3, height * bundle.stride, width * bundle.stride),
    }
    if name in shapes and value.shape != shapes[name]:
        raise BundleError(
            f"{path} gives {name} of shape {value.shape} instead of {shapes[name]}; "
            f"{MANIFEST} and graph do not belong together."
        )
    if name == "tokens" and not 0 <= value.min() <= value.max() < bundle.codes:
        raise BundleError(f"{path} gives tokens outside 0 … {bundle.codes - 1}; export it again.")
    if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
        raise BundleError(f"{path} gives NaN or infinite {name}; export it again.")


def table(rows: Sequence[Row]) -> str:
    """The rows as aligned text with a head line."""
    head = [name.replace("_", " ") for name in Row._fields]
    body = [[str(value) for value in row] for row in rows]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [head, *body]
    )
