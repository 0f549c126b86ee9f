"""Token SDEdit: some of the stroke's tokens are kept for good, the others are made again.

After SDEdit (arXiv 2108.01073), which starts a diffusion from a noised stroke painting.  Noise for
tokens is the mask: a share ρ of the footprint is released, the rest keeps the stroke's tokens.
Which ones follows one Halton order, so that a larger share releases the same tokens and more:
ρ = 1 is inpainting and ρ → 0 the stroke itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.guidance.base import Guide, Tokens
from maskgit_daemon.guidance.painted import Painted
from maskgit_daemon.orders import halton_ranks


def released(footprint: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """(h,w) bool: the ⌈share · n⌉ tokens of the footprint (at least one) that come first."""
    cells = np.flatnonzero(footprint)
    count = released_count(len(cells), share)
    ranks = halton_ranks(*footprint.shape)[cells]
    free = np.zeros(footprint.shape, np.bool_)
    free.reshape(-1)[cells[np.argsort(ranks)[:count]]] = True
    return free


def released_count(tokens: int, share: float) -> int:
    """How many of ``tokens`` a share 0 … 1 releases: rounded up, at least one."""
    return min(tokens, max(1, math.ceil(share * tokens - 1e-9)))


def hold_all_but(free: NDArray[np.bool_], painted: Painted, tokens: Tokens, codes: int) -> Tokens:
    """``tokens`` (h,w) with the stroke's where unknown, in the footprint and not ``free``."""
    held = (tokens == codes) & painted.footprint & ~free
    return np.where(held, painted.tokens, tokens)


@dataclass(frozen=True, eq=False)
class ReleaseGuide(Guide):
    """Keeps the stroke's tokens but for a share ``share`` in 0 … 1."""

    painted: Painted
    share: float

    def hold(self, tokens: Tokens, codes: int) -> Tokens:
        return hold_all_but(
            released(self.painted.footprint, self.share), self.painted, tokens, codes
        )
