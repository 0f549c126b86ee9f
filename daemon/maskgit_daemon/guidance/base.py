"""What a guidance method may do in the decode loop: three hooks, all neutral here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int64]
Flags = NDArray[np.bool_]
Logits = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class View:
    """What a guide sees of a job before and after a forward pass.

    ``tokens`` (h,w) int64, ``codes`` where not known; ``cells`` (n,) the flat indices of those,
    ascending; ``step`` of ``steps`` as the schedule counts them, from 0; ``sampled`` (h,w) int64
    the complete sample of the previous pass, None before the first; ``notes``: what the guide's
    :meth:`Guide.note` said in the first pass.
    """

    tokens: Tokens
    cells: NDArray[np.int64]
    codes: int
    step: int
    steps: int
    sampled: Tokens | None
    notes: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Guide:
    """The neutral guide: plain inpainting.  A method overrides the hooks it needs.

    ``RANKS_GUIDED``: confidence is taken from the guided logits instead of the model's own.
    ``CHOOSES_FIRST``: the cells to be masked again are chosen before the forward pass, from the
    pass before, so that :meth:`show` may show the model something there.
    """

    RANKS_GUIDED: ClassVar[bool] = False
    CHOOSES_FIRST: ClassVar[bool] = False

    def hold(self, tokens: Tokens, codes: int) -> Tokens:
        """The tokens to start from: some unknown ones may be set for good.  (h,w) → (h,w)."""
        return tokens

    def show(self, view: View, unsure: NDArray[np.int64]) -> Tokens:
        """The tokens the network gets, (h,w).

        ``unsure`` (m,): the cells that will be masked again, empty without ``CHOOSES_FIRST``.
        """
        return view.tokens

    def beside(self, view: View) -> Tokens | None:
        """The network's ``guidance_tokens`` (h,w), −1 where none; None if it takes none."""
        return None

    def note(self, view: View, logits: Logits) -> NDArray[np.float32] | None:
        """What to remember of the first pass's own logits (n,K), for every :meth:`steer`."""
        return None

    def steer(self, view: View, logits: Logits) -> Logits:
        """The logits to draw from, (n,K) for ``view.cells``; the given array is not changed."""
        return logits
