"""Which of several variants is best: rejection sampling without a judge of its own.

MaskGIT (section 4.1) keeps the samples that a classifier is surest of; where a bundle has no such
graph, or no class is asked for, the model's own confidence decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.runtime import Model

Floats = NDArray[np.float32]


class Score(NamedTuple):
    """Higher is better; ``by``: confidence or class.  Only variants of one job compare."""

    value: float
    by: str


def confidence(log_probability: Floats, made: NDArray[np.bool_]) -> float:
    """Mean log-probability (nats, ≤ 0) of the tokens made, each when it was last drawn.

    ``log_probability`` (h·w,) float32, ``made`` (h,w) bool; 0 if none was made.
    """
    chosen = log_probability[made.reshape(-1)]
    return float(chosen.mean()) if len(chosen) else 0.0


def score(model: Model, picture: Floats, label: int | None, own: float) -> Score:
    """A variant's score: its class's log-probability by the bundle's classifier, else ``own``.

    ``picture`` (H,W,3) float32 in [0,1]: the whole window as it would look; ``label``: the class
    asked for, or None.
    """
    logits = None
    if label is not None:
        logits = model.classify(np.ascontiguousarray(picture.transpose(2, 0, 1)[None]))
    if logits is None or label is None:
        return Score(own, "confidence")
    row = logits[0].astype(np.float64)
    top = row.max()
    return Score(float(row[label] - top - np.log(np.exp(row - top).sum())), "class")


def best(scores: Sequence[float]) -> int:
    """Index of the highest score, the first of equals."""
    return int(np.argmax(scores))
