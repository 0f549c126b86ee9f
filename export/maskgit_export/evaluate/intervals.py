"""95 % bootstrap intervals over pictures: several holes of one picture count as one draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

REPLICATES, SEED = 2000, 1979
"""Resamplings, and the seed of the resampling."""

Real = NDArray[np.float64]


class Interval(NamedTuple):
    """A statistic of the sample and the 2.5th and 97.5th percentile of its bootstrap."""

    value: float
    low: float
    high: float


def bootstrap(
    values: Sequence[float], pictures: Sequence[str], statistic: Callable[[Real], float] = np.mean
) -> Interval:
    """The interval of ``statistic`` over ``values``, resampling whole pictures (Efron 1979).

    Raises ValueError if there are no values or the lengths differ.
    """
    if not values or len(values) != len(pictures):
        raise ValueError(f"{len(values)} values of {len(pictures)} pictures")
    sample = np.asarray(values, np.float64)
    names = np.asarray(pictures)
    groups = [sample[names == name] for name in sorted(set(pictures))]
    rng = np.random.default_rng(SEED)
    picks = rng.integers(len(groups), size=(REPLICATES, len(groups)))
    if statistic is np.mean:
        sums, counts = (np.array([f(g) for g in groups]) for f in (np.sum, len))
        drawn = sums[picks].sum(1) / counts[picks].sum(1)
    else:
        drawn = np.array([statistic(np.concatenate([groups[i] for i in row])) for row in picks])
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(statistic(sample)), float(low), float(high))
