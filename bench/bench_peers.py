"""A selection in a large picture, ours against G'MIC's patch copying, in turns.

What a painter waits for: the picture is the example enlarged to 2000 × 1500, the selection
96 × 96.  G'MIC's filters see the whole layer, as its plug-in gives it to them, and the layer
cropped to our window; ours plans a window.
Run: python bench/bench_peers.py [--repeats 3] [--threads 2]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np
from PIL import Image

from maskgit_daemon.bundle import STARTER, load_bundle
from maskgit_daemon.patch import Rect, plan_window
from maskgit_daemon.refine import refine
from maskgit_daemon.request import RefineRequest
from maskgit_daemon.runtime import load_model
from maskgit_export.evaluate.peers import PEERS, available

PHOTO = Path(__file__).parents[1] / "examples" / "mountain.jpg"
SIZE, BOUNDS = (2000, 1500), Rect(900, 800, 96, 96)


def main() -> None:
    """Print the median seconds of each way and how many times longer than ours it takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    model = load_model(load_bundle(STARTER), "cpu", "auto", given.threads)
    picture = np.asarray(Image.open(PHOTO).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS))
    hole = np.zeros(picture.shape[:2], bool)
    hole[BOUNDS.top : BOUNDS.top + BOUNDS.height, BOUNDS.left : BOUNDS.left + BOUNDS.width] = True

    def ours(seed: int) -> float:
        began = time.perf_counter()
        window = plan_window(BOUNDS, SIZE, model.bundle).window
        part = np.s_[
            window.top : window.top + window.height, window.left : window.left + window.width
        ]
        alpha = np.full(hole[part].shape, 255, np.uint8)
        pixels = np.dstack([picture[part], alpha])
        refine(model, RefineRequest(pixels, hole[part] * np.uint8(255), seed=seed))
        return time.perf_counter() - began

    window = plan_window(BOUNDS, SIZE, model.bundle).window
    cut = np.s_[window.top : window.top + window.height, window.left : window.left + window.width]
    ours(0)
    spent: dict[str, list[float]] = {"ours": []}
    for turn in range(given.repeats):
        spent["ours"].append(ours(1 + turn))
        for name in available():
            if name.startswith("gmic"):
                spent.setdefault(f"{name}, layer", []).append(PEERS[name](picture, hole)[1])
                cropped = PEERS[name](np.ascontiguousarray(picture[cut]), hole[cut])[1]
                spent.setdefault(f"{name}, window", []).append(cropped)
    base = statistics.median(spent["ours"])
    print(f"96 × 96 in 2000 × 1500, load {os.getloadavg()[0]:.1f}, median of {given.repeats}")
    for name, seconds in spent.items():
        median = statistics.median(seconds)
        print(f"  {name:<24} {median:7.2f} s   {median / base:6.1f} × ours")


if __name__ == "__main__":
    main()
