"""Our model and its peers on the same holes in the same run, measured with the realism five."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.refine import Patch, refine
from maskgit_daemon.request import RefineRequest
from maskgit_daemon.runtime import Model
from maskgit_export.evaluate.holes import make_hole
from maskgit_export.evaluate.intervals import Interval, bootstrap
from maskgit_export.evaluate.peers import PEERS, mean_fill
from maskgit_export.evaluate.pictures import Window, native_windows
from maskgit_export.evaluate.realism import UNITS, realism

Pixels = NDArray[np.uint8]
Hole = NDArray[np.bool_]

OURS = "ours"


@dataclass(frozen=True, eq=False)
class Task:
    """One hole to fill: a window (H,W,3), a hole (H,W), the kind it is of, and a seed."""

    window: Window
    kind: str
    hole: Hole
    seed: int

    @functools.cached_property
    def shown(self) -> Pixels:
        """What every method gets: the window with its hole in the mean colour of the rest."""
        return mean_fill(self.window.pixels, self.hole)


@dataclass(frozen=True)
class Score:
    """One method on one task: seconds, the share of the window that is hole, the realism five."""

    method: str
    kind: str
    picture: str
    seed: int
    share: float
    seconds: float
    gradient: float
    spectrum: float
    entropy: float
    kernel: float
    seam: float

    def as_dict(self) -> dict[str, object]:
        """The score as plain values, for JSON."""
        return asdict(self)


def make_tasks(
    folder: Path, kind: str, count: int, side: int, share: tuple[float, float], seed: int
) -> list[Task]:
    """``count`` holes of one kind in windows of ``side`` px spread evenly over the pictures.

    Every kind gets the same windows.  Raises :class:`maskgit_export.data.NoPictures`.
    """
    windows = native_windows(folder, count, side, seed)
    return [
        Task(window, kind, make_hole(kind, window.pixels, share, seed + number), seed + number)
        for number, window in enumerate(windows)
    ]


@dataclass(frozen=True)
class Settings:
    """How our model is asked; the names are :class:`RefineRequest`'s."""

    steps: int = 8
    schedule: str = "cosine"
    order: str = "confidence"
    temperature: float = 1.0
    choice_temperature: float = 4.5


def request_for(
    task: Task, settings: Settings, variants: int = 1, label: str | None = None
) -> RefineRequest:
    """The task as a request: full strength, so that what was in the hole does not count."""
    alpha = np.full((*task.hole.shape, 1), 255, np.uint8)
    return RefineRequest(
        pixels=np.concatenate([task.shown, alpha], 2),
        selection=task.hole.astype(np.uint8) * np.uint8(255),
        seed=task.seed,
        variants=variants,
        label=label,
        steps=settings.steps,
        schedule=settings.schedule,
        order=settings.order,
        temperature=settings.temperature,
        choice_temperature=settings.choice_temperature,
    )


def pasted(task: Task, patch: Patch) -> Pixels:
    """The task's window with the patch in its hole; outside it stays as it is."""
    out = task.window.pixels.copy()
    height, width = patch.pixels.shape[:2]
    region = np.s_[patch.top : patch.top + height, patch.left : patch.left + width]
    inside = task.hole[region]
    out[region][inside] = patch.pixels[..., :3][inside]
    return out


def our_fill(model: Model, task: Task, settings: Settings) -> tuple[Pixels, float]:
    """Our fill and the seconds it took, request to patch, the model being loaded."""
    request = request_for(task, settings)
    started = time.perf_counter()
    patches = refine(model, request)
    seconds = time.perf_counter() - started
    return pasted(task, patches[0]), seconds


def score(method: str, task: Task, made: Pixels, seconds: float) -> Score:
    """Measure one fill."""
    return Score(
        method=method,
        kind=task.kind,
        picture=task.window.picture,
        seed=task.seed,
        share=float(task.hole.mean()),
        seconds=seconds,
        **realism(task.window.pixels, made, task.hole),
    )


def run(
    model: Model,
    tasks: Iterable[Task],
    peers: Sequence[str],
    settings: Settings,
    on_fill: Callable[[Task, str, Pixels], None] | None = None,
) -> list[Score]:
    """Every method on every task, each scored; ``on_fill`` sees each fill as it is made."""
    scores = []
    for task in tasks:
        for method in (OURS, *peers):
            if method == OURS:
                made, seconds = our_fill(model, task, settings)
            else:
                made, seconds = PEERS[method](task.shown, task.hole)
            scores.append(score(method, task, made, seconds))
            if on_fill:
                on_fill(task, method, made)
    return scores


