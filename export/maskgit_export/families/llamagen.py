"""LlamaGen's VQ-16 tokenizer (arXiv 2406.06525): a VQGAN whose codes lie on the unit sphere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskgit_export.families.reading import CheckpointError, fill, load_torch

GROUPS, GROUP_EPSILON = 32, 1e-6
UNUSED = "quantize.codebook_used"
"""A running count of the training; 65 536 entries that inference does not read."""


@dataclass(frozen=True)
class LlamaGenSizes:
    """``channels``: of each level, finest first.  ``encoder``/``decoder``: blocks a level.

    ``attention``: at the coarsest level and in the middle.  ``sphere``: codes are compared at
    length 1.  ``signed``: the network's pictures lie in [−1,1], not in [0,1].
    """

    channels: tuple[int, ...]
    codes: int
    dim: int
    latent: int
    encoder: int = 2
    decoder: int = 3
    attention: bool = True
    sphere: bool = True
    signed: bool = True

    @property
    def stride(self) -> int:
        """Pixels a token covers on each side."""
        return 1 << (len(self.channels) - 1)


def group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, channels, GROUP_EPSILON)


class ResBlock(nn.Module):
    """shortcut(x) + conv(swish(GN(conv(swish(GN x)))))."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = group_norm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = group_norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs:
            self.nin_shortcut = nn.Conv2d(inputs, outputs, 1)
        self.same = inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        out: Tensor = y + (x if self.same else self.nin_shortcut(x))
        return out


