"""Iterative guidance of MaskGIT-Edit: a tuned network takes the strokes as a second embedding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskgit_daemon.guidance.base import Guide, Tokens, View
from maskgit_daemon.guidance.painted import Painted


@dataclass(frozen=True, eq=False)
class IterativeGuide(Guide):
    """``decode_self_guidance_iterate`` of joel99/maskgit_edit (Apache-2.0), read as a rule.

    The network is tuned to see its own rejected samples beside the mask; in decoding the stroke's
    tokens take that place at every token of the footprint that is still unknown.  The published
    comparison decoded without them.
    """

    painted: Painted

    def beside(self, view: View) -> Tokens:
        open_now = self.painted.footprint & (view.tokens == view.codes)
        return np.where(open_now, self.painted.tokens, -1)
