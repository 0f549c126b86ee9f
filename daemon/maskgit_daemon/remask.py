"""Refine more: passes after the last that mask a few doubtful tokens again and redraw them.

ReMDM (arXiv 2503.00307) lets a masked model take back tokens it has placed; in its loop the share
of known tokens is held while some are masked and others drawn.  Here a pass masks a few, chosen by
how unlikely they were when drawn, and draws all of them anew from the rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHARE = 0.125
"""Of the tokens made, how many a pass takes back."""


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
