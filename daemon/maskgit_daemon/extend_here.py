"""Growing a picture in this process, without a daemon: for measurements and other programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.bundle import Bundle
from maskgit_daemon.extend import (
    Reach,
    Sides,
    extend_picture,
    grow,
    window_of,
    window_seed,
    with_defaults,
)
from maskgit_daemon.patch import MIN_MARGIN, Rect, plan_window
from maskgit_daemon.refine import refine
from maskgit_daemon.request import RefineRequest
from maskgit_daemon.runtime import Model

Bytes = NDArray[np.uint8]


def reach_of(bundle: Bundle) -> Reach:
    """What a bundle makes at once at native scale."""
    side = min(bundle.grid_max)
    return Reach(side * bundle.stride, (side - 2 * min(MIN_MARGIN, side // 4)) * bundle.stride)


def extend_here(
    model: Model,
    pixels: Bytes,
    sides: Sides,
    variant: int = 0,
    held: bool = True,
    seed_of: Callable[[int, int, int], int] = window_seed,
    **fields: Any,
) -> Bytes:
    """RGBA (H,W,4) grown on ``sides``, as ``maskgit refine --extend`` does it.

    ``fields`` are the request's; ``held`` as in :func:`extend_picture`; ``seed_of``: a window's
    seed from the request's, the variant and the window's number.
    """
    seed = fields.pop("seed", 0)

    def fill(view: Bytes, tile: Rect, number: int) -> Bytes:
        plan = plan_window(tile, (view.shape[1], view.shape[0]), model.bundle)
        window, selection = window_of(view, tile, plan.window)
        told = {**with_defaults(fields), "seed": seed_of(seed, variant, number)}
        patch = refine(model, RefineRequest(window, selection, **told))[0]
        return np.asarray(patch.pixels, np.uint8)

    return extend_picture(grow(pixels, sides), sides, reach_of(model.bundle), fill, held)
