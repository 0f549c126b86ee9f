"""Request → frame → tokens → decoding steps → pixels → patches, as one generator.

The generator never calls the transformer: it yields what must be evaluated and is sent the logits,
so that an engine can serve many jobs with one forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.conditions import condition_rows, mix
from maskgit_daemon.cutout import cut_patch, untouched_patch
from maskgit_daemon.decode import Ask, DecodeJob, State, run
from maskgit_daemon.detail import add_detail
from maskgit_daemon.errors import RequestError
from maskgit_daemon.events import Patch, Step
from maskgit_daemon.extend import cut, window_seed
from maskgit_daemon.frame import Frame, cut_frame, lay_frame, selection_bounds
from maskgit_daemon.guidance import Painted, check_guidance, find_method, make_guide
from maskgit_daemon.noise import SeededNoise
from maskgit_daemon.palette import hold_inside
from maskgit_daemon.paste import crop, match_border, soften_border, toward_strokes
from maskgit_daemon.rank import Score, confidence, score
from maskgit_daemon.request import RefineRequest
from maskgit_daemon.runtime import Conditioning, Model
from maskgit_daemon.settle import settle
from maskgit_daemon.tiles import (
    Tile,
    coarse_window,
    cut_tile,
    enlarged,
    keep_painted,
    tile_areas,
)

Floats = NDArray[np.float32]
Tokens = NDArray[np.int64]

TILE_STRENGTH = 0.6
"""How much a native tile may, at most, change what the coarse pass put there."""


@dataclass(frozen=True, eq=False)
class Pending:
    """One row of work: a step of one variant.

    ``rows``: one conditioning, or two to be mixed with ``guidance_scale``.  ``step``, ``steps``
    count over all passes of the job.  ``preview`` makes the best guess so far into a patch.
    """

    ask: Ask
    rows: tuple[Conditioning, ...]
    guidance_scale: float
    step: int
    steps: int
    preview: Callable[[], Patch | None]


Work = Generator[list[Pending], list[Floats], list[Patch]]


def refine_steps(model: Model, request: RefineRequest) -> Work:
    """The whole job as a generator of :class:`Pending` lists (one entry a variant).

    Send it the logits (h,w,K) of each entry; it returns one :class:`Patch` a variant.  Raises
    :class:`RequestError` before the first yield if the bundle cannot do what is asked.
    """
    rows = condition_rows(model, request)
    check_guidance(request.guidance, model.bundle, request.strength, request.options)
    if request.strength == 0.0:
        return [untouched_patch(request, variant) for variant in range(request.variants)]
    frame, scale = lay_frame(request.pixels, request.selection, model.bundle)
    areas = [] if scale == 1.0 else tile_areas(request.selection, model.bundle)
    passes = request.steps + request.more
    total = passes * (1 + len(areas) * request.variants)
    show = partial(_preview, model, request, frame, scale)
    ends = yield from _decode_pass(model, request, frame, rows, (0, total), show)
    patches = []
    for variant, end in enumerate(ends):
        picture = _picture(model, request, frame, end.tokens)
        score = _score(model, rows[0].label, frame, picture, end)
        if areas:
            kept = _kept(request)
            picture = keep_painted(picture, frame, _held(model, frame, end.tokens), kept)
            window = coarse_window(request, frame, scale, picture, kept)
            for number in range(len(areas)):
                tile = cut_tile(request.selection, areas, number, model.bundle)
                progress = ((1 + variant * len(areas) + number) * passes, total)
                yield from _tile_pass(model, request, rows, window, tile, variant, progress)
            colour = crop(window, selection_bounds(request.selection))[..., :3]
        else:
            colour = crop(picture, frame.bounds)
        info = _facts(frame, variant) | {"score": round(score.value, 6), "score_by": score.by}
        patches.append(cut_patch(request, colour, end.tokens, info))
    return patches


def _score(model: Model, label: int | None, frame: Frame, picture: Floats, end: State) -> Score:
    """How good a variant of the first pass is; see :mod:`maskgit_daemon.rank`."""
    known = frame.known[..., None]
    whole = frame.colour * known + picture * (1.0 - known)
    own = confidence(end.log_probability, frame.footprint)
    null = model.bundle.condition.null_label
    return score(model, whole.astype(np.float32), None if label == null else label, own)


def refine(
    model: Model, request: RefineRequest, on_step: Callable[[Step], None] | None = None
) -> list[Patch]:
    """Run one job to its end on this thread; the same bytes as through the daemon."""
    work = refine_steps(model, request)
    logits: list[Floats] | None = None
    while True:
        try:
            pending = next(work) if logits is None else work.send(logits)
        except StopIteration as stop:
            patches: list[Patch] = stop.value
            return patches
        if on_step:
            first = pending[0]
            on_step(Step(first.step, first.steps, first.preview() if request.preview else None))
        # One variant at a time: a dynamically quantised graph must not mix rows.
        logits = [evaluate(model, [one])[0] for one in pending]


def evaluate(model: Model, pending: list[Pending]) -> list[Floats]:
    """Logits (h,w,K) of each entry, all of one grid shape, in one forward pass."""
    tokens = np.stack([p.ask.tokens for p in pending for _ in p.rows])
    guidance = None
    if model.bundle.takes_guidance_tokens:
        blank = np.full_like(tokens[0], -1)
        guidance = np.stack(
            [
                blank if p.ask.guidance_tokens is None else p.ask.guidance_tokens
                for p in pending
                for _ in p.rows
            ]
        )
    logits = model.logits(tokens, [row for p in pending for row in p.rows], guidance)
    results, start = [], 0
    for one in pending:
        part = logits[start : start + len(one.rows)]
        results.append(mix(part, one.guidance_scale, one.ask.step, one.ask.steps))
        start += len(one.rows)
    return results


def _decode_pass(
    model: Model,
    request: RefineRequest,
    frame: Frame,
    rows: tuple[Conditioning, ...],
    progress: tuple[int, int],
    show: Callable[[Ask, int], Patch | None],
    variants: tuple[int, ...] | None = None,
) -> Generator[list[Pending], list[Floats], list[State]]:
    """Decode every variant of one frame in step; returns how each ended.

    ``show`` makes the preview of what a variant asks.
    """
    bundle = model.bundle
    context = frame.context()
    known = model.encode(_to_model(context))[0]
    open_cells = frame.footprint | frame.unknown
    start = np.where(open_cells, bundle.mask_id, known)
    guide = None
    if request.strength < 1.0:
        painted = Painted(
            tokens=model.encode(_to_model(frame.colour))[0],
            colours=cell_means(frame.colour, bundle.stride),
            footprint=frame.footprint,
            known=known,
        )
        guide = make_guide(request.guidance, bundle, painted, request.strength, request.options)
    runs = {}
    asks: dict[int, Ask] = {}
    results: dict[int, State] = {}
    for variant in variants or range(request.variants):
        job = DecodeJob(
            tokens=start,
            codes=bundle.codes,
            steps=request.steps,
            schedule=request.schedule,
            order=request.order or bundle.order,
            temperature=_given(request.temperature, bundle.temperature),
            min_p=bundle.min_p,
            choice_temperature=_given(request.choice_temperature, bundle.choice_temperature),
            more=request.more,
            guide=guide,
            noise=SeededNoise(request.seed, variant),
        )
        runs[variant] = run(job)
        first = _advance(runs[variant], None)
        # A guide that holds every token leaves nothing to ask.
        if isinstance(first, Ask):
            asks[variant] = first
        else:
            results[variant] = first
    while asks:
        pending = [
            Pending(
                ask,
                rows,
                request.guidance_scale or 0.0,
                progress[0] + ask.step,
                progress[1],
                partial(show, ask, variant),
            )
            for variant, ask in asks.items()
        ]
        logits = yield pending
        for variant, row in zip(list(asks), logits, strict=True):
            reply = _advance(runs[variant], row)
            if isinstance(reply, Ask):
                asks[variant] = reply
            else:
                results[variant] = reply
                del asks[variant]
    return [results[variant] for variant in sorted(results)]


def _given(wanted: float | None, default: float) -> float:
    return default if wanted is None else wanted


def _advance(decoding: Generator[Ask, Floats, State], row: Floats | None) -> Ask | State:
    """Send a decode its logits (None at first): what it asks next, or its final state."""
    try:
        return next(decoding) if row is None else decoding.send(row)
    except StopIteration as stop:
        state: State = stop.value
        return state


def _kept(request: RefineRequest) -> float:
    """The share of the painted pixels that a large selection keeps."""
    return 0.0 if request.guidance == "none" else 1.0 - request.strength


def _held(model: Model, frame: Frame, tokens: Tokens) -> NDArray[np.bool_]:
    """Which ``tokens`` (h,w) are those of what is painted."""
    same: NDArray[np.bool_] = tokens == model.encode(_to_model(frame.colour))[0]
    return same


def _tile_pass(
    model: Model,
    request: RefineRequest,
    rows: tuple[Conditioning, ...],
    window: Floats,
    tile: Tile,
    variant: int,
    progress: tuple[int, int],
) -> Generator[list[Pending], list[Floats], None]:
    """Refine one native tile of ``window`` (H,W,4) in place, guided by what stands there."""
    place = selection_bounds(tile.selection)
    left, top = tile.window.left, tile.window.top
    view = crop(window, tile.window)
    # What is still coarse would teach the tile its blur: it is shown as unknown.
    seen = view.copy()
    seen[tile.later, 3] = 0.0
    frame = cut_frame(seen, tile.selection, place, model.bundle)
    guided = replace(
        request,
        pixels=request.pixels[cut(tile.window)],
        selection=tile.selection,
        strength=min(TILE_STRENGTH, 1.0 - _kept(request)),
        guidance="default",
        options={},
        variants=1,
        # A tile ends where its neighbour begins: no edge to fade at.
        feather=0.0,
        # With the noise of its neighbour a tile would repeat it.
        seed=window_seed(request.seed, left + place.left, top + place.top),
    )

    def show(ask: Ask, variant: int) -> Patch | None:
        patch = _preview(model, guided, frame, 1.0, ask, variant)
        return patch and replace(patch, left=left + patch.left, top=top + patch.top)

    ends = yield from _decode_pass(model, guided, frame, rows, progress, show, (variant,))
    # Its neighbours are made pixels too: it must meet them in full, whatever the strength.
    generated = _pixels(model, ends[0].tokens)
    picture = match_border(generated, frame)
    picture = soften_border(add_detail(picture, generated, frame, 2.0 * guided.strength), frame)
    picture = toward_strokes(picture, frame, _kept(request) ** 2, model.bundle.stride)
    held = _held(model, frame, ends[0].tokens)
    picture = keep_painted(picture, frame, held, _kept(request))
    chosen = crop(tile.selection, place) > 0
    crop(view, place)[chosen, :3] = crop(picture, frame.bounds)[chosen]


def _picture(model: Model, request: RefineRequest, frame: Frame, tokens: Tokens) -> Floats:
    """What ``tokens`` show, (H,W,3), made to fit its border and, if wanted, the strokes."""
    generated = _pixels(model, tokens)
    picture = match_border(generated, frame, request.strength)
    free = 2.0 * request.strength - 1.0
    picture = hold_inside(settle(picture, frame, free), frame, free)
    # A light touch keeps the painted flatness too: detail comes in by half strength.
    picture = soften_border(add_detail(picture, generated, frame, 2.0 * request.strength), frame)
    amount = find_method(request.guidance).repaint(request.strength)
    stride = model.bundle.stride
    return toward_strokes(picture, frame, amount, stride, round(request.strength * stride))


def _preview(
    model: Model, request: RefineRequest, frame: Frame, scale: float, ask: Ask, variant: int
) -> Patch | None:
    if ask.sampled is None:
        return None
    picture = _picture(model, request, frame, ask.sampled)
    colour = _selected(request, frame, scale, picture)
    return cut_patch(request, colour, ask.sampled, _facts(frame, variant))


def _selected(request: RefineRequest, frame: Frame, scale: float, picture: Floats) -> Floats:
    """The pixels (h,w,3) of the selection's bounds at native size, of a frame's ``picture``."""
    if scale == 1.0:
        return crop(picture, frame.bounds)
    return enlarged(picture, frame, scale, request)


def _facts(frame: Frame, variant: int) -> dict[str, Any]:
    return {"variant": variant, "footprint": int(frame.footprint.sum())}


def cell_means(colour: Floats, stride: int) -> Floats:
    """Mean colour (h,w,3) of each token's pixels, of (H,W,3)."""
    height, width = colour.shape[0] // stride, colour.shape[1] // stride
    means: Floats = colour.reshape(height, stride, width, stride, 3).mean((1, 3))
    return means


def _to_model(colour: Floats) -> Floats:
    return np.ascontiguousarray(colour.transpose(2, 0, 1)[None])


def _pixels(model: Model, tokens: Tokens) -> Floats:
    """Tokens (h,w) → pixels (H,W,3) float32, not clamped."""
    return np.ascontiguousarray(model.decode(tokens[None])[0].transpose(1, 2, 0))


__all__ = ["Patch", "Pending", "RequestError", "cell_means", "evaluate", "refine", "refine_steps"]
