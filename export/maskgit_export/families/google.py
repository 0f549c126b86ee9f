"""Google's MaskGIT, ImageNet at 256 and 512 pixels, from its published flax checkpoints."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from maskgit_export.families.base import Graph, Source, bundle_graphs
from maskgit_export.families.flax_file import read_flax
from maskgit_export.families.google_nets import Bert, BertSizes, Vqgan, VqganSizes
from maskgit_export.families.imagenet import class_labels
from maskgit_export.families.reading import CheckpointError, fill

LICENCE = "Apache-2.0 (code; no separate licence is stated for the weights, trained on ImageNet)"
ORIGIN = "https://github.com/google-research/maskgit"
WHAT = "Google MaskGIT"


class Conditioned(nn.Module):
    """tokens (B,h,w) with mask id K, condition (B) → logits (B,h,w,K).

    The sequence is the class token, K + label, then the grid in raster order; the mask is the last
    row of the vocabulary.
    """

    def __init__(self, bert: Bert, codes: int) -> None:
        super().__init__()
        self.bert, self.codes = bert, codes

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        batch, height, width = tokens.shape
        mask = self.bert.sizes.vocabulary - 1
        words = torch.where(tokens == self.codes, mask, tokens).reshape(batch, height * width)
        ids = torch.cat([(condition + self.codes).unsqueeze(1), words], 1)
        cells = self.bert.hidden(ids)[-1][:, 1:]
        return self.bert.head(cells, self.codes).view(batch, height, width, self.codes)


def read_vqgan(path: Path) -> Vqgan:
    """The tokenizer from its checkpoint; raises :class:`CheckpointError`."""
    arrays = read_flax(path)
    codes, dim = _shape(arrays, "quantizer/codebook", 2, path)
    blocks = 1 + max((_number(r"encoder/ResBlock_(\d+)/", name) for name in arrays), default=-1)
    if blocks < 4 or blocks % 2:
        raise CheckpointError(f"{path} is not a {WHAT} tokenizer; give tokenizer_imagenet….")
    channels = tuple(
        _shape(arrays, f"encoder/ResBlock_{2 * level}/Conv_0/kernel", 4, path)[3]
        for level in range(blocks // 2 - 1)
    )
    if any(c % 32 or not c for c in channels):
        raise CheckpointError(f"{path} has {channels} channels, not multiples of 32.")
    with torch.device("meta"):
        model = Vqgan(VqganSizes(channels, codes, dim))
    renamed = dict(_vqgan_entry(name, arrays.pop(name)) for name in list(arrays))
    fill(model, renamed, path, f"{WHAT} tokenizer")
    return model.eval()


def read_bert(path: Path) -> Bert:
    """The transformer from its checkpoint; raises :class:`CheckpointError`."""
    arrays = read_flax(path)
    vocabulary, width = _shape(arrays, "Embed_0/word_embeddings/embedding", 2, path)
    positions, _ = _shape(arrays, "Embed_0/position_embeddings/embedding", 2, path)
    first = "TransformerLayer_0"
    heads = _shape(arrays, f"{first}/Attention_0/self_attention/query/kernel", 3, path)[1]
    hidden = _shape(arrays, f"{first}/Mlp_0/intermediate_output/kernel", 2, path)[1]
    layers = 1 + max(_number(r"TransformerLayer_(\d+)/", name) for name in arrays)
    with torch.device("meta"):
        model = Bert(BertSizes(vocabulary, positions, width, layers, heads, hidden))
    renamed = dict(_bert_entry(name, arrays.pop(name), width) for name in list(arrays))
    fill(model, renamed, path, f"{WHAT} transformer")
    return model.eval()


def read(tokenizer: Path, transformer: Path, name: str = "google") -> Source:
    """Both checkpoints as a source for a bundle; raises :class:`CheckpointError`."""
    vqgan, bert = read_vqgan(tokenizer), read_bert(transformer)
    codes, side = vqgan.sizes.codes, math.isqrt(bert.sizes.positions - 1)
    classes = bert.sizes.vocabulary - codes - 1
    if side * side != bert.sizes.positions - 1 or classes < 1:
        raise CheckpointError(
            f"{transformer} ({bert.sizes.vocabulary} words, {bert.sizes.positions} positions) does "
            f"not belong to {tokenizer} ({codes} codes); give two files of one model."
        )
    tokens = torch.randint(0, codes + 1, (2, side, side))
    condition = torch.arange(2) % classes
    net = Graph(
        Conditioned(bert, codes),
        {"tokens": tokens, "condition": condition},
        ("logits",),
        {"tokens": {0: "B"}, "condition": {0: "B"}},
    )
    return Source(
        family="google",
        name=name,
        stride=vqgan.sizes.stride,
        codes=codes,
        grid_min=(side, side),
        grid_max=(side, side),
        graphs=bundle_graphs(vqgan, net, codes=codes, stride=vqgan.sizes.stride, example=(5, 6)),
        codebook=vqgan.codebook.detach().numpy(),
        condition={"kind": "class", "labels": class_labels(classes), "required": True},
        licence=LICENCE,
        origin=ORIGIN,
    )


def _shape(arrays: Mapping[str, Tensor], name: str, axes: int, path: Path) -> tuple[int, ...]:
    if name not in arrays or arrays[name].ndim != axes:
        raise CheckpointError(
            f"{path} is not a {WHAT} checkpoint of the kind asked for (no {name}); "
            "check that tokenizer and transformer are not exchanged."
        )
    return tuple(arrays[name].shape)


def _number(pattern: str, name: str) -> int:
    match = re.match(pattern, name)
    return int(match[1]) if match else -1


BERT_NAMES = {
    "Embed_0/word_embeddings/embedding": "word.weight",
    "Embed_0/position_embeddings/embedding": "position.weight",
    "Embed_0/embeddings_ln": "embedding_norm",
    "MlmLayer_0/mlm_dense": "dense",
    "MlmLayer_0/mlm_ln": "head_norm",
    "MlmLayer_0/mlm_bias/bias": "bias",
    "Attention_0/self_attention/query": "query",
    "Attention_0/self_attention/key": "key",
    "Attention_0/self_attention/value": "value",
    "Attention_0/self_attention/out": "out",
    "Attention_0/attention_output_ln": "attention_norm",
    "Mlp_0/intermediate_output": "up",
    "Mlp_0/layer_output": "down",
    "Mlp_0/layer_output_ln": "output_norm",
}
LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}


def _bert_entry(name: str, value: Tensor, width: int) -> tuple[str, Tensor]:
    """A flax array under its PyTorch name: kernels (in,out) turned, heads joined."""
    layer = re.match(r"TransformerLayer_(\d+)/", name)
    prefix = f"layers.{layer[1]}." if layer else ""
    rest = name[layer.end() :] if layer else name
    if rest in BERT_NAMES:
        return BERT_NAMES[rest], value
    stem, _, leaf = rest.rpartition("/")
    if stem not in BERT_NAMES or leaf not in LEAVES:
        return name, value
    if leaf == "kernel":
        # query, key, value: (width, heads, dim); out: (heads, dim, width).
        value = value.reshape(-1, width) if stem.endswith("/out") else value.flatten(1)
        value = value.t().contiguous()
    return (
        f"{prefix}{BERT_NAMES[stem]}.{LEAVES[leaf]}",
        value.flatten() if leaf == "bias" else value,
    )


def _vqgan_entry(name: str, value: Tensor) -> tuple[str, Tensor]:
    """A flax array under its PyTorch name: kernels HWIO turned to OIHW."""
    if name == "quantizer/codebook":
        return "codebook", value
    if name.endswith("/kernel") and value.ndim == 4:
        value = value.permute(3, 2, 0, 1).contiguous()
    block = re.fullmatch(r"(\w+)/ResBlock_(\d+)/(GroupNorm|Conv)_(\d)/(\w+)", name)
    if block:
        part = "norm" if block[3] == "GroupNorm" else "conv"
        leaf = LEAVES.get(block[5], block[5])
        return f"{block[1]}.blocks.{block[2]}.{part}{block[4]}.{leaf}", value
    plain = re.fullmatch(r"(encoder|decoder)/(GroupNorm|Conv)_(\d)/(\w+)", name)
    if not plain:
        return name, value
    side, kind, number, leaf = plain[1], plain[2], int(plain[3]), LEAVES.get(plain[4], plain[4])
    if kind == "GroupNorm":
        return f"{side}.norm.{leaf}", value
    if number == 0:
        return f"{side}.conv_in.{leaf}", value
    if side == "encoder" or value.shape[0] == 3:
        return f"{side}.conv_out.{leaf}", value
    return f"{side}.ups.{number - 1}.{leaf}", value
