"""Self-guidance of MaskGIT-Edit: logits multiplied by how near each code is to the stroke's.

After ``guidance_to_reweight`` and ``decode_self_guidance`` of joel99/maskgit_edit.  Kept for
comparison.  Multiplying logits pushes a favoured code of negative logit down and all others
towards one another, so the setting is no smooth knob: with real energies half confidence does
nothing and 0.85 nearly everything.  The published program stored the confidence as an integer, so
all its settings below 1 acted as 0; here it is the fraction that was meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.guidance.base import Guide, Logits, View
from maskgit_daemon.guidance.painted import Painted

Kernel = NDArray[np.float32]


def identity_kernel(codes: int) -> Kernel:
    """(K,K) float32, 1 on the diagonal: only the stroke's own code is favoured."""
    return np.eye(codes, dtype=np.float32)


def code_l2_kernel(codebook: NDArray[np.float32]) -> Kernel:
    """K[a,b] = −mean over d of (e_a − e_b)², (K,K) float32 from the codebook (K,D)."""
    square = (codebook**2).mean(1)
    kernel = 2 * codebook @ codebook.T / np.float32(codebook.shape[1])
    kernel -= square
    kernel -= square[:, None]
    np.fill_diagonal(kernel, 0)
    return np.asarray(np.minimum(kernel, np.float32(0)), np.float32)


def sharpness(confidence: NDArray[np.float32]) -> NDArray[np.float32]:
    """τ(c) = 1e-6 · (1e8)^c with c clipped to 0 … 1, float32."""
    clipped = np.clip(confidence.astype(np.float32), np.float32(0), np.float32(1))
    return np.float32(1e-6) * np.float32(1e8) ** clipped


def reweight(
    kernel: Kernel, guidance: NDArray[np.int64], confidence: NDArray[np.float32]
) -> NDArray[np.float32]:
    """w = softmax(K[g]·τ(c)) divided by its mean over the codes; (…,) → (…,K) float32."""
    energy = kernel[guidance] * sharpness(confidence)[..., None]
    weight = np.exp(energy - energy.max(-1, keepdims=True))
    weight /= weight.sum(-1, keepdims=True)
    scaled: NDArray[np.float32] = weight / weight.mean(-1, keepdims=True)
    return scaled


@dataclass(frozen=True, eq=False)
class SelfGuide(Guide):
    """L' = L · w at unknown tokens of the footprint.

    ``kernel`` (K,K) float32, ``confidence`` 0 … 1.  The ranking goes by L', as published.
    """

    RANKS_GUIDED: ClassVar[bool] = True

    painted: Painted
    kernel: Kernel
    confidence: float

    def steer(self, view: View, logits: Logits) -> Logits:
        inside = self.painted.footprint.reshape(-1)[view.cells]
        stroke = self.painted.tokens.reshape(-1)[view.cells[inside]]
        guided = logits.copy()
        guided[inside] *= reweight(
            self.kernel, stroke, np.full(len(stroke), self.confidence, np.float32)
        )
        return guided
