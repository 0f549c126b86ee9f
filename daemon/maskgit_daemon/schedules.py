"""Mask schedules γ(r): the share of tokens still masked when a share r of the steps is done.

Section 3.3 and Figure 8 of MaskGIT (arXiv 2202.04200) compare seven; the reference code's own names
(``uniform``, ``pow X``, ``log``, ``exp``) are accepted beside them.  All run in float32 as the
reference does: float64 would round a few counts differently.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from maskgit_daemon.errors import RequestError

Schedule = Callable[[np.float32, int], np.float32]

_ONE = np.float32(1.0)


def _power(exponent: float) -> Schedule:
    return lambda ratio, total: np.float32(_ONE - ratio ** np.float32(exponent))


def _cosine(ratio: np.float32, total: int) -> np.float32:
    return np.float32(np.cos(np.float32(np.pi / 2) * ratio))


def _logarithmic(ratio: np.float32, total: int) -> np.float32:
    return np.float32(-np.log2(ratio, dtype=np.float32) / np.log2(np.float32(max(total, 2))))


def _exponential(ratio: np.float32, total: int) -> np.float32:
    size = np.log2(np.float32(total))
    return np.float32(_ONE - np.exp2(-size * (_ONE - ratio)))


SCHEDULES: dict[str, Schedule] = {
    "cosine": _cosine,
    "linear": _power(1.0),
    "square": _power(2.0),
    "cubic": _power(3.0),
    "exponential": _exponential,
    "square-root": _power(0.5),
    "logarithmic": _logarithmic,
    "uniform": _power(1.0),
    "exp": _exponential,
    "log": _logarithmic,
}

FLOOR = np.float32(1e-6)


def find_schedule(name: str) -> Schedule:
    """The schedule called ``name``; ``pow X`` gives 1 − r^X.  Raises :class:`RequestError`."""
    if name in SCHEDULES:
        return SCHEDULES[name]
    match = re.fullmatch(r"pow ?(\d+(?:\.\d+)?)", name)
    if match and 0.0 < float(match[1]) <= 100.0:
        return _power(float(match[1]))
    known = ", ".join(sorted(SCHEDULES))
    raise RequestError(f"There is no schedule {name!r}; choose one of {known} or pow X.")


def masked_share(name: str, ratio: float, total: int) -> np.float32:
    """γ(ratio) in [1e-6, 1] as float32; ``total`` is the number of tokens masked at the start."""
    gamma = find_schedule(name)(np.float32(ratio), total)
    return np.float32(np.clip(gamma, FLOOR, _ONE))
