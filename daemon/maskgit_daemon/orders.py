"""In which order masked cells become known, where the model's confidence does not decide."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.distance import depth

ORDERS = ("confidence", "outward", "halton", "random")

OUTWARD = 2.0
"""Nats that a step away from what is known takes from a token's confidence."""


@lru_cache(maxsize=32)
def halton_ranks(height: int, width: int) -> NDArray[np.int64]:
    """(height·width,) the place of each cell, in raster order, in the grid's Halton order.

    The 2-D Halton sequence (bases 2 for rows and 3 for columns, its first point left out) scattered
    over the grid; a cell comes when a point first falls into it ("Halton Scheduler for Masked
    Generative Image Transformer", arXiv 2503.17076, section 3).  Neighbours come far apart, and any
    first part of the order covers the grid evenly.  The array is shared: it cannot be written to.
    """
    cells = height * width
    points = 16 * cells
    while True:
        index = np.arange(1, points + 1)
        rows = (_radical_inverse(index, 2) * height).astype(np.int64)
        columns = (_radical_inverse(index, 3) * width).astype(np.int64)
        hit, first = np.unique(rows * width + columns, return_index=True)
        if len(hit) == cells:
            break
        points *= 2
    ranks = np.empty(cells, np.int64)
    ranks[hit[np.argsort(first)]] = np.arange(cells)
    ranks.setflags(write=False)
    return ranks


def outward_cost(unknown: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(h·w,) what each cell's confidence loses for its distance from the known ones, in nats.

    Where much is unknown, confidence alone begins with what is plain, and a sky fills the picture
    before the ground has reached it; so what is known grows outward.  All 0 where nothing is known.
    """
    if unknown.all():
        return np.zeros(unknown.size, np.float32)
    return np.float32(OUTWARD) * depth(unknown).reshape(-1)


def _radical_inverse(index: NDArray[np.int64], base: int) -> NDArray[np.float64]:
    """The digits of ``index`` in ``base`` mirrored at the point: van der Corput's sequence."""
    value, scale = np.zeros(len(index)), 1.0
    while index.any():
        scale /= base
        value += scale * (index % base)
        index = index // base
    return value
