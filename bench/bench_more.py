"""Does refining more help? The realism five of one hole a window, with and without it.

Same windows, same hole, same seed: what differs is the passes that redraw doubtful tokens, or as
many steps of the schedule instead.  Prints mean differences to the plain decode with 95 %
bootstrap intervals; below 0 is better.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from maskgit_daemon.bundle import STARTER, load_bundle
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
    parser.add_argument("--windows", type=int, default=20)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--more", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    model = load_model(load_bundle(told.bundle), threads=told.threads)
    settings: dict[str, dict[str, int]] = {"plain": {}} | {
        f"more {n}": {"more": n} for n in told.more
    }
    settings |= {f"steps {told.steps + n}": {"steps": told.steps + n} for n in told.more}
    start = (SIDE - HOLE) // 2
    hole = np.zeros((SIDE, SIDE), np.bool_)
    hole[start : start + HOLE, start : start + HOLE] = True
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in settings}
    pictures = []
    for seed, window in enumerate(native_windows(told.folder, told.windows, SIDE, seed=1)):
        pictures.append(window.picture)
        pixels = np.dstack([window.pixels, np.full((SIDE, SIDE), 255, np.uint8)])
        for name, fields in settings.items():
            request = RefineRequest(
                pixels,
                hole.astype(np.uint8) * np.uint8(255),
                seed=seed,
                **{"steps": told.steps, **fields},
            )
            patch = refine(model, request)[0]
            made = window.pixels.copy()
            made[hole] = patch.pixels[..., :3].reshape(-1, 3)
            rows[name].append(
                {**realism(window.pixels, made, hole), "confidence": -patch.info["score"]}
            )
    for name, scores in rows.items():
        line = [f"{name:9}"]
        for measure in (*UNITS, "confidence"):
            values = [score[measure] for score in scores]
            if name != "plain":
                values = [a - b[measure] for a, b in zip(values, rows["plain"], strict=True)]
            mean, low, high = bootstrap(values, pictures)
            line.append(f"{measure} {mean:+.3f} ({low:+.3f} … {high:+.3f})")
        print("  ".join(line), flush=True)
    if told.json:
        told.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
