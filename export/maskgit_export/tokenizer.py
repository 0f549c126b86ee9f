"""The starter's VQ tokenizer: a norm-free convolutional encoder, a codebook, a decoder (stride 8).

There are no normalisation layers on purpose.  A norm over the picture would let a pixel at one
end of the window change the tokens at the other; without them a token depends only on the pixels
within its receptive field, so known tokens stay the same whatever the hole next to them holds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 8


@dataclass(frozen=True)
class TokenizerConfig:
    """Sizes of a :class:`Tokenizer`; everything needed to build it again from a checkpoint."""

    codes: int = 1024
    code_dim: int = 16
    width: int = 48
    encoder_blocks: int = 2
    decoder_blocks: int = 3
    grain: bool = False
    grain_strength: float = 1.0

    def as_dict(self) -> dict[str, int | float | bool]:
        """The config as plain numbers, for a checkpoint."""
        return asdict(self)


class ResBlock(nn.Module):
    """x + conv(silu(conv(silu(x)))), 3×3, starting as the identity (last convolution zero)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in self.conv2.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.conv2(F.silu(self.conv1(F.silu(x))))
        return out


class Upsample(nn.Module):
    """Bilinear ×2, then a 3×3 convolution: interpolation, no pixel shuffle, so no grid is drawn."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        large = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        out: Tensor = self.conv(large)
        return out


class Grain(nn.Module):
    """Noise added to features, its strength a 1×1 convolution of the features themselves.

    A decoder that must draw texture out of a handful of codes draws mazes; given noise to shape, it
    draws grain (StyleGAN, arXiv 1812.04948, section 2, learns a strength per channel; here it also
    depends on the place).  In training the noise is drawn anew; otherwise it is a fixed plane, so
    the same tokens give the same picture.  ``side``: the largest feature map, in cells.
    """

    plane: Tensor
    PLANES = 8

    def __init__(self, channels: int, side: int, strength: float) -> None:
        super().__init__()
        self.strength = strength
        self.gate = nn.Conv2d(channels, channels, 1)
        self.copies = channels // self.PLANES
        for parameter in self.gate.parameters():
            nn.init.zeros_(parameter)
        fixed = torch.Generator().manual_seed(side)
        self.register_buffer("plane", torch.randn(1, self.PLANES, side, side, generator=fixed))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            noise = torch.randn_like(x[:, : self.PLANES])
        else:
            noise = self.plane[:, :, : x.shape[2], : x.shape[3]] * self.strength
        out: Tensor = x + self.gate(F.silu(x)) * noise.repeat(1, self.copies, 1, 1)
        return out


class Encoder(nn.Module):
    """Pixels (B,3,H,W) in [0,1] → latents (B,code_dim,H/8,W/8)."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        w = config.width
        self.down1 = nn.Conv2d(3, w, 4, stride=2, padding=1)
        self.down2 = nn.Conv2d(w, 2 * w, 4, stride=2, padding=1)
        self.block2 = ResBlock(2 * w)
        self.down3 = nn.Conv2d(2 * w, 4 * w, 4, stride=2, padding=1)
        self.blocks = nn.Sequential(*(ResBlock(4 * w) for _ in range(config.encoder_blocks)))
        self.head = nn.Conv2d(4 * w, config.code_dim, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.down2(F.silu(self.down1(image * 2.0 - 1.0)))
        x = self.down3(F.silu(self.block2(x)))
        out: Tensor = self.head(F.silu(self.blocks(x)))
        return out


class Decoder(nn.Module):
    """Latents (B,code_dim,h,w) → pixels (B,3,8h,8w), nominally [0,1], not clamped."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        w = config.width
        self.stem = nn.Conv2d(config.code_dim, 4 * w, 3, padding=1)
        self.blocks = nn.Sequential(*(ResBlock(4 * w) for _ in range(config.decoder_blocks)))
        self.up1 = Upsample(4 * w, 2 * w)
        self.block1 = ResBlock(2 * w)
        self.up2 = Upsample(2 * w, w)
        self.block2 = ResBlock(w)
        self.up3 = Upsample(w, w // 2)
        self.conv = nn.Conv2d(w // 2, w // 2, 3, padding=1)
        sizes = ((2 * w, 2), (w, 4), (w // 2, 8)) if config.grain else ()
        self.grain = nn.ModuleList(
            Grain(channels, 32 * scale, config.grain_strength) for channels, scale in sizes
        )
        self.out = nn.Conv2d(w // 2, 3, 3, padding=1)

    def forward(self, latents: Tensor, *, smooth: bool = False) -> Tensor:
        """``smooth`` leaves the grain out: the decoder's best guess of each pixel."""
        x = self.blocks(self.stem(latents))
        x = self.block1(self._grained(0, self.up1(F.silu(x)), smooth))
        x = self.block2(self._grained(1, self.up2(F.silu(x)), smooth))
        x = F.silu(self._grained(2, self.up3(F.silu(x)), smooth))
        x = F.silu(self.conv(x))
        out: Tensor = self.out(x) * 0.5 + 0.5
        return out

    def _grained(self, level: int, x: Tensor, smooth: bool) -> Tensor:
        out: Tensor = self.grain[level](x) if len(self.grain) and not smooth else x
        return out


class Codebook(nn.Module):
    """K codes, running means of the latents they win (VQ-VAE, arXiv 1711.00937, appendix A.1).

    Codes that win far less than their share are moved onto random latents, which splits the busiest
    regions and keeps the whole book in use.
    """

    codes: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.register_buffer("codes", torch.randn(config.codes, config.code_dim))
        self.register_buffer("counts", torch.ones(config.codes))
        self.register_buffer("sums", self.codes.clone())

    def nearest(self, latents: Tensor) -> Tensor:
        """Ids int64 (B,h,w) of the codes nearest (L2) to latents (B,D,h,w)."""
        flat = latents.permute(0, 2, 3, 1)
        distance = self.codes.square().sum(1) - 2.0 * flat @ self.codes.t()
        return distance.argmin(-1)

    def lookup(self, ids: Tensor) -> Tensor:
        """Codes (B,D,h,w) of ids (B,h,w)."""
        return F.embedding(ids, self.codes).permute(0, 3, 1, 2)

    @torch.no_grad()
    def update(self, latents: Tensor, ids: Tensor, *, decay: float, restart_below: float) -> None:
        """Move the codes towards the latents (B,D,h,w) they won; restart those below a share.

        ``restart_below`` is a fraction of the uniform share of hits.
        """
        flat = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
        index = ids.reshape(-1)
        hits = torch.bincount(index, minlength=len(self.codes)).float()
        sums = torch.zeros_like(self.sums).index_add_(0, index, flat)
        self.counts.mul_(decay).add_(hits, alpha=1.0 - decay)
        self.sums.mul_(decay).add_(sums, alpha=1.0 - decay)
        share = flat.shape[0] / len(self.codes)
        weak = (self.counts < restart_below * share).nonzero()[:, 0]
        if len(weak):
            picks = flat[torch.randint(len(flat), (len(weak),))]
            self.counts[weak] = share
            self.sums[weak] = picks * share
        self.codes.copy_(self.sums / self.counts.clamp_min(1e-5).unsqueeze(1))


class Tokenizer(nn.Module):
    """Encoder, codebook and decoder together."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.codebook = Codebook(config)
        self.decoder = Decoder(config)

    def encode(self, image: Tensor) -> Tensor:
        """Tokens int64 (B,H/8,W/8) of float32 pixels (B,3,H,W) in [0,1]."""
        return self.codebook.nearest(self.encoder(image).float())

    def decode(self, tokens: Tensor) -> Tensor:
        """Pixels (B,3,8h,8w), not clamped, of tokens int64 (B,h,w)."""
        out: Tensor = self.decoder(self.codebook.lookup(tokens))
        return out
