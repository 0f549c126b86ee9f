"""New pixels held to the colours that the picture shows near them.

A single odd token makes a pale spot in a clean sky or an orange one on a brown slope, and colour
drifts when windows follow windows (MaskGIT, arXiv 2202.04200, appendix F).  A hold on a
strip's mean colour alone lets a sky turn green above and brown below; so every place is held, and
to what stands at its own height (or, where a picture grows up or down, in its own columns).  There
contrast is held too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskgit_daemon.frame import Frame

Bytes = NDArray[np.uint8]
Planes = NDArray[np.float32]
Cells = NDArray[np.float64]
"""Cells are few, and rounded to bytes in the end: in float64 every processor rounds alike."""

OPAQUE = 128
"""Alpha from which on a pixel is known, as for a selection's window."""
REACH = 768
"""Pixels of the picture, seen from the joint, whose colours count."""
CELL = 8
"""Pixels a side of the cells whose mean colours and contrasts are compared."""
NEAR_COLOUR = 8.0
"""Grey levels within which colours of the picture are averaged rather than chosen from."""
NEAR_ROWS = 2
"""Cells along the joint (standard deviation) from which colours and contrasts are taken."""
NEAR_CELLS = 6.0
"""The same inside a selection, in all directions."""
MOST_CELLS = 1024
"""Known cells, at most, that a selection's colours are compared with."""
CELLS_AT_ONCE = 1024
"""Cells of a selection held in one piece: 25 MB with all the known ones."""
MOST_CONTRAST = 90
"""Percentile of the picture's own contrasts that a new place's may reach."""
FEWEST = 4
"""Cells across the joint from which on a row's contrasts are believed."""
FADE = 32
"""Pixels from the joint over which the hold sets in."""


class Palette(NamedTuple):
    """What a picture shows beside a joint, in cells (n,m) whose rows run away from the joint.

    ``colours`` (n,m,3), and ``contrast`` (n,1,1) the strongest usual one of each row, in grey
    levels of 255, inf where it is not known; ``known`` (n,m): cells that are not transparent.
    """

    colours: Cells
    contrast: Cells
    known: NDArray[np.bool_]


def palette_of(picture: Bytes, side: str) -> Palette:
    """The colours of the ``REACH`` pixels of ``picture`` (H,W,4) nearest to the joint on ``side``.

    Transparent pixels teach nothing.
    """
    depth = slice(REACH) if side in ("left", "top") else slice(-REACH, None)
    near = _along(picture, side)[:, depth]
    weight = (near[..., 3:] >= OPAQUE).astype(np.float32)
    colours, contrast, _ = _local(near[..., :3].astype(np.float32), weight)
    known = _cells(weight)[..., 0] >= 0.5
    most = np.full((len(known), 1, 1), np.inf)
    for row in np.flatnonzero(known.sum(1) >= FEWEST):
        most[row] = np.percentile(contrast[row, known[row]], MOST_CONTRAST)
    return Palette(colours, _blurred(most), known)


def hold(strip: Bytes, palette: Palette, side: str) -> Bytes:
    """A strip (h,w,4) whose local colours and contrasts are such as the ``palette`` has.

    ``side``: left, top, right or bottom, where the strip is added; it is as long along the joint as
    the picture of the palette.  With c the blurred mean colour of a cell of the strip and pᵢ those
    of the picture's cells, c moves to Σ wᵢ pᵢ / Σ wᵢ, wᵢ = exp(−‖c − pᵢ‖²/2a² − yᵢ²/2b²): one step
    of mean shift (Comaniciu and Meer 2002) towards the picture's colours; a = ``NEAR_COLOUR``, yᵢ
    the distance along the joint, b = ``NEAR_ROWS``.  Detail is weakened where it is stronger than
    the ``MOST_CONTRAST`` percentile of the picture's at that height, never strengthened.  Both set
    in over ``FADE`` pixels from the joint, so that no seam appears.  Where the picture is
    transparent at that height the strip stays as it is.
    """
    values = _along(strip, side)[..., :3].astype(np.float32)
    colour, contrast, low = _local(values, np.ones((*values.shape[:2], 1), np.float32))
    shift = _enlarged(_nearest(colour, palette) - colour, values.shape)
    gain = _enlarged(np.minimum(1.0, palette.contrast / np.maximum(contrast, 1e-3)), values.shape)
    share = ease(np.minimum(1.0, (np.arange(values.shape[1]) + 0.5) / FADE))
    fade = (share[::-1] if side in ("left", "top") else share)[None, :, None]
    held = values + fade * (shift + (gain - 1.0) * (values - low))
    out = strip.copy()
    _along(out, side)[..., :3] = np.clip(held + 0.5, 0.0, 255.0)
    return out


