"""Local colour: the average colour of a neighbourhood follows the stroke, each token stays free.

Write r_k for the colour of the code at cell k minus the stroke's colour there.  The product of
experts is exp(−λ Σ_j ‖Σ_k w_jk r_k‖²), w a small blur over the grid: it asks nothing of a single
token, only that neighbours make up for one another.  With H = wᵀw its conditional for one cell i is
again a Gaussian in that cell's colour, centred on r_i = −(Σ_{k≠i} H_ik r_k) / H_ii.  A pass draws
many cells at once, so each unknown cell takes only its share of the correction that the placed ones
call for:

    r*_i = −(H r_placed)_i / (H 1_unknown)_i,      L'[c] = L[c] − λ_t · ‖C_c − stroke_i − r*_i‖².

Light texture is thus answered by dark texture beside it instead of being forbidden, which is what
keeps a flat stroke from coming out flat.  At low strength, where the stroke is to be kept, a share
of its tokens is held as in :mod:`maskgit_daemon.guidance.release`, nested in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.guidance.base import Guide, Logits, Tokens, View
from maskgit_daemon.guidance.experts import annealed, colour_distances
from maskgit_daemon.guidance.painted import Painted
from maskgit_daemon.guidance.release import hold_all_but, released

# One cell's weight after blurring twice with (¼, ½, ¼) along each axis.
_TAPS = np.array([1, 4, 6, 4, 1], np.float32) / np.float32(16)


def blur_twice(field: NDArray[np.float32]) -> NDArray[np.float32]:
    """H applied to (h,w,d) float32: (1,4,6,4,1)/16 along rows and columns, zero outside."""
    height, width = field.shape[:2]
    padded = np.pad(field, ((2, 2), (2, 2), (0, 0)))
    rows = np.zeros((height, width + 4, field.shape[2]), np.float32)
    for k, tap in enumerate(_TAPS):
        rows += tap * padded[k : k + height]
    out = np.zeros(field.shape, np.float32)
    for k, tap in enumerate(_TAPS):
        out += tap * rows[:, k : k + width]
    return out


@dataclass(frozen=True, eq=False)
class LocalColourGuide(Guide):
    """The rule above.

    ``pull`` is λ at the first pass (RGB in [0,1]) and ``last`` the share of it left at the last;
    ``share`` in 0 … 1 of the stroke's tokens is released, the rest held.
    """

    painted: Painted
    code_colours: NDArray[np.float32]
    pull: float
    last: float = 1.0
    share: float = 1.0

    def hold(self, tokens: Tokens, codes: int) -> Tokens:
        if self.share >= 1.0:
            return tokens
        free = released(self.painted.footprint, self.share)
        return hold_all_but(free, self.painted, tokens, codes)

    def steer(self, view: View, logits: Logits) -> Logits:
        inside = self.painted.footprint.reshape(-1)[view.cells]
        cells = view.cells[inside]
        target = self.targets(view).reshape(-1, 3)[cells]
        guided = logits.copy()
        guided[inside] -= annealed(self.pull, view, self.last) * colour_distances(
            self.code_colours, target
        )
        return guided

    def targets(self, view: View) -> NDArray[np.float32]:
        """(h,w,3) float32: stroke + r*, the colour to aim at where unknown, kept within [0,1]."""
        unknown = view.tokens == view.codes
        placed = self.painted.footprint & ~unknown
        residual = np.zeros(self.painted.colours.shape, np.float32)
        residual[placed] = self.code_colours[view.tokens[placed]] - self.painted.colours[placed]
        open_now = (unknown & self.painted.footprint).astype(np.float32)[..., None]
        share = np.maximum(blur_twice(open_now), _TAPS[2] ** 2)
        target = self.painted.colours - blur_twice(residual) / share
        return np.asarray(np.clip(target, 0.0, 1.0), np.float32)
