"""Reconstruction losses of the tokenizer; none needs a downloaded network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)


def luma(image: Tensor) -> Tensor:
    """Rec. 601 luma (B,1,H,W) of RGB (B,3,H,W)."""
    weights = image.new_tensor(_LUMA).view(1, 3, 1, 1)
    return (image * weights).sum(1, keepdim=True)


def opponent(image: Tensor) -> Tensor:
    """Luma, blue-yellow and red-cyan (B,3,H,W) of RGB, as Cb and Cr of Rec. 601."""
    grey = luma(image)
    blue = (image[:, 2:] - grey) * 0.564
    red = (image[:, :1] - grey) * 0.713
    return torch.cat([grey, blue, red], 1)


def directional_bands(image: Tensor, levels: int = 3) -> list[Tensor]:
    """Horizontal, vertical and both diagonal differences (B,12,·,·) of :func:`opponent` colours.

    One tensor an octave, the finest first.
    """
    grey = opponent(image)
    bands = []
    for level in range(levels):
        across = grey[..., :-1, 1:] - grey[..., :-1, :-1]
        down = grey[..., 1:, :-1] - grey[..., :-1, :-1]
        fall = grey[..., 1:, 1:] - grey[..., :-1, :-1]
        rise = grey[..., :-1, 1:] - grey[..., 1:, :-1]
        bands.append(torch.cat([across, down, fall, rise], 1))
        if level + 1 < levels:
            grey = F.avg_pool2d(grey, 2)
    return bands


def texture_bands(image: Tensor, levels: int = 3) -> list[Tensor]:
    """Second differences in four directions (B,12,·,·) of :func:`opponent` colours, by octave.

    A second difference answers to its own octave far more than to the coarser ones, so each octave
    must have its own contrast; first differences let the middle one stand in for the finest.
    """
    colours = opponent(image)
    bands = []
    for level in range(levels):
        twice = 2.0 * colours[..., 1:-1, 1:-1]
        across = twice - colours[..., 1:-1, :-2] - colours[..., 1:-1, 2:]
        down = twice - colours[..., :-2, 1:-1] - colours[..., 2:, 1:-1]
        fall = twice - colours[..., :-2, :-2] - colours[..., 2:, 2:]
        rise = twice - colours[..., :-2, 2:] - colours[..., 2:, :-2]
        bands.append(torch.cat([across, down, fall, rise], 1))
        if level + 1 < levels:
            colours = F.avg_pool2d(colours, 2)
    return bands


def gradient_loss(target: Tensor, output: Tensor) -> Tensor:
    """Mean absolute error of the directional differences over three octaves."""
    pairs = zip(directional_bands(target), directional_bands(output), strict=True)
    return sum(((a - b).abs().mean() for a, b in pairs), start=target.new_zeros(()))


def texture_loss(target: Tensor, output: Tensor, floor: float = 0.01) -> Tensor:
    """Mean absolute difference of *local* contrast, by direction and octave: the perceptual term.

    The contrast is the root mean square of a second difference over 8×8 blocks (4×4 and 2×2
    at the coarser octaves, always 8 pixels of the picture).  Matching it asks for as much grain in
    each direction as the original has there, without saying where each grain must lie: what L1
    cannot ask for, and why L1 alone blurs.  ``floor`` (in units of the [0,1] range) keeps the root
    smooth where there is no texture.
    """
    total = target.new_zeros(())
    pairs = zip(texture_bands(target), texture_bands(output), strict=True)
    for level, (a, b) in enumerate(pairs):
        size = 8 >> level
        stride = max(1, size // 2)
        contrast_a = (F.avg_pool2d(a.square(), size, stride) + floor**2).sqrt()
        contrast_b = (F.avg_pool2d(b.square(), size, stride) + floor**2).sqrt()
        total = total + (contrast_a - contrast_b).abs().mean()
    return total


def reconstruction_loss(
    target: Tensor, output: Tensor, *, gradient: float, texture: float
) -> Tensor:
    """L1 + gradient·:func:`gradient_loss` + texture·:func:`texture_loss`; pictures (B,3,H,W)."""
    loss = (target - output).abs().mean()
    if gradient:
        loss = loss + gradient * gradient_loss(target, output)
    if texture:
        loss = loss + texture * texture_loss(target, output)
    return loss
