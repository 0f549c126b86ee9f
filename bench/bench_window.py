"""One window of 16 × 16 tokens, 8 steps, encode and decode included, in process.

python bench/bench_window.py [--bundle DIR] [--precision int8] [--runs 20]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from PIL import Image

from maskgit_daemon.bundle import STARTER, load_bundle
from maskgit_daemon.refine import refine
from maskgit_daemon.request import RefineRequest
from maskgit_daemon.runtime import load_model

PHOTO = Path(__file__).parents[1] / "examples" / "mountain.jpg"


def main() -> None:
    """Print median, least and most seconds of a request, and of its part in ONNX Runtime."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=STARTER)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--runs", type=int, default=20)
    given = parser.parse_args()
    model = load_model(load_bundle(given.bundle), "cpu", given.precision)
    side = 16 * model.bundle.stride
    pixels = np.asarray(Image.open(PHOTO).convert("RGBA"))[400 : 400 + side, 500 : 500 + side]
    selection = np.zeros((side, side), np.uint8)
    selection[side // 4 : -side // 4, side // 4 : -side // 4] = 255
    whole, inside = [], []
    for seed in range(given.runs + 2):
        model.spent.clear()
        began = time.perf_counter()
        patch = refine(model, RefineRequest(pixels.copy(), selection, seed=seed))[0]
        whole.append(time.perf_counter() - began)
        inside.append(sum(model.spent.values()))
    for name, values in (("request", whole[2:]), ("in ONNX Runtime", inside[2:])):
        print(
            f"{name}: {statistics.median(values):.3f} s "
            f"({min(values):.3f} … {max(values):.3f}), grid {patch.info['grid']}, "
            f"{given.precision}, {given.runs} runs"
        )


if __name__ == "__main__":
    main()
