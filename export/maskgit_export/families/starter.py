"""The project's own models, as ``maskgit train`` writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from maskgit_export.families.base import Graph, Source, bundle_graphs
from maskgit_export.families.reading import CheckpointError, fill, load_torch
from maskgit_export.tokenizer import STRIDE, Tokenizer, TokenizerConfig
from maskgit_export.transformer import MaskedTransformer, TransformerConfig

GRID_MIN, GRID_MAX = (8, 8), (32, 32)
LICENCE = "CC-BY-SA-4.0"
ORIGIN = "trained by maskgit train; see the credits beside the weights"

Model = TypeVar("Model", bound=nn.Module)


class Unconditional(nn.Module):
    """A transformer without classes: tokens (and guidance) → logits, under the null label."""

    def __init__(self, net: MaskedTransformer) -> None:
        super().__init__()
        self.net = net

    def forward(self, tokens: Tensor, guidance: Tensor | None = None) -> Tensor:
        labels = tokens[:, 0, 0] * 0 + self.net.config.null_label
        out: Tensor = self.net(tokens, labels, guidance)
        return out


def read_model(
    path: Path, kind: str, make: Callable[[dict[str, Any]], Model]
) -> tuple[Model, dict[str, Any]]:
    """A model of ``kind`` and the rest of its checkpoint; raises :class:`CheckpointError`."""
    state = load_torch(path)
    if state.get("kind") != kind or not isinstance(state.get("config"), dict):
        raise CheckpointError(
            f"{path} is not a {kind} checkpoint of maskgit train; give the file {kind}.pt."
        )
    try:
        with torch.device("meta"):
            model = make(state["config"])
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} was written by another version of maskgit train ({error}); train again."
        ) from error
    weights = state.get("model")
    fill(model, weights if isinstance(weights, dict) else {}, path, kind)
    return model.eval(), state


def read(tokenizer: Path, transformer: Path, name: str = "starter") -> Source:
    """The checkpoints ``tokenizer.pt`` and ``transformer.pt`` as a source for a bundle."""
    vq, _ = read_model(tokenizer, "tokenizer", lambda c: Tokenizer(TokenizerConfig(**c)))
    net, state = read_model(
        transformer, "transformer", lambda c: MaskedTransformer(TransformerConfig(**c))
    )
    if net.config.codes != vq.config.codes:
        raise CheckpointError(
            f"{transformer} was trained for {net.config.codes} codes but {tokenizer} has "
            f"{vq.config.codes}; give two checkpoints that belong together."
        )
    labels = [str(label) for label in state.get("categories", ())]
    if len(labels) != net.config.classes:
        raise CheckpointError(f"{transformer} names {len(labels)} of {net.config.classes} classes.")
    grid = {1: "h", 2: "w"}
    tokens = torch.randint(0, net.config.codes + 1, (2, 9, 10))
    inputs = {"tokens": tokens}
    if labels:
        inputs["condition"] = torch.zeros(2, dtype=torch.int64)
    if net.config.takes_guidance:
        inputs["guidance_tokens"] = torch.full_like(tokens, -1)
    axes = {"tokens": {0: "B", **grid}, "condition": {0: "B"}, "guidance_tokens": {0: "B", **grid}}
    return Source(
        family="starter",
        name=name,
        stride=STRIDE,
        codes=vq.config.codes,
        grid_min=GRID_MIN,
        grid_max=GRID_MAX,
        graphs=bundle_graphs(
            vq,
            Graph(
                net if labels else Unconditional(net),
                inputs,
                ("logits",),
                {name: axes[name] for name in inputs},
            ),
            codes=vq.config.codes,
            stride=STRIDE,
            example=(9, 10),
        ),
        codebook=vq.codebook.codes.numpy(),
        condition={"kind": "class", "labels": labels, "null_label": net.config.null_label}
        if labels
        else {"kind": "none"},
        licence=LICENCE,
        origin=ORIGIN,
        takes_guidance_tokens=net.config.takes_guidance,
    )
