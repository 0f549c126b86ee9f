"""Generated pixels made to fit: the border's error carried inward, so that no seam shows."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.distance import depth
from maskgit_daemon.fill import extend, membrane
from maskgit_daemon.frame import Frame
from maskgit_daemon.patch import Rect

Floats = NDArray[np.float32]

Kind = TypeVar("Kind", bound=np.generic)

BORDER = 16
"""Known pixels further than this from the selection say nothing about its border."""

SOFTNESS = 0.12
"""Share of their neighbours in the outermost pixels; makes the border's steps those beside it."""


def match_border(generated: Floats, frame: Frame, strength: float = 1.0) -> Floats:
    """Shift ``generated`` (H,W,3) so that it meets the known pixels round the selection.

    What is wrong with it on the known pixels is extended smoothly into the selection (the membrane
    of Poisson image editing, Pérez et al. 2003, section 2): colour and brightness meet at the
    border pixel by pixel, texture inside stays as generated.  Below ``strength`` 1 the strokes have
    a say: where the selection's own tokens reach over known pixels, their colour bleeds there on
    purpose, and taking that for an error would wash the strokes out.  A share 1 − √strength of the
    correction is measured outside those tokens, if anything known lies there.  Returns float32
    clipped to [0,1].
    """
    left, top, width, height = frame.bounds
    tall, wide = frame.known.shape
    rows = slice(max(0, top - BORDER), min(tall, top + height + BORDER))
    columns = slice(max(0, left - BORDER), min(wide, left + width + BORDER))
    known = frame.known[rows, columns]
    error = frame.colour[rows, columns] - generated[rows, columns]
    shift = membrane(error, known)
    if strength < 1.0:
        cell = (tall // frame.footprint.shape[0], wide // frame.footprint.shape[1])
        reached = np.kron(frame.footprint, np.ones(cell, np.bool_))[rows, columns]
        outside = np.where(reached, np.float32(0), known)
        if outside.any():
            beyond = extend(error, outside)
            shift = beyond + np.float32(math.sqrt(strength)) * (shift - beyond)
    out = generated.copy()
    out[rows, columns] += shift
    return np.clip(out, 0.0, 1.0)


def soften_border(picture: Floats, frame: Frame) -> Floats:
    """Mix ``SOFTNESS`` of their known neighbours into the selection's outermost pixels, (H,W,3).

    Made and real texture change from pixel to pixel independently, so that the step between them
    is a little larger than the steps inside either, which draws the outline; this makes it equal.
    """
    known = frame.known[..., None]
    shown = np.pad(np.concatenate([frame.colour * known, known], -1), ((1, 1), (1, 1), (0, 0)))
    around = shown[:-2, 1:-1] + shown[2:, 1:-1] + shown[1:-1, :-2] + shown[1:-1, 2:]
    outermost = (around[..., 3:] > 0) & (known == 0)
    beside = around[..., :3] / np.maximum(around[..., 3:], np.float32(1))
    share = np.where(outermost, np.float32(SOFTNESS), np.float32(0))
    out: Floats = picture + share * (beside - picture)
    return out


def toward_strokes(
    picture: Floats, frame: Frame, amount: float, reach: int, border: int = 0
) -> Floats:
    """Move the local average colour of ``picture`` (H,W,3) a share ``amount`` towards the strokes'.

    What the tokens missed of the painted colours, averaged over the selected pixels near by (a box
    of about ``reach`` pixels, twice), is added inside the selection; detail finer than that stays
    as generated.  It gives strokes back the colours that no code of the model can show.  Within
    ``border`` pixels of the selection's edge it fades out, so that no seam comes back.  ``amount``
    0 returns the picture as it is.
    """
    if amount <= 0:
        return picture
    inside = (frame.selected > 0).astype(np.float32)
    missed = (frame.colour - picture) * inside[..., None]
    half = max(1, reach // 2)
    for _ in range(2):
        missed, weight = box_sum(missed, half), box_sum(inside, half)
        missed = missed / np.maximum(weight, 1e-6)[..., None] * inside[..., None]
    if border > 0:
        # A straight edge sees half of its box selected.
        share = box_sum(inside, border) / box_sum(np.ones_like(inside), border)
        missed *= np.clip(2 * share - 1, 0, 1)[..., None]
    return np.asarray(np.clip(picture + np.float32(amount) * missed, 0.0, 1.0), np.float32)


def box_sum(array: Floats, half: int) -> Floats:
    """Sum of (H,W) or (H,W,C) over (2·half+1)² pixels round each, nothing beyond the edges."""
    for axis in (0, 1):
        pad = [(0, 0)] * array.ndim
        pad[axis] = (half + 1, half)
        total = np.cumsum(np.pad(array, pad), axis=axis, dtype=np.float32)
        length = array.shape[axis]
        upper = np.take(total, range(2 * half + 1, 2 * half + 1 + length), axis)
        array = upper - np.take(total, range(length), axis)
    return array


def feathered(selected: Floats, pixels: float) -> Floats:
    """Alpha (H,W) of ``selected`` that fades to 0 over ``pixels`` inside its edge; 0 keeps it.

    Where the selection reaches the array's own edge it has none: it goes on beyond.
    """
    if pixels <= 0:
        return selected
    fade: Floats = selected * np.minimum(1.0, depth(selected > 0) / (pixels + 1.0))
    return fade.astype(np.float32)


def crop(array: NDArray[Kind], bounds: Rect) -> NDArray[Kind]:
    """The pixels of ``bounds``."""
    left, top, width, height = bounds
    return array[top : top + height, left : left + width]
