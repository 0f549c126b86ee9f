"""How far a place lies inside a region."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def depth(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Steps (H,W) to the nearest place that is not ``inside``, along rows and columns; or inf."""
    steps = np.where(inside, np.float32(np.inf), np.float32(0))
    for axis in (0, 1):
        shape = [1, 1]
        shape[axis] = steps.shape[axis]
        place = np.arange(steps.shape[axis], dtype=np.float32).reshape(shape)
        # The least of steps + |distance along the axis|, from either side.
        ahead = np.minimum.accumulate(steps - place, axis) + place
        behind = np.flip(np.minimum.accumulate(np.flip(steps + place, axis), axis), axis) - place
        steps = np.minimum(ahead, behind)
    return steps
