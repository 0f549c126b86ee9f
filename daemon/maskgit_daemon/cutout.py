"""What goes back: the selection cut out of a made picture, unblended, in the request's dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.events import Patch
from maskgit_daemon.extend import cut
from maskgit_daemon.frame import selection_bounds
from maskgit_daemon.paste import crop, feathered
from maskgit_daemon.patch import Rect
from maskgit_daemon.request import Mask, Pixels, RefineRequest

Floats = NDArray[np.float32]


def cut_patch(
    request: RefineRequest, colour: Floats, tokens: NDArray[np.int64], info: dict[str, Any]
) -> Patch:
    """The request's selection as a patch: ``colour`` (h,w,3) in [0,1], of the selection's bounds.

    ``tokens``: the grid that made it.  ``info`` goes with it, beside the request's seed.
    """
    place = selection_bounds(request.selection)
    alpha = _alpha(request.selection, place, request.feather)
    # 16 megapixels are 256 MB as floats: one copy, changed in place.
    values = np.dstack([colour, alpha])
    pixels: Pixels
    if request.pixels.dtype == np.uint8:
        values *= 255.0
        values += 0.5
        pixels = values.astype(np.uint8)
    else:
        pixels = values.astype(np.float32, copy=False)
    told = {"seed": request.seed, **info, "grid": list(tokens.shape)}
    return Patch(place.left, place.top, pixels, tokens, told)


def untouched_patch(request: RefineRequest, variant: int) -> Patch:
    """Strength 0: the window's own pixels, as far as they are selected; one token, −1: none."""
    place = selection_bounds(request.selection)
    pixels: Pixels = request.pixels[cut(place)].copy()
    alpha = crop(request.selection, place).astype(np.float32) / 255.0 * pixels[..., 3]
    pixels[..., 3] = alpha + 0.5 if pixels.dtype == np.uint8 else alpha
    info = {"seed": request.seed, "variant": variant, "footprint": 0, "grid": [0, 0]}
    return Patch(place.left, place.top, pixels, np.full((1, 1), -1, np.int64), info)


def _alpha(selection: Mask, place: Rect, feather: float) -> Floats:
    """The selection at ``place``, faded inside its edge; the window's edge is none of them.

    Where a selection touches the window's edge the picture ends: else there would be context.
    """
    height, width = selection.shape
    before = min(1, place.left), min(1, place.top)
    around = Rect(
        place.left - before[0],
        place.top - before[1],
        before[0] + place.width + min(1, width - place.left - place.width),
        before[1] + place.height + min(1, height - place.top - place.height),
    )
    faded = feathered(crop(selection, around).astype(np.float32) / 255.0, feather)
    return crop(faded, Rect(*before, place.width, place.height))
