"""What the painter put inside the selection, as the methods see it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.errors import RequestError


@dataclass(frozen=True, eq=False)
class Painted:
    """Strokes on the token grid of one job.

    ``tokens`` (h,w) int64: the codes of the painted picture.  ``colours`` (h,w,3) float32 in [0,1]:
    each token's mean painted colour.  ``footprint`` (h,w) bool: tokens that the selection touches.
    ``known`` (h,w) int64: the codes of the picture with the selection filled in from outside.
    Raises :class:`RequestError` if the shapes differ or a colour is not a number.
    """

    tokens: NDArray[np.int64]
    colours: NDArray[np.float32]
    footprint: NDArray[np.bool_]
    known: NDArray[np.int64]

    def __post_init__(self) -> None:
        grid = self.footprint.shape
        if self.tokens.shape != grid or self.known.shape != grid or self.colours.shape[:2] != grid:
            raise RequestError(
                f"The strokes cover {self.tokens.shape} tokens but the selection {grid}; "
                "paint on a picture of the selection's size."
            )
        if not np.isfinite(self.colours).all():
            raise RequestError("The strokes hold NaN or infinite pixels; repaint them.")
