"""The masked transformer of aMUSEd (arXiv 2401.01808), a U-ViT without position embeddings.

Convolutional blocks with text cross-attention stand before and after a transformer whose norms are
shifted and scaled by the pooled text and the micro-conditions (size, crop and wished-for score).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK_EPSILON = 1e-6
RESPONSE_EPSILON = 1e-6
MICRO_CONDITIONS = 5


@dataclass(frozen=True)
class UvitSizes:
    """Sizes under the names of the published configuration."""

    hidden_size: int = 1024
    cond_embed_dim: int = 768
    micro_cond_encode_dim: int = 256
    micro_cond_embed_dim: int = 1280
    encoder_hidden_size: int = 768
    vocab_size: int = 8256
    codebook_size: int = 8192
    in_channels: int = 768
    block_out_channels: int = 768
    num_res_blocks: int = 3
    downsample: bool = False
    upsample: bool = False
    block_num_heads: int = 12
    num_hidden_layers: int = 22
    num_attention_heads: int = 16
    intermediate_size: int = 2816
    layer_norm_eps: float = 1e-6
    sample_size: int = 64


class RmsNorm(nn.Module):
    """x / rms(x) · weight over the last axis."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon)
        out: Tensor = x * scale * self.weight
        return out


class Attention(nn.Module):
    """Attention of x (B,N,D) to ``context`` (B,M,C), or to itself."""

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width, bias=False)])

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        def split(y: Tensor) -> Tensor:
            heads: Tensor = y.unflatten(-1, (self.heads, -1))
            return heads.transpose(1, 2)

        mixed = F.scaled_dot_product_attention(
            split(self.to_q(x)), split(self.to_k(context)), split(self.to_v(context))
        )
        out: Tensor = self.to_out[0](mixed.transpose(1, 2).flatten(2))
        return out


class AdaptiveNorm(nn.Module):
    """A norm whose output is scaled and shifted by W·silu(condition)."""

    def __init__(self, norm: nn.Module, width: int) -> None:
        super().__init__()
        self.norm = norm
        self.linear = nn.Linear(width, 2 * width, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.linear(F.silu(condition)).unsqueeze(1).chunk(2, -1)
        out: Tensor = self.norm(x) * (1 + scale) + shift
        return out


class Geglu(nn.Module):
    """First half · gelu(second half) of a projection."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * inner, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, -1)
        out: Tensor = value * F.gelu(gate)
        return out


class FeedForward(nn.Module):
    """GEGLU and a projection back; place 1 was the training's dropout."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.net = nn.ModuleList(
            [Geglu(width, inner), nn.Identity(), nn.Linear(inner, width, bias=False)]
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net[2](self.net[0](x))
        return out


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention to the text, feed-forward, each behind an adaptive norm."""

    def __init__(self, sizes: UvitSizes) -> None:
        super().__init__()
        width, epsilon = sizes.hidden_size, sizes.layer_norm_eps
        self.norm1 = AdaptiveNorm(RmsNorm(width, epsilon), width)
        self.attn1 = Attention(width, width, sizes.num_attention_heads)
        self.norm2 = AdaptiveNorm(RmsNorm(width, epsilon), width)
        self.attn2 = Attention(width, width, sizes.num_attention_heads)
        self.norm3 = AdaptiveNorm(nn.LayerNorm(width, epsilon, bias=False), width)
        self.ff = FeedForward(width, sizes.intermediate_size)

    def forward(self, x: Tensor, text: Tensor, condition: Tensor) -> Tensor:
        y = self.norm1(x, condition)
        x = x + self.attn1(y, y)
        x = x + self.attn2(self.norm2(x, condition), text)
        out: Tensor = x + self.ff(self.norm3(x, condition))
        return out


class ResponseNorm(nn.Module):
    """Global response norm of ConvNeXt V2 (arXiv 2301.00808) over x (B,h,w,C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, channels))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        length = x.square().sum((1, 2), keepdim=True).sqrt()
        share = length / (length.mean(-1, keepdim=True) + RESPONSE_EPSILON)
        return self.gamma * (x * share) + self.beta + x


