"""The networks of Google's MaskGIT (arXiv 2202.04200) in PyTorch.

The transformer is a post-norm BERT; the VQGAN a convolutional one without attention.  Both follow
the published weights where the paper differs from them: 16 heads, not 8, and a 1×1 shortcut that is
applied to a residual block's own output.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPSILON = 1e-12
GROUPS, GROUP_EPSILON = 32, 1e-6


@dataclass(frozen=True)
class BertSizes:
    """Sizes of a :class:`Bert`; ``positions`` counts the class token too."""

    vocabulary: int
    positions: int
    width: int
    layers: int
    heads: int
    hidden: int


class Layer(nn.Module):
    """x = LN(x + attention(x)); x = LN(x + W₂·gelu(W₁·x)), GELU in its tanh form."""

    def __init__(self, sizes: BertSizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.query = nn.Linear(sizes.width, sizes.width)
        self.key = nn.Linear(sizes.width, sizes.width)
        self.value = nn.Linear(sizes.width, sizes.width)
        self.out = nn.Linear(sizes.width, sizes.width)
        self.attention_norm = nn.LayerNorm(sizes.width, NORM_EPSILON)
        self.up = nn.Linear(sizes.width, sizes.hidden)
        self.down = nn.Linear(sizes.hidden, sizes.width)
        self.output_norm = nn.LayerNorm(sizes.width, NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape

        def split(y: Tensor) -> Tensor:
            return y.view(batch, length, self.heads, -1).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            split(self.query(x)), split(self.key(x)), split(self.value(x))
        )
        mixed = mixed.transpose(1, 2).reshape(batch, length, width)
        x = self.attention_norm(x + self.out(mixed))
        out: Tensor = self.output_norm(x + self.down(F.gelu(self.up(x), approximate="tanh")))
        return out


class Bert(nn.Module):
    """ids (B,positions) over the whole vocabulary → logits (B,positions,vocabulary)."""

    def __init__(self, sizes: BertSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.word = nn.Embedding(sizes.vocabulary, sizes.width)
        self.position = nn.Embedding(sizes.positions, sizes.width)
        self.embedding_norm = nn.LayerNorm(sizes.width, NORM_EPSILON)
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        self.dense = nn.Linear(sizes.width, sizes.width)
        self.head_norm = nn.LayerNorm(sizes.width, NORM_EPSILON)
        self.bias = nn.Parameter(torch.zeros(sizes.vocabulary))

    def hidden(self, ids: Tensor) -> list[Tensor]:
        """The embedding and each layer's output, (B,positions,width) each."""
        states = [self.embedding_norm(self.word(ids) + self.position.weight)]
        for layer in self.layers:
            states.append(layer(states[-1]))
        return states

    def head(self, x: Tensor, rows: int) -> Tensor:
        """Logits of the first ``rows`` words, tied to the word embedding."""
        x = self.head_norm(F.gelu(self.dense(x), approximate="tanh"))
        return F.linear(x, self.word.weight[:rows], self.bias[:rows])

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.hidden(ids)[-1], self.sizes.vocabulary)


class ResBlock(nn.Module):
    """y = conv(swish(GN(conv(swish(GN x))))), and x + y, or y + W·y where channels change."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm0 = nn.GroupNorm(GROUPS, inputs, GROUP_EPSILON)
        self.conv0 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(GROUPS, outputs, GROUP_EPSILON)
        self.conv1 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 1, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv0(F.silu(self.norm0(x)))
        y = self.conv1(F.silu(self.norm1(y)))
        out: Tensor = y + (x if self.conv2 is None else self.conv2(y))
        return out


@dataclass(frozen=True)
class VqganSizes:
    """``channels``: of each level, finest first; two residual blocks each and two at the bottom."""

    channels: tuple[int, ...]
    codes: int
    dim: int

    @property
    def stride(self) -> int:
        """Pixels a token covers on each side."""
        return 1 << (len(self.channels) - 1)


class Encoder(nn.Module):
    """Pixels (B,3,H,W) in [0,1] → latents (B,dim,H/16,W/16)."""

    def __init__(self, sizes: VqganSizes) -> None:
        super().__init__()
        first, last = sizes.channels[0], sizes.channels[-1]
        self.conv_in = nn.Conv2d(3, first, 3, padding=1, bias=False)
        self.blocks = nn.ModuleList()
        before = first
        for channels in (*sizes.channels, last):
            self.blocks += [ResBlock(before, channels), ResBlock(channels, channels)]
            before = channels
        self.norm = nn.GroupNorm(GROUPS, last, GROUP_EPSILON)
        self.conv_out = nn.Conv2d(last, sizes.dim, 1)
        self.levels = len(sizes.channels)

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv_in(image)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index % 2 == 1 and index // 2 < self.levels - 1:
                x = F.avg_pool2d(x, 2)
        out: Tensor = self.conv_out(F.silu(self.norm(x)))
        return out


class Decoder(nn.Module):
    """Latents (B,dim,h,w) → pixels (B,3,16h,16w), nominally [0,1], not clamped."""

    def __init__(self, sizes: VqganSizes) -> None:
        super().__init__()
        upwards = sizes.channels[::-1]
        self.conv_in = nn.Conv2d(sizes.dim, upwards[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        before = upwards[0]
        for channels in (upwards[0], *upwards):
            self.blocks += [ResBlock(before, channels), ResBlock(channels, channels)]
            before = channels
        self.ups = nn.ModuleList(nn.Conv2d(c, c, 3, padding=1) for c in upwards[:-1])
        self.norm = nn.GroupNorm(GROUPS, upwards[-1], GROUP_EPSILON)
        self.conv_out = nn.Conv2d(upwards[-1], 3, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.conv_in(latents)
        for index, block in enumerate(self.blocks):
            x = block(x)
            level = index // 2 - 1
            if index % 2 == 1 and 0 <= level < len(self.ups):
                x = self.ups[level](F.interpolate(x, scale_factor=2.0, mode="nearest"))
        out: Tensor = self.conv_out(F.silu(self.norm(x)))
        return out


class Vqgan(nn.Module):
    """Encoder, codebook (K,dim) and decoder; the nearest code by L2."""

    def __init__(self, sizes: VqganSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = Encoder(sizes)
        self.codebook = nn.Parameter(torch.zeros(sizes.codes, sizes.dim))
        self.decoder = Decoder(sizes)

    def nearest(self, latents: Tensor) -> Tensor:
        """Ids int64 (B,h,w) of latents (B,dim,h,w)."""
        flat = latents.permute(0, 2, 3, 1)
        distance = self.codebook.square().sum(1) - 2.0 * (flat @ self.codebook.t())
        return distance.argmin(-1)

    def encode(self, image: Tensor) -> Tensor:
        """Ids int64 (B,h,w) of pixels (B,3,H,W) in [0,1]."""
        return self.nearest(self.encoder(image))

    def decode(self, tokens: Tensor) -> Tensor:
        """Pixels (B,3,H,W), not clamped, of ids (B,h,w)."""
        out: Tensor = self.decoder(F.embedding(tokens, self.codebook).permute(0, 3, 1, 2))
        return out
