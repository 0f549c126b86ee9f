"""A panorama's three risks, measured: colour drift, joints that show, and repetition.

Pictures grow to the right window by window, three times: as they come with the same noise for every
window, with noise of their own, and held to the picture's colours besides (what ``--extend`` does).

drift: distance of a window's mean colour from the picture's, in grey levels of 255, less what the
picture's own bands show at most.  contrast: standard deviation over the picture's.  joint: mean
difference of neighbouring pixels across a joint over that of the pixels within 8 px of it; the same
a quarter of a window away from any joint is what a place without a joint reads.  repetition:
correlation of the detail (below 8 px) of a window with that of the next one, beside the same at
other shifts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from maskgit_daemon.bundle import STARTER, load_bundle
from maskgit_daemon.extend import SPARE, Sides, window_seed
from maskgit_daemon.extend_here import extend_here, reach_of
from maskgit_daemon.runtime import load_model
from maskgit_export.evaluate.intervals import bootstrap
from maskgit_export.evaluate.pictures import native_windows

Floats = NDArray[np.float64]
SIDE = 128


BANDS = 4
"""Bands, at least, that a picture is cut into to learn how much its colours vary."""


def band_statistics(source: NDArray[np.uint8], thickness: int) -> tuple[Floats, Floats]:
    """Mean colours (n,3) and standard deviations (n,) of upright bands of a picture (H,W,4).

    They are ``thickness`` pixels wide, or less so that there are four, and overlap by half.
    """
    values = source[..., :3].astype(np.float64)
    extent = values.shape[1]
    thickness = max(1, min(thickness, extent // BANDS))
    starts = range(0, max(1, extent - thickness + 1), max(1, thickness // 2))
    bands = [values[:, k : k + thickness] for k in starts]
    means = np.array([band.mean((0, 1)) for band in bands])
    return means, np.array([band.std((0, 1)).mean() for band in bands])


def luma(pixels: NDArray[np.uint8]) -> Floats:
    weighted: Floats = pixels[..., :3].astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return weighted


def drift(pixels: NDArray[np.uint8], source: NDArray[np.uint8]) -> tuple[float, float]:
    """Excess distance of the mean colour, and relative contrast, of one window."""
    means, spreads = band_statistics(source, pixels.shape[1])
    centre = means.mean(0)
    own = np.linalg.norm(means - centre, axis=1).max()
    away = np.linalg.norm(pixels[..., :3].mean((0, 1)) - centre)
    return max(0.0, float(away - own)), float(pixels[..., :3].std((0, 1)).mean() / spreads.mean())


def step_at(values: Floats, x: int) -> float:
    """Difference across column x over that of the columns around it."""
    steps = np.abs(np.diff(values, axis=1)).mean(0)
    around = np.r_[steps[x - 9 : x - 2], steps[x + 1 : x + 8]]
    return float(steps[x - 1] / around.mean())


def repetition(values: Floats, first: int, thick: int) -> tuple[float, float]:
    """Correlation with the next window at its period, and mean |correlation| at other shifts."""
    detail = values - ndimage.gaussian_filter(values, 8.0)
    block = detail[:, first + 16 : first + thick - 32]

    def correlation(shift: int) -> float:
        start = first + 16 + shift
        other = detail[:, start : start + block.shape[1]]
        return float(np.corrcoef(block.ravel(), other.ravel())[0, 1])

    others = [abs(correlation(thick + k)) for k in (-24, -20, -16, -12, 12, 16)]
    return correlation(thick), float(np.mean(others))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="Pictures to cut starts from.")
    parser.add_argument("--bundle", type=Path, default=STARTER)
    parser.add_argument("--pictures", type=int, default=3)
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--only", help="One of the three settings.")
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    model = load_model(load_bundle(told.bundle))
    reach = reach_of(model.bundle)
    thick = reach.whole // 2 - SPARE
    sides = Sides(right=thick * told.windows)
    settings: dict[str, tuple[bool, Callable[[int, int, int], int]]] = {
        "same noise": (False, lambda seed, variant, number: seed),
        "own noise": (False, window_seed),
        "own noise, held": (True, window_seed),
    }
    results: dict[str, dict[str, list[list[float]]]] = {}
    names = []
    for seed, window in enumerate(native_windows(told.folder, told.pictures, 2 * SIDE, seed=3)):
        names.append(window.picture)
        source = window.pixels[:SIDE]
        pixels = np.dstack([source, np.full(source.shape[:2], 255, np.uint8)])
        for name, (held, seeds) in settings.items():
            if told.only not in (None, name):
                continue
            grown = extend_here(
                model, pixels, sides, held=held, seed_of=seeds, seed=seed, steps=told.steps
            )
            values = luma(grown)
            starts = [2 * SIDE + k * thick for k in range(told.windows)]
            drifts = [drift(grown[:, x : x + thick], source) for x in starts]
            repeats = [repetition(values, x, thick) for x in starts[:-1]]
            found = {
                "drift": [a for a, _ in drifts],
                "contrast": [b for _, b in drifts],
                "joint": [step_at(values, x) for x in starts[1:]],
                "elsewhere": [
                    step_at(values, x + q) for x in starts for q in (thick // 4, thick // 2)
                ],
                "period": [a for a, _ in repeats],
                "other shifts": [b for _, b in repeats],
            }
            results.setdefault(name, {})
            for key, values_found in found.items():
                results[name].setdefault(key, []).append(values_found)
    for name, kinds in results.items():
        print(name)
        for key, series in kinds.items():
            flat = [value for row in series for value in row]
            pictures = [names[k] for k, row in enumerate(series) for _ in row]
            mean, low, high = bootstrap(flat, pictures)
            line = f"  {key:12} {mean:6.2f} ({low:.2f} … {high:.2f})"
            if key in ("drift", "contrast"):
                line += "  by window " + " ".join(f"{v:.2f}" for v in np.mean(series, 0))
            print(line, flush=True)
    if told.json:
        told.json.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
