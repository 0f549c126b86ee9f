"""Memory or synthesis?  How far a filled patch is from the nearest one of the training pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from maskgit_export.data import PictureFolder
from maskgit_export.evaluate.realism import luma

Pixels = NDArray[np.uint8]
Hole = NDArray[np.bool_]

SIDE = 32
"""Side of a patch, pixels: 16 tokens at stride 8."""

BLOCK, STEP = 4, 8
"""Pixels a block of the coarse search is averaged over, pixels between its positions."""

CANDIDATES, REACH = 12, 8
"""Coarse hits that are compared pixel by pixel, pixels each is shifted by either way."""


def busiest(pixels: Pixels, hole: Hole, side: int = SIDE) -> tuple[int, int] | None:
    """(top, left) of the patch with most contrast among those that lie in the hole, or None.

    Flat patches resemble each other by nature and say nothing about memory.
    """
    if min(hole.shape) < side:
        return None
    inside = np.asarray(sliding_window_view(hole, (side, side)).all((2, 3)))
    if not inside.any():
        return None
    windows = sliding_window_view(luma(pixels), (side, side))
    contrast = np.full(inside.shape, -1.0)
    # Every fourth position is near enough, and 16 times fewer.
    grid = np.s_[::4, ::4]
    if not inside[grid].any():
        grid = np.s_[::1, ::1]
    contrast[grid] = np.where(inside[grid], windows[grid].std((2, 3)), -1.0)
    top, left = np.unravel_index(int(contrast.argmax()), contrast.shape)
    return int(top), int(left)


def nearest_distances(queries: Sequence[Pixels], pictures: Iterable[Pixels]) -> NDArray[np.float64]:
    """Distance (n) of each 32 × 32 px query to its nearest patch anywhere in ``pictures``.

    Root mean square difference over pixels and channels, relative to the query's own standard
    deviation (at least 2 grey levels): 0 is an exact copy, a patch of one mean colour is 1.  Found
    by block means of luma at every eighth position, then pixel by pixel round the 12 best.
    """
    stack = np.stack(queries)
    coarse = np.stack([_blocks(luma(q))[0, 0] for q in stack]).astype(np.float32)
    best = np.full((len(stack), CANDIDATES), np.inf, np.float32)
    patches: list[list[Pixels | None]] = [[None] * CANDIDATES for _ in stack]
    for picture in pictures:
        if min(picture.shape[:2]) < SIDE:
            continue
        table = _blocks(luma(picture))
        rows, columns = table.shape[:2]
        flat = table.reshape(rows * columns, -1)
        squared = (flat**2).sum(1) - 2.0 * coarse @ flat.T + (coarse**2).sum(1)[:, None]
        few = min(3, squared.shape[1])
        hits = np.argpartition(squared, few - 1, 1)[:, :few]
        for query, row in enumerate(hits):
            for hit in row:
                worst = int(best[query].argmax())
                if squared[query, hit] < best[query, worst]:
                    best[query, worst] = squared[query, hit]
                    top, left = (int(n) * STEP for n in divmod(int(hit), columns))
                    patches[query][worst] = _around(picture, top, left)
    return np.array(
        [
            _finest(q, [c for c in row if c is not None])
            for q, row in zip(stack, patches, strict=True)
        ]
    )


def _blocks(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Block means (rows,columns,64) of every patch at every eighth pixel of luma (H,W)."""
    height, width = (n // BLOCK * BLOCK for n in values.shape)
    means = (
        values[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).mean((1, 3))
    )
    side, step = SIDE // BLOCK, STEP // BLOCK
    windows = sliding_window_view(means, (side, side))[::step, ::step]
    return np.ascontiguousarray(windows.reshape(*windows.shape[:2], -1), np.float32)


def _around(picture: Pixels, top: int, left: int) -> Pixels:
    rows = slice(max(0, top - REACH), top + SIDE + REACH)
    return picture[rows, max(0, left - REACH) : left + SIDE + REACH].copy()


def _finest(query: Pixels, candidates: Sequence[Pixels]) -> float:
    squares = [
        float(cv2.matchTemplate(c, query, cv2.TM_SQDIFF).min()) / query.size for c in candidates
    ]
    spread = max(2.0, float(query.astype(np.float64).std((0, 1)).mean()))
    return float(np.sqrt(max(0.0, min(squares)))) / spread


def training_pixels(folder: PictureFolder) -> Iterable[Pixels]:
    """Every training picture at every scale it was trained at, and mirrored."""
    for picture in folder.pictures:
        for scale in picture.scales:
            yield scale
            yield np.ascontiguousarray(scale[:, ::-1])
