"""How well stroke guidance works: fidelity to the strokes against realism, by method and strength.

Every setting makes the same edits from the same seeds, through the same pipeline as the program.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.guidance import DEFAULT, METHODS, find_method
from maskgit_daemon.refine import refine
from maskgit_daemon.request import RefineRequest
from maskgit_daemon.runtime import Model
from maskgit_export.evaluate.pictures import native_windows
from maskgit_export.evaluate.realism import contrast_entropy, realism
from maskgit_export.strokes import KINDS, Strokes, make_strokes

Pixels = NDArray[np.uint8]
Flags = NDArray[np.bool_]

STRENGTHS = tuple(round(0.1 * i, 1) for i in range(11))
BLOCKS = (16, 4)
"""Sides in pixels of the squares over which colours are averaged before they are compared."""


@dataclass(frozen=True, eq=False)
class Edit:
    """One picture (H,W,3) uint8 with strokes on it; ``label`` is its category or None."""

    name: str
    label: str | None
    original: Pixels
    strokes: Strokes


@dataclass(frozen=True)
class Setting:
    """A method at a strength, with the options that override what the strength would set."""

    method: str
    strength: float
    options: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        numbers = "".join(f" {key} {value:g}" for key, value in self.options)
        return f"{self.method} {self.strength:g}{numbers}"


@dataclass(frozen=True, eq=False)
class Outcome:
    """One edit made with one setting: the picture (H,W,3) uint8, its numbers, seconds."""

    edit: int
    setting: Setting
    picture: Pixels = field(repr=False)
    numbers: dict[str, float]


def make_edits(
    folder: Path, count: int, side: int, seed: int, labels: Sequence[str] = ()
) -> list[Edit]:
    """``count`` edits, the kinds of strokes in turn, on windows of ``side`` px of ``folder``'s."""
    kinds = list(KINDS)
    edits = []
    for i, window in enumerate(native_windows(folder, count, side, seed)):
        strokes = make_strokes(window.pixels, kinds[i % len(kinds)], seed * 100_003 + i)
        label = window.category if window.category in labels else None
        edits.append(Edit(window.picture, label, window.pixels, strokes))
    return edits


def run_edit(model: Model, edit: Edit, setting: Setting, seed: int, steps: int) -> Pixels:
    """The whole picture (H,W,3) uint8 with the refined selection in it."""
    selection = edit.strokes.selection.astype(np.uint8) * 255
    opaque = np.full((*selection.shape, 1), 255, np.uint8)
    request = RefineRequest(
        pixels=np.concatenate([edit.strokes.painted, opaque], -1),
        selection=selection,
        strength=setting.strength,
        guidance=setting.method,
        options=dict(setting.options),
        label=edit.label,
        steps=steps,
        seed=seed,
    )
    patch = refine(model, request)[0]
    result = edit.strokes.painted.copy()
    rows, columns = patch.pixels.shape[:2]
    place = np.s_[patch.top : patch.top + rows, patch.left : patch.left + columns]
    inside = edit.strokes.selection[place]
    result[place][inside] = patch.pixels[..., :3][inside]
    return result


def colour_error(painted: Pixels, result: Pixels, selection: Flags, block: int) -> float:
    """How far the area-averaged result is from the strokes, 0 … 255.

    Both are averaged over the selected pixels of each ``block`` × ``block`` square, counted from
    the selection's corner; root mean square over RGB, then the mean over squares by their pixels.
    """
    rows, columns = np.nonzero(selection)
    square = (rows - rows.min()) // block * 10_000 + (columns - columns.min()) // block
    _, index, count = np.unique(square, return_inverse=True, return_counts=True)
    difference = result[selection].astype(np.float64) - painted[selection]
    means = np.stack([np.bincount(index, difference[:, c]) / count for c in range(3)], -1)
    return float(np.average(np.sqrt((means**2).mean(-1)), weights=count))


def measure(edit: Edit, result: Pixels) -> dict[str, float]:
    """Fidelity at 16 and 4 px, the five measures of realism, and how much detail there is.

    ``real_bits`` and ``made_bits``: local-contrast entropy of the real patch and of the result.
    """
    inside, painted = edit.strokes.selection, edit.strokes.painted
    numbers = {f"error{b}": colour_error(painted, result, inside, b) for b in BLOCKS}
    numbers.update(realism(edit.original, result, inside))
    numbers["real_bits"] = contrast_entropy(edit.original, inside)
    numbers["made_bits"] = contrast_entropy(result, inside)
    return numbers


def run_settings(
    models: Mapping[str, Model],
    edits: Sequence[Edit],
    number: int,
    settings: Sequence[Setting],
    seed: int,
    steps: int,
) -> list[Outcome]:
    """Every setting on the edit ``number``, all from the one seed of that edit.

    ``models``: which model makes a method, ``default`` those that are not named.
    """
    outcomes = []
    for setting in settings:
        model = models.get(setting.method, models["default"])
        began = time.perf_counter()
        picture = run_edit(model, edits[number], setting, seed * 1_000_003 + number, steps)
        seconds = time.perf_counter() - began
        numbers = {**measure(edits[number], picture), "seconds": seconds}
        outcomes.append(Outcome(number, setting, picture, numbers))
    return outcomes


def sweep(method: str, strengths: Sequence[float] = STRENGTHS) -> list[Setting]:
    """One method over the strengths."""
    return [Setting(method, s) for s in strengths]


def is_ours(method: str) -> bool:
    """Whether ``method`` is one of ours, as :mod:`maskgit_daemon.guidance` tells."""
    return find_method(method).ours


def all_settings(models: Mapping[str, Model]) -> list[Setting]:
    """What is compared: plain inpainting first, the default at every strength, then the others.

    MaskGIT-Edit's settings are those of its gallery, and what is between; a method that its model
    (see :func:`run_settings`) cannot do is left out.
    """
    settings = [Setting("none", 1.0), *sweep("default"), Setting("default", 0.45)]
    for name, method in METHODS.items():
        if method.lack(models.get(name, models["default"]).bundle):
            continue
        if method.ours and name not in (DEFAULT, "none"):
            settings += sweep(name, (0.4, 0.45, 0.5, 0.7))
        elif "confidence" in method.options:
            settings += [Setting(name, 0.5, (("confidence", c),)) for c in (0.5, 0.85, 1.0)]
        elif not method.ours:
            settings.append(Setting(name, 0.5))
    return settings
