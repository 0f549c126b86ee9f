"""The pictures a judgement is made on: windows cut from a folder's pictures, by a seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskgit_export.data import Picture, PictureFolder, load_folder

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
    return _windows(found, count, side, np.random.default_rng((seed, side)))


def scene_windows(folder: Path, count: int, side: int, seed: int) -> list[Window]:
    """As :func:`native_windows`, of pictures reduced until their shorter side is ``side`` px.

    So a window shows what the picture is of, not a piece of its texture.
    """
    found = load_folder(folder, min_side=side, scales=(1.0,))
    scenes = tuple(replace(p, scales=(resized(p.scales[0], side),)) for p in found.pictures)
    rng = np.random.default_rng((seed, side))
    return _windows(replace(found, pictures=scenes), count, side, rng)


def resized(pixels: Pixels, shorter: int) -> Pixels:
    """(H,W,3) resized until its shorter side is ``shorter`` px."""
    image = Image.fromarray(pixels)
    width, height = (round(extent * shorter / min(image.size)) for extent in image.size)
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))


def _windows(found: PictureFolder, count: int, side: int, rng: np.random.Generator) -> list[Window]:
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
