"""A small judge of categories, trained on the photographs, for edits by class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from time import monotonic

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from maskgit_export.data import PictureFolder, random_crop
from maskgit_export.evaluate.pictures import resized

Pixels = NDArray[np.uint8]

PATCH, BATCH, RATE = 64, 48, 2e-3
SCENES = (104, 128, 160)
"""Shorter sides, in pixels, that the pictures are shown at: a patch is half a scene or so."""


class Classifier(nn.Module):
    """Patches (B,3,64,64) in [0,1] → logits (B,categories), by four strided convolutions."""

    def __init__(self, categories: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        sizes = (3, 32, 64, 128, 192)
        for inputs, outputs in pairwise(sizes):
            layers += [
                nn.Conv2d(inputs, outputs, 4, stride=2, padding=1),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(2 * sizes[-1], categories)

    def forward(self, image: Tensor) -> Tensor:
        x = self.body(image * 2.0 - 1.0)
        pooled = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        out: Tensor = self.head(F.dropout(pooled, 0.3, self.training))
        return out


@dataclass(frozen=True, eq=False)
class Judge:
    """A trained classifier and the names of its categories, index = logit."""

    model: Classifier
    categories: tuple[str, ...]

    def chances(self, patches: Sequence[Pixels]) -> NDArray[np.float32]:
        """Probability (n,categories) of each category for uint8 patches (64,64,3)."""
        with torch.inference_mode():
            out: NDArray[np.float32] = self.model(_tensor(patches)).softmax(1).numpy()
        return out


def _tensor(patches: Sequence[Pixels]) -> Tensor:
    stack = np.ascontiguousarray(np.stack(patches).transpose(0, 3, 1, 2))
    return torch.from_numpy(stack).float().div_(255.0)


def train_judge(
    folder: PictureFolder, minutes: float, seed: int, on_step: Callable[[float], object]
) -> Judge:
    """Train for ``minutes`` on patches of ``PATCH`` px; every category is drawn equally often.

    ``on_step`` is called with the loss after every step.  Raises ValueError if the folder's
    pictures have fewer than two categories.
    """
    scenes = [
        replace(p, scales=tuple(resized(p.scales[0], side) for side in SCENES))
        for p in folder.pictures
    ]
    by_category = [[p for p in scenes if p.category == c] for c in range(len(folder.categories))]
    if sum(map(bool, by_category)) < 2:
        raise ValueError("the pictures have fewer than two categories")
    rng = np.random.default_rng(seed)
    present = [c for c, pictures in enumerate(by_category) if pictures]
    torch.manual_seed(seed)
    model = Classifier(len(folder.categories))
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.05)
    started = monotonic()
    while (spent := (monotonic() - started) / (60.0 * minutes)) < 1.0:
        labels = rng.choice(present, BATCH)
        patches = []
        for label in labels:
            pictures = by_category[label]
            picture = pictures[rng.integers(len(pictures))]
            patches.append(random_crop(picture, PATCH, PATCH, rng))
        for group in optimiser.param_groups:
            group["lr"] = RATE * 0.5 * (1.0 + np.cos(np.pi * spent))
        truth = torch.from_numpy(labels)
        loss = F.cross_entropy(model(_tensor(patches)), truth, label_smoothing=0.1)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        on_step(float(loss.detach()))
    return Judge(model.eval(), folder.categories)
