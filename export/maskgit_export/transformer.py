"""The starter's masked bidirectional transformer over a token grid of any shape.

Pre-norm blocks with axial rotary positions (arXiv 2104.09864, one half of each head for rows, the
other for columns), so one set of weights serves every grid.  Each block starts with a depthwise
3×3 convolution over the grid: neighbours matter most in a picture, and the convolution says so
without having to be learned by attention.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a :class:`MaskedTransformer`; ``classes`` counts real classes, null comes after."""

    codes: int = 1024
    classes: int = 0
    width: int = 256
    layers: int = 6
    heads: int = 4
    takes_guidance: bool = False

    @property
    def null_label(self) -> int:
        """The label that means "no class"."""
        return self.classes

    def as_dict(self) -> dict[str, int | bool]:
        """The config as plain numbers, for a checkpoint."""
        return asdict(self)


def rotary_table(height: int, width: int, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines (height·width, head_dim/2): row angles first, column angles second."""
    quarter = head_dim // 4
    frequencies = 100.0 ** (-torch.arange(quarter, dtype=torch.float32) / quarter)
    rows = torch.arange(height, dtype=torch.float32).unsqueeze(1) * frequencies
    columns = torch.arange(width, dtype=torch.float32).unsqueeze(1) * frequencies
    angles = torch.cat(
        [
            rows.unsqueeze(1).expand(height, width, quarter),
            columns.unsqueeze(0).expand(height, width, quarter),
        ],
        2,
    ).reshape(height * width, 2 * quarter)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotate the pairs (x[i], x[i + half]) of each head by the position's angles."""
    first, second = x.chunk(2, -1)
    return torch.cat([first * cosines - second * sines, second * cosines + first * sines], -1)


class Block(nn.Module):
    """Depthwise convolution, attention, feed-forward; each added to the stream."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.local = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        for parameter in self.local.parameters():
            nn.init.zeros_(parameter)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        batch, height, breadth, width = x.shape
        x = x + self.local(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = x.reshape(batch, height * breadth, width)
        # Three products, not one that must be cut up again: each piece would be copied.
        normed = self.norm1(x)
        query, key, value = (
            F.linear(normed, weight)
            .view(batch, -1, self.heads, width // self.heads)
            .transpose(1, 2)
            for weight in self.qkv.weight.chunk(3)
        )
        query, key = rotate(query, cosines, sines), rotate(key, cosines, sines)
        mixed = F.scaled_dot_product_attention(query, key, value)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, -1, width))
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return x.view(batch, height, breadth, width)


class MaskedTransformer(nn.Module):
    """tokens (B,h,w) with mask id K, labels (B) → logits (B,h,w,K)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.embed = nn.Embedding(config.codes + 1, width)
        self.label = nn.Embedding(config.classes + 1, width)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.codes)
        nn.init.normal_(self.embed.weight, std=0.5)
        nn.init.zeros_(self.label.weight)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        if config.takes_guidance:
            self.guide = nn.Embedding(config.codes + 1, width)
            nn.init.zeros_(self.guide.weight)

    @torch.no_grad()
    def start_from_codebook(self, codebook: Tensor) -> None:
        """Begin with like codes (rows of ``codebook`` (K,D)) embedded and predicted alike."""
        normal = (codebook - codebook.mean(0)) / codebook.std(0).clamp_min(1e-6)
        into = torch.randn(codebook.shape[1], self.config.width) / codebook.shape[1] ** 0.5
        spread = normal @ into
        self.embed.weight[: self.config.codes] = 0.5 * spread + 0.1 * torch.randn_like(spread)
        self.head.weight.copy_(0.02 * spread)

    def features(self, tokens: Tensor, labels: Tensor, guidance: Tensor | None = None) -> Tensor:
        """The last hidden state (B,h,w,width), normed; no guidance is −1 everywhere."""
        x = self.embed(tokens) + self.label(labels)[:, None, None, :]
        if guidance is None and self.config.takes_guidance:
            guidance = torch.full_like(tokens, -1)
        if guidance is not None:
            # −1 means "no guidance here"; it is row K, which the zero start leaves silent.
            index = torch.where(guidance < 0, self.config.codes, guidance)
            x = x + self.guide(index)
        height, breadth = tokens.shape[1], tokens.shape[2]
        cosines, sines = rotary_table(height, breadth, self.config.width // self.config.heads)
        for block in self.blocks:
            x = block(x, cosines.to(x.dtype), sines.to(x.dtype))
        out: Tensor = self.norm(x)
        return out

    def forward(self, tokens: Tensor, labels: Tensor, guidance: Tensor | None = None) -> Tensor:
        out: Tensor = self.head(self.features(tokens, labels, guidance))
        return out
