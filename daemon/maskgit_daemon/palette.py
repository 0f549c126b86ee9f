"""New pixels held to the colours and the contrast that the picture shows at the same height.

Colour drifts when windows follow windows (MaskGIT, arXiv 2202.04200, appendix F).  A hold on a
strip's mean colour alone lets a sky turn green above and brown below; so every place is held, and
to what stands at its own height (or, where a picture grows up or down, in its own columns).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

REACH = 768
"""Pixels of the picture, seen from the joint, whose colours count."""
CELL = 8
"""Pixels a side of the cells whose mean colours and contrasts are compared."""
NEAR_COLOUR = 8.0
"""Grey levels within which colours of the picture are averaged rather than chosen from."""
NEAR_ROWS = 2
"""Cells along the joint (standard deviation) from which colours and contrasts are taken."""
MOST_CONTRAST = 90
"""Percentile of the picture's own contrasts that a new place's may reach."""
FADE = 32
"""Pixels from the joint over which the hold sets in."""


class Palette(NamedTuple):
    """What a picture shows beside a joint, in cells (n,m) whose rows run away from the joint.

    ``colours`` (n,m,3) and the strongest usual contrast of each row, ``contrast`` (n,1,1), in grey
    levels of 255.
    """

    colours: Floats
    contrast: Floats


def palette_of(picture: Bytes, side: str) -> Palette:
    """The colours of the ``REACH`` pixels of ``picture`` (H,W,4) nearest to the joint on ``side``.

    Transparent pixels count as the mean of the others.
    """
    values = _along(picture, side)
    depth = slice(REACH) if side in ("left", "top") else slice(-REACH, None)
    near = values[:, depth].astype(np.float32)
    clear = _along(picture[..., 3:], side)[:, depth, 0] == 0
    if clear.any() and not clear.all():
        near[clear] = near[~clear].mean(0)
    colours, contrast, _ = _local(near)
    most = np.percentile(contrast, MOST_CONTRAST, axis=1, keepdims=True).astype(np.float32)
    return Palette(colours, _smooth(most))


def hold(strip: Bytes, palette: Palette, side: str) -> Bytes:
    """A strip (h,w,4) whose local colours and contrasts are such as the ``palette`` has.

    ``side``: left, top, right or bottom, where the strip is added; it is as long along the joint as
    the picture of the palette.  With c the smoothed mean colour of a cell of the strip and pᵢ those
    of the picture's cells, c moves to Σ wᵢ pᵢ / Σ wᵢ, wᵢ = exp(−‖c − pᵢ‖²/2a² − yᵢ²/2b²): one step
    of mean shift (Comaniciu and Meer 2002) towards the picture's colours; a = ``NEAR_COLOUR``, yᵢ
    the distance along the joint, b = ``NEAR_ROWS``.  Detail is weakened where it is stronger than
    the ``MOST_CONTRAST`` percentile of the picture's at that height, never strengthened.  Both set
    in over ``FADE`` pixels from the joint, so that no seam appears.
    """
    values = _along(strip, side).astype(np.float32)
    colour, contrast, low = _local(values)
    shift = _enlarged(_nearest(colour, palette.colours) - colour, values.shape)
    gain = _enlarged(np.minimum(1.0, palette.contrast / np.maximum(contrast, 1e-3)), values.shape)
    fade = _fade(values.shape[1], side in ("left", "top"))
    held = values + fade * (shift + (gain - 1.0) * (values - low))
    out = strip.copy()
    _along(out, side)[:] = np.clip(held + 0.5, 0.0, 255.0)
    return out


def _along(pixels: Bytes, side: str) -> Bytes:
    """A view of the first three channels of (H,W,c) whose rows cross the joint."""
    colour = pixels[..., :3]
    return colour.swapaxes(0, 1) if side in ("top", "bottom") else colour


def _local(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Each cell's colour (n,m,3) and contrast (n,m,1), and the colours at full size (h,w,3)."""
    colour = _smooth(_cells(values))
    low = _enlarged(colour, values.shape)
    power = _smooth(_cells(np.square(values - low).mean(-1, keepdims=True)))
    return colour, np.sqrt(np.maximum(power, 0)), low


def _nearest(colour: Floats, palette: Floats) -> Floats:
    """Each colour (n,m,3) moved to those of the palette (n,k,3) that are like it and near it."""
    count, wide = palette.shape[:2]
    out = np.empty_like(colour)
    for row in range(len(colour)):
        rows = np.arange(max(0, row - 4 * NEAR_ROWS), min(count, row + 4 * NEAR_ROWS + 1))
        choice = palette[rows].reshape(-1, 3)
        away = np.square(colour[row, :, None] - choice).sum(-1) / (2 * NEAR_COLOUR**2)
        away += np.repeat((rows - row) ** 2 / (2 * NEAR_ROWS**2), wide)
        weight = np.exp(away.min(-1, keepdims=True) - away)
        out[row] = weight @ choice / weight.sum(-1, keepdims=True)
    return out


def _cells(values: Floats) -> Floats:
    """Means (n,m,c) of ``CELL`` × ``CELL`` pixels of (h,w,c), or nearly so at odd sizes."""
    height, width = (max(1, round(extent / CELL)) for extent in values.shape[:2])
    return _resized(values, height, width, Image.Resampling.BOX)


def _enlarged(cells: Floats, shape: tuple[int, ...]) -> Floats:
    return _resized(cells.astype(np.float32), shape[0], shape[1], Image.Resampling.BILINEAR)


def _resized(values: Floats, height: int, width: int, how: Image.Resampling) -> Floats:
    planes = (
        np.asarray(Image.fromarray(plane).resize((width, height), how))
        for plane in np.ascontiguousarray(values.transpose(2, 0, 1))
    )
    return np.dstack(list(planes))


def _smooth(cells: Floats) -> Floats:
    """Twice (1 2 1)/4 along both axes, edges repeated: a standard deviation of one cell."""
    for axis in (0, 1) * 2:
        padded = np.pad(cells, [(1, 1) if k == axis else (0, 0) for k in range(3)], mode="edge")
        before, after = np.delete(padded, (-1, -2), axis), np.delete(padded, (0, 1), axis)
        cells = np.asarray((before + after + 2 * cells) / 4, np.float32)
    return cells


def _fade(width: int, flipped: bool) -> Floats:
    """(1,w,1): 0 at the joint, 1 from ``FADE`` pixels on, without a kink at either end."""
    share = np.minimum(1.0, (np.arange(width) + 0.5) / FADE)
    share = share * share * (3 - 2 * share)
    ordered = share[::-1] if flipped else share
    return np.asarray(ordered, np.float32)[None, :, None]
