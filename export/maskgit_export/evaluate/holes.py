"""Holes to fill: the two tasks of the paper's Table 2, brush strokes and picture segments."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from skimage.segmentation import slic

Pixels = NDArray[np.uint8]
Hole = NDArray[np.bool_]

ATTEMPTS = 64


def centre(pixels: Pixels, share: tuple[float, float], rng: np.random.Generator) -> Hole:
    """The middle half of the height and of the width (inpainting, arXiv 2202.04200, Table 2)."""
    height, width = pixels.shape[:2]
    hole = np.zeros((height, width), bool)
    hole[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    return hole


def right(pixels: Pixels, share: tuple[float, float], rng: np.random.Generator) -> Hole:
    """The right half (extrapolation, arXiv 2202.04200, Table 2)."""
    hole = np.zeros(pixels.shape[:2], bool)
    hole[:, pixels.shape[1] // 2 :] = True
    return hole


def free_form(pixels: Pixels, share: tuple[float, float], rng: np.random.Generator) -> Hole:
    """Irregular strokes of a round brush that turns as it goes, covering a share of the picture.

    The brush is 6–18 % of the shorter side wide.  The share is drawn uniformly from ``share`` (low,
    high); strokes go on, segment by segment, until it is reached.
    """
    height, width = pixels.shape[:2]
    side = min(height, width)

    def attempt() -> Hole:
        wanted = rng.uniform(*share) * height * width
        canvas = Image.new("L", (width, height))
        draw = ImageDraw.Draw(canvas)
        hole = np.zeros((height, width), bool)
        while hole.sum() < wanted:
            brush = max(2, round(rng.uniform(0.06, 0.18) * side))
            place = rng.uniform([0, 0], [width, height])
            angle = rng.uniform(0, 2 * np.pi)
            for _ in range(int(rng.integers(4, 12))):
                angle += rng.normal(0, 0.7)
                step = rng.uniform(0.3, 0.9) * brush
                place = place + step * np.array([np.cos(angle), np.sin(angle)])
                if not (0 <= place[0] < width and 0 <= place[1] < height):
                    break
                draw.ellipse((*(place - brush / 2), *(place + brush / 2)), fill=255)
                # Mode "1" would give an array whose True is 255 in memory, which breaks SciPy.
                hole = np.asarray(canvas) > 0
                if hole.sum() >= wanted:
                    break
        return hole

    return _within(attempt, share)


def segments(pixels: Pixels, share: tuple[float, float], rng: np.random.Generator) -> Hole:
    """A connected group of superpixels, so a hole with the outline of things in the picture.

    The picture is median-filtered (9 px) and cut into about 60 SLIC segments; neighbours of a
    random one join it until a share drawn uniformly from ``share`` is covered.
    """
    calm = ndimage.median_filter(pixels, (9, 9, 1))
    labels = slic(calm, n_segments=60, sigma=1, start_label=0, channel_axis=-1)

    def attempt() -> Hole:
        wanted = rng.uniform(*share) * labels.size
        hole: Hole = labels == labels[tuple(rng.integers(n) for n in labels.shape)]
        while hole.sum() < wanted:
            beside = np.unique(labels[ndimage.binary_dilation(hole) & ~hole])
            hole = hole | (labels == rng.choice(beside))
        return hole

    return _within(attempt, share)


def _within(attempt: Callable[[], Hole], share: tuple[float, float]) -> Hole:
    """The first of some attempts whose share lies in the range, else the one nearest to it."""
    best, error = None, np.inf
    for _ in range(ATTEMPTS):
        hole = attempt()
        got = float(hole.mean())
        miss = max(share[0] - got, got - share[1], 0.0)
        if miss < error:
            best, error = hole, miss
        if not error:
            break
    assert best is not None
    return best


KINDS: dict[str, Callable[[Pixels, tuple[float, float], np.random.Generator], Hole]] = {
    "centre": centre,
    "right": right,
    "free-form": free_form,
    "segments": segments,
}
"""Hole makers by name; each takes pixels (H,W,3), (low, high) share and a generator."""


def make_hole(kind: str, pixels: Pixels, share: tuple[float, float], seed: int) -> Hole:
    """The hole (H,W) of a ``kind`` in :data:`KINDS`; equal arguments give equal holes."""
    return KINDS[kind](pixels, share, np.random.default_rng((seed, 17)))
