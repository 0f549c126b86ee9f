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

BLOCK = 4
"""Pixels between the positions of the coarse search; it compares means over twice as many."""

CANDIDATES, REACH = 12, 4
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

    Root mean square difference over pixels and channels, both averaged over 4 × 4 px (what is finer
    no tokenizer keeps), relative to the query's own standard deviation (at least 2 grey levels): 0
    is a copy, a patch of one mean colour is 1.  Found by block means of luma at every fourth
    position, then pixel by pixel round the best place of each of the 12 best pictures; mirrored
    patches count too.
    """
    both = [*queries, *(np.ascontiguousarray(q[:, ::-1]) for q in queries)]
    coarse = np.stack([_blocks(q)[0, 0] for q in both])
    best = np.full((len(both), CANDIDATES), np.inf, np.float32)
    patches: list[list[Pixels]] = [[both[0][:0]] * CANDIDATES for _ in both]
    for picture in pictures:
        if min(picture.shape[:2]) < SIDE:
            continue
        table = _blocks(picture)
        columns = table.shape[1]
        flat = table.reshape(-1, table.shape[2])
        # Less the query's own square, which changes no order; the best place of each picture.
        squared = flat @ (-2.0 * coarse.T) + (flat**2).sum(1)[:, None]
        for query, hit in enumerate(squared.argmin(0)):
            worst = int(best[query].argmax())
            if squared[hit, query] < best[query, worst]:
                best[query, worst] = squared[hit, query]
                top, left = (int(n) * BLOCK for n in divmod(int(hit), columns))
                patches[query][worst] = _around(picture, top, left)
    found = [_finest(q, [c for c in row if c.size]) for q, row in zip(both, patches, strict=True)]
    return np.minimum(found[: len(queries)], found[len(queries) :])


def _blocks(pixels: Pixels) -> NDArray[np.float32]:
    """Means (rows,columns,49) over 8 × 8 px, every 4 px, of every patch at every fourth pixel."""
    height, width = (n // BLOCK for n in pixels.shape[:2])
    grey = cv2.cvtColor(pixels[: height * BLOCK, : width * BLOCK], cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    means = 0.25 * (small[1:, 1:] + small[1:, :-1] + small[:-1, 1:] + small[:-1, :-1])
    side = SIDE // BLOCK - 1
    windows = sliding_window_view(means, (side, side))
    return np.ascontiguousarray(windows.reshape(*windows.shape[:2], -1), np.float32)


def _around(picture: Pixels, top: int, left: int) -> Pixels:
    rows = slice(max(0, top - REACH), top + SIDE + REACH)
    return picture[rows, max(0, left - REACH) : left + SIDE + REACH].copy()


def _finest(query: Pixels, candidates: Sequence[Pixels]) -> float:
    inner = np.s_[BLOCK // 2 : -BLOCK // 2, BLOCK // 2 : -BLOCK // 2]
    calm = cv2.blur(query.astype(np.float32), (BLOCK, BLOCK))[inner]
    spread = max(2.0, float(calm.std((0, 1)).mean()))
    squares = []
    for candidate in candidates:
        field = cv2.blur(candidate.astype(np.float32), (BLOCK, BLOCK))
        squares.append(float(cv2.matchTemplate(field, calm, cv2.TM_SQDIFF).min()))
    return float(np.sqrt(max(0.0, min(squares)) / calm.size)) / spread


def training_pixels(folder: PictureFolder) -> Iterable[Pixels]:
    """Every training picture at every scale it was trained at."""
    for picture in folder.pictures:
        yield from picture.scales
