"""Five frozen measures of how real a filled hole looks, none of which needs a trained network.

Each compares the filled pixels of a hole with what stood there before, by statistics of texture
rather than pixel by pixel: a good fill shows other grass, but grass.  All take uint8 RGB (H,W,3)
and a bool hole (H,W) and return one number; lower is better.  The original itself reads 0 on all
but the seam, where untouched photographs read about 0.07 (median) and 0.2 (90th percentile).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage, stats
from skimage.filters import rank

Pixels = NDArray[np.uint8]
Hole = NDArray[np.bool_]
Real = NDArray[np.float64]

UNITS: Mapping[str, str] = {
    "gradient": "grey levels per pixel",
    "spectrum": "dB",
    "entropy": "bits",
    "kernel": "squared maximum mean discrepancy",
    "seam": "|ln| of a ratio",
}
"""The five measures, in the order they are reported, with their units."""

ROUNDING = 1.0 / 12.0
"""Variance of rounding to whole grey levels: the noise floor under every spectrum."""

SPECTRUM_EDGES = tuple(2.0 ** (-5.0 + i / 3.0) for i in range(13))
"""Third-octave bands from 1/32 to 1/2 cycles per pixel."""

TAPER = 8
"""Pixels over which a hole's border is faded out before its spectrum is taken."""

ENTROPY_SIDE, ENTROPY_STEP = 9, 4.0
"""Window (pixels) and bin (grey levels) of local entropy."""

CELL, CELL_STEP, FEATURE_SEED = 16, 8, 20220204
"""Pixels a random feature is averaged over, pixels between two averages, seed of the filters."""

FEATURE_FLOOR, FEATURE_CENTRE = 0.02, 2.7
"""Added to a feature before and after its logarithm: rounding noise, and what centres it."""

SEAM_BAND = 3
"""Pixels to each side of the border whose differences the border's are compared with."""


def luma(pixels: Pixels) -> Real:
    """Brightness (H,W), 0…255, of sRGB values (ITU-R BT.601 weights)."""
    weighted: Real = pixels[..., :3].astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return weighted


def realism(original: Pixels, made: Pixels, hole: Hole) -> dict[str, float]:
    """All five measures of one filled hole, by the names in :data:`UNITS`.

    Raises ValueError if shapes differ or the hole is empty or has no border in the picture.
    """
    _check(original, made, hole)
    near = _surroundings(hole)
    original, made, hole = original[near], made[near], hole[near]
    return {
        "gradient": gradient_distance(original, made, hole),
        "spectrum": spectrum_distance(original, made, hole),
        "entropy": entropy_distance(original, made, hole),
        "kernel": kernel_distance(original, made, hole),
        "seam": seam(made, hole),
    }


def _check(original: Pixels, made: Pixels, hole: Hole) -> None:
    if original.shape != made.shape or original.shape[:2] != hole.shape:
        raise ValueError(f"shapes differ: {original.shape}, {made.shape}, {hole.shape}")
    if not hole.any():
        raise ValueError("the hole is empty")


