"""The patch plan: which pixels to send, at what scale, and how the token grid lies on them."""

from __future__ import annotations

import math
from typing import NamedTuple

from maskgit_daemon.bundle import Bundle
from maskgit_daemon.errors import RequestError
from maskgit_daemon.request import MAX_WINDOW_PIXELS

MAX_SELECTION_PIXELS = 16_000_000
MIN_MARGIN, MAX_MARGIN = 4, 8
"""Tokens of context wanted on each side: two fifths of the footprint, within these."""


class Rect(NamedTuple):
    """A rectangle of pixels."""

    left: int
    top: int
    width: int
    height: int


class Lattice(NamedTuple):
    """One axis of a token grid laid on pixels.

    ``origin``: pixel at which the first token starts (may lie outside the picture, below 0).
    ``tokens``: how many tokens; ``first`` and ``footprint``: those that the selection's extent
    touches.
    """

    origin: int
    tokens: int
    first: int
    footprint: int


class WindowPlan(NamedTuple):
    """What a client learns before it reads a pixel.

    ``window``: the canvas pixels to send.  ``scale``: 1 where the model works at native size, below
    1 where a coarse pass comes first.  ``grid``: tokens (height, width) of the first pass.
    ``footprint``: tokens that the selection's bounds touch at native size.
    """

    window: Rect
    scale: float
    grid: tuple[int, int]
    footprint: int


def lattice(start: int, extent: int, size: int, stride: int, low: int, high: int) -> Lattice:
    """Lay tokens of ``stride`` pixels on an axis of ``size`` pixels, fewest on the selection.

    The selection covers pixels [start, start+extent); ``low`` and ``high`` bound the tokens.  The
    slack of the first and last touched token is shared evenly, but no touched token reaches over
    the picture's edge if it can be helped; context goes to both sides and, at an edge, to the
    other side.  Laid again on a window cut to its own tokens, the result is the same lattice.
    """
    footprint = -(-extent // stride)
    slack = footprint * stride - extent
    least = max(0, slack - (size - start - extent))
    before_pixels = max(least, min(slack // 2, start))
    wanted = footprint + 2 * min(MAX_MARGIN, max(MIN_MARGIN, -(-2 * footprint // 5)))
    context = max(low, min(high, wanted)) - footprint
    room_before = max(0, -(-(start - before_pixels) // stride))
    room_after = max(0, -(-(size - start + before_pixels - footprint * stride) // stride))
    before = min(context // 2, room_before)
    after = min(context - before, room_after)
    before = min(context - after, room_before)
    tokens = max(low, before + footprint + after)
    return Lattice(start - before_pixels - before * stride, tokens, before, footprint)


def pass_scale(bounds: Rect, size: tuple[int, int], bundle: Bundle) -> float:
    """1 if a selection with these bounds fits the grid with context, else the shrink.

    ``size``: width and height of the picture or window that ``bounds`` lie on.  The shrunk
    selection leaves ``MIN_MARGIN`` tokens (or a quarter of a small grid) on each side where the
    picture goes on; along an axis on which all of the picture fits there is nothing more to see.
    """
    scale = 1.0
    for start, extent, whole, high in (
        (bounds.top, bounds.height, size[1], bundle.grid_max[0]),
        (bounds.left, bounds.width, size[0], bundle.grid_max[1]),
    ):
        if whole <= high * bundle.stride:
            continue
        open_ends = (start > 0) + (start + extent < whole)
        room = (high - open_ends * min(MIN_MARGIN, high // 4)) * bundle.stride
        scale = min(scale, room / extent)
    return scale


def check_bounds(bounds: Rect, canvas: tuple[int, int]) -> None:
    """Refuse an empty, outlying or too large selection in a sentence."""
    width, height = canvas
    if bounds.width < 1 or bounds.height < 1:
        raise RequestError("The selection is empty; select the part that is to be made again.")
    if bounds.width * bounds.height > MAX_SELECTION_PIXELS:
        raise RequestError(
            f"The selection spans {bounds.width * bounds.height / 1e6:.1f} megapixels; select at "
            f"most {MAX_SELECTION_PIXELS // 1_000_000} megapixels at once."
        )
    inside = bounds.left >= 0 and bounds.top >= 0
    if not inside or bounds.left + bounds.width > width or bounds.top + bounds.height > height:
        raise RequestError("The selection lies partly outside the picture; clip it to the canvas.")


def plan_window(bounds: Rect, canvas: tuple[int, int], bundle: Bundle) -> WindowPlan:
    """Plan for a selection's ``bounds`` on a canvas (width, height), both in pixels.

    The window is never larger than what a request may hold: round a very large selection there is
    less context.  Raises :class:`RequestError` if the bounds are empty, outside the canvas or too
    large.
    """
    bounds = Rect(*bounds)
    check_bounds(bounds, canvas)
    scale = pass_scale(bounds, canvas, bundle)
    axes = []
    for start, extent, size, axis in (
        (bounds.left, bounds.width, canvas[0], 1),
        (bounds.top, bounds.height, canvas[1], 0),
    ):
        low, high = bundle.grid_min[axis], bundle.grid_max[axis]
        laid = lattice(
            math.floor(start * scale),
            max(1, math.ceil(extent * scale)),
            math.ceil(size * scale),
            bundle.stride,
            low,
            high,
        )
        begin = max(0, math.floor(laid.origin / scale))
        end = min(size, math.ceil((laid.origin + laid.tokens * bundle.stride) / scale))
        axes.append((begin, end - begin, laid.tokens, -(-extent // bundle.stride)))
    (left, wide, columns, across), (top, tall, rows, down) = axes
    window = Rect(left, top, wide, tall)
    if wide * tall > MAX_WINDOW_PIXELS:
        left, top, wide, tall = tightened(window, bounds, MAX_WINDOW_PIXELS)
        inner = bounds._replace(left=bounds.left - left, top=bounds.top - top)
        plan = plan_window(inner, (wide, tall), bundle)
        moved = plan.window._replace(left=left + plan.window.left, top=top + plan.window.top)
        return plan._replace(window=moved)
    return WindowPlan(window, scale, (rows, columns), across * down)


def tightened(window: Rect, bounds: Rect, pixels: int) -> Rect:
    """``window`` with all four margins round ``bounds`` shrunk alike, to at most ``pixels``.

    ``bounds`` lie in the window and have no more pixels than that.
    """
    before = bounds.left - window.left, bounds.top - window.top
    across, down = window.width - bounds.width, window.height - bounds.height
    # (width + share · across) · (height + share · down) = pixels
    a, c = across * down, bounds.width * bounds.height - pixels
    b = bounds.width * down + bounds.height * across
    share = 2 * -c / (b + math.sqrt(b * b - 4 * a * c))
    left, top = (math.floor(share * margin) for margin in before)
    right = math.floor(share * (across - before[0]))
    bottom = math.floor(share * (down - before[1]))
    return Rect(
        bounds.left - left,
        bounds.top - top,
        left + bounds.width + right,
        top + bounds.height + bottom,
    )
