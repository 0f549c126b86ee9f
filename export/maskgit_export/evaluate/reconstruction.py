"""How well a tokenizer gives back what it was shown: error, sharpness, grid, use of the codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from maskgit_export.evaluate.coders import Coder, to_image, to_pixels
from maskgit_export.evaluate.realism import ROUNDING, luma

Pixels = NDArray[np.uint8]
Real = NDArray[np.float64]

BANDS = ((1 / 16, 1 / 8), (1 / 8, 1 / 4), (1 / 4, 1 / 2))
"""Three octaves below the Nyquist frequency, cycles per pixel."""

GRID_PERIOD = 8
"""The stride whose trace is looked for: peaks at multiples of 1/8 cycle per pixel."""


@dataclass(frozen=True)
class TokenizerReport:
    """What :func:`judge_tokenizer` finds.

    ``psnr`` dB, mean over crops.  ``ssim`` −1…1, mean over crops.  ``perplexity`` 1…K, of the
    tokens of all crops; ``perplexity_share`` of K.  ``bands``: energy kept per octave band, pooled
    over crops (1 = all); ``bands_median``: the same as the median over crops.  ``grid``: strength
    of the grid peaks relative to the original's, geometric mean over all of them; ``grid_worst``:
    of the worst harmonic.
    """

    crops: int
    codes: int
    psnr: float
    ssim: float
    perplexity: float
    perplexity_share: float
    bands: tuple[float, float, float]
    bands_median: tuple[float, float, float]
    grid: float
    grid_worst: float

    def as_dict(self) -> dict[str, object]:
        """The report as plain values, for JSON."""
        return asdict(self)


def psnr(original: Pixels, made: Pixels) -> float:
    """Peak signal-to-noise ratio in dB over all channels, 255 = peak; 99 for equal pictures."""
    error = np.square(original.astype(np.float64) - made.astype(np.float64)).mean()
    return float(min(99.0, 10.0 * np.log10(255.0**2 / max(error, 1e-12))))


def ssim(original: Pixels, made: Pixels) -> float:
    """Structural similarity −1…1 (Wang et al. 2004), 7 × 7 px windows, mean over channels."""
    return float(structural_similarity(original, made, channel_axis=2))  # type: ignore[no-untyped-call]


def perplexity(tokens: NDArray[np.int64], codes: int) -> float:
    """exp of the entropy (nats) of the tokens' frequencies: how many codes are in real use."""
    share = np.bincount(tokens.ravel(), minlength=codes) / tokens.size
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def power_spectra(pictures: Sequence[Pixels]) -> Real:
    """Luma power (N,H,W), grey levels² per bin, less the mean, under a Hann window."""
    values = np.stack([luma(p) for p in pictures])
    window = np.outer(np.hanning(values.shape[1] + 1)[:-1], np.hanning(values.shape[2] + 1)[:-1])
    mean = (values * window).sum((1, 2), keepdims=True) / window.sum()
    power: Real = np.abs(np.fft.fft2((values - mean) * window)) ** 2 / np.square(window).sum()
    return power


def band_energy(power: Real) -> Real:
    """Energy (N,3) in the octave :data:`BANDS` of radial frequency, of spectra (N,H,W)."""
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) for n in power.shape[1:]), indexing="ij"))
    parts = [power[:, (frequency >= low) & (frequency < high)].sum(1) for low, high in BANDS]
    return np.stack(parts, 1)


def grid_peaks(power: Real) -> Real:
    """Height (5,5) of each grid peak over its neighbourhood, of spectra (N,H,W).

    Entry (i,j) is for the frequencies (±i/8, ±j/8) cycles per pixel; 1 = no peak.  A peak is the
    loudest bin of the 3 × 3 around such a frequency (the width of the Hann window), the
    neighbourhood the median of the loudest bins of the 3 × 3 groups three and six bins away; both
    are geometric means over the pictures, so a faint grid in a flat picture counts as much as one
    in a busy picture.  (0,0) is not a grid and reads 1.

    Raises ValueError if the sides are not multiples of 64 px.
    """
    if power.shape[1] % 64 or power.shape[2] % 64:
        raise ValueError(f"sides {power.shape[1:]} are not multiples of 64")
    mean = np.log(power + ROUNDING * 1e-2).mean(0)
    steps = [n // GRID_PERIOD for n in power.shape[1:]]
    reach = min(steps) // 2 - 1

    def loudest(row: int, column: int) -> float:
        around = np.ix_(
            [(row + d) % mean.shape[0] for d in (-1, 0, 1)],
            [(column + d) % mean.shape[1] for d in (-1, 0, 1)],
        )
        return float(mean[around].max())

    offsets = [d for d in range(-reach + 1, reach) if d % 3 == 0]
    peaks = np.ones((5, 5))
    for i in range(5):
        for j in range(5):
            if i == j == 0:
                continue
            heights = []
            for sign in (1, -1):
                row, column = i * steps[0], sign * j * steps[1]
                around = [
                    loudest(row + dr, column + dc) for dr in offsets for dc in offsets if dr or dc
                ]
                heights.append(loudest(row, column) - float(np.median(around)))
            peaks[i, j] = np.exp(np.mean(heights))
    return peaks


def grid_ratio(original: Real, made: Real) -> tuple[float, float]:
    """Grid peaks of spectra ``made`` relative to ``original``'s: (mean, worst harmonic).

    The mean is geometric over all peaks at multiples of 1/8 cycle per pixel.  A harmonic m joins
    the peaks whose larger index is m, so 1/8, 1/4, 3/8 and 1/2 cycles per pixel.
    """
    ratio = np.log(grid_peaks(made)) - np.log(grid_peaks(original))
    harmonic = np.maximum(*np.indices(ratio.shape))
    means = [float(ratio[harmonic == m].mean()) for m in range(1, 5)]
    return float(np.exp(ratio[harmonic > 0].mean())), float(np.exp(max(means)))


def compare(original: Sequence[Pixels], made: Sequence[Pixels]) -> dict[str, object]:
    """Every measure of two equally long sequences of uint8 crops (H,W,3) that needs no tokens."""
    before, after = power_spectra(original), power_spectra(made)
    energy, kept = band_energy(before), band_energy(after)
    grid, worst = grid_ratio(before, after)
    pairs = list(zip(original, made, strict=True))
    return {
        "psnr": float(np.mean([psnr(a, b) for a, b in pairs])),
        "ssim": float(np.mean([ssim(a, b) for a, b in pairs])),
        "bands": tuple(float(v) for v in kept.sum(0) / energy.sum(0)),
        "bands_median": tuple(
            float(v) for v in np.median((kept + ROUNDING) / (energy + ROUNDING), 0)
        ),
        "grid": grid,
        "grid_worst": worst,
    }


def judge_tokenizer(coder: Coder, crops: Sequence[Pixels], batch: int = 16) -> TokenizerReport:
    """Encode and decode uint8 crops (H,W,3) of one size and compare them with themselves."""
    tokens: list[NDArray[np.int64]] = []
    made: list[Pixels] = []
    for start in range(0, len(crops), batch):
        ids = coder.encode(to_image(np.stack(crops[start : start + batch])))
        tokens.append(ids)
        made.extend(to_pixels(coder.decode(ids)))
    used = perplexity(np.concatenate(tokens), coder.codes)
    return TokenizerReport(
        crops=len(crops),
        codes=coder.codes,
        perplexity=used,
        perplexity_share=used / coder.codes,
        **compare(crops, made),  # type: ignore[arg-type]
    )
