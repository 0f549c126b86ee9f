"""A folder of pictures as training data: decoded once, cropped at random, at varied scale."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from maskgit_daemon.errors import MaskgitError

LOG = logging.getLogger(__name__)

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})
SCALES = (1.0, 0.7, 0.5)
"""Sizes each picture is kept at, so that the model sees textures near and far."""

Pixels = NDArray[np.uint8]


class NoPicturesError(MaskgitError):
    """A data folder that holds nothing to train on; the message says what to do."""


@dataclass(frozen=True)
class Picture:
    """One picture at every training scale, largest first; each (H,W,3) uint8 RGB."""

    name: str
    category: int
    scales: tuple[Pixels, ...]


@dataclass(frozen=True)
class PictureFolder:
    """All pictures of a folder in memory, their categories, and how many files were skipped."""

    pictures: tuple[Picture, ...]
    categories: tuple[str, ...]
    skipped: tuple[str, ...]

    def weights(self, side: int) -> NDArray[np.float64]:
        """Chance of each picture, by its area up to a megapixel, 0 where ``side`` does not fit."""
        areas = [
            min(p.scales[0].size / 3, 1e6) if min(p.scales[0].shape[:2]) >= side else 0.0
            for p in self.pictures
        ]
        total = np.asarray(areas, np.float64)
        if total.sum() == 0:
            raise NoPicturesError(
                f"No picture is at least {side} pixels on each side; use larger ones."
            )
        chances: NDArray[np.float64] = total / total.sum()
        return chances


def read_categories(folder: Path) -> dict[str, str]:
    """File name → category from a CSV in ``folder`` with the columns ``file`` and ``category``."""
    found: dict[str, str] = {}
    for table in sorted(folder.glob("*.csv")):
        with table.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                if row.get("file") and row.get("category"):
                    found[row["file"]] = row["category"]
    return found


def load_folder(
    folder: Path, *, min_side: int = 128, max_side: int = 1536, scales: tuple[float, ...] = SCALES
) -> PictureFolder:
    """Read every picture under ``folder``.

    Categories come from a CSV (columns ``file``, ``category``) or else from sub-folder names; with
    neither there are none.  Pictures longer than ``max_side`` pixels are shrunk; files that are
    corrupt or have a side below ``min_side`` pixels are skipped and listed.

    Raises :class:`NoPicturesError` if nothing usable is left.
    """
    table = read_categories(folder)
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    labels = {p: table.get(p.name) or (p.parent.name if p.parent != folder else "") for p in files}
    categories = tuple(sorted({label for label in labels.values() if label}))
    pictures: list[Picture] = []
    skipped: list[str] = []
    for path in files:
        try:
            with Image.open(path) as opened:
                opened.draft("RGB", (max_side, max_side))
                image = ImageOps.exif_transpose(opened).convert("RGB")
        except (
            OSError,
            ValueError,
            SyntaxError,
            UnidentifiedImageError,
            Image.DecompressionBombError,
        ):
            skipped.append(path.name)
            continue
        if min(image.size) < min_side:
            skipped.append(path.name)
            continue
        shrink = min(1.0, max_side / max(image.size))
        kept = []
        for scale in scales:
            width, height = (max(1, round(side * scale * shrink)) for side in image.size)
            size = (width, height)
            if scale == scales[0] or min(size) >= min_side:
                kept.append(np.asarray(image.resize(size, Image.Resampling.LANCZOS)))
        label = labels[path]
        category = categories.index(label) if label else len(categories)
        pictures.append(Picture(path.name, category, tuple(kept)))
    if skipped:
        LOG.warning(
            "Skipped %d files that are corrupt or too small: %s …", len(skipped), skipped[:3]
        )
    if not pictures:
        raise NoPicturesError(
            f"No usable picture in {folder}; give a folder with JPEG, PNG, WebP or TIFF files "
            f"of at least {min_side} × {min_side} pixels."
        )
    return PictureFolder(tuple(pictures), categories, tuple(skipped))


def random_crop(
    picture: Picture, height: int, width: int, rng: np.random.Generator, *, native: bool = False
) -> Pixels:
    """A random (height,width,3) crop, at native or a random kept scale, mirrored half the time."""
    fits = [s for s in picture.scales if s.shape[0] >= height and s.shape[1] >= width]
    source = fits[0] if native or not fits else fits[rng.integers(len(fits))]
    if not fits:
        source = picture.scales[0]
    top = int(rng.integers(max(1, source.shape[0] - height + 1)))
    left = int(rng.integers(max(1, source.shape[1] - width + 1)))
    crop = source[top : top + height, left : left + width]
    return crop[:, ::-1] if rng.random() < 0.5 and not native else crop


def crops(
    folder: PictureFolder, batch: int, height: int, width: int, rng: np.random.Generator
) -> Iterator[tuple[Pixels, NDArray[np.int64]]]:
    """Endless batches: pixels (B,height,width,3) uint8 and categories (B)."""
    chances = folder.weights(max(height, width))
    while True:
        picks = rng.choice(len(folder.pictures), batch, p=chances)
        chosen = [folder.pictures[i] for i in picks]
        pixels = np.stack([random_crop(p, height, width, rng) for p in chosen])
        yield pixels, np.asarray([p.category for p in chosen], np.int64)
