"""The studies of the MaskGIT paper (arXiv 2202.04200), repeated on our own model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.decode import DecodeJob, decode
from maskgit_daemon.noise import SeededNoise
from maskgit_daemon.runtime import Conditioning, Model
from maskgit_export.evaluate.coders import to_image, to_pixels
from maskgit_export.evaluate.fills import Settings, Task, our_fill
from maskgit_export.evaluate.realism import UNITS, kernel_distance, realism
from maskgit_export.evaluate.reconstruction import psnr, ssim

Pixels = NDArray[np.uint8]
Tokens = NDArray[np.int64]

SCHEDULES = (
    "cosine",
    "linear",
    "square",
    "cubic",
    "exponential",
    "square-root",
    "logarithmic",
)
"""The seven of Table 3 and Figure 8."""


def complete(model: Model, job: DecodeJob) -> tuple[Tokens, int]:
    """Run a decode job to its end without a class; its tokens (h,w) and the passes it took."""
    run = decode(job)
    ask, passes = next(run), 0
    while True:
        logits = model.logits(ask.tokens[None], [Conditioning()])[0]
        passes += 1
        try:
            ask = run.send(logits)
        except StopIteration as stop:
            tokens: Tokens = stop.value
            return tokens, passes


@dataclass(frozen=True)
class ScheduleRow:
    """Means of the realism five over the tasks, for one schedule and number of steps."""

    schedule: str
    steps: int
    gradient: float
    spectrum: float
    entropy: float
    kernel: float
    seam: float


def study_schedules(
    model: Model,
    tasks: Sequence[Task],
    schedules: Iterable[str],
    steps: Iterable[int],
    settings: Settings,
    on_done: Callable[[], object] = lambda: None,
) -> list[ScheduleRow]:
    """Table 3 and Figure 8: every schedule with every number of steps, on the same holes."""
    rows = []
    for schedule in schedules:
        for count in steps:
            chosen = replace(settings, schedule=schedule, steps=count)
            rows.append(ScheduleRow(schedule, count, **_means(model, tasks, chosen)))
            on_done()
    return rows


@dataclass(frozen=True)
class SamplingRow:
    """Means of the realism five over the tasks, for two temperatures of the sampler."""

    temperature: float
    choice_temperature: float
    gradient: float
    spectrum: float
    entropy: float
    kernel: float
    seam: float


def study_sampling(
    model: Model,
    tasks: Sequence[Task],
    temperatures: Iterable[float],
    choice_temperatures: Iterable[float],
    settings: Settings,
    on_done: Callable[[], object] = lambda: None,
) -> list[SamplingRow]:
    """Every temperature of the draw with every one of the ranking, on the same holes."""
    rows = []
    for choice in choice_temperatures:
        for temperature in temperatures:
            chosen = replace(settings, temperature=temperature, choice_temperature=choice)
            rows.append(SamplingRow(temperature, choice, **_means(model, tasks, chosen)))
            on_done()
    return rows


def _means(model: Model, tasks: Sequence[Task], settings: Settings) -> dict[str, float]:
    found = [
        realism(task.window.pixels, our_fill(model, task, settings)[0], task.hole) for task in tasks
    ]
    return {m: float(np.mean([f[m] for f in found])) for m in UNITS}


@dataclass(frozen=True)
class RatioRow:
    """Reconstruction with a share of the tokens hidden: PSNR in dB, SSIM, kernel distance."""

    ratio: float
    psnr: float
    ssim: float
    kernel: float


def study_ratios(
    model: Model,
    windows: Sequence[Pixels],
    ratios: Iterable[float],
    settings: Settings,
    on_done: Callable[[], object] = lambda: None,
) -> list[RatioRow]:
    """Figure 10: hide a random share of each window's tokens, complete them, decode, compare.

    Ratio 0 is the tokenizer alone: the ceiling.
    """
    tokens = np.concatenate([model.encode(to_image(w[None])) for w in windows])
    rows = []
    for ratio in ratios:
        made = []
        for seed, grid in enumerate(tokens):
            hidden = np.zeros(grid.size, bool)
            order = np.random.default_rng(seed).permutation(grid.size)
            hidden[order[: round(ratio * grid.size)]] = True
            filled = grid
            if hidden.any():
                start = np.where(hidden.reshape(grid.shape), model.bundle.mask_id, grid)
                filled, _ = complete(model, _job(model, start, settings, seed))
            made.append(to_pixels(model.decode(filled[None]))[0])
        pairs = list(zip(windows, made, strict=True))
        whole = np.ones(windows[0].shape[:2], bool)
        rows.append(
            RatioRow(
                ratio=ratio,
                psnr=float(np.mean([psnr(a, b) for a, b in pairs])),
                ssim=float(np.mean([ssim(a, b) for a, b in pairs])),
                kernel=float(np.mean([kernel_distance(a, b, whole) for a, b in pairs])),
            )
        )
        on_done()
    return rows


def _job(model: Model, start: Tokens, settings: Settings, seed: int) -> DecodeJob:
    return DecodeJob(
        tokens=start,
        codes=model.bundle.codes,
        steps=settings.steps,
        schedule=settings.schedule,
        order=settings.order,
        temperature=settings.temperature,
        min_p=model.bundle.min_p,
        choice_temperature=settings.choice_temperature,
        noise=SeededNoise(seed, 0),
    )


@dataclass(frozen=True)
class SpeedRow:
    """Time to make a whole grid: ``steps`` passes asked for, ``passes`` made, seconds."""

    tokens: int
    steps: int
    passes: int
    seconds: float


def study_speed(
    model: Model,
    sides: Iterable[int],
    steps: Iterable[int],
    on_done: Callable[[], object] = lambda: None,
) -> list[SpeedRow]:
    """Figure 4: parallel decoding against one token a pass, the same transformer, whole grids.

    Sequential decoding is the linear schedule with as many steps as tokens.  One warm-up pass
    before each, no other work in the measured time but the loop's own.
    """
    rows = []
    for side in sides:
        blank = np.full((side, side), model.bundle.mask_id, np.int64)
        model.logits(blank[None], [Conditioning()])
        for count in (*steps, side * side):
            schedule = "linear" if count == side * side else "cosine"
            job = _job(model, blank, Settings(steps=count, schedule=schedule), 0)
            started = time.perf_counter()
            _, passes = complete(model, job)
            rows.append(SpeedRow(side * side, count, passes, time.perf_counter() - started))
            on_done()
    return rows


def schedule_sentence(rows: Sequence[ScheduleRow]) -> str:
    """What the schedule study found."""
    best = min(rows, key=lambda r: r.kernel)
    most = max(r.steps for r in rows)
    mean = {
        name: float(np.mean([r.kernel for r in rows if r.schedule == name]))
        for name in dict.fromkeys(r.schedule for r in rows)
    }
    ranking = ", ".join(sorted(mean, key=lambda name: mean[name]))
    late = min(r.kernel for r in rows if r.steps == most)
    more = "more steps than that do not help" if best.steps < most else "the most steps tried"
    return (
        f"The kernel distance is lowest with the {best.schedule} schedule and {best.steps} steps "
        f"({best.kernel:.3f}; best at {most} steps {late:.3f}): {more}; over all numbers of steps "
        f"the schedules rank {ranking}."
    )


def sampling_sentence(rows: Sequence[SamplingRow]) -> str:
    """What the sampling study found."""
    best = {m: min(rows, key=lambda r, m=m: float(getattr(r, m))) for m in UNITS}  # type: ignore[misc]
    parts = [
        f"{m} at temperature {r.temperature:g} and choice temperature {r.choice_temperature:g}"
        for m, r in best.items()
    ]
    return f"Lowest: {', '.join(parts)}."


def ratio_sentence(rows: Sequence[RatioRow]) -> str:
    """What the mask-ratio study found."""
    ceiling, first, last = rows[0], rows[1], rows[-1]
    return (
        f"The tokenizer alone gives {ceiling.psnr:.1f} dB; with {first.ratio:.0%} of the tokens "
        f"hidden {first.psnr:.1f} dB are left and with {last.ratio:.0%} {last.psnr:.1f} dB, while "
        f"the kernel distance goes from {ceiling.kernel:.2f} over {first.kernel:.2f} to "
        f"{last.kernel:.2f}."
    )


def speed_sentence(rows: Sequence[SpeedRow]) -> str:
    """What the speed study found."""
    parts = []
    for count in dict.fromkeys(r.tokens for r in rows):
        here = [r for r in rows if r.tokens == count]
        slow = next(r for r in here if r.steps == count)
        fast = next((r for r in here if r.steps == 8), here[0])
        parts.append(
            f"{count} tokens take {fast.seconds:.2f} s in {fast.passes} steps and "
            f"{slow.seconds:.1f} s one by one ({slow.seconds / fast.seconds:.0f}×)"
        )
    return "; ".join(parts) + "."
