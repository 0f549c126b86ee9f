"""Halton-MaskGIT (arXiv 2503.17076, valeoai): classes with a null class, in Halton order.

Its transformer is conditioned by adaptive norms: the class embedding gives each block shift, scale
and gate for attention and feed-forward.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskgit_export.families.base import Graph, Source, bundle_graphs
from maskgit_export.families.imagenet import class_labels
from maskgit_export.families.llamagen import read_vq
from maskgit_export.families.reading import CheckpointError, fill, load_torch

LICENCE = "MIT (code and, by its authors' repository, weights; trained on ImageNet)"
ORIGIN = "https://github.com/valeoai/Halton-MaskGIT, tokenizer from FoundationVision/LlamaGen"
EPSILON = 1e-5
HEADS = {384: 6, 510: 6, 512: 8, 768: 12, 1024: 16, 1152: 16}
"""Heads of the published sizes, by the width of the queries (the arrays do not tell)."""


@dataclass(frozen=True)
class HaltonSizes:
    """Sizes of a :class:`Transformer`; ``inner`` is the queries' width, ``hidden`` the SwiGLU's."""

    codes: int
    classes: int
    side: int
    width: int
    inner: int
    heads: int
    layers: int
    hidden: int
    registers: int


def rms(x: Tensor) -> Tensor:
    """x divided by its root mean square over the last axis."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON)