def _surroundings(hole: Hole) -> tuple[slice, slice]:
    """The part of the picture any measure looks at; on the grid of the cells, to save time only."""
    rows, columns = np.nonzero(hole)
    starts = [max(0, part.min() // CELL_STEP * CELL_STEP - CELL) for part in (rows, columns)]
    return np.s_[starts[0] : rows.max() + CELL + 1, starts[1] : columns.max() + CELL + 1]


def gradient_magnitude(pixels: Pixels) -> Real:
    """Length (H,W) of the luma gradient by central differences, grey levels per pixel."""
    down, right = np.gradient(luma(pixels))
    magnitude: Real = np.hypot(down, right)
    return magnitude


def gradient_distance(original: Pixels, made: Pixels, hole: Hole) -> float:
    """Wasserstein-1 distance between the distributions of gradient magnitude inside the hole.

    Unit: grey levels (of 255) per pixel.  Blur and noise both raise it.
    """
    a, b = gradient_magnitude(original)[hole], gradient_magnitude(made)[hole]
    return float(stats.wasserstein_distance(a, b))


def radial_power(pixels: Pixels, hole: Hole) -> Real:
    """Luma power density per third-octave band inside the hole, grey levels²; NaN where no bin is.

    The hole's content less its mean is faded out towards the hole's border (raised cosine over
    8 px) and transformed; white noise of variance v reads v in every band.
    """
    rows, columns = np.nonzero(hole)
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    depth = ndimage.distance_transform_edt(np.pad(hole[box], 1))[1:-1, 1:-1]
    weight = 0.5 - 0.5 * np.cos(np.pi * np.minimum(depth / (TAPER + 1.0), 1.0))
    values = luma(pixels)[box]
    mean = (values * weight).sum() / weight.sum()
    side = max(32, *weight.shape)
    power = np.abs(np.fft.fft2((values - mean) * weight, (side, side))) ** 2 / (weight**2).sum()
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    band = np.digitize(frequency.ravel(), SPECTRUM_EDGES) - 1
    inside = (band >= 0) & (band < len(SPECTRUM_EDGES) - 1)
    count = np.bincount(band[inside], minlength=len(SPECTRUM_EDGES) - 1)
    total = np.bincount(band[inside], power.ravel()[inside], minlength=len(SPECTRUM_EDGES) - 1)
    with np.errstate(invalid="ignore"):
        density: Real = total / count
    return density


def spectrum_distance(original: Pixels, made: Pixels, hole: Hole) -> float:
    """Root mean square, over third-octave bands, of the ratio of radial power in decibels.

    Unit: dB.  The rounding noise of 8-bit pixels is added to both, so that nothing is infinite.
    """
    a, b = radial_power(original, hole) + ROUNDING, radial_power(made, hole) + ROUNDING
    decibels = 10.0 * np.log10(b / a)
    return float(np.sqrt(np.nanmean(decibels**2)))


def contrast_entropy(pixels: Pixels, hole: Hole) -> float:
    """Entropy, in bits, of luma within 9 × 9 px, averaged over the hole: 0 (flat) … 6 (rough).

    Luma is counted in steps of 4 grey levels, so that the noise of a smooth sky is not roughness.
    """
    levels = (luma(pixels) / ENTROPY_STEP).astype(np.uint8)
    footprint = np.ones((ENTROPY_SIDE, ENTROPY_SIDE), np.uint8)
    return float(rank.entropy(levels, footprint)[hole].mean())  # type: ignore[no-untyped-call]


def entropy_distance(original: Pixels, made: Pixels, hole: Hole) -> float:
    """Difference of :func:`contrast_entropy`, in bits: is it as rich in detail as it was?"""
    return abs(contrast_entropy(made, hole) - contrast_entropy(original, hole))


@cache
def _filters() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(FEATURE_SEED)
    first = rng.normal(size=(5 * 5 * 3, 32)).astype(np.float32)
    # Zero mean in all but four filters: texture counts more than plain colour.
    first[:, 4:] -= first[:, 4:].mean(0)
    second = rng.normal(size=(3 * 3 * 32, 48)).astype(np.float32)
    return first / np.linalg.norm(first, axis=0), second / np.linalg.norm(second, axis=0)


def _convolve(
    maps: NDArray[np.float32], weights: NDArray[np.float32], side: int
) -> NDArray[np.float32]:
    padded = np.pad(maps, ((side // 2, side // 2), (side // 2, side // 2), (0, 0)), mode="reflect")
    windows = sliding_window_view(padded, (side, side), axis=(0, 1))
    out: NDArray[np.float32] = np.tensordot(
        windows, weights.reshape(side, side, maps.shape[2], -1).transpose(2, 0, 1, 3), 3
    )
    return np.maximum(out, 0.0, out=out)


def random_features(pixels: Pixels) -> NDArray[np.float32]:
    """Feature maps (H,W,80) of a two-layer convolutional net with fixed random weights.

    Layer 1: 32 filters of 5 × 5 and ReLU at full size; layer 2: 48 of 3 × 3 and ReLU at half size,
    on 2 × 2 averages of layer 1.  Unit filters on pixels scaled to −2…2; nothing is trained.
    """
    first, second = _filters()
    height, width = pixels.shape[:2]
    image = pixels[..., :3].astype(np.float32) / np.float32(255.0 / 4.0) - np.float32(2.0)
    one = _convolve(image, first, 5)
    even = np.pad(one, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    half = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2, -1).mean((1, 3))
    two = _convolve(half, second, 3).repeat(2, 0).repeat(2, 1)[:height, :width]
    return np.concatenate([one, two], 2)


def cell_features(pixels: Pixels, hole: Hole) -> NDArray[np.float64]:
    """Features (n,80) of the hole's 16 × 16 px cells, one every 8 px; their logarithms, about −2…2.

    A feature is averaged over those pixels of the cell that are in the hole.  Cells count of which
    at least half is in the hole, or, in a thin hole, at least half of what the best cell has.
    """
    weights = hole[..., None].astype(np.float32)
    share = _cell_means(weights)
    chosen = share[..., 0] >= 0.5 * share.max()
    means = _cell_means(random_features(pixels) * weights)[chosen] / share[chosen]
    # Texture spans orders of magnitude: the logarithm lets faint and strong count alike.
    features: Real = np.log(means.astype(np.float64) + FEATURE_FLOOR) + FEATURE_CENTRE
    return features


def _cell_means(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means (rows,columns,C) over 16 × 16 px cells every 8 px; a rest below 8 px is cut off."""
    short = [max(0, CELL - side) for side in maps.shape[:2]]
    maps = np.pad(maps, ((0, short[0]), (0, short[1]), (0, 0)), mode="edge")
    rows, columns = (side // CELL_STEP for side in maps.shape[:2])
    cut = maps[: rows * CELL_STEP, : columns * CELL_STEP]
    blocks = cut.reshape(rows, CELL_STEP, columns, CELL_STEP, -1).mean((1, 3))
    means: NDArray[np.float32] = 0.25 * (
        blocks[1:, 1:] + blocks[1:, :-1] + blocks[:-1, 1:] + blocks[:-1, :-1]
    )
    return means


def polynomial_mmd(first: Real, second: Real) -> float:
    """Squared maximum mean discrepancy of paired samples (n,d), kernel (x·y/d + 1)³.

    The U-statistic of Gretton et al. 2012 (JMLR 13, eq. 3 for equal sample sizes) with the kernel
    of the Kernel Inception Distance (arXiv 1801.01401): unbiased, so slightly below 0 at times, and
    exactly 0 for equal samples.  0.0 if there are fewer than two samples.
    """
    n, d = first.shape
    if n < 2:
        return 0.0

    def kernel(a: Real, b: Real) -> Real:
        out: Real = (a @ b.T / d + 1.0) ** 3
        return out

    cross = kernel(first, second)
    table = kernel(first, first) + kernel(second, second) - cross - cross.T
    return float((table.sum() - np.trace(table)) / (n * (n - 1)))


def kernel_distance(original: Pixels, made: Pixels, hole: Hole) -> float:
    """:func:`polynomial_mmd` between the hole's cells as they were and as they are now.

    Unit: squared discrepancy of random convolution features.  Wrong colour and wrong texture both
    raise it; where in the hole something stands does not.
    """
    return polynomial_mmd(cell_features(original, hole), cell_features(made, hole))


def border_differences(values: Real, hole: Hole) -> tuple[float, float]:
    """Mean |difference| of neighbours across the hole's border, and of those beside it.

    Neighbours beside it are pairs in the same direction, up to 3 px to either side of the border;
    the two sides count equally.  Unit: that of ``values``.  Raises ValueError without a border.
    """
    across: list[Real] = []
    inside: list[Real] = []
    outside: list[Real] = []
    for axis in (0, 1):
        grid, inner = np.moveaxis(values, axis, 1), np.moveaxis(hole, axis, 1)
        steps = np.abs(np.diff(grid, axis=1))
        both_in = inner[:, 1:] & inner[:, :-1]
        both_out = ~inner[:, 1:] & ~inner[:, :-1]
        border = ~both_in & ~both_out
        near = np.zeros_like(border)
        for offset in range(1, SEAM_BAND + 1):
            near[:, offset:] |= border[:, :-offset]
            near[:, :-offset] |= border[:, offset:]
        across.append(steps[border])
        inside.append(steps[near & both_in])
        outside.append(steps[near & both_out])
    if not sum(part.size for part in across):
        raise ValueError("the hole has no border inside the picture")
    sides = [np.concatenate(parts) for parts in (inside, outside)]
    return (
        float(np.concatenate(across).mean()),
        float(np.mean([side.mean() for side in sides if side.size] or [0.0])),
    )


def seam(made: Pixels, hole: Hole) -> float:
    """|ln| of the luma step across the hole's border over the steps to either side of it.

    0 where the border is as rough as its surroundings; a visible edge and a smeared one both raise
    it.  One rounding step of 8-bit pixels (1/√12) is added to both, so that flat skies count
    calmly.
    """
    across, beside = border_differences(luma(made), hole)
    floor = ROUNDING**0.5
    return float(abs(np.log((across + floor) / (beside + floor))))
