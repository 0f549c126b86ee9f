"""Fills before and after tuning on one painting, side by side, and the likelihoods.

The left three fifths of the painting teach; the holes are in the right two fifths, which are never
trained on.  Run: python examples/compare_tuned.py PAINTING BUNDLE_AFTER [--split FOLDER] [-o FILE]
With --split alone the teaching part is written there, to be given to `maskgit train transformer`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskgit_daemon.bundle import STARTER, load_bundle
from maskgit_daemon.refine import refine
from maskgit_daemon.request import RefineRequest
from maskgit_daemon.runtime import Model, load_model
from maskgit_export.evaluate.likelihood import judge_likelihood

TAUGHT = 0.6
SIDE, HOLE = 256, 80
"""Pixels of a window shown, and of the square hole in its middle."""
ROWS = 3

Bytes = NDArray[np.uint8]


def windows(judged: Bytes) -> list[Bytes]:
    """``ROWS`` windows (SIDE,SIDE,3) from top to bottom of the part that did not teach."""
    height, width = judged.shape[:2]
    left = (width - SIDE) // 2
    tops = np.linspace(0, height - SIDE, ROWS + 2).astype(int)[1:-1]
    return [judged[top : top + SIDE, left : left + SIDE] for top in tops]


def filled(model: Model, window: Bytes, seed: int) -> Bytes:
    """The window with its middle made again at full strength."""
    start = (SIDE - HOLE) // 2
    selection = np.zeros((SIDE, SIDE), np.uint8)
    selection[start : start + HOLE, start : start + HOLE] = 255
    pixels = np.dstack([window, np.full((SIDE, SIDE), 255, np.uint8)])
    patch = refine(model, RefineRequest(pixels, selection, seed=seed))[0]
    out = window.copy()
    height, width = patch.pixels.shape[:2]
    out[patch.top : patch.top + height, patch.left : patch.left + width] = patch.pixels[..., :3]
    return out


def hidden(window: Bytes) -> Bytes:
    """The window with its middle in grey."""
    start = (SIDE - HOLE) // 2
    out = window.copy()
    out[start : start + HOLE, start : start + HOLE] = 128
    return out


def main() -> None:
    """Columns: the painting, the hole, the starter, the tuned model; print their likelihoods."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("painting", type=Path)
    parser.add_argument("after", type=Path, nargs="?")
    parser.add_argument("--split", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("out/tuned.jpg"))
    given = parser.parse_args()
    painting = np.asarray(Image.open(given.painting).convert("RGB"))
    edge = round(TAUGHT * painting.shape[1])
    if given.split:
        given.split.mkdir(parents=True, exist_ok=True)
        Image.fromarray(painting[:, :edge]).save(given.split / "painting.png")
    if not given.after:
        return
    shown = windows(painting[:, edge:])
    models = [load_model(load_bundle(path), "cpu") for path in (STARTER, given.after)]
    for name, model in zip(("before", "after"), models, strict=True):
        print(f"{name}: {judge_likelihood(model, shown).model:.2f} nats a token")
    rows = [
        [window, hidden(window), *(filled(model, window, seed) for model in models)]
        for seed, window in enumerate(shown)
    ]
    given.output.parent.mkdir(parents=True, exist_ok=True)
    sheet = np.concatenate([np.concatenate(row, 1) for row in rows], 0)
    Image.fromarray(sheet).save(given.output, quality=85)
    print(f"{given.output}: the painting, the hole, the starter's fill, the tuned one's")


if __name__ == "__main__":
    main()
