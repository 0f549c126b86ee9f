"""Edits by class: is what appears in the hole what was asked for?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from maskgit_daemon.refine import refine
from maskgit_daemon.runtime import Model
from maskgit_export.evaluate.classifier import PATCH, Judge
from maskgit_export.evaluate.fills import Settings, Task, pasted, request_for
from maskgit_export.evaluate.holes import make_hole
from maskgit_export.evaluate.pictures import Window

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class ClassReport:
    """Shares 0…1 of the centre holes, half a scene wide and high.

    ``asked``: those in which the judge sees the class asked for; ``unasked``: those in which it
    sees that class when none is asked for (what the surroundings suggest); ``chance``: 1 / classes;
    ``accuracy``: of the judge on the same patches of the real pictures; ``confidence``: mean
    probability it gives to the class asked for.
    """

    windows: int
    classes: int
    asked: float
    unasked: float
    chance: float
    accuracy: float
    confidence: float

    def as_dict(self) -> dict[str, float]:
        """The report as plain numbers, for JSON."""
        return asdict(self)


def judge_classes(
    model: Model,
    judge: Judge,
    windows: Sequence[Window],
    guidance_scale: float | None,
    seed: int,
    on_done: Callable[[], object] = lambda: None,
) -> ClassReport:
    """Fill each window's centre with a class drawn at random, and with none; ask the judge."""
    known = {label.split(",")[0] for label in model.bundle.condition.labels}
    shared = [name for name in judge.categories if name in known]
    rng = np.random.default_rng(seed)
    asked = rng.choice(len(shared), len(windows))
    real: list[Pixels] = []
    with_class: list[Pixels] = []
    without: list[Pixels] = []
    for number, window in enumerate(windows):
        hole = make_hole("centre", window.pixels, (0.25, 0.25), seed)
        task = Task(window, "centre", hole, seed + number)
        real.append(_middle(window.pixels))
        for label, made in ((shared[asked[number]], with_class), (None, without)):
            request = request_for(task, Settings(), label=label)
            if label is not None:
                request = replace(request, guidance_scale=guidance_scale)
            made.append(_middle(pasted(task, refine(model, request)[0])))
            on_done()
    wanted = np.array([judge.categories.index(shared[i]) for i in asked])
    chances = judge.chances(with_class)
    labelled = [i for i, w in enumerate(windows) if w.category in judge.categories]
    truth = np.array([judge.categories.index(windows[i].category) for i in labelled])
    seen = judge.chances(real).argmax(1)[labelled]
    return ClassReport(
        windows=len(windows),
        classes=len(shared),
        asked=float((chances.argmax(1) == wanted).mean()),
        unasked=float((judge.chances(without).argmax(1) == wanted).mean()),
        chance=1.0 / len(shared),
        accuracy=float((seen == truth).mean()) if labelled else float("nan"),
        confidence=float(chances[np.arange(len(wanted)), wanted].mean()),
    )


def _middle(pixels: Pixels) -> Pixels:
    """The hole's pixels (h,w,3) as the judge sees them, (PATCH,PATCH,3)."""
    height, width = pixels.shape[:2]
    hole = pixels[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4]
    small = Image.fromarray(np.ascontiguousarray(hole)).resize((PATCH, PATCH), Resampling.BOX)
    return np.asarray(small)
