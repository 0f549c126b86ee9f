"""Refine more: passes after the last that mask a few doubtful tokens again and redraw them.

ReMDM (arXiv 2503.00307) lets a masked model take back tokens it has placed; in its loop the share
of known tokens is held while some are masked and others drawn.  Here a pass masks a few, chosen by
how unlikely they were when drawn, and asks the model about them with everything else in place.
What suits its surroundings is put back and only what clearly does not is drawn anew: redrawing more
was measured to trade good tokens for worse ones (docs/outpainting.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHARE = 0.125
"""Of the tokens made, how many a pass takes back."""
MARGIN = 3.0
"""By how many nats a token may be less likely than the model's draws are on average."""


def doubtful(
    cells: NDArray[np.int64], log_probability: NDArray[np.float32], noise: NDArray[np.float32]
) -> NDArray[np.int64]:
    """The cells to take back in one pass, ascending: ``SHARE`` of ``cells`` (n,), at least one.

    Drawn without replacement with weights 1 − p, p = exp ``log_probability`` (n,) being each
    token's likelihood when it was drawn: the k largest of log(1 − p) + ``noise`` (n,), which is
    standard Gumbel (Vieira 2014).  A token that was certain is never taken back while others are
    left.
    """
    count = max(1, round(SHARE * len(cells)))
    doubt = np.log(np.maximum(-np.expm1(log_probability), np.float32(1e-7)))
    chosen: NDArray[np.int64] = np.sort(cells[np.argsort(-(doubt + noise))[:count]])
    return chosen


def suits(logits: NDArray[np.float32], tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) bool: whether each token (n,) is as likely as may be expected of logits (n,K).

    −log p(token) ≤ H(p) + ``MARGIN``, H the entropy: a draw from p has surprise H on average, so
    neither rare nor common tokens are preferred and texture keeps its grain (local typicality,
    arXiv 2202.00666).
    """
    # Below −100 nothing adds to the entropy, and −∞ · 0 would spoil it.
    shifted = np.maximum(logits - logits.max(axis=-1, keepdims=True), np.float32(-100))
    weight = np.exp(shifted)
    total = weight.sum(axis=-1)
    entropy = np.log(total) - (weight * shifted).sum(axis=-1) / total
    likely: NDArray[np.bool_] = -log_softmax_at(logits, tokens) <= entropy + np.float32(MARGIN)
    return likely


def log_softmax_at(logits: NDArray[np.float32], codes: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n,) float32: log softmax of logits (n,K) at one code each."""
    top = logits.max(axis=-1, keepdims=True)
    total = np.exp(logits - top).sum(axis=-1)
    picked = np.take_along_axis(logits, codes[:, None], axis=-1) - top
    return np.asarray(picked[:, 0] - np.log(total), np.float32)
