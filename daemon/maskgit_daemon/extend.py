"""Outpainting: a picture grows, strip by strip, each window seeing half a window of what is known.

MaskGIT, section 4.3 and appendix F, extends a picture by windows that overlap the known part; here
a window makes at most half its width, so that at least as much context as unknown is seen, and a
strip longer than a window is made tile by tile.  Everything is at native scale.  Each window makes
some pixels more than are kept.  They are not shown to the next window, a decoder's outermost pixels
lacking their neighbours, but what it makes there fades in from them, so that no joint shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.errors import RequestError
from maskgit_daemon.palette import Palette, ease, hold, palette_of
from maskgit_daemon.patch import Rect

MAX_GROWN_PIXELS = 500_000_000
SPARE = 16
"""Outermost pixels of a window, over which the next one fades in."""
DEFAULTS: Mapping[str, Any] = {"order": "outward"}
"""Of a request, whatever its bundle recommends, unless told otherwise: what is known is to grow."""

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]


class Sides(NamedTuple):
    """Pixels to add on each side, ≥ 0."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


class Reach(NamedTuple):
    """Pixels that a model makes at once at native scale.

    ``whole``: a window's side; ``inner``: the longest selection that has context at both ends.
    """

    whole: int
    inner: int


class Strip(NamedTuple):
    """One step of growth; all rectangles lie on the grown picture and may reach out of it.

    ``side``: left, top, right or bottom.  ``bounds``: the pixels to keep.  ``canvas``: what is
    known so far, the strip and its spare pixels: nothing outside it is to be planned for.
    ``tiles``: the parts to be made, spare pixels and all, in order.
    """

    side: str
    bounds: Rect
    canvas: Rect
    tiles: tuple[Rect, ...]


Fill = Callable[[Bytes, Rect, int], Bytes]
"""(pixels RGBA, tile, number) → the tile's pixels (h,w,4); transparent pixels are unknown."""


def parse_sides(text: str) -> Sides:
    """``left=200,right=200`` → :class:`Sides`; raises :class:`RequestError` with a sentence."""
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if name not in Sides._fields or name in found or not (value.isascii() and value.isdigit()):
            raise RequestError(
                f"{part.strip()!r} is not a side to extend; write for example left=200,right=200 "
                "with any of left, top, right, bottom, each once, in whole pixels."
            )
        found[name] = int(value.lstrip("0")[:12] or "0")
    if not any(found.values()):
        raise RequestError("Nothing is to be added; give at least one side some pixels.")
    return Sides(**found)


def grown_size(size: tuple[int, int], sides: Sides) -> tuple[int, int]:
    """Width and height after growth; :class:`RequestError` if that is too large to hold."""
    width, height = size[0] + sides.left + sides.right, size[1] + sides.top + sides.bottom
    if width * height > MAX_GROWN_PIXELS:
        raise RequestError(
            f"The picture would grow to {width} × {height} pixels; extend it by less "
            f"(at most {MAX_GROWN_PIXELS // 10**6} megapixels)."
        )
    return width, height


def grow(pixels: Bytes, sides: Sides) -> Bytes:
    """RGBA (H,W,4) with transparent pixels added; raises like :func:`grown_size`."""
    height, width = pixels.shape[:2]
    wide, tall = grown_size((width, height), sides)
    out = np.zeros((tall, wide, 4), np.uint8)
    out[sides.top : sides.top + height, sides.left : sides.left + width] = pixels
    return out


