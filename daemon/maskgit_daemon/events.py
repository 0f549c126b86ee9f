"""What a job tells its client, in order: any number of steps, then exactly one ending."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.request import Pixels


@dataclass(frozen=True, eq=False)
class Patch:
    """Regenerated pixels, unblended.

    ``left``, ``top``: where it lies in the window.  ``pixels`` (h,w,4) RGBA in the window's dtype;
    alpha is the (feathered) selection.  ``tokens`` (gh,gw) int64: the final token grid of the pass
    that made it.  ``info``: plain numbers and strings about it.
    """

    left: int
    top: int
    pixels: Pixels
    tokens: NDArray[np.int64]
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """Step ``step`` of ``steps`` begins; ``preview`` shows the best guess so far, if asked for."""

    step: int
    steps: int
    preview: Patch | None = None


@dataclass(frozen=True)
class Done:
    """The job's patches, one a variant, and what it took (seconds, tokens)."""

    patches: tuple[Patch, ...]
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cancelled:
    """The job was cancelled; nothing is to be applied."""


@dataclass(frozen=True)
class Failed:
    """The job failed; ``message`` is one sentence."""

    message: str


Event = Step | Done | Cancelled | Failed
Ending = (Done, Cancelled, Failed)
