"""Choose the constants of the default guidance on pictures that do not judge it.

Stroke edits on pictures of the training set, one constant changed at a time.  A setting is judged
by its *unrealism* (mean of the five measures over plain inpainting's) at equal colour error: its
curve over the strengths is read off at 20, 40, 60 and 80 % of inpainting's own error, and the mean
of the four is what counts, lower is better.  Intervals are of the paired difference to the
constants in use, whole pictures resampled.  A choice must keep the largest step of 0.1 in strength
within a quarter of the range.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from maskgit_daemon.bundle import STARTER, load_bundle
from maskgit_daemon.guidance.experts import weight
from maskgit_daemon.guidance.registry import HOLD_BELOW, SHRINK, TOLERANCE
from maskgit_daemon.runtime import load_model
from maskgit_export.evaluate.guidance import Setting, make_edits, run_settings
from maskgit_export.evaluate.guidance_report import PLAIN, table_of, unrealism

Real = NDArray[np.float64]

STRENGTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
SHARES = (0.2, 0.4, 0.6, 0.8)
IN_USE = {"hold": HOLD_BELOW, "shrink": SHRINK, "tolerance": TOLERANCE}
OTHERS = {"hold": (0.3, 0.5), "shrink": (14.0, 56.0), "tolerance": (0.03, 0.3)}
RESAMPLES = 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="Pictures to paint on: the training set.")
    parser.add_argument("--bundle", type=Path, default=STARTER)
    parser.add_argument("--edits", type=int, default=24)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    told = parser.parse_args()
    models = {"default": load_model(load_bundle(told.bundle), threads=told.threads)}
    labels = models["default"].bundle.condition.labels
    edits = make_edits(told.folder, told.edits, 128, told.seed, labels)
    constants = [IN_USE] + [{**IN_USE, k: v} for k, values in OTHERS.items() for v in values]
    sweeps = [[setting(s, one) for s in STRENGTHS] for one in constants]
    settings = list(dict.fromkeys([PLAIN, *(one for sweep in sweeps for one in sweep)]))
    outcomes = []
    for number in tqdm(range(len(edits)), unit="edit"):
        outcomes += run_settings(models, edits, number, settings, told.seed, told.steps)
    table = table_of(outcomes)
    scores = unrealism(table)
    curves = [
        (
            np.stack([table[one]["error16"] for one in [*sweep, PLAIN]]),
            np.stack([scores[one] for one in [*sweep, PLAIN]]),
        )
        for sweep in sweeps
    ]
    rows = compare(constants, curves, [edit.name for edit in edits])
    for row in rows:
        print(json.dumps(row))
    if told.json:
        told.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def setting(strength: float, constants: dict[str, float]) -> Setting:
    """The default at ``strength`` as it is with other ``constants``."""
    return Setting(
        "default",
        strength,
        (
            ("release", min(1.0, strength / constants["hold"])),
            ("shrink", weight(strength, at_half=constants["shrink"], power=1.0)),
            ("tolerance", constants["tolerance"]),
        ),
    )


def at_equal_error(error: Real, unreal: Real) -> float:
    """Mean unrealism of (strengths, edits) curves at the shares of the last row's error."""
    errors = np.maximum.accumulate(error.mean(1))
    return float(np.mean(np.interp([s * errors[-1] for s in SHARES], errors, unreal.mean(1))))


def compare(
    constants: list[dict[str, float]], curves: list[tuple[Real, Real]], pictures: list[str]
) -> list[dict[str, Any]]:
    """One row a choice: its score, the difference to the first, and its largest step."""
    names, group = np.unique(pictures, return_inverse=True)
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(names), (RESAMPLES, len(names)))
    resampled = [np.concatenate([np.flatnonzero(group == k) for k in draw]) for draw in draws]
    again = [[at_equal_error(e[:, take], u[:, take]) for take in resampled] for e, u in curves]
    rows = []
    for one, (error, unreal), own in zip(constants, curves, again, strict=True):
        low, high = np.percentile(np.subtract(own, again[0]), (2.5, 97.5))
        means = np.concatenate([[0.0], error.mean(1)])
        steps = np.diff(means) / np.diff([0.0, *STRENGTHS, 1.0]) * 0.1 / means[-1]
        rows.append(
            {
                **one,
                "unrealism": round(at_equal_error(error, unreal), 3),
                "against_in_use": [round(float(low), 3), round(float(high), 3)],
                "largest_step": round(float(steps.max()), 3),
            }
        )
    return rows


if __name__ == "__main__":
    main()
