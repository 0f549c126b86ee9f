"""What a family gives to the bundle writer: modules with named inputs, and the model's facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Axes = Mapping[int, str]
"""Axis number → its name; a name like ``8*h`` is a multiple of the axis ``h``."""


@dataclass(frozen=True, eq=False)
class Graph:
    """One module to be written as ONNX.

    ``inputs``: example tensors in the order of ``module.forward``, by their names in the graph;
    sizes on dynamic axes must be 2 or more.  ``axes``: the dynamic axes of the inputs.
    """

    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    axes: Mapping[str, Axes]


@dataclass(frozen=True, eq=False)
class Source:
    """A model read from its checkpoints, ready to be written as a bundle.

    ``graphs``: by name as in :data:`maskgit_daemon.bundle.GRAPHS`.  ``codebook``: (K,D) float32.
    ``grid_min``/``grid_max``: (height, width) in tokens.  ``condition``: the manifest's entry.
    ``extra``: further entries of the manifest.  ``files``: further files of the bundle by name.
    """

    family: str
    name: str
    stride: int
    codes: int
    grid_min: tuple[int, int]
    grid_max: tuple[int, int]
    graphs: Mapping[str, Graph]
    codebook: NDArray[np.float32]
    condition: Mapping[str, object]
    licence: str
    origin: str
    order: str = "confidence"
    takes_guidance_tokens: bool = False
    extra: Mapping[str, object] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


class VqModel(Protocol):
    """What every tokenizer here can do."""

    def encode(self, image: Tensor) -> Tensor:
        """Pixels (B,3,H,W) float32 in [0,1] → tokens int64 (B,h,w)."""

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens int64 (B,h,w) → pixels (B,3,H,W) nominally [0,1], not clamped."""


class Encode(nn.Module):
    """image float32 (B,3,H,W) in [0,1] → tokens int64 (B,h,w)."""

    def __init__(self, model: VqModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        return self.model.encode(image)


class Decode(nn.Module):
    """tokens int64 (B,h,w) → image float32 (B,3,H,W), not clamped."""

    def __init__(self, model: VqModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        return self.model.decode(tokens)


def bundle_graphs(
    model: VqModel, net: Graph, *, codes: int, stride: int, example: tuple[int, int]
) -> dict[str, Graph]:
    """The three graphs every bundle has; encoder and decoder take pictures of any size.

    ``example``: (height, width) in tokens of what the encoder and decoder are traced with.
    """
    height, width = example
    return {
        "encoder": Graph(
            Encode(model),
            {"image": torch.rand(2, 3, stride * height, stride * width)},
            ("tokens",),
            {"image": {0: "B", 2: f"{stride}*h", 3: f"{stride}*w"}},
        ),
        "transformer": net,
        "decoder": Graph(
            Decode(model),
            {"tokens": torch.randint(0, codes, (2, height, width))},
            ("image",),
            {"tokens": {0: "B", 1: "h", 2: "w"}},
        ),
    }
