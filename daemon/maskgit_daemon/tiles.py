"""Selections larger than the model's grid: from the coarse pass back to native size, in tiles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskgit_daemon.bundle import Bundle
from maskgit_daemon.frame import Frame, selection_bounds, shrunk_size, to_float
from maskgit_daemon.paste import box_sum, crop
from maskgit_daemon.patch import MIN_MARGIN, Rect, plan_window
from maskgit_daemon.request import Mask, RefineRequest

Floats = NDArray[np.float32]


class Tile(NamedTuple):
    """A native piece of a large selection.

    ``window``: what the model sees for it, as a rectangle of the request's window; on it lie
    ``selection`` (h,w) uint8, the piece, and ``later`` (h,w) bool, what is made after it.
    """

    window: Rect
    selection: Mask
    later: NDArray[np.bool_]


def tile_areas(selection: Mask, bundle: Bundle) -> list[Rect]:
    """Rectangles, in raster order, that fit the grid with context and share the selection (H,W)."""
    left, top, width, height = selection_bounds(selection)
    side = [(high - 2 * min(MIN_MARGIN, high // 4)) * bundle.stride for high in bundle.grid_max]
    rows = -(-height // side[0])
    columns = -(-width // side[1])
    tall, wide = -(-height // rows), -(-width // columns)
    areas = [
        Rect(x, y, min(wide, left + width - x), min(tall, top + height - y))
        for y in range(top, top + height, tall)
        for x in range(left, left + width, wide)
    ]
    return [area for area in areas if crop(selection, area).any()]


def cut_tile(selection: Mask, areas: list[Rect], number: int, bundle: Bundle) -> Tile:
    """The tile of ``areas[number]``, made when it is needed: of its surroundings alone."""
    area = areas[number]
    tight = selection_bounds(crop(selection, area))
    bounds = tight._replace(left=area.left + tight.left, top=area.top + tight.top)
    window = plan_window(bounds, (selection.shape[1], selection.shape[0]), bundle).window
    around = crop(selection, window)
    part, later = np.zeros_like(around), around > 0
    for made in areas[: number + 1]:
        crop(later, _within(made, window))[:] = False
    here = _within(area, window)
    crop(part, here)[:] = crop(around, here)
    return Tile(window, part, later)


def enlarged(picture: Floats, frame: Frame, scale: float, request: RefineRequest) -> Floats:
    """What a coarse ``picture`` (H,W,3) of ``frame`` shows of the selection's bounds, (h,w,3).

    ``frame`` is the request's, laid at ``scale`` < 1.  The bounds need not lie on whole coarse
    pixels: the exact rectangle is taken, so that nothing moves.
    """
    tall, wide = request.selection.shape
    small = shrunk_size((wide, tall), scale)
    place = selection_bounds(request.selection)
    across, down = small[0] / wide, small[1] / tall
    height, width = picture.shape[:2]
    box = (
        max(0.0, place.left * across - frame.columns.origin),
        max(0.0, place.top * down - frame.rows.origin),
        min(float(width), (place.left + place.width) * across - frame.columns.origin),
        min(float(height), (place.top + place.height) * down - frame.rows.origin),
    )
    planes = []
    for plane in np.moveaxis(picture, -1, 0):
        image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
        large = image.resize((place.width, place.height), Image.Resampling.BICUBIC, box)
        planes.append(np.asarray(large, np.float32))
    return np.clip(np.stack(planes, -1), 0.0, 1.0)


def coarse_window(
    request: RefineRequest, frame: Frame, scale: float, picture: Floats, kept: float
) -> Floats:
    """The window (H,W,4) float32 in [0,1] with the coarse ``picture`` (H,W,3) in the selection.

    What the painted pixels have beyond their own coarse version is too fine for the coarse pass;
    a share ``kept`` of it (0 … 1) is given back, so that a light touch loses no detail.
    """
    bounds = selection_bounds(request.selection)
    window = to_float(request.pixels)
    inside = crop(window, bounds)
    made = enlarged(picture, frame, scale, request)
    if kept > 0:
        opaque = (inside[..., 3:] > 0.5).astype(np.float32)
        fine = inside[..., :3] - enlarged(frame.colour, frame, scale, request)
        made = np.clip(made + np.float32(kept) * opaque * fine, 0.0, 1.0)
    chosen = crop(request.selection, bounds) > 0
    inside[chosen, :3] = made[chosen]
    inside[chosen, 3] = 1.0
    return window


def keep_painted(picture: Floats, frame: Frame, held: NDArray[np.bool_], share: float) -> Floats:
    """Give ``picture`` (H,W,3) a ``share`` (0 … 1) of the painted pixels where a token was kept.

    ``held`` (h,w): tokens that are still those of the strokes.  A token stands for its pixels but
    roughly; where it is the same, the pixels themselves are better.  It fades over half a token.
    """
    stride = picture.shape[0] // held.shape[0]
    whole = held.astype(np.float32).repeat(stride, 0).repeat(stride, 1)
    half = max(1, stride // 4)
    soft = box_sum(whole, half) / box_sum(np.ones_like(whole), half)
    weight = np.float32(share) * soft * (frame.selected > 0)
    return picture + weight[..., None] * (frame.colour - picture)


def _within(area: Rect, window: Rect) -> Rect:
    """The part of ``area`` inside ``window``, as a (perhaps empty) rectangle on ``window``."""
    left, top = max(area.left, window.left), max(area.top, window.top)
    right = min(area.left + area.width, window.left + window.width)
    bottom = min(area.top + area.height, window.top + window.height)
    return Rect(left - window.left, top - window.top, max(0, right - left), max(0, bottom - top))