class ConvBlock(nn.Module):
    """A ConvNeXt block, then scaled and shifted by W·silu(condition)."""

    def __init__(self, sizes: UvitSizes) -> None:
        super().__init__()
        width = sizes.block_out_channels
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.norm = RmsNorm(width, sizes.layer_norm_eps)
        self.channelwise_linear_1 = nn.Linear(width, 4 * width, bias=False)
        self.channelwise_norm = ResponseNorm(4 * width)
        self.channelwise_linear_2 = nn.Linear(4 * width, width, bias=False)
        self.cond_embeds_mapper = nn.Linear(sizes.hidden_size, 2 * width, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.channelwise_norm(F.gelu(self.channelwise_linear_1(y)))
        x = x + self.channelwise_linear_2(y).permute(0, 3, 1, 2)
        scale, shift = self.cond_embeds_mapper(F.silu(condition))[:, :, None, None].chunk(2, 1)
        out: Tensor = x * (1 + scale) + shift
        return out


class TextBlock(nn.Module):
    """Cross-attention to the text, twice."""

    def __init__(self, sizes: UvitSizes) -> None:
        super().__init__()
        width, heads = sizes.block_out_channels, sizes.block_num_heads
        if sizes.hidden_size != width:
            self.kv_mapper = nn.Linear(sizes.hidden_size, width, bias=False)
        self.maps = sizes.hidden_size != width
        self.norm1 = RmsNorm(width, BLOCK_EPSILON)
        self.attn1 = Attention(width, width, heads)
        self.norm2 = RmsNorm(width, BLOCK_EPSILON)
        self.attn2 = Attention(width, width, heads)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        if self.maps:
            text = self.kv_mapper(F.silu(text))
        x = x + self.attn1(self.norm1(x), text)
        out: Tensor = x + self.attn2(self.norm2(x), text)
        return out


class Resize(nn.Module):
    """A norm and a 2×2 convolution that halves or doubles the grid."""

    def __init__(self, sizes: UvitSizes, *, down: bool) -> None:
        super().__init__()
        width = sizes.block_out_channels
        kind = nn.Conv2d if down else nn.ConvTranspose2d
        self.norm = RmsNorm(width, sizes.layer_norm_eps)
        self.conv = kind(width, width, 2, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return out


class Stage(nn.Module):
    """Convolutional and text blocks in turn, on the grid (B,C,h,w)."""

    def __init__(self, sizes: UvitSizes, *, down: bool, up: bool) -> None:
        super().__init__()
        count = sizes.num_res_blocks
        self.downsample = Resize(sizes, down=True) if down else None
        self.res_blocks = nn.ModuleList(ConvBlock(sizes) for _ in range(count))
        self.attention_blocks = nn.ModuleList(TextBlock(sizes) for _ in range(count))
        self.upsample = Resize(sizes, down=False) if up else None

    def forward(self, x: Tensor, text: Tensor, condition: Tensor) -> Tensor:
        if self.downsample is not None:
            x = self.downsample(x)
        for convolution, attention in zip(self.res_blocks, self.attention_blocks, strict=True):
            x = convolution(x, condition)
            batch, channels, height, width = x.shape
            y = attention(x.flatten(2).transpose(1, 2), text)
            x = y.transpose(1, 2).reshape(batch, channels, height, width)
        return x if self.upsample is None else self.upsample(x)


class Embed(nn.Module):
    """Token ids (B,h,w) → (B,C,h,w)."""

    def __init__(self, sizes: UvitSizes) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(sizes.vocab_size, sizes.in_channels)
        self.layer_norm = RmsNorm(sizes.in_channels, sizes.layer_norm_eps)
        self.conv = nn.Conv2d(sizes.in_channels, sizes.block_out_channels, 1, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.conv(self.layer_norm(self.embeddings(ids)).permute(0, 3, 1, 2))
        return out


class ConditionEmbed(nn.Module):
    """Pooled text and the waves of the micro-conditions → (B,hidden)."""

    def __init__(self, sizes: UvitSizes) -> None:
        super().__init__()
        inputs = sizes.micro_cond_embed_dim + sizes.cond_embed_dim
        self.linear_1 = nn.Linear(inputs, sizes.hidden_size, bias=False)
        self.linear_2 = nn.Linear(sizes.hidden_size, sizes.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear_2(F.silu(self.linear_1(x)))
        return out


class Head(nn.Module):
    """(B,C,h,w) → logits (B,K,h,w)."""

    def __init__(self, sizes: UvitSizes) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(sizes.block_out_channels, sizes.in_channels, 1, bias=False)
        self.layer_norm = RmsNorm(sizes.in_channels, sizes.layer_norm_eps)
        self.conv2 = nn.Conv2d(sizes.in_channels, sizes.codebook_size, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer_norm(self.conv1(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        out: Tensor = self.conv2(x)
        return out


class Uvit(nn.Module):
    """ids (B,h,w), text (B,L,D), pooled (B,P), micro-conditions (B,5) → logits (B,K,h,w)."""

    def __init__(self, sizes: UvitSizes) -> None:
        super().__init__()
        self.sizes = sizes
        width, blocks, epsilon = sizes.hidden_size, sizes.block_out_channels, sizes.layer_norm_eps
        self.encoder_proj = nn.Linear(sizes.encoder_hidden_size, width, bias=False)
        self.encoder_proj_layer_norm = RmsNorm(width, epsilon)
        self.embed = Embed(sizes)
        self.cond_embed = ConditionEmbed(sizes)
        self.down_block = Stage(sizes, down=sizes.downsample, up=False)
        self.project_to_hidden_norm = RmsNorm(blocks, epsilon)
        self.project_to_hidden = nn.Linear(blocks, width, bias=False)
        self.transformer_layers = nn.ModuleList(
            TransformerBlock(sizes) for _ in range(sizes.num_hidden_layers)
        )
        self.project_from_hidden_norm = RmsNorm(width, epsilon)
        self.project_from_hidden = nn.Linear(width, blocks, bias=False)
        self.up_block = Stage(sizes, down=False, up=sizes.upsample)
        self.mlm_layer = Head(sizes)

    def waves(self, micro: Tensor) -> Tensor:
        """Cosines, then sines, of each of (B,5) numbers at falling frequencies: (B,5·dim)."""
        half = self.sizes.micro_cond_encode_dim // 2
        frequencies = torch.exp(-math.log(10000.0) * torch.arange(half).float() / half)
        angles = micro.unsqueeze(-1).float() * frequencies
        return torch.cat([angles.cos(), angles.sin()], -1).flatten(1)

    def forward(self, ids: Tensor, text: Tensor, pooled: Tensor, micro: Tensor) -> Tensor:
        text = self.encoder_proj_layer_norm(self.encoder_proj(text))
        condition = self.cond_embed(torch.cat([pooled, self.waves(micro)], 1))
        x = self.down_block(self.embed(ids), text, condition)
        batch, channels, height, width = x.shape
        y = x.flatten(2).transpose(1, 2)
        y = self.project_to_hidden(self.project_to_hidden_norm(y))
        for layer in self.transformer_layers:
            y = layer(y, text, condition)
        y = self.project_from_hidden(self.project_from_hidden_norm(y))
        x = y.transpose(1, 2).reshape(batch, channels, height, width)
        out: Tensor = self.mlm_layer(self.up_block(x, text, condition))
        return out
