"""A starter bundle's ONNX graphs back into training checkpoints, so that anyone can tune them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from maskgit_daemon.bundle import Bundle, load_bundle
from maskgit_daemon.errors import MaskgitError
from maskgit_export.run import save_checkpoint
from maskgit_export.tokenizer import Tokenizer, TokenizerConfig
from maskgit_export.transformer import MaskedTransformer, TransformerConfig

MATRICES = ("qkv", "out", "up", "down")
HEAD_DIM = 64
PREFIX = re.compile(r"^(tokenizer|model|net)\.")
"""A wrapper that was exported held the tokenizer or transformer under a name of its own."""


def _initialisers(bundle: Bundle, graph: str) -> tuple[onnx.ModelProto, dict[str, Tensor]]:
    path = bundle.graph(graph, "fp32")
    if path is None:
        raise MaskgitError(
            f"The bundle {bundle.folder} has no {graph} in fp32; it cannot be tuned."
        )
    model = onnx.load(str(path))
    values = {
        PREFIX.sub("", tensor.name): torch.from_numpy(np.array(numpy_helper.to_array(tensor)))
        for tensor in model.graph.initializer
    }
    return model, values


def transformer_state(bundle: Bundle) -> tuple[TransformerConfig, dict[str, Tensor]]:
    """Sizes and weights of a starter's transformer.

    The exporter keeps parameter names except those of most matrices, which it stores transposed and
    unnamed; they are the constant operands of the graph's MatMul nodes, in the blocks' own order.
    """
    model, values = _initialisers(bundle, "transformer")
    width = values["embed.weight"].shape[1]
    layers = 1 + max(int(n.split(".")[1]) for n in values if n.startswith("blocks."))
    config = TransformerConfig(
        codes=bundle.codes,
        classes=len(bundle.condition.labels),
        width=width,
        layers=layers,
        heads=width // HEAD_DIM,
        takes_guidance=bundle.takes_guidance_tokens,
    )
    constants = [
        values[node.input[1]].t().contiguous()
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in values
    ]
    names = [f"blocks.{k}.{matrix}.weight" for k in range(layers) for matrix in MATRICES]
    wanted = MaskedTransformer(config).state_dict()
    state = {name: value for name, value in values.items() if name in wanted}
    unnamed = [name for name in (*names, "head.weight") if name not in state]
    state |= dict(zip(unnamed, constants, strict=False))
    return config, _complete(state, wanted, bundle)


def tokenizer_state(bundle: Bundle) -> tuple[TokenizerConfig, dict[str, Tensor]]:
    """Sizes and weights of a starter's tokenizer, decoder and codes included."""
    _, encoder = _initialisers(bundle, "encoder")
    graph, decoder = _initialisers(bundle, "decoder")
    codebook = torch.from_numpy(bundle.codebook)
    grain = any(name.startswith("decoder.grain") for name in decoder)
    config = TokenizerConfig(
        codes=bundle.codes,
        code_dim=codebook.shape[1],
        grain=grain,
        grain_strength=_grain_strength(graph),
    )
    wanted = Tokenizer(config).state_dict()
    state = {n: v for n, v in (encoder | decoder).items() if n in wanted}
    state |= {
        "codebook.codes": codebook,
        "codebook.sums": codebook.clone(),
        "codebook.counts": torch.ones(bundle.codes),
    }
    return config, _complete(state, wanted, bundle)


def _grain_strength(model: onnx.ModelProto) -> float:
    """The number that the decoder's noise planes are multiplied by, 1 where there is none."""
    cut = {node.output[0] for node in model.graph.node if node.op_type == "Slice"}
    numbers = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Mul" and node.input[0] in cut and node.input[1] in numbers:
            return float(numbers[node.input[1]])
    return 1.0


def _complete(
    state: dict[str, Tensor], wanted: dict[str, Any], bundle: Bundle
) -> dict[str, Tensor]:
    bad = [n for n, v in wanted.items() if n not in state or state[n].shape != v.shape]
    if bad:
        raise MaskgitError(
            f"The bundle {bundle.folder} is not one of our own models ({bad[0]} does not fit); "
            "only those can be tuned."
        )
    return {name: state[name] for name in wanted}


def unpack_bundle(folder: Path, out: Path) -> tuple[Path, Path]:
    """Write ``tokenizer.pt`` and ``init.pt`` (the transformer) of a bundle into ``out``.

    Raises :class:`MaskgitError` if the bundle is not a starter or is damaged.
    """
    bundle = load_bundle(folder)
    tokenizer_config, tokenizer = tokenizer_state(bundle)
    config, transformer = transformer_state(bundle)
    paths = out / "tokenizer.pt", out / "init.pt"
    save_checkpoint(
        paths[0], {"kind": "tokenizer", "config": tokenizer_config.as_dict(), "model": tokenizer}
    )
    save_checkpoint(
        paths[1],
        {
            "kind": "transformer",
            "config": config.as_dict(),
            "categories": list(bundle.condition.labels),
            "model": transformer,
        },
    )
    return paths
