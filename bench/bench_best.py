"""Does `--best` choose well? The realism five of the best of several variants and of a random one.

One hole a window, all variants of one job.  A random one is the mean over the variants; the best is
the one of the highest score.  Prints the plain mean and the paired difference with 95 % bootstrap
intervals (whole pictures resampled), below 0 is better; and, as a scale, what the best by hindsight
(the lowest of each measure on its own) would gain.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from maskgit_daemon.bundle import STARTER, load_bundle
from maskgit_daemon.rank import best
from maskgit_daemon.refine import refine
from maskgit_daemon.request import RefineRequest
from maskgit_daemon.runtime import load_model
from maskgit_export.evaluate.intervals import bootstrap
from maskgit_export.evaluate.pictures import native_windows
from maskgit_export.evaluate.realism import UNITS, realism

SIDE, HOLE = 160, 64


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="Pictures to cut windows from.")
    parser.add_argument("--bundle", type=Path, default=STARTER)
    parser.add_argument("--windows", type=int, default=40)
    parser.add_argument("--variants", type=int, default=4)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    model = load_model(load_bundle(told.bundle), threads=told.threads)
    start = (SIDE - HOLE) // 2
    hole = np.zeros((SIDE, SIDE), np.bool_)
    hole[start : start + HOLE, start : start + HOLE] = True
    rows: list[list[dict[str, float]]] = []
    chosen: list[int] = []
    pictures = []
    for seed, window in enumerate(native_windows(told.folder, told.windows, SIDE, seed=1)):
        pictures.append(window.picture)
        pixels = np.dstack([window.pixels, np.full((SIDE, SIDE), 255, np.uint8)])
        selection = hole.astype(np.uint8) * np.uint8(255)
        request = RefineRequest(
            pixels, selection, seed=seed, steps=told.steps, variants=told.variants
        )
        patches = refine(model, request)
        scores = []
        for patch in patches:
            made = window.pixels.copy()
            made[hole] = patch.pixels[..., :3].reshape(-1, 3)
            scores.append(realism(window.pixels, made, hole))
        rows.append(scores)
        chosen.append(best([patch.info["score"] for patch in patches]))
    for measure in UNITS:
        values = np.array([[score[measure] for score in row] for row in rows])
        plain = values.mean(1)
        told_best = values[np.arange(len(values)), chosen] - plain
        hindsight = values.min(1) - plain
        line = [
            f"{name} {mean:+.3f} ({low:+.3f} … {high:+.3f})"
            for name, (mean, low, high) in (
                ("random", bootstrap(list(plain), pictures)),
                ("best", bootstrap(list(told_best), pictures)),
                ("hindsight", bootstrap(list(hindsight), pictures)),
            )
        ]
        print(f"{measure:9}", "  ".join(line), flush=True)
    if told.json:
        told.json.write_text(json.dumps({"chosen": chosen, "rows": rows}), encoding="utf-8")


if __name__ == "__main__":
    main()