def hold_inside(picture: Planes, frame: Frame, amount: float) -> Planes:
    """A made ``picture`` (H,W,3) in [0,1] whose local colours are such as the frame's known pixels.

    The same step of mean shift as in :func:`hold`, with the distance in all directions, b =
    ``NEAR_CELLS``.  ``amount`` (0…1) scales it; 0 returns the picture as it is, and so does a frame
    in which nothing is known.
    """
    known = frame.known[..., None]
    share = _cells(known)[..., 0]
    taught = np.argwhere(share >= 0.5)
    if amount <= 0 or not len(taught):
        return picture
    taught = taught[:: -(-len(taught) // MOST_CELLS)]
    real = _cells(frame.colour * known * np.float32(255))
    palette = _blurred(real)[tuple(taught.T)] / _blurred(share[..., None])[tuple(taught.T)]
    made = _cells(np.where(known > 0, frame.colour, picture) * np.float32(255))
    cells = np.argwhere(share < 1)
    blurred = _blurred(made)
    shift = np.zeros_like(made)
    for start in range(0, len(cells), CELLS_AT_ONCE):
        some = cells[start : start + CELLS_AT_ONCE]
        at = tuple(some.T)
        apart = _squares(some.astype(np.float64), taught.astype(np.float64)) / (2 * NEAR_CELLS**2)
        nearest = _mean_shift(blurred[at], palette, apart)
        shift[at] = (nearest - blurred[at]) * (1.0 - share[at])[:, None]
    moved = np.float32(amount / 255) * _enlarged(shift, picture.shape) * (known < 1)
    return np.clip(picture + moved, 0.0, 1.0).astype(np.float32)


def _mean_shift(colours: Cells, choice: Cells, apart: Cells) -> Cells:
    """Colours (n,3) after one step towards those of ``choice`` (m,3).

    ``apart``: half the squared distance of their places in standard deviations, (m,) or (n,m).
    """
    away = _squares(colours, choice) / (2 * NEAR_COLOUR**2) + apart
    weight = np.exp(away.min(-1, keepdims=True) - away)
    moved: Cells = weight @ choice / weight.sum(-1, keepdims=True)
    return moved


def _squares(points: Cells, others: Cells) -> Cells:
    """(n,m) squared distances of points (n,d) and (m,d)."""
    total = np.zeros((len(points), len(others)))
    for one, other in zip(points.T, others.T, strict=True):
        total += np.square(one[:, None] - other)
    return total


def ease(share: Cells) -> Cells:
    """0 … 1 to 0 … 1 with no kink at either end."""
    eased: Cells = share * share * (3.0 - 2.0 * share)
    return eased


def _along(pixels: Bytes, side: str) -> Bytes:
    """A view of (H,W,c) whose rows cross the joint."""
    return pixels.swapaxes(0, 1) if side in ("top", "bottom") else pixels


def _local(values: Planes, weight: Planes) -> tuple[Cells, Cells, Planes]:
    """Each cell's colour (n,m,3) and contrast (n,m,1), and the colours at full size (h,w,3).

    ``weight`` (h,w,1): 1 for the pixels of ``values`` (h,w,3) that count, 0 for the others.
    """
    total = np.maximum(_blurred(_cells(weight)), 1e-6)
    colour = _blurred(_cells(values * weight)) / total
    low = _enlarged(colour, values.shape)
    power = _blurred(_cells(weight * np.square(values - low).mean(-1, keepdims=True))) / total
    return colour, np.sqrt(np.maximum(power, 0.0)), low


def _nearest(colour: Cells, palette: Palette) -> Cells:
    """Each colour (n,m,3) moved to those of the palette that are like it and near it."""
    count, wide = palette.known.shape
    out = colour.copy()
    for row in range(len(colour)):
        rows = np.arange(max(0, row - 4 * NEAR_ROWS), min(count, row + 4 * NEAR_ROWS + 1))
        known = palette.known[rows].reshape(-1)
        if not known.any():
            continue
        choice = palette.colours[rows].reshape(-1, 3)[known]
        apart = np.repeat((rows - row) ** 2 / (2 * NEAR_ROWS**2), wide)[known]
        out[row] = _mean_shift(colour[row], choice, apart)
    return out


def _cells(values: Planes) -> Cells:
    """Means (n,m,c) of ``CELL`` × ``CELL`` pixels of (h,w,c), or nearly so at odd sizes."""
    height, width = (max(1, round(extent / CELL)) for extent in values.shape[:2])
    return _resized(values, height, width, Image.Resampling.BOX).astype(np.float64)


def _enlarged(cells: Cells, shape: tuple[int, ...]) -> Planes:
    values = cells.astype(np.float32)
    return _resized(values, shape[0], shape[1], Image.Resampling.BILINEAR)


def _resized(values: Planes, height: int, width: int, how: Image.Resampling) -> Planes:
    planes = (
        np.asarray(Image.fromarray(plane).resize((width, height), how))
        for plane in np.ascontiguousarray(values.transpose(2, 0, 1))
    )
    return np.dstack(list(planes))


def _blurred(cells: Cells) -> Cells:
    """Twice (1 2 1)/4 along both axes, edges repeated: a standard deviation of one cell."""
    for axis in (0, 1) * 2:
        padded = np.pad(cells, [(1, 1) if k == axis else (0, 0) for k in range(3)], mode="edge")
        before, after = (padded[:-2], padded[2:]) if axis == 0 else (padded[:, :-2], padded[:, 2:])
        cells = (before + after + 2.0 * cells) / 4.0
    return cells
