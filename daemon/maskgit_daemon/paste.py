"""Generated pixels made to fit: the border's error carried inward, so that no seam shows."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.fill import extend
from maskgit_daemon.frame import Frame
from maskgit_daemon.patch import Rect

Floats = NDArray[np.float32]

Kind = TypeVar("Kind", bound=np.generic)

BORDER = 16
"""Known pixels further than this from the selection say nothing about its border."""


def match_border(generated: Floats, frame: Frame) -> Floats:
    """Shift ``generated`` (H,W,3) so that it meets the known pixels round the selection.

    What the tokenizer got wrong on the known pixels is averaged over 3×3 and extended smoothly into
    the selection (the membrane of Poisson image editing, Pérez et al. 2003, section 2, solved by
    pull-push): colour and brightness meet at the border, texture inside stays as generated.
    Returns float32 clipped to [0,1].
    """
    left, top, width, height = frame.bounds
    tall, wide = frame.known.shape
    rows = slice(max(0, top - BORDER), min(tall, top + height + BORDER))
    columns = slice(max(0, left - BORDER), min(wide, left + width + BORDER))
    known = frame.known[rows, columns]
    error = (frame.colour[rows, columns] - generated[rows, columns]) * known[..., None]
    weight = _box3(known)
    error = (_box3(error) / np.maximum(weight, 1e-6)[..., None]).astype(np.float32)
    out = generated.copy()
    out[rows, columns] += extend(error, known)
    return np.clip(out, 0.0, 1.0)


def _box3(array: Floats) -> Floats:
    """Sum over 3×3 pixels, edges repeated."""
    for axis in (0, 1):
        pad = [(0, 0)] * array.ndim
        pad[axis] = (1, 1)
        wide = np.pad(array, pad, mode="edge")
        length = array.shape[axis]
        parts = [np.take(wide, range(k, k + length), axis) for k in range(3)]
        array = parts[0] + parts[1] + parts[2]
    return array


def feathered(selected: Floats, pixels: float) -> Floats:
    """Alpha (H,W) of ``selected`` that fades to 0 over ``pixels`` inside its edge; 0 keeps it."""
    if pixels <= 0:
        return selected
    inside = selected > 0
    distance = np.zeros_like(selected)
    # The fade is short: peeling the mask once a pixel is cheaper than a distance transform.
    for _ in range(int(np.ceil(pixels))):
        distance += inside
        wide = np.pad(inside, 1)
        inside = inside & wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    fade: Floats = selected * np.minimum(1.0, distance / (pixels + 1.0))
    return fade.astype(np.float32)


def crop(array: NDArray[Kind], bounds: Rect) -> NDArray[Kind]:
    """The pixels of ``bounds``."""
    left, top, width, height = bounds
    return array[top : top + height, left : left + width]
