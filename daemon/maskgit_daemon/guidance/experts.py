"""Products of experts: the model's logits minus a distance between each code and the stroke.

L'[c] = L[c] − λ_t · d(stroke, c).  λ = 0 is the plain model and λ → ∞ the nearest code, so the
strength is monotone by construction.  Confidence is ranked on the unguided L: a token that the
stroke forced is not taken for one that the model believes in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.guidance.base import Guide, Logits, View
from maskgit_daemon.guidance.painted import Painted


def weight(strength: float, at_half: float, power: float = 1.5) -> float:
    """λ = at_half · ((1 − s)/s)^power: ∞ at strength 0, 0 at 1, falling in between."""
    return at_half * math.pow((1.0 - strength) / max(strength, 1e-6), power)


def annealed(full: float, view: View, last: float) -> np.float32:
    """λ_t, falling evenly from ``full`` in the first pass to ``last · full`` in the last one."""
    done = view.step / max(1, view.steps - 1)
    return np.float32(full * (1.0 - (1.0 - last) * done))


def code_distances(codebook: NDArray[np.float32], tokens: NDArray[np.int64]) -> Logits:
    """(n,K) float32: ‖e_g − e_c‖² over the mean squared distance of two codes drawn at random."""
    square = (codebook**2).sum(1)
    distance = square[tokens][:, None] + square - 2 * (codebook[tokens] @ codebook.T)
    usual = 2 * (square.mean() - (codebook.mean(0) ** 2).sum())
    scaled: Logits = np.maximum(distance, np.float32(0)) / np.float32(max(usual, 1e-12))
    return scaled


def colour_distances(
    code_colours: NDArray[np.float32], colours: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(n,K) float32: squared distance of colours (n,3) and code colours (K,3), RGB in [0,1]."""
    square = (code_colours**2).sum(1)
    distance = (colours**2).sum(1)[:, None] + square - 2 * (colours @ code_colours.T)
    return np.asarray(np.maximum(distance, np.float32(0)), np.float32)


@dataclass(frozen=True, eq=False)
class CodeDistanceGuide(Guide):
    """Product of experts on code distance; ``pull`` is λ, kept at full to the end."""

    painted: Painted
    codebook: NDArray[np.float32]
    pull: float

    def steer(self, view: View, logits: Logits) -> Logits:
        inside = self.painted.footprint.reshape(-1)[view.cells]
        stroke = self.painted.tokens.reshape(-1)[view.cells[inside]]
        guided = logits.copy()
        guided[inside] -= np.float32(self.pull) * code_distances(self.codebook, stroke)
        return guided


@dataclass(frozen=True, eq=False)
class ColourGuide(Guide):
    """Colour likelihood: d is the squared distance of the stroke's and the code's mean colour.

    ``pull`` is λ at the first pass (RGB in [0,1]), ``last`` the share of it left at the last one,
    so that late passes add texture.
    """

    painted: Painted
    code_colours: NDArray[np.float32]
    pull: float
    last: float = 0.0

    def steer(self, view: View, logits: Logits) -> Logits:
        inside = self.painted.footprint.reshape(-1)[view.cells]
        colours = self.painted.colours.reshape(-1, 3)[view.cells[inside]]
        guided = logits.copy()
        guided[inside] -= annealed(self.pull, view, self.last) * colour_distances(
            self.code_colours, colours
        )
        return guided
