"""What is hidden from the transformer in training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from maskgit_daemon.schedules import masked_share


def random_masks(
    batch: int, height: int, width: int, rng: np.random.Generator, *, schedule: str, holes: float
) -> Tensor:
    """Masks bool (B,height,width), True = hidden, at least one hidden in each.

    A share γ(r), r uniform in [0,1), of the tokens is hidden (MaskGIT, section 3.2); with
    probability ``holes`` the hidden tokens all lie in one random rectangle, everything outside it
    being known, which is what a painter's selection looks like.
    """
    masks = np.zeros((batch, height, width), bool)
    for mask in masks:
        region = np.ones((height, width), bool)
        if rng.random() < holes:
            region[:] = False
            tall = int(rng.integers(max(2, height // 5), height + 1))
            wide = int(rng.integers(max(2, width // 5), width + 1))
            top = int(rng.integers(height - tall + 1))
            left = int(rng.integers(width - wide + 1))
            region[top : top + tall, left : left + wide] = True
        cells = np.flatnonzero(region)
        share = float(masked_share(schedule, float(rng.random()) or 1e-6, len(cells)))
        count = max(1, round(share * len(cells)))
        mask.reshape(-1)[rng.choice(cells, count, replace=False)] = True
    return torch.from_numpy(masks)
