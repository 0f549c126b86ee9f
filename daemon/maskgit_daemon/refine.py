"""Request → frame → tokens → decoding steps → pixels → patches, as one generator.

The generator never calls the transformer: it yields what must be evaluated and is sent the logits,
so that an engine can serve many jobs with one forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskgit_daemon.conditions import condition_rows, mix
from maskgit_daemon.decode import Ask, DecodeJob, State, run
from maskgit_daemon.errors import RequestError
from maskgit_daemon.events import Patch, Step
from maskgit_daemon.extend import window_seed
from maskgit_daemon.frame import Frame, cut_frame, lay_frame, selection_bounds, to_float
from maskgit_daemon.guidance import Painted, find_method, make_guide
from maskgit_daemon.noise import SeededNoise
from maskgit_daemon.paste import crop, feathered, match_border, toward_strokes
from maskgit_daemon.patch import MIN_MARGIN, Rect
from maskgit_daemon.rank import Score, confidence, score
from maskgit_daemon.request import Mask, Pixels, RefineRequest
from maskgit_daemon.runtime import Conditioning, Model
from maskgit_daemon.settle import settle

Floats = NDArray[np.float32]
Tokens = NDArray[np.int64]

TILE_STRENGTH = 0.6
"""How much a native tile may change what the coarse pass put there."""


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
    find_method(request.guidance)
    if request.strength == 0.0:
        return [_untouched(request)] * request.variants
    frame, scale = lay_frame(request.pixels, request.selection, model.bundle)
    tiles = [] if scale == 1.0 else _tiles(request.selection, model)
    passes = request.steps + request.more
    total = passes * (1 + len(tiles))
    ends = yield from _decode_pass(model, request, frame, rows, (0, total))
    pictures = [_picture(model, request, frame, end.tokens) for end in ends]
    scores = [
        _score(model, rows[0].label, frame, picture, end)
        for picture, end in zip(pictures, ends, strict=True)
    ]
    tokens = [end.tokens for end in ends]
    if scale == 1.0:
        place = selection_bounds(request.selection)
        return [
            _patch(request, frame, picture, grid, variant, place, score=scores[variant])
            for variant, (picture, grid) in enumerate(zip(pictures, tokens, strict=True))
        ]
    patches = []
    for variant, (picture, grid) in enumerate(zip(pictures, tokens, strict=True)):
        window = _paint(request, frame, picture)
        for number in range(len(tiles)):
            tile = _tile(request.selection, tiles, number)
            done = (1 + number) * passes
            window = yield from _tile_pass(
                model, request, rows, window, tile, variant, (done, total)
            )
        bounds = selection_bounds(request.selection)
        chosen = request.selection
        patches.append(
            _patch(request, frame, window, grid, variant, bounds, bounds, chosen, scores[variant])
        )
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
    variants: tuple[int, ...] | None = None,
) -> Generator[list[Pending], list[Floats], list[State]]:
    """Decode every variant of one frame in step; returns how each ended."""
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
                partial(_preview, model, request, frame, ask, variant),
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


def _tile_pass(
    model: Model,
    request: RefineRequest,
    rows: tuple[Conditioning, ...],
    window: Floats,
    tile: tuple[Rect, Mask, Mask],
    variant: int,
    progress: tuple[int, int],
) -> Generator[list[Pending], list[Floats], Floats]:
    """Refine one native tile of ``window`` (H,W,4), guided by the coarse pass's picture."""
    bounds, selection, later = tile
    # What is still coarse would teach the tile its blur: it is shown as unknown.
    seen = window.copy()
    seen[..., 3] *= later == 0
    frame = cut_frame(seen, selection, bounds, model.bundle)
    guided = replace(
        request,
        strength=TILE_STRENGTH,
        guidance="default",
        options={},
        variants=1,
        # With the noise of its neighbour a tile would repeat it.
        seed=window_seed(request.seed, bounds.left, bounds.top),
    )
    ends = yield from _decode_pass(model, guided, frame, rows, progress, (variant,))
    picture = match_border(_pixels(model, ends[0].tokens), frame)
    out = window.copy()
    inner = Rect(frame.bounds.left, frame.bounds.top, bounds.width, bounds.height)
    chosen = crop(selection, bounds) > 0
    crop(out, bounds)[chosen, :3] = crop(picture, inner)[chosen]
    return out


