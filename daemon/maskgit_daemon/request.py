"""The one value that says what to make: what a client sends, history keeps and tests pass."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.errors import RequestError
from maskgit_daemon.orders import ORDERS
from maskgit_daemon.schedules import find_schedule

MAX_WINDOW_PIXELS = 16_000_000
MAX_STEPS = 256
MAX_VARIANTS = 16

Pixels = NDArray[np.uint8] | NDArray[np.float32]
Mask = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class RefineRequest:
    """Everything one job needs.

    ``pixels``: the window, (H,W,4) RGBA in sRGB, uint8 0…255 or float32 0…1.
    ``selection``: (H,W) uint8, 0 = keep, 255 = fully selected.
    ``strength``: 0…1, how much may change; 0 returns the window's bytes, 1 is inpainting.
    ``guidance``: name of a method in :mod:`maskgit_daemon.guidance`; ``options`` are its numbers.
    ``label``, ``prompt``, ``negative_prompt``, ``guidance_scale``: the condition, if the bundle
    takes it.
    ``temperature`` scales the draw's noise, ``choice_temperature`` that of the confidence (≥ 0);
    ``order`` that of the
    tokens; None takes what the bundle recommends, for all three.
    ``more``: passes after the last that redraw a few doubtful tokens ("refine more"), ≥ 0.
    ``feather``: pixels over which the returned patch's alpha fades inside the selection, ≥ 0.

    Raises :class:`RequestError` with a sentence if a field is out of range.
    """

    pixels: Pixels
    selection: Mask
    bundle: str = "starter"
    strength: float = 1.0
    guidance: str = "default"
    options: Mapping[str, float] = field(default_factory=dict)
    label: str | None = None
    prompt: str | None = None
    negative_prompt: str | None = None
    guidance_scale: float | None = None
    steps: int = 8
    more: int = 0
    schedule: str = "cosine"
    order: str | None = None
    temperature: float | None = None
    choice_temperature: float | None = None
    seed: int = 0
    variants: int = 1
    feather: float = 0.0
    preview: bool = False

    def __post_init__(self) -> None:
        check_window(self.pixels, self.selection)
        _within("strength", self.strength, 0.0, 1.0)
        if self.temperature is not None:
            _within("temperature", self.temperature, 0.0, 100.0)
        if self.choice_temperature is not None:
            _within("choice_temperature", self.choice_temperature, 0.0, 1000.0)
        _within("feather", self.feather, 0.0, 1000.0)
        if self.guidance_scale is not None:
            _within("guidance_scale", self.guidance_scale, 0.0, 100.0)
        _whole("steps", self.steps, 1, MAX_STEPS)
        _whole("more", self.more, 0, MAX_STEPS)
        _whole("variants", self.variants, 1, MAX_VARIANTS)
        check_seed(self.seed)
        find_schedule(self.schedule)
        if self.order is not None and self.order not in ORDERS:
            raise RequestError(_choose("order", self.order, ORDERS))
        for name, value in self.options.items():
            _within(f"option {name}", value, -1e9, 1e9)


def check_seed(seed: int) -> None:
    """Refuse a seed outside 0 … 2⁶³ − 1, in one sentence."""
    _whole("seed", seed, 0, 2**63 - 1)


def check_window(pixels: Pixels, selection: Mask) -> None:
    """Refuse a window or selection of wrong shape, dtype, size or content, in one sentence."""
    if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype not in (np.uint8, np.float32):
        raise RequestError("The window must be height × width × 4 RGBA as uint8 or float32.")
    if selection.dtype != np.uint8 or selection.shape != pixels.shape[:2]:
        raise RequestError(
            f"The selection is {_size(selection)} but the picture is {_size(pixels)}; "
            "give one 8-bit mask of the same size."
        )
    if pixels.shape[0] * pixels.shape[1] > MAX_WINDOW_PIXELS:
        raise RequestError(
            f"The window spans {pixels.shape[0] * pixels.shape[1] / 1e6:.1f} megapixels; "
            f"send at most {MAX_WINDOW_PIXELS // 1_000_000} megapixels, those that were planned."
        )
    if not selection.any():
        raise RequestError("The selection is empty; select the part that is to be made again.")
    if pixels.dtype == np.float32 and not np.isfinite(pixels).all():
        raise RequestError("The picture holds NaN or infinite pixels; repair them first.")


def _size(array: NDArray[np.generic]) -> str:
    return " × ".join(str(n) for n in reversed(array.shape[:2]))


def _within(name: str, value: float, low: float, high: float) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not low <= value <= high:
        raise RequestError(f"The {name} must be a number from {low:g} to {high:g}, not {value!r}.")


def _whole(name: str, value: int, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise RequestError(
            f"The {name} must be a whole number from {low} to {high}, not {value!r}."
        )


def _choose(name: str, value: str, known: list[str] | tuple[str, ...]) -> str:
    return f"There is no {name} {value!r}; choose one of {', '.join(known)}."
