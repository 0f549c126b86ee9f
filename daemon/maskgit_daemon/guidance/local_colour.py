"""Local colour: the average colour goes from the strokes' to the model's own, tokens stay free.

At strength s the colour to aim at is, at every cell j of the footprint,

    m_j = stroke_j + s · (E_j − stroke_j),

E_j being the mean code colour that the model itself expects there in the first pass.  Of all
distributions over codes with a given mean colour, the one nearest to the model's (least
Kullback-Leibler divergence) is the model's tilted by a linear function of the code's colour C_c:

    L'[c] = L[c] + θ_j · C_c,      θ_j from  E_θ[C] − m_j + ε θ_j = 0  (Newton's method).

So the average is steered and nothing else: a light token is as welcome as a dark one, and a flat
stroke need not come out flat.  ε(s) = ``tolerance`` · s/(1−s) is how much the model may object; at
s = 1 it is infinite and θ = 0.  What placed tokens missed is asked of the ones still unknown near
them: with r the placed tokens' colour minus m, H two passes of a small blur over the grid and 1_u
the unknown cells, m_j is moved by −(H r)_j / (H 1_u)_j.

A mean says nothing of a single token, and near s = 0 the strokes themselves are wanted.  There the
spread shrinks, by a product of experts −λ ‖C_c − m_j‖², λ(s) = λ½ · (1 − s)/s, and
below s = h a share of the stroke's tokens is held, as in :mod:`maskgit_daemon.guidance.release`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.guidance.base import Guide, Logits, Tokens, View
from maskgit_daemon.guidance.experts import colour_distances
from maskgit_daemon.guidance.painted import Painted
from maskgit_daemon.guidance.release import hold_all_but, released

Floats = NDArray[np.float32]

# One cell's weight after blurring twice with (¼, ½, ¼) along each axis.
_TAPS = np.array([1, 4, 6, 4, 1], np.float32) / np.float32(16)
_NEWTON_STEPS, _ROWS = 7, 24
_LONGEST_STEP, _LARGEST_TILT = 8.0, 40.0  # keep exp within float32


def blur_twice(field: Floats) -> Floats:
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


def expected_colours(logits: Logits, code_colours: Floats) -> Floats:
    """(n,3) float32: the mean colour of softmax(logits (n,K)) over code colours (K,3)."""
    weight = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(weight @ code_colours / weight.sum(-1, keepdims=True), np.float32)


def tilt(logits: Logits, code_colours: Floats, target: Floats, tolerance: float) -> Floats:
    """θ (n,3) float32 with E_θ[C] − target + tolerance · θ = 0 for logits (n,K), target (n,3)."""
    pairs = code_colours[:, [0, 0, 0, 1, 1, 2]] * code_colours[:, [0, 1, 2, 1, 2, 2]]
    moments = np.hstack([np.ones((len(code_colours), 1), np.float32), code_colours, pairs])
    theta = np.zeros(target.shape, np.float32)
    # Few rows at once stay in the cache, and their products are too small for BLAS to spread over
    # threads, which wait for one another on a busy machine.
    for start in range(0, len(logits), _ROWS):
        rows = slice(start, start + _ROWS)
        base = logits[rows] - logits[rows].max(-1, keepdims=True)
        theta[rows] = _newton(base, moments, target[rows], np.float32(tolerance))
    return theta


def _newton(base: Logits, moments: Floats, target: Floats, tolerance: np.float32) -> Floats:
    """θ for logits ``base`` (n,K) of which none is above 0; ``moments`` (K,10): 1, C, products.

    It minimises the convex log Σ exp(base + θ·C) − θ·target + ½ ε |θ|²; a step that would raise
    that is quartered.
    """
    ridge = (tolerance + np.float32(1e-4)) * np.eye(3, dtype=np.float32)
    colours = np.ascontiguousarray(moments[:, 1:4].T)
    best, lowest = np.zeros(target.shape, np.float32), np.full((len(target), 1), np.inf, np.float32)
    theta, step = best, best
    for _ in range(_NEWTON_STEPS):
        sums = np.exp(base + theta @ colours) @ moments
        height = np.log(sums[:, :1]) + (theta * (0.5 * tolerance * theta - target)).sum(
            -1, keepdims=True
        )
        sums /= sums[:, :1]
        mean = sums[:, 1:4]
        square = sums[:, 4:][:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
        spread = square - mean[:, :, None] * mean[:, None]
        gradient = mean - target + tolerance * theta
        newton = np.linalg.solve(spread + ridge, gradient[..., None])[..., 0]
        better = height <= lowest
        best, lowest = np.where(better, theta, best), np.where(better, height, lowest)
        step = np.where(better, _shorten(newton, _LONGEST_STEP), step * np.float32(0.25))
        theta = _shorten(best - step, _LARGEST_TILT)
    return best


def _shorten(vectors: Floats, longest: float) -> Floats:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scale = np.minimum(1.0, longest / np.maximum(length, 1e-9))
    return np.asarray(vectors * scale, np.float32)


@dataclass(frozen=True, eq=False)
class LocalColourGuide(Guide):
    """The rule above.

    ``strength`` in (0, 1); ``tolerance``: ε at strength one half (RGB in [0,1]); ``shrink``: λ
    itself; ``share`` in 0 … 1 of the stroke's tokens is released, the rest held.
    """

    painted: Painted
    code_colours: Floats
    strength: float
    tolerance: float
    shrink: float = 0.0
    share: float = 1.0

    def hold(self, tokens: Tokens, codes: int) -> Tokens:
        if self.share >= 1.0:
            return tokens
        free = released(self.painted.footprint, self.share)
        return hold_all_but(free, self.painted, tokens, codes)

    def note(self, view: View, logits: Logits) -> Floats:
        """(h,w,3): the colours to aim at; the stroke's where tokens are held."""
        aim = self.painted.colours.copy()
        own = expected_colours(logits, self.code_colours)
        flat = aim.reshape(-1, 3)
        flat[view.cells] += np.float32(self.strength) * (own - flat[view.cells])
        return aim

    def steer(self, view: View, logits: Logits) -> Logits:
        inside = self.painted.footprint.reshape(-1)[view.cells]
        target = self.targets(view).reshape(-1, 3)[view.cells[inside]]
        own = logits[inside]
        if self.shrink:
            own = own - np.float32(self.shrink) * colour_distances(self.code_colours, target)
        tolerance = self.tolerance * self.strength / max(1.0 - self.strength, 1e-6)
        guided = logits.copy()
        theta = tilt(own, self.code_colours, target, tolerance)
        guided[inside] = own + theta @ self.code_colours.T
        return guided

    def targets(self, view: View) -> Floats:
        """(h,w,3) float32: the colour to aim at, moved by what was missed near by, in [0,1]."""
        assert view.notes is not None
        unknown = view.tokens == view.codes
        placed = released(self.painted.footprint, self.share) & ~unknown
        residual = np.zeros(self.painted.colours.shape, np.float32)
        residual[placed] = self.code_colours[view.tokens[placed]] - view.notes[placed]
        open_now = (unknown & self.painted.footprint).astype(np.float32)[..., None]
        share = np.maximum(blur_twice(open_now), _TAPS[2] ** 2)
        return np.asarray(np.clip(view.notes - blur_twice(residual) / share, 0.0, 1.0), np.float32)
