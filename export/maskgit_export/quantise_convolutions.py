"""Convolutions in int8, for decoders on CPUs.

ONNX Runtime has no quick convolution whose scales are found while it runs, so they are fixed at
export: weights with one scale an output channel, what goes in and comes out of a convolution with
one scale each, from the least and largest value that grids of random tokens give there.  On the
starter, scales from photographs were no better: 47 dB from float32 where these gave 49.  With fixed
scales neither a neighbour in the batch nor another part of the picture changes any rounding.

Encoders are not converted: a latent close to the border between two codes takes the other one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from maskgit_export.fuse import one_reader

Feeds = Mapping[str, NDArray[Any]]
MIN_CHANNELS = 32
CALIBRATION_GRIDS, CALIBRATION_SIDE = 8, 8


def random_grids(codes: int) -> list[Feeds]:
    """Inputs of a decoder to find its scales with: ``tokens`` int64 (1,8,8) below ``codes``."""
    rng = np.random.default_rng(0)
    shape = (1, CALIBRATION_SIDE, CALIBRATION_SIDE)
    return [{"tokens": rng.integers(0, codes, shape)} for _ in range(CALIBRATION_GRIDS)]


def quantise_convolutions(fp32: Path, path: Path, calibration: Iterable[Feeds]) -> None:
    """Write the graph ``fp32`` with its inner convolutions in int8 to ``path``.

    The first, the last and those that read few channels, the last ones of the starter, stay in
    float32: they cost little and their rounding shows most.  Around each of the others the graph
    has QuantizeLinear and DequantizeLinear, which runtimes fuse with it.
    """
    graph = onnx.load(os.fspath(fp32)).graph
    inputs = {tensor.name: tensor.dims[1] for tensor in graph.initializer if len(tensor.dims) == 4}
    nodes = [node for node in graph.node if node.op_type == "Conv"]
    kept = [node.name for node in nodes if inputs[node.input[1]] < MIN_CHANNELS]
    del graph
    with _quiet():
        quantize_static(
            os.fspath(fp32),
            os.fspath(path),
            _Reader(calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[nodes[0].name, nodes[-1].name, *kept],
        )
    model = onnx.load(os.fspath(path))
    one_reader(model)
    onnx.save(model, os.fspath(path))


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """ONNX Runtime's way to ask for the next inputs."""

    def __init__(self, feeds: Iterable[Feeds]) -> None:
        self.feeds = iter(feeds)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next inputs, None after the last."""
        feeds = next(self.feeds, None)
        return None if feeds is None else dict(feeds)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice to preprocess, which the exporter has done already."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