def plan_strips(size: tuple[int, int], sides: Sides, reach: Reach) -> list[Strip]:
    """The strips that grow a picture of ``size`` (width, height), in order.

    Left and right first, outward, then top and bottom over the new width.  A strip is at most half
    a window thick with ``SPARE``; a strip that is not longer than a window is one tile.
    """
    thick = max(1, reach.whole // 2 - SPARE)
    known = Rect(sides.left, sides.top, *size)
    strips = []
    for side in ("left", "right", "top", "bottom"):
        missing = getattr(sides, side)
        across = known.height if side in ("left", "right") else known.width
        longest = reach.whole if across <= reach.whole else reach.inner
        for pixels in _parts(missing, thick):
            made, canvas = _grow_rect(known, side, pixels + SPARE)
            bounds, known = _grow_rect(known, side, pixels)
            strips.append(Strip(side, bounds, canvas, tuple(_tiles(made, side, longest))))
    return strips


def extend_picture(
    grown: Bytes, sides: Sides, reach: Reach, fill: Fill, held: bool = True
) -> Bytes:
    """The grown picture (H,W,4), its transparent rim made strip by strip.

    ``fill`` makes a tile; known pixels are never written.  ``held``: joints fade
    and colours are held (:func:`faded_in`, :mod:`~maskgit_daemon.palette`); else the windows stand
    as they come.
    """
    height, width = grown.shape[:2]
    size = (width - sides.left - sides.right, height - sides.top - sides.bottom)
    spare = Sides(*(SPARE if pixels else 0 for pixels in sides))
    work = np.zeros(
        (height + spare.top + spare.bottom, width + spare.left + spare.right, 4), np.uint8
    )
    work[cut(Rect(spare.left, spare.top, width, height))] = grown

    def beside(side: str) -> Rect:
        """What stands beside ``side`` before anything is added there: all of it held already."""
        if side in ("left", "right"):
            return Rect(sides.left, sides.top, *size)
        return Rect(0, sides.top, width, size[1])

    whole = work[cut(Rect(spare.left, spare.top, width, height))]
    number = 0
    spare_pixels: dict[str, Bytes] = {}
    palettes: dict[str, Palette] = {}
    for strip in plan_strips(size, sides, reach):
        view = work[cut(_moved(strip.canvas, spare.left, spare.top))]
        for tile in strip.tiles:
            local = _moved(tile, -strip.canvas.left, -strip.canvas.top)
            view[cut(local)] = fill(view, local, number)
            number += 1
        region = cut(_moved(_around(strip.tiles), -strip.canvas.left, -strip.canvas.top))
        made = view[region].copy()
        view[region] = 0
        if held:
            if strip.side not in palettes:
                palettes[strip.side] = palette_of(whole[cut(beside(strip.side))], strip.side)
            made = hold(made, palettes[strip.side], strip.side)
        kept, beyond = _split(made, strip.side)
        if held and strip.side in spare_pixels:
            kept = faded_in(kept, spare_pixels[strip.side], strip.side)
        spare_pixels[strip.side] = beyond
        whole[cut(strip.bounds)] = kept
    return whole


def faded_in(strip: Bytes, before: Bytes, side: str) -> Bytes:
    """A strip (h,w,4) whose pixels next to the joint fade from ``before`` to its own.

    ``before``: the spare pixels of the window before, which continue what stands at the joint.
    """
    axis, outward = _direction(side)
    depth = min(before.shape[axis], strip.shape[axis])
    weight = ease((np.arange(depth) + 0.5) / depth)
    weight = weight[None, :, None] if axis else weight[:, None, None]
    # As seen from the joint outwards; views, so that writing to them writes to the strip.
    out = strip.copy()
    own = np.flip(out, axis) if outward < 0 else out
    old = np.flip(before, axis) if outward < 0 else before
    near = (slice(None), slice(depth)) if axis else (slice(depth),)
    mixed = weight * own[near].astype(np.float64) + (1.0 - weight) * old[near]
    own[near] = (mixed + 0.5).astype(np.uint8)
    return out


def with_defaults(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A request's ``fields`` that are not None, and of :data:`DEFAULTS` what they leave open."""
    return {**DEFAULTS, **{name: value for name, value in fields.items() if value is not None}}


def window_seed(seed: int, variant: int, number: int) -> int:
    """A seed of 63 bits for the ``number``-th window of a variant.

    With one seed for all, every window would get the same noise at the same places, and the
    picture would repeat itself.
    """
    return int(np.random.SeedSequence((seed, variant, number)).generate_state(1, np.uint64)[0] >> 1)


def cut(rect: Rect) -> tuple[slice, slice]:
    """The index of a rectangle's pixels in (H,W,…)."""
    left, top, width, height = rect
    return slice(top, top + height), slice(left, left + width)


def window_of(view: Bytes, tile: Rect, window: Rect) -> tuple[Bytes, Bytes]:
    """The pixels of ``window`` and the selection of ``tile`` in it, both contiguous."""
    pixels = np.ascontiguousarray(view[cut(window)])
    selection = np.zeros(pixels.shape[:2], np.uint8)
    inner = tile._replace(left=tile.left - window.left, top=tile.top - window.top)
    selection[cut(inner)] = 255
    return pixels, selection


def _direction(side: str) -> tuple[int, int]:
    """The array axis along which a side grows, and +1 or −1 for the way."""
    return int(side in ("left", "right")), 1 if side in ("right", "bottom") else -1


def _around(tiles: tuple[Rect, ...]) -> Rect:
    """The rectangle that tiles in raster order fill."""
    first, last = tiles[0], tiles[-1]
    return first._replace(
        width=last.left + last.width - first.left, height=last.top + last.height - first.top
    )


def _split(made: Bytes, side: str) -> tuple[Bytes, Bytes]:
    """The pixels of a strip to keep, and the spare ones beyond."""
    axis, outward = _direction(side)
    at = made.shape[axis] - SPARE if outward > 0 else SPARE
    first, second = np.split(made, [at], axis)
    return (first, second) if outward > 0 else (second, first)


def _moved(rect: Rect, right: int, down: int) -> Rect:
    return rect._replace(left=rect.left + right, top=rect.top + down)


def _parts(total: int, most: int) -> list[int]:
    """``total`` as a sum of equal parts (within 1) of at most ``most``."""
    count = -(-total // most)
    return [total * (k + 1) // count - total * k // count for k in range(count)]


def _grow_rect(known: Rect, side: str, pixels: int) -> tuple[Rect, Rect]:
    """The strip beside ``known``, and ``known`` with it."""
    left, top, width, height = known
    if side == "left":
        return Rect(left - pixels, top, pixels, height), Rect(
            left - pixels, top, width + pixels, height
        )
    if side == "right":
        return Rect(left + width, top, pixels, height), Rect(left, top, width + pixels, height)
    if side == "top":
        return Rect(left, top - pixels, width, pixels), Rect(
            left, top - pixels, width, height + pixels
        )
    return Rect(left, top + height, width, pixels), Rect(left, top, width, height + pixels)


def _tiles(bounds: Rect, side: str, longest: int) -> Iterator[Rect]:
    left, top, width, height = bounds
    if side in ("left", "right"):
        for part in _parts(height, longest):
            yield Rect(left, top, width, part)
            top += part
    else:
        for part in _parts(width, longest):
            yield Rect(left, top, part, height)
            left += part
