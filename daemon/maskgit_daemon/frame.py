"""A window's pixels laid on the token grid: what is known, what is selected, what tokens change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskgit_daemon.bundle import Bundle
from maskgit_daemon.fill import extend
from maskgit_daemon.patch import Lattice, Rect, lattice, pass_scale
from maskgit_daemon.request import Mask, Pixels

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Frame:
    """Everything one pass of the model needs, cut to its grid.

    ``colour`` (H,W,3) float32 in [0,1]: painted pixels, unknown ones filled in.  ``known`` (H,W)
    float32: 1 where the picture is opaque and not selected.  ``selected`` (H,W) float32 in 0…1.
    ``footprint`` and ``unknown`` (h,w) bool: tokens the selection touches, and tokens of which
    nothing is known.  ``rows``, ``columns``: the lattice.  ``bounds``: the selection's pixels in
    the frame.
    """

    colour: Floats
    known: Floats
    selected: Floats
    footprint: NDArray[np.bool_]
    unknown: NDArray[np.bool_]
    rows: Lattice
    columns: Lattice
    bounds: Rect

    def context(self) -> Floats:
        """The picture as the encoder may see it: nothing of what is inside the selection."""
        return extend(self.colour, self.known)


def selection_bounds(selection: Mask) -> Rect:
    """The smallest rectangle that holds every non-zero pixel of a non-empty (H,W) mask."""
    rows = np.flatnonzero(selection.any(1))
    columns = np.flatnonzero(selection.any(0))
    return Rect(
        int(columns[0]),
        int(rows[0]),
        int(columns[-1] - columns[0] + 1),
        int(rows[-1] - rows[0] + 1),
    )


def to_float(pixels: Pixels) -> Floats:
    """uint8 0…255 → float32 0…1; float32 is clipped to 0…1."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) * np.float32(1 / 255)
    return np.clip(pixels, 0.0, 1.0).astype(np.float32)


def lay_frame(pixels: Pixels, selection: Mask, bundle: Bundle) -> tuple[Frame, float]:
    """Cut the window (H,W,4) and its selection (H,W) to the first pass's grid; and its scale."""
    bounds = selection_bounds(selection)
    scale = pass_scale(bounds, (selection.shape[1], selection.shape[0]), bundle)
    if scale < 1.0:
        pixels, selection = shrink(pixels, selection, scale)
        bounds = selection_bounds(selection)
    return cut_frame(pixels, selection, bounds, bundle), scale


def shrunk_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Width and height of a picture of ``size`` at ``scale`` < 1, in whole pixels."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def shrink(pixels: Pixels, selection: Mask, scale: float) -> tuple[Floats, Mask]:
    """Window and selection at ``scale`` < 1; colours are averaged weighted by their opacity."""
    height, width = selection.shape
    size = shrunk_size((width, height), scale)
    values = to_float(pixels)
    alpha = values[..., 3]

    def resize(plane: Floats) -> Floats:
        image = Image.fromarray(np.ascontiguousarray(plane)).resize(size, Image.Resampling.BOX)
        return np.asarray(image, np.float32)

    small_alpha = resize(alpha)
    small = np.stack([resize(values[..., c] * alpha) for c in range(3)], -1)
    small /= np.maximum(small_alpha, 1e-6)[..., None]
    small_selection = np.ceil(resize(selection.astype(np.float32))).astype(np.uint8)
    return np.dstack([small, small_alpha]).astype(np.float32), small_selection


def cut_frame(pixels: Pixels, selection: Mask, bounds: Rect, bundle: Bundle) -> Frame:
    """Lay the grid on a window at its own scale and cut everything to it."""
    height, width = selection.shape
    stride = bundle.stride
    low, high = bundle.grid_min, bundle.grid_max
    rows = lattice(bounds.top, bounds.height, height, stride, low[0], high[0])
    columns = lattice(bounds.left, bounds.width, width, stride, low[1], high[1])
    tall, wide = rows.tokens * stride, columns.tokens * stride
    values = np.zeros((tall, wide, 4), np.float32)
    chosen = np.zeros((tall, wide), np.float32)
    top, left = max(0, rows.origin), max(0, columns.origin)
    bottom, right = min(height, rows.origin + tall), min(width, columns.origin + wide)
    inner = (
        slice(top - rows.origin, bottom - rows.origin),
        slice(left - columns.origin, right - columns.origin),
    )
    values[inner] = to_float(pixels[top:bottom, left:right])
    chosen[inner] = selection[top:bottom, left:right].astype(np.float32) / 255.0
    opaque = values[..., 3] > 0.5
    known = (opaque & (chosen == 0)).astype(np.float32)
    colour = extend(values[..., :3], opaque.astype(np.float32))
    cells = (rows.tokens, stride, columns.tokens, stride)
    footprint = np.asarray((chosen > 0).reshape(cells).any((1, 3)))
    unknown = np.asarray(~opaque.reshape(cells).any((1, 3)) & ~footprint)
    moved = Rect(
        bounds.left - columns.origin, bounds.top - rows.origin, bounds.width, bounds.height
    )
    return Frame(colour, known, chosen, footprint, unknown, rows, columns, moved)
