"""Strokes that nobody had to paint: MaskGIT-Edit's two kinds and a free brush, all seeded.

MaskGIT-Edit (joel99/maskgit_edit, Apache-2.0) flattens a picture with a median of 23 pixels, cuts
it into about 12 SLIC segments and paints one: with the segment's own mean colour (*inversion*: can
the texture be made again?) or with a random one (*counterfactual*).  The segment is the selection.
The *brush* adds what painters do: a few soft, crossing lines of random colours and widths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from skimage.filters import rank
from skimage.segmentation import slic

Pixels = NDArray[np.uint8]
Labels = NDArray[np.integer]
Flags = NDArray[np.bool_]

MEDIAN = 23
SEGMENTS = 12
MIN_SHARE, MAX_SHARE = 0.03, 0.35
BRUSH_MARGIN = 4
ATTEMPTS = 100


@dataclass(frozen=True, eq=False)
class Strokes:
    """A painted picture: ``painted`` (H,W,3) uint8, ``selection`` (H,W) bool, ``kind`` its name."""

    kind: str
    painted: Pixels
    selection: Flags


def flatten(pixels: Pixels) -> Pixels:
    """Median of 23 × 23 pixels a channel, borders repeated; (H,W,3) uint8."""
    half = MEDIAN // 2
    padded = np.pad(pixels, ((half, half), (half, half), (0, 0)), mode="edge")
    square = np.ones((MEDIAN, MEDIAN), np.uint8)
    planes = [
        rank.median(padded[..., c], square)[half:-half, half:-half]  # type: ignore[no-untyped-call]
        for c in range(3)
    ]
    return np.stack(planes, -1)


def segments(flat: Pixels) -> Labels:
    """(H,W) labels from 1: SLIC with 12 segments wanted, sigma 1."""
    labels: Labels = slic(flat, n_segments=SEGMENTS, sigma=1, start_label=1, channel_axis=-1)
    return labels


def reduce_colours(flat: Pixels, labels: Labels) -> Pixels:
    """Every segment in its mean colour, cut to whole numbers; (H,W,3) uint8."""
    top = int(labels.max()) + 1
    count = np.maximum(np.bincount(labels.ravel(), minlength=top), 1)
    means = [
        np.bincount(labels.ravel(), flat[..., c].ravel(), minlength=top) / count for c in range(3)
    ]
    return np.stack(means, -1).astype(np.uint8)[labels]


def paint_segment(
    pixels: Pixels, labels: Labels, label: int, colours: Pixels
) -> tuple[Pixels, Flags]:
    """``pixels`` with one segment in ``colours`` ((3,) or (H,W,3) uint8), and that segment."""
    chosen: Flags = labels == label
    return np.where(chosen[..., None], colours, pixels).astype(np.uint8), chosen


def inversion(pixels: Pixels, rng: np.random.Generator) -> Strokes:
    """A random segment in its own mean colour."""
    flat = flatten(pixels)
    labels = segments(flat)
    label = _pick(labels, rng)
    return Strokes("inversion", *paint_segment(pixels, labels, label, reduce_colours(flat, labels)))


def counterfactual(pixels: Pixels, rng: np.random.Generator) -> Strokes:
    """A random segment in a colour drawn uniformly from all RGB values."""
    labels = segments(flatten(pixels))
    label = _pick(labels, rng)
    colour = rng.integers(0, 256, 3).astype(np.uint8)
    return Strokes("counterfactual", *paint_segment(pixels, labels, label, colour))


def brush(pixels: Pixels, rng: np.random.Generator) -> Strokes:
    """Two to four soft lines of random colour; the selection is what they touch and 4 px round it.

    A line is 5–14 % of the shorter side wide and its edge fades over up to half of that.
    """
    height, width = pixels.shape[:2]
    for _ in range(ATTEMPTS):
        painted = pixels.astype(np.float32)
        touched = np.zeros((height, width), bool)
        for _ in range(int(rng.integers(2, 5))):
            opacity = _line(height, width, rng)
            colour = rng.integers(0, 256, 3).astype(np.float32)
            painted += opacity[..., None] * (colour - painted)
            touched |= opacity > 0
        grown = ndimage.distance_transform_edt(~touched) <= BRUSH_MARGIN
        if MIN_SHARE <= grown.mean() <= MAX_SHARE:
            break
    return Strokes("brush", np.rint(painted).astype(np.uint8), grown)


def _line(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(H,W) opacity 0 … 1 of one bent line drawn with a soft round brush."""
    side = min(height, width)
    thick = rng.uniform(0.05, 0.14) * side
    points = rng.uniform([0.1 * width, 0.1 * height], [0.9 * width, 0.9 * height])[None]
    angle = rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(2, 6))):
        angle += rng.normal(0, 0.6)
        step = rng.uniform(0.05, 0.15) * side * np.array([np.cos(angle), np.sin(angle)])
        points = np.vstack([points, points[-1] + step])
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    draw.line([tuple(p) for p in points], fill=255, width=1, joint="curve")
    distance = ndimage.distance_transform_edt(np.asarray(canvas) == 0)
    fade = max(1.0, rng.uniform(0, 0.5) * thick)
    opacity = np.clip((thick / 2 - distance) / fade, 0, 1)
    return np.asarray(opacity, np.float32)


def _pick(labels: Labels, rng: np.random.Generator) -> int:
    """A random label whose segment covers 3–35 % of the picture, or the one nearest to that."""
    names, counts = np.unique(labels, return_counts=True)
    share = counts / labels.size
    good = names[(share >= MIN_SHARE) & (share <= MAX_SHARE)]
    if not len(good):
        good = names[[np.argmin(np.abs(share - MAX_SHARE))]]
    return int(rng.choice(good))


KINDS: dict[str, Callable[[Pixels, np.random.Generator], Strokes]] = {
    "inversion": inversion,
    "counterfactual": counterfactual,
    "brush": brush,
}


def make_strokes(pixels: Pixels, kind: str, seed: int) -> Strokes:
    """Strokes of ``kind`` on (H,W,3) uint8; the same seed paints the same ones."""
    return KINDS[kind](pixels, np.random.default_rng((seed, list(KINDS).index(kind))))