class Attention(nn.Module):
    """x + W·softmax(QᵀK/√C)·V over all places, one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        y = self.norm(x)

        def places(z: Tensor) -> Tensor:
            return z.flatten(2).transpose(1, 2).unsqueeze(1)

        mixed = F.scaled_dot_product_attention(
            places(self.q(y)), places(self.k(y)), places(self.v(y))
        )
        mixed = mixed.squeeze(1).transpose(1, 2).reshape(batch, channels, height, width)
        out: Tensor = x + self.proj_out(mixed)
        return out


class Resample(nn.Module):
    """A 3×3 convolution after doubling (nearest), or of stride 2 padded right and below."""

    def __init__(self, channels: int, *, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv = nn.Conv2d(
            channels, channels, 3, stride=2 if down else 1, padding=0 if down else 1
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.down:
            x = F.pad(x, (0, 1, 0, 1))
        else:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        out: Tensor = self.conv(x)
        return out


class Level(nn.Module):
    """Residual blocks of one resolution, each with attention at the coarsest, then resampling."""

    def __init__(
        self, inputs: int, outputs: int, blocks: int, *, attention: bool, resample: str
    ) -> None:
        super().__init__()
        self.res = nn.ModuleList(
            ResBlock(inputs if i == 0 else outputs, outputs) for i in range(blocks)
        )
        self.attn = nn.ModuleList(Attention(outputs) for _ in range(blocks if attention else 0))
        if resample == "down":
            self.downsample = Resample(outputs, down=True)
        elif resample == "up":
            self.upsample = Resample(outputs, down=False)
        self.resample = resample

    def forward(self, x: Tensor) -> Tensor:
        for index, block in enumerate(self.res):
            x = block(x)
            if len(self.attn):
                x = self.attn[index](x)
        if self.resample == "down":
            x = self.downsample(x)
        elif self.resample == "up":
            x = self.upsample(x)
        return x


def middle(channels: int, *, attention: bool) -> nn.ModuleList:
    """Two residual blocks, with attention between them where there is any."""
    if not attention:
        return nn.ModuleList([ResBlock(channels, channels), ResBlock(channels, channels)])
    return nn.ModuleList(
        [ResBlock(channels, channels), Attention(channels), ResBlock(channels, channels)]
    )


class Encoder(nn.Module):
    """Pixels (B,3,H,W) in [−1,1] → (B,latent,h,w)."""

    def __init__(self, sizes: LlamaGenSizes) -> None:
        super().__init__()
        widths = sizes.channels
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.conv_blocks = nn.ModuleList(
            Level(
                widths[max(0, i - 1)],
                width,
                sizes.encoder,
                attention=sizes.attention and i == len(widths) - 1,
                resample="" if i == len(widths) - 1 else "down",
            )
            for i, width in enumerate(widths)
        )
        self.mid = middle(widths[-1], attention=sizes.attention)
        self.norm_out = group_norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], sizes.latent, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv_in(image)
        for block in (*self.conv_blocks, *self.mid):
            x = block(x)
        out: Tensor = self.conv_out(F.silu(self.norm_out(x)))
        return out


class Decoder(nn.Module):
    """(B,latent,h,w) → pixels (B,3,H,W), nominally [−1,1]."""

    def __init__(self, sizes: LlamaGenSizes) -> None:
        super().__init__()
        widths = sizes.channels[::-1]
        self.conv_in = nn.Conv2d(sizes.latent, widths[0], 3, padding=1)
        self.mid = middle(widths[0], attention=sizes.attention)
        self.conv_blocks = nn.ModuleList(
            Level(
                widths[max(0, i - 1)],
                width,
                sizes.decoder,
                attention=sizes.attention and i == 0,
                resample="" if i == len(widths) - 1 else "up",
            )
            for i, width in enumerate(widths)
        )
        self.norm_out = group_norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.conv_in(latents)
        for block in (*self.mid, *self.conv_blocks):
            x = block(x)
        out: Tensor = self.conv_out(F.silu(self.norm_out(x)))
        return out


class Quantizer(nn.Module):
    """The codes, compared and looked up at length 1 where ``sphere`` is set."""

    def __init__(self, sizes: LlamaGenSizes) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.codes, sizes.dim)
        self.sphere = sizes.sphere

    def codes(self) -> Tensor:
        """The codes (K,D) as they are looked up."""
        return F.normalize(self.embedding.weight, dim=-1) if self.sphere else self.embedding.weight

    def nearest(self, latents: Tensor) -> Tensor:
        """Ids int64 (B,h,w) of the nearest codes to latents (B,D,h,w)."""
        flat = latents.permute(0, 2, 3, 1)
        if self.sphere:
            flat = F.normalize(flat, dim=-1)
        codes = self.codes()
        return (codes.square().sum(1) - 2.0 * (flat @ codes.t())).argmin(-1)


class LlamaGenVq(nn.Module):
    """The whole tokenizer; ``encode`` and ``decode`` take and give pictures in [0,1]."""

    def __init__(self, sizes: LlamaGenSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = Encoder(sizes)
        self.quant_conv = nn.Conv2d(sizes.latent, sizes.dim, 1)
        self.quantize = Quantizer(sizes)
        self.post_quant_conv = nn.Conv2d(sizes.dim, sizes.latent, 1)
        self.decoder = Decoder(sizes)

    def latents(self, image: Tensor) -> Tensor:
        """(B,D,h,w) of pixels (B,3,H,W) in the network's own range."""
        out: Tensor = self.quant_conv(self.encoder(image))
        return out

    def pixels(self, tokens: Tensor) -> Tensor:
        """Pixels (B,3,H,W) in the network's own range, not clamped, of ids (B,h,w)."""
        codes = F.embedding(tokens, self.quantize.codes()).permute(0, 3, 1, 2)
        out: Tensor = self.decoder(self.post_quant_conv(codes))
        return out

    def encode(self, image: Tensor) -> Tensor:
        """Ids int64 (B,h,w) of pixels (B,3,H,W) in [0,1]."""
        return self.quantize.nearest(
            self.latents(image * 2.0 - 1.0 if self.sizes.signed else image)
        )

    def decode(self, tokens: Tensor) -> Tensor:
        """Pixels (B,3,H,W) in nominally [0,1], not clamped, of ids (B,h,w)."""
        pixels = self.pixels(tokens)
        return pixels * 0.5 + 0.5 if self.sizes.signed else pixels


def read_vq(path: Path) -> LlamaGenVq:
    """The tokenizer from ``vq_ds16_c2i.pt``; raises :class:`CheckpointError`."""
    what = "LlamaGen VQ tokenizer"
    weights = load_torch(path).get("model")
    if not isinstance(weights, Mapping):
        raise CheckpointError(f"{path} is not a {what} checkpoint; give vq_ds16_c2i.pt.")
    weights = {name: value for name, value in weights.items() if name != UNUSED}
    try:
        codes, dim = weights["quantize.embedding.weight"].shape
        latent = weights["quant_conv.weight"].shape[1]
        channels: list[int] = []
        while (name := f"encoder.conv_blocks.{len(channels)}.res.0.conv1.weight") in weights:
            channels.append(int(weights[name].shape[0]))
        with torch.device("meta"):
            model = LlamaGenVq(LlamaGenSizes(tuple(channels), codes, dim, latent))
    except (KeyError, AttributeError, ValueError, IndexError) as error:
        raise CheckpointError(f"{path} is not a {what} checkpoint; give vq_ds16_c2i.pt.") from error
    fill(model, weights, path, what)
    return model.eval()
