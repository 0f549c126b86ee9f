"""Smooth extension of known pixels into unknown ones (pull-push)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RELAXATIONS = 8
"""Steps of Jacobi that make a membrane exact where it meets what is known."""


def extend(values: Floats, weight: Floats) -> Floats:
    """Fill where ``weight`` (H,W) is 0 from where it is positive; values (H,W,C), all float32.

    Pull-push (Gortler et al. 1996, section 4.4): weighted averages are pulled up a pyramid and
    pushed back down into the gaps, so each gap gets the mean of its surroundings at the scale of
    its distance from them.  Cost is linear in the pixels.  With no known pixel at all the result
    is 0.  Known pixels (weight ≥ 1) come back unchanged.
    """
    weight = np.clip(weight, 0.0, 1.0)
    height, width = weight.shape
    if min(height, width) <= 1 and max(height, width) <= 2:
        total = weight.sum()
        mean = (values * weight[..., None]).sum((0, 1)) / total if total > 0 else values[0, 0] * 0
        flat: Floats = (values * weight[..., None] + mean * (1.0 - weight[..., None])).astype(
            np.float32
        )
        return flat
    if weight.min() >= 1.0:
        return values
    pad = ((0, height % 2), (0, width % 2))
    wide = np.pad(weight, pad)
    heavy = np.pad(values * weight[..., None], (*pad, (0, 0)))
    half_weight = _sum2(wide)
    half_values = _sum2(heavy) / np.maximum(half_weight, 1e-6)[..., None]
    coarse = extend(half_values.astype(np.float32), half_weight)
    pushed = _double(coarse)[:height, :width]
    out: Floats = (values * weight[..., None] + pushed * (1.0 - weight[..., None])).astype(
        np.float32
    )
    return out


def membrane(values: Floats, known: Floats) -> Floats:
    """``values`` (H,W,C) where ``known`` (H,W) is 1; elsewhere nearly harmonic between them."""
    held = known > 0
    out = np.where(held[..., None], values, extend(values, known))
    if held.all():
        return out
    # Pull-push is a pixel too vague at the border itself, where the eye is keenest.
    box = tuple(
        slice(max(0, int(places.min()) - 1), int(places.max()) + 2) for places in np.nonzero(~held)
    )
    part, fixed = out[box], held[box][..., None]
    for _ in range(RELAXATIONS):
        wide = np.pad(part, ((1, 1), (1, 1), (0, 0)), mode="edge")
        around = wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]
        part = np.where(fixed, part, np.float32(0.25) * around)
    out[box] = part
    return out


def _sum2(array: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = array[0::2] + array[1::2]
    out: NDArray[np.float32] = rows[:, 0::2] + rows[:, 1::2]
    return out


def _double(array: Floats) -> Floats:
    """Twice the size by bilinear interpolation with half-pixel centres."""
    for axis in (0, 1):
        first = np.take(array, [0], axis)
        last = np.take(array, [-1], axis)
        before = np.concatenate([first, np.delete(array, -1, axis)], axis)
        after = np.concatenate([np.delete(array, 0, axis), last], axis)
        low, high = 0.75 * array + 0.25 * before, 0.75 * array + 0.25 * after
        shape = list(array.shape)
        shape[axis] *= 2
        array = np.stack([low, high], axis + 1).reshape(shape).astype(np.float32)
    return array
