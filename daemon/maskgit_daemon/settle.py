"""A made patch brought to the colour of what surrounds it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.fill import extend
from maskgit_daemon.frame import Frame
from maskgit_daemon.paste import box_sum

Floats = NDArray[np.float32]

REACH = 6
"""Pixels on either side of the border whose mean colours are compared."""

EDGE = 0.12
"""A step of colour (root mean square, of 1) from which on it passes for an edge meant to be."""


def settle(picture: Floats, frame: Frame, amount: float) -> Floats:
    """Take the step of mean colour at the selection's border out of ``picture`` (H,W,3).

    The border's error on known pixels says nothing about tokens that end just there: a patch of sky
    may be a shade too blue from edge to edge.  So the mean colours of the ``REACH`` pixels inside
    and outside are compared along the border; what they differ by, less and less of it as it comes
    to look like a real edge (weight exp(−(step/``EDGE``)²)), is extended smoothly over the
    selection and added.  Detail inside stays as generated.  ``amount`` (0…1) scales it; 0 returns
    the picture as it is.  Returns float32 clipped to [0,1].
    """
    if amount <= 0:
        return picture
    left, top, width, height = frame.bounds
    tall, wide = frame.known.shape
    rows = slice(max(0, top - 2 * REACH), min(tall, top + height + 2 * REACH))
    columns = slice(max(0, left - 2 * REACH), min(wide, left + width + 2 * REACH))
    known = frame.known[rows, columns]
    inside = (frame.selected[rows, columns] > 0).astype(np.float32)
    counts = box_sum(inside, REACH), box_sum(known, REACH)
    made = box_sum(picture[rows, columns] * inside[..., None], REACH)
    real = box_sum(frame.colour[rows, columns] * known[..., None], REACH)
    least = 0.2 * (2 * REACH + 1) ** 2
    border = ((counts[0] > least) & (counts[1] > least)).astype(np.float32)
    step = real / np.maximum(counts[1], 1)[..., None] - made / np.maximum(counts[0], 1)[..., None]
    size = np.sqrt(np.square(step).mean(-1, keepdims=True))
    step = (step * np.exp(-np.square(size / EDGE))).astype(np.float32)
    shift = extend(step, border) * inside[..., None]
    out = picture.copy()
    out[rows, columns] += np.float32(amount) * shift
    return np.clip(out, 0.0, 1.0)