def _ninety(values: NDArray[np.float64]) -> float:
    return float(np.percentile(values, 90))


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values))


def summarise(scores: Sequence[Score]) -> dict[str, dict[str, Interval]]:
    """Method → measure → mean with its interval over pictures, for scores of one kind.

    Beside the five: ``seam median`` and ``seam 90%`` (over holes), ``seconds`` (median).
    """
    table: dict[str, dict[str, Interval]] = {}
    for method in dict.fromkeys(s.method for s in scores):
        rows = [s for s in scores if s.method == method]
        names = [s.picture for s in rows]
        table[method] = {m: bootstrap([getattr(s, m) for s in rows], names) for m in UNITS}
        table[method]["seam median"] = bootstrap([s.seam for s in rows], names, _median)
        table[method]["seam 90%"] = bootstrap([s.seam for s in rows], names, _ninety)
        table[method]["seconds"] = bootstrap([s.seconds for s in rows], names, _median)
    return table


def against(scores: Sequence[Score], peer: str, measure: str) -> dict[str, object]:
    """Our measure minus the peer's on the same holes (negative: ours is better).

    ``difference``: mean and interval of the paired difference; ``apart``: whether the intervals of
    the two means do not overlap; ``verdict``: better, worse or unclear, by the paired interval.
    """
    pairs = {(s.kind, s.seed): s for s in scores if s.method == OURS}
    rows = [(pairs[s.kind, s.seed], s) for s in scores if s.method == peer]
    names = [s.picture for _, s in rows]
    ours, theirs = (bootstrap([getattr(r[i], measure) for r in rows], names) for i in (0, 1))
    difference = bootstrap([getattr(a, measure) - getattr(b, measure) for a, b in rows], names)
    verdict = "better" if difference.high < 0 else "worse" if difference.low > 0 else "unclear"
    return {
        "difference": difference,
        "apart": ours.high < theirs.low or theirs.high < ours.low,
        "verdict": verdict,
    }


def best_peer(scores: Sequence[Score]) -> str:
    """The peer with the lowest mean rank over the five measures."""
    table = summarise(scores)
    peers = [name for name in table if name != OURS]
    ranks = {
        name: np.mean([sum(table[o][m].value < table[name][m].value for o in peers) for m in UNITS])
        for name in peers
    }
    return min(peers, key=lambda name: float(ranks[name]))


def diversity(
    model: Model, tasks: Sequence[Task], settings: Settings, variants: int = 4
) -> Interval:
    """Mean pairwise distance of the variants of one request, over tasks with an interval.

    Distance: root mean square difference inside the hole, grey levels (0…255) over channels.
    """
    found = []
    for task in tasks:
        patches = refine(model, request_for(task, settings, variants))
        made = [pasted(task, p)[task.hole].astype(np.float64) for p in patches]
        pairs = [(a, b) for i, a in enumerate(made) for b in made[:i]]
        found.append(float(np.mean([np.sqrt(np.square(a - b).mean()) for a, b in pairs])))
    return bootstrap(found, [t.window.picture for t in tasks])


def compare_scores(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Interval]]:
    """Kind → measure → (second − first) / mean of first, our fills only, paired by hole.

    Raises ValueError if the two do not hold the same holes, KeyError if they are no scores.
    """
    ours = [
        {(s["kind"], s["seed"]): s for s in run if s["method"] == OURS} for run in (first, second)
    ]
    if not ours[0] or ours[0].keys() != ours[1].keys():
        raise ValueError("they do not hold the same holes")
    table: dict[str, dict[str, Interval]] = {}
    for kind in dict.fromkeys(key[0] for key in ours[0]):
        keys = [key for key in ours[0] if key[0] == kind]
        names = [ours[0][key]["picture"] for key in keys]
        table[kind] = {}
        for measure in UNITS:
            mean = float(np.mean([ours[0][key][measure] for key in keys]))
            steps = [(ours[1][key][measure] - ours[0][key][measure]) / mean for key in keys]
            table[kind][measure] = bootstrap(steps, names)
    return table
