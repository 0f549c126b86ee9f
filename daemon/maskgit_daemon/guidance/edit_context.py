"""Context guidance of MaskGIT-Edit: the least sure tokens are shown as if the stroke were true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.guidance.base import Guide, Tokens, View
from maskgit_daemon.guidance.painted import Painted


@dataclass(frozen=True, eq=False)
class ContextGuide(Guide):
    """``decode_context_guidance`` of joel99/maskgit_edit (Apache-2.0), read as a rule.

    Before each pass the k = ⌊n₀ γ(t/T)⌋ tokens that were least probable in the pass before (all
    alike before the first) take the stroke's tokens in the network's input; the other unknown ones
    stay masked.  All are drawn, and those k are masked again.  It has no knob of its own: flat
    strokes are trusted, so flat colour comes out.
    """

    CHOOSES_FIRST: ClassVar[bool] = True

    painted: Painted

    def show(self, view: View, unsure: NDArray[np.int64]) -> Tokens:
        inside = unsure[self.painted.footprint.reshape(-1)[unsure]]
        shown = view.tokens.copy()
        shown.reshape(-1)[inside] = self.painted.tokens.reshape(-1)[inside]
        return shown