class Scale(nn.Module):
    """RMS norm with a gain, and a bias where asked."""

    def __init__(self, width: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        x = rms(x) * self.weight
        return x if self.bias is None else x + self.bias


class Attention(nn.Module):
    """Queries and keys are RMS-normed over all heads together, without gains."""

    def __init__(self, sizes: HaltonSizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.wq = nn.Linear(sizes.width, sizes.inner, bias=False)
        self.wk = nn.Linear(sizes.width, sizes.inner, bias=False)
        self.wv = nn.Linear(sizes.width, sizes.inner, bias=False)
        self.wo = nn.Linear(sizes.inner, sizes.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape

        def split(y: Tensor) -> Tensor:
            return y.view(batch, length, self.heads, -1).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            split(rms(self.wq(x))), split(rms(self.wk(x))), split(self.wv(x))
        )
        out: Tensor = self.wo(mixed.transpose(1, 2).reshape(batch, length, -1))
        return out


class FeedForward(nn.Module):
    """SwiGLU: W₂(silu(W₁x) · W₃x)."""

    def __init__(self, sizes: HaltonSizes) -> None:
        super().__init__()
        self.w1 = nn.Linear(sizes.width, sizes.hidden, bias=False)
        self.w2 = nn.Linear(sizes.hidden, sizes.width, bias=False)
        self.w3 = nn.Linear(sizes.width, sizes.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.w2(F.silu(self.w1(x)) * self.w3(x))
        return out


def adapter(width: int, outputs: int) -> nn.Sequential:
    """The class embedding's way to ``outputs`` shifts, scales and gates."""
    return nn.Sequential(nn.SiLU(), nn.Linear(width, width * outputs))


class Block(nn.Module):
    """Attention and feed-forward, each shifted, scaled and gated by the class."""

    def __init__(self, sizes: HaltonSizes) -> None:
        super().__init__()
        self.mlp = adapter(sizes.width, 6)
        self.ln1 = Scale(sizes.width)
        self.attn = Attention(sizes)
        self.ln2 = Scale(sizes.width)
        self.ff = FeedForward(sizes)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.mlp(label).unsqueeze(1).chunk(6, -1)
        x = x + gate1 * self.attn(self.ln1(x) * (1 + scale1) + shift1)
        out: Tensor = x + gate2 * self.ff(self.ln2(x) * (1 + scale2) + shift2)
        return out


class LastNorm(nn.Module):
    """The norm before the head, shifted and scaled by the class."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_final = Scale(width, bias=True)
        self.mlp = adapter(width, 2)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        shift, scale = self.mlp(label).unsqueeze(1).chunk(2, -1)
        out: Tensor = self.norm_final(x) * (1 + scale) + shift
        return out


class Stack(nn.Module):
    """The blocks, under the name the checkpoint gives them."""

    def __init__(self, sizes: HaltonSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(sizes) for _ in range(sizes.layers))


class Transformer(nn.Module):
    """tokens (B,h,w) with mask id K, labels (B) with null label C → raw logits (B,h·w,K+1)."""

    def __init__(self, sizes: HaltonSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.cls_emb = nn.Embedding(sizes.classes + 1, sizes.width)
        self.tok_emb = nn.Embedding(sizes.codes + 1, sizes.width)
        self.pos_emb = nn.Embedding(sizes.side**2, sizes.width)
        self.reg_tokens = nn.Embedding(sizes.registers, sizes.width)
        self.transformer = Stack(sizes)
        self.last_norm = LastNorm(sizes.width)
        self.head_bias = nn.Parameter(torch.zeros(sizes.codes + 1))

    def hidden(self, tokens: Tensor, label: Tensor) -> list[Tensor]:
        """Each block's output (B,h·w+registers,width); registers last.  ``label``: embedded."""
        x = self.tok_emb(tokens.flatten(1)) + self.pos_emb.weight
        registers = self.reg_tokens.weight.expand(tokens.shape[0], -1, -1)
        x = torch.cat([x, registers], 1)
        states = []
        for block in self.transformer.layers:
            x = block(x, label)
            states.append(x)
        return states

    def logits(self, tokens: Tensor, labels: Tensor, rows: int) -> Tensor:
        """Logits (B,h·w,rows) of the first ``rows`` words, tied to the token embedding."""
        label = self.cls_emb(labels)
        cells = self.hidden(tokens, label)[-1][:, : self.sizes.side**2]
        x = self.last_norm(cells, label)
        return F.linear(x, self.tok_emb.weight[:rows], self.head_bias[:rows])

    def forward(self, tokens: Tensor, labels: Tensor) -> Tensor:
        return self.logits(tokens, labels, self.sizes.codes + 1)


class Conditioned(nn.Module):
    """tokens (B,h,w) with mask id K, condition (B) → logits (B,h,w,K), without the mask's own."""

    def __init__(self, net: Transformer) -> None:
        super().__init__()
        self.net = net

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        codes = self.net.sizes.codes
        return self.net.logits(tokens, condition, codes).view(*tokens.shape, codes)


def read_transformer(path: Path, heads: int | None = None) -> Transformer:
    """The transformer from an ``ImageNet_….pth``; raises :class:`CheckpointError`.

    ``heads``: needed only for sizes that were never published.
    """
    what = "Halton-MaskGIT transformer"
    state = load_torch(path).get("model_state_dict")
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{path} is not a {what} checkpoint; give an ImageNet_….pth.")
    weights = {
        str(name).replace("module.", "").replace("_orig_mod.", ""): value
        for name, value in state.items()
    }
    try:
        tied = weights.pop("head.weight")
        if not torch.equal(tied, weights["tok_emb.weight"]):
            raise CheckpointError(f"{path}: the head is not tied to the tokens; it is no {what}.")
        weights["head_bias"] = weights.pop("head.bias")
        words, width = weights["tok_emb.weight"].shape
        inner = weights["transformer.layers.0.attn.wq.weight"].shape[0]
        layers = sum(name.endswith(".attn.wq.weight") for name in weights)
        sizes = HaltonSizes(
            codes=words - 1,
            classes=weights["cls_emb.weight"].shape[0] - 1,
            side=math.isqrt(weights["pos_emb.weight"].shape[0]),
            width=width,
            inner=inner,
            heads=heads or HEADS.get(inner, 0),
            layers=layers,
            hidden=weights["transformer.layers.0.ff.w1.weight"].shape[0],
            registers=weights["reg_tokens.weight"].shape[0],
        )
    except (KeyError, AttributeError, ValueError, TypeError, IndexError) as error:
        raise CheckpointError(
            f"{path} is not a {what} checkpoint ({error}); models with merged tokens are not known."
        ) from error
    if not sizes.heads or inner % sizes.heads:
        raise CheckpointError(
            f"{path} is {inner} wide, a size that was never published; name its --heads."
        )
    with torch.device("meta"):
        model = Transformer(sizes)
    fill(model, weights, path, what)
    return model.eval()


def read(
    tokenizer: Path, transformer: Path, name: str = "halton", heads: int | None = None
) -> Source:
    """Both checkpoints as a source for a bundle; raises :class:`CheckpointError`."""
    vq, net = read_vq(tokenizer), read_transformer(transformer, heads)
    codes, side, classes = net.sizes.codes, net.sizes.side, net.sizes.classes
    if codes != vq.sizes.codes:
        raise CheckpointError(
            f"{transformer} was trained for {codes} codes but {tokenizer} has {vq.sizes.codes}; "
            "give two files that belong together."
        )
    return Source(
        family="halton",
        name=name,
        stride=vq.sizes.stride,
        codes=codes,
        grid_min=(side, side),
        grid_max=(side, side),
        graphs=bundle_graphs(
            vq,
            Graph(
                Conditioned(net),
                {
                    "tokens": torch.randint(0, codes + 1, (2, side, side)),
                    "condition": torch.tensor([classes // 2, classes]),
                },
                ("logits",),
                {"tokens": {0: "B"}, "condition": {0: "B"}},
            ),
            codes=codes,
            stride=vq.sizes.stride,
            example=(5, 6),
        ),
        codebook=vq.quantize.codes().detach().numpy(),
        condition={"kind": "class", "labels": class_labels(classes), "null_label": classes},
        licence=LICENCE,
        origin=ORIGIN,
        order="halton",
    )
