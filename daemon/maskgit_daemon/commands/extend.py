"""``maskgit refine IMAGE --extend left=200``: a picture grows, one job of the daemon a window."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from maskgit_daemon.errors import RequestError
from maskgit_daemon.extend import (
    Reach,
    Sides,
    cut,
    extend_picture,
    grow,
    plan_strips,
    window_of,
    window_seed,
    with_defaults,
)
from maskgit_daemon.images import Picture
from maskgit_daemon.patch import Rect
from maskgit_daemon.request import MAX_VARIANTS, check_seed
from maskgit_refine.client import Client, Job, Result, Step

Bytes = NDArray[np.uint8]

PROBE = 3000
"""Pixels a side of the selections that are planned to learn what a model makes at once."""


def extend_job(
    client: Client, picture: Picture, sides: Sides, fields: Mapping[str, Any]
) -> list[tuple[Picture, dict[str, Any]]]:
    """Grow ``picture`` on ``sides``, ``fields["variants"]`` times; its own bytes stay.

    ``fields`` are the request's.  Returns each picture and what is to be said of it: seed, variant,
    windows, mean score, seconds.  Raises :class:`MaskgitError` or the client's errors.
    """
    width, height = picture.size
    canvas = grow(picture.window(0, 0, width, height), sides)
    reach = find_reach(client, fields["bundle"])
    windows = sum(len(strip.tiles) for strip in plan_strips(picture.size, sides, reach))
    passes = fields["steps"] + fields.get("more", 0)
    variants = fields.get("variants", 1)
    check_seed(fields.get("seed", 0))
    if not 1 <= variants <= MAX_VARIANTS:
        raise RequestError(f"The variants must be 1 to {MAX_VARIANTS}, not {variants}.")
    with tqdm(total=windows * passes * variants, unit="step", leave=False, disable=None) as bar:
        return [
            _chain(client, picture, sides, {**fields, "variants": 1}, canvas, reach, variant, bar)
            for variant in range(variants)
        ]


def find_reach(client: Client, bundle: str) -> Reach:
    """What the bundle makes at once at native scale, learnt from two plans."""
    whole = client.plan(bundle, (0, 0, PROBE, PROBE), (PROBE, PROBE)).scale
    inner = client.plan(bundle, (PROBE, PROBE, PROBE, PROBE), (3 * PROBE, 3 * PROBE)).scale
    return Reach(round(whole * PROBE), round(inner * PROBE))


def wait(job: Job, bar: Any, text: str = "") -> Result:
    """The job's result, its steps shown on ``bar``; a sentence if it was cancelled.

    ``text`` is said on stderr once nothing stands in the way, before the first pass.
    """
    result: Result | None = None
    start = bar.n
    for event in job:
        if isinstance(event, Step):
            if text and event.step == 0:
                bar.write(text, file=sys.stderr)
            bar.total = max(bar.total, start + event.steps)
            bar.n = start + event.step
            bar.refresh()
        elif isinstance(event, Result):
            result = event
    if result is None:
        raise click.ClickException("The job was cancelled; nothing was written.")
    return result


def _chain(
    client: Client,
    picture: Picture,
    sides: Sides,
    fields: Mapping[str, Any],
    canvas: Bytes,
    reach: Reach,
    variant: int,
    bar: Any,
) -> tuple[Picture, dict[str, Any]]:
    results: list[Result] = []
    seed = fields.get("seed", 0)

    def fill(view: Bytes, tile: Rect, number: int) -> Bytes:
        plan = client.plan(fields["bundle"], tile, (view.shape[1], view.shape[0]))
        pixels, selection = window_of(view, tile, Rect(*plan.window))
        told = {**with_defaults(fields), "seed": window_seed(seed, variant, number)}
        height, width = selection.shape
        done = bar.n
        result = wait(client.refine(pixels.data, selection.data, width, height, **told), bar)
        bar.n = done + fields["steps"] + fields.get("more", 0)
        results.append(result)
        patch = result.patches[0]
        return np.frombuffer(patch.pixels, np.uint8).reshape(patch.height, patch.width, 4)

    made = extend_picture(canvas, sides, reach, fill)
    grown = np.array(Image.fromarray(made).convert(picture.mode))
    width, height = picture.size
    grown[cut(Rect(sides.left, sides.top, width, height))] = picture.pixels
    info = {
        "seed": seed,
        "variant": variant,
        "windows": len(results),
        "score": round(float(np.mean([r.patches[0].info["score"] for r in results])), 6),
        "score_by": results[0].patches[0].info["score_by"],
        "seconds": round(sum(r.info["seconds"] for r in results), 4),
    }
    return Picture(grown, picture.mode, picture.keep), info