def _tiles(selection: Mask, model: Model) -> list[Rect]:
    """Native tiles of a large selection, in raster order."""
    bundle = model.bundle
    left, top, width, height = selection_bounds(selection)
    side = [(high - 2 * min(MIN_MARGIN, high // 4)) * bundle.stride for high in bundle.grid_max]
    rows = -(-height // side[0])
    columns = -(-width // side[1])
    tall, wide = -(-height // rows), -(-width // columns)
    areas = [
        Rect(x, y, min(wide, left + width - x), min(tall, top + height - y))
        for y in range(top, top + height, tall)
        for x in range(left, left + width, wide)
    ]
    return [area for area in areas if crop(selection, area).any()]


def _tile(selection: Mask, tiles: list[Rect], number: int) -> tuple[Rect, Mask, Mask]:
    """Bounds and selection (H,W) of one tile, and what comes after it; made when it is needed.

    All of them at once would be two masks of the window for each of hundreds of tiles.
    """
    part, later = np.zeros_like(selection), selection.copy()
    for area in tiles[: number + 1]:
        crop(later, area)[:] = 0
    crop(part, tiles[number])[:] = crop(selection, tiles[number])
    return selection_bounds(part), part, later


def _picture(model: Model, request: RefineRequest, frame: Frame, tokens: Tokens) -> Floats:
    """What ``tokens`` show, (H,W,3), made to fit its border and, if wanted, the strokes."""
    picture = match_border(_pixels(model, tokens), frame, request.strength)
    picture = settle(picture, frame, 2.0 * request.strength - 1.0)
    amount = find_method(request.guidance).repaint(request.strength)
    stride = model.bundle.stride
    return toward_strokes(picture, frame, amount, stride, round(request.strength * stride))


def _paint(request: RefineRequest, frame: Frame, picture: Floats) -> Floats:
    """The window (H,W,4) float32 at native size with the coarse ``picture`` in the selection."""
    bounds = selection_bounds(request.selection)
    coarse = np.ascontiguousarray(crop(picture, frame.bounds))
    image = (coarse * 255.0 + 0.5).astype(np.uint8)
    size = (bounds.width, bounds.height)
    large = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    window = to_float(request.pixels)
    chosen = crop(request.selection, bounds) > 0
    inside = crop(window, bounds)
    inside[chosen, :3] = large[chosen].astype(np.float32) / 255.0
    inside[chosen, 3] = 1.0
    return window


def _preview(
    model: Model, request: RefineRequest, frame: Frame, ask: Ask, variant: int
) -> Patch | None:
    if ask.sampled is None:
        return None
    picture = _picture(model, request, frame, ask.sampled)
    return _patch(
        request, frame, picture, ask.sampled, variant, selection_bounds(request.selection)
    )


def _patch(
    request: RefineRequest,
    frame: Frame,
    picture: Floats,
    tokens: Tokens,
    variant: int,
    place: Rect,
    source: Rect | None = None,
    selection: Mask | None = None,
    score: Score | None = None,
) -> Patch:
    """Cut the selection out of ``picture`` as an RGBA patch in the request's dtype."""
    bounds = source or frame.bounds
    chosen = request.selection if selection is None else selection
    alpha = crop(chosen, place).astype(np.float32) / 255.0
    if alpha.shape != (bounds.height, bounds.width):
        colour = np.ascontiguousarray(crop(picture, bounds))
        image = Image.fromarray((colour * 255.0 + 0.5).astype(np.uint8))
        resized = image.resize((place.width, place.height), Image.Resampling.BICUBIC)
        colour = np.asarray(resized, np.float32) / 255.0
    else:
        colour = crop(picture, bounds)[..., :3]
    values = np.dstack([colour, feathered(alpha, request.feather)])
    pixels: Pixels = values.astype(np.float32)
    if request.pixels.dtype == np.uint8:
        pixels = (values * 255.0 + 0.5).astype(np.uint8)
    info = {
        "seed": request.seed,
        "variant": variant,
        "footprint": int(frame.footprint.sum()),
        "grid": list(tokens.shape),
    }
    if score is not None:
        info |= {"score": round(score.value, 6), "score_by": score.by}
    return Patch(place.left, place.top, pixels, tokens, info)


def _untouched(request: RefineRequest) -> Patch:
    """Strength 0: the window's own pixels, as far as they are selected; one token, −1: none."""
    bounds = selection_bounds(request.selection)
    region = (
        slice(bounds.top, bounds.top + bounds.height),
        slice(bounds.left, bounds.left + bounds.width),
    )
    pixels: Pixels = request.pixels[region].copy()
    alpha = request.selection[region].astype(np.float32) / 255.0 * pixels[..., 3]
    pixels[..., 3] = alpha + 0.5 if pixels.dtype == np.uint8 else alpha
    info = {"seed": request.seed, "variant": 0, "footprint": 0, "grid": [0, 0]}
    return Patch(bounds.left, bounds.top, pixels, np.full((1, 1), -1, np.int64), info)


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
