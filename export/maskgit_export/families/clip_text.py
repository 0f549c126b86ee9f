"""The text side of CLIP (arXiv 2103.00020) with its projection, and its tokenizer as one file."""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


@dataclass(frozen=True)
class ClipSizes:
    """Sizes under the names of the published configuration."""

    vocab_size: int = 49408
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    max_position_embeddings: int = 77
    projection_dim: int = 768
    layer_norm_eps: float = 1e-5
    hidden_act: str = "quick_gelu"
    eos_token_id: int = 49407


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, sizes: ClipSizes) -> None:
        super().__init__()
        width = sizes.hidden_size
        self.heads = sizes.num_attention_heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        def split(y: Tensor) -> Tensor:
            heads: Tensor = y.unflatten(-1, (self.heads, -1))
            return heads.transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            split(self.q_proj(x)), split(self.k_proj(x)), split(self.v_proj(x)), attn_mask=mask
        )
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out


class FeedForward(nn.Module):
    """Two layers with GELU, or x·sigmoid(1.702x) in its place."""

    def __init__(self, sizes: ClipSizes) -> None:
        super().__init__()
        self.fc1 = nn.Linear(sizes.hidden_size, sizes.intermediate_size)
        self.fc2 = nn.Linear(sizes.intermediate_size, sizes.hidden_size)
        self.quick = sizes.hidden_act == "quick_gelu"

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        out: Tensor = self.fc2(x * torch.sigmoid(1.702 * x) if self.quick else F.gelu(x))
        return out


class Layer(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, sizes: ClipSizes) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(sizes.hidden_size, sizes.layer_norm_eps)
        self.self_attn = Attention(sizes)
        self.layer_norm2 = nn.LayerNorm(sizes.hidden_size, sizes.layer_norm_eps)
        self.mlp = FeedForward(sizes)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x), mask)
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out


class ClipText(nn.Module):
    """ids int64 (B,L) → the last but one hidden state (B,L,D) and the pooled text (B,P)."""

    def __init__(self, sizes: ClipSizes) -> None:
        super().__init__()
        self.sizes = sizes
        width = sizes.hidden_size
        self.token_embedding = nn.Embedding(sizes.vocab_size, width)
        self.position_embedding = nn.Embedding(sizes.max_position_embeddings, width)
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.num_hidden_layers))
        self.final_layer_norm = nn.LayerNorm(width, sizes.layer_norm_eps)
        self.text_projection = nn.Linear(width, sizes.projection_dim, bias=False)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        length = self.sizes.max_position_embeddings
        mask = torch.ones(length, length, dtype=torch.bool).tril()
        x = self.token_embedding(ids) + self.position_embedding.weight
        before = x
        for layer in self.layers:
            before, x = x, layer(x, mask)
        # Old configurations state 2 for the end, where it is the largest id of the vocabulary.
        marks = ids if self.sizes.eos_token_id == 2 else (ids == self.sizes.eos_token_id).long()
        index = marks.argmax(-1)[:, None, None].expand(-1, 1, self.sizes.hidden_size)
        end = self.final_layer_norm(x).gather(1, index)[:, 0]
        return before, self.text_projection(end)


def tokenizer_file(vocabulary: str, merges: str, length: int, pad: str = END) -> bytes:
    """CLIP's byte-pair tokenizer as a ``tokenizer.json`` of the ``tokenizers`` library.

    ``vocabulary``, ``merges``: contents of the published vocab.json and merges.txt.  Texts become
    ``length`` ids: start, words, end, then ``pad``.  Raises :class:`ValueError` if the files are
    not what they should be.
    """
    from tokenizers import Regex, Tokenizer
    from tokenizers.decoders import ByteLevel as ByteDecoder
    from tokenizers.models import BPE
    from tokenizers.normalizers import NFC, Lowercase, Replace
    from tokenizers.normalizers import Sequence as Steps
    from tokenizers.pre_tokenizers import ByteLevel, Split
    from tokenizers.pre_tokenizers import Sequence as Cuts
    from tokenizers.processors import TemplateProcessing

    ids = {str(word): int(number) for word, number in json.loads(vocabulary).items()}
    lines = [line for line in merges.splitlines() if line and not line.startswith("#version")]
    pairs = [(first, second) for first, second in (line.split(" ") for line in lines)]
    if any(not {first, second, first + second} <= ids.keys() for first, second in pairs):
        raise ValueError("vocabulary and merges do not belong together")
    if not {START, END, pad} <= ids.keys():
        raise ValueError(f"the vocabulary lacks {START}, {END} or {pad}")
    made = Tokenizer(
        BPE(
            vocab=ids,
            merges=pairs,
            unk_token=END,
            end_of_word_suffix="</w>",
            continuing_subword_prefix="",
            fuse_unk=False,
        )
    )
    made.normalizer = Steps([NFC(), Replace(Regex(r"\s+"), " "), Lowercase()])
    made.pre_tokenizer = Cuts(
        [Split(Regex(WORDS), behavior="removed", invert=True), ByteLevel(add_prefix_space=False)]
    )
    made.decoder = ByteDecoder()
    made.post_processor = TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, ids[START]), (END, ids[END])]
    )
    made.enable_truncation(length)
    made.enable_padding(length=length, pad_id=ids[pad], pad_token=pad)
    return str(made.to_str()).encode()
