"""The model's own likelihood: reported, never a judge of how fills look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.runtime import Model
from maskgit_export.evaluate.coders import to_image

Pixels = NDArray[np.uint8]
Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class LikelihoodReport:
    """Cross-entropies in nats per masked token, with a random half of each grid masked.

    ``model``: the transformer's, shown the other half and no class; ``frequencies``: of the codes'
    frequencies in the training pictures (or, without those, in the windows themselves);
    ``gain``: their difference; ``accuracy`` 0…1: share of masked tokens whose likeliest code is
    right.
    """

    windows: int
    tokens: int
    model: float
    frequencies: float
    gain: float
    accuracy: float

    def as_dict(self) -> dict[str, float]:
        """The report as plain numbers, for JSON."""
        return asdict(self)


def encode_all(model: Model, windows: Sequence[Pixels], batch: int = 8) -> Tokens:
    """Tokens (N,h,w) of windows (H,W,3) of one size."""
    parts = [
        model.encode(to_image(np.stack(windows[start : start + batch])))
        for start in range(0, len(windows), batch)
    ]
    return np.concatenate(parts)


def judge_likelihood(
    model: Model, windows: Sequence[Pixels], training: Sequence[Pixels] = (), seed: int = 0
) -> LikelihoodReport:
    """Mask a random half of each window's tokens, once, and ask how likely the truth was."""
    tokens = encode_all(model, windows)
    codes = model.bundle.codes
    counted = encode_all(model, training) if training else tokens
    # One extra count a code, so that no code is impossible.
    share = np.bincount(counted.ravel(), minlength=codes) + 1.0
    share /= share.sum()
    rng = np.random.default_rng(seed)
    nats, right, base = [], [], []
    for grid in tokens:
        hidden = np.zeros(grid.size, bool)
        hidden[rng.permutation(grid.size)[: grid.size // 2]] = True
        hidden = hidden.reshape(grid.shape)
        logits = model.logits(np.where(hidden, codes, grid)[None])[0][hidden].astype(np.float64)
        logits -= logits.max(1, keepdims=True)
        chances = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        truth = grid[hidden]
        nats.append(-chances[np.arange(truth.size), truth])
        right.append(logits.argmax(1) == truth)
        base.append(-np.log(share[truth]))
    own, plain = float(np.concatenate(nats).mean()), float(np.concatenate(base).mean())
    return LikelihoodReport(
        windows=len(tokens),
        tokens=sum(part.size for part in nats),
        model=own,
        frequencies=plain,
        gain=plain - own,
        accuracy=float(np.concatenate(right).mean()),
    )
