"""Does a picture stand both among those trained on and among those judged on?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from maskgit_export.data import load_folder
from maskgit_export.evaluate.realism import luma

Real = NDArray[np.float64]

HASH_LIMIT, THUMB_LIMIT = 10, 0.95
"""Differing bits of 63 up to which, and correlation from which, two pictures count as one."""


@dataclass(frozen=True)
class Pair:
    """A picture judged on and the one trained on that is most like it.

    ``bits``: smallest number of differing perceptual-hash bits of 63; ``correlation`` −1…1: largest
    of thumbnails; each over all training pictures, either way round.
    """

    picture: str
    nearest: str
    bits: int
    correlation: float

    @property
    def duplicate(self) -> bool:
        """Whether both measures say so, or the thumbnails are all but equal."""
        alike = self.bits <= HASH_LIMIT and self.correlation >= THUMB_LIMIT
        return alike or self.correlation >= 0.99


def perceptual_hash(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """63 bits: which of the 8 × 8 lowest cosine coefficients, but the mean, exceed their median."""
    small = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BOX))
    low = dctn(luma(small), norm="ortho")[:8, :8].ravel()[1:]
    bits: NDArray[np.bool_] = low > np.median(low)
    return bits


def thumbnail(pixels: NDArray[np.uint8]) -> Real:
    """The picture at 24 × 24 px, less its mean, as a vector of length 1 (0s for a flat colour)."""
    small = np.asarray(Image.fromarray(pixels).resize((24, 24), Image.Resampling.BOX))
    values = small.astype(np.float64).ravel()
    values -= values.mean()
    length = np.linalg.norm(values)
    return values / length if length > 1e-9 else values


def find_duplicates(trained: Path, judged: Path) -> list[Pair]:
    """The nearest training picture of every picture judged on, mirrored ones included.

    Raises :class:`maskgit_export.data.NoPictures` if a folder holds no usable picture.
    """
    known = [
        (p.name, p.scales[0]) for p in load_folder(trained, min_side=32, scales=(1.0,)).pictures
    ]
    names = [name for name, _ in known] * 2
    both = [pixels for _, pixels in known] + [pixels[:, ::-1] for _, pixels in known]
    hashes = np.stack([perceptual_hash(p) for p in both])
    thumbs = np.stack([thumbnail(p) for p in both])
    pairs = []
    for picture in load_folder(judged, min_side=32, scales=(1.0,)).pictures:
        pixels = picture.scales[0]
        bits = (hashes != perceptual_hash(pixels)).sum(1)
        alike = thumbs @ thumbnail(pixels)
        nearest = names[int(alike.argmax())]
        pairs.append(Pair(picture.name, nearest, int(bits.min()), float(alike.max())))
    return pairs
