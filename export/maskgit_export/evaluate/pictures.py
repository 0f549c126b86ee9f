"""The pictures a judgement is made on: windows cut at native size from a folder, by a seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskgit_export.data import Picture, load_folder

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Window:
    """Pixels (H,W,3) uint8 of one picture, with the picture's name and category."""

    picture: str
    category: str
    pixels: Pixels


def native_windows(folder: Path, count: int, side: int, seed: int) -> list[Window]:
    """``count`` windows of ``side`` × ``side`` px at native size, spread evenly over the pictures.

    Pictures come in an order drawn from ``seed``, each once before any comes twice; the place in
    the picture is uniform.  A picture smaller than the window is left out.

    Raises :class:`maskgit_export.data.NoPictures` if none is large enough.
    """
    found = load_folder(folder, min_side=side, scales=(1.0,))
    rng = np.random.default_rng((seed, side))
    order: list[Picture] = []
    while len(order) < count:
        order.extend(found.pictures[i] for i in rng.permutation(len(found.pictures)))
    windows = []
    for picture in order[:count]:
        source = picture.scales[0]
        top, left = (int(rng.integers(extent - side + 1)) for extent in source.shape[:2])
        category = (*found.categories, "")[picture.category]
        windows.append(
            Window(picture.name, category, source[top : top + side, left : left + side].copy())
        )
    return windows
