"""What a family gives to the bundle writer: modules with named inputs, and the model's facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

Axes = Mapping[int, str]
"""Axis number → its name; a name like ``8*h`` is a multiple of the axis ``h``."""


@dataclass(frozen=True, eq=False)
class Graph:
    """One module to be written as ONNX.

    ``inputs``: example tensors in the order of ``module.forward``, by their names in the graph;
    sizes on dynamic axes must be 2 or more.  ``axes``: the dynamic axes of inputs and outputs.
    """

    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    axes: Mapping[str, Axes]


@dataclass(frozen=True, eq=False)
class Source:
    """A model read from its checkpoints, ready to be written as a bundle.

    ``graphs``: by name as in :data:`maskgit_daemon.bundle.GRAPHS`.  ``codebook``: (K,D) float32.
    ``decode``: tokens int64 (B,h,w) → pixels float32 (B,3,H,W) nominally [0,1], for the colours of
    the codes, decoded on constant grids ``colour_grid`` tokens a side.  ``grid_min``/``grid_max``:
    (height, width) in tokens.  ``condition``: the manifest's entry.  ``files``: further files of
    the bundle by name.
    """

    family: str
    name: str
    stride: int
    codes: int
    grid_min: tuple[int, int]
    grid_max: tuple[int, int]
    graphs: Mapping[str, Graph]
    codebook: NDArray[np.float32]
    decode: Callable[[Tensor], Tensor]
    condition: Mapping[str, object]
    licence: str
    origin: str
    colour_grid: int = 4
    order: str = "confidence"
    takes_guidance_tokens: bool = False
    extra: Mapping[str, object] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
