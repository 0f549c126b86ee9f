"""The methods by name, and how a request's strength and options become a guide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from maskgit_daemon.bundle import Bundle
from maskgit_daemon.errors import RequestError
from maskgit_daemon.guidance.base import Guide
from maskgit_daemon.guidance.edit_context import ContextGuide
from maskgit_daemon.guidance.edit_self import SelfGuide, code_l2_kernel, identity_kernel
from maskgit_daemon.guidance.experts import CodeDistanceGuide, ColourGuide, weight
from maskgit_daemon.guidance.iterative import IterativeGuide
from maskgit_daemon.guidance.local_colour import LocalColourGuide
from maskgit_daemon.guidance.painted import Painted
from maskgit_daemon.guidance.release import ReleaseGuide, released_count

Options = Mapping[str, float]
Factory = Callable[[Bundle, Painted, float, Options], Guide | None]
Share = Callable[[float, Options], float]
Lack = Callable[[Bundle], "str | None"]

HOLD_BELOW = 0.4
SHRINK, TOLERANCE = 28.0, 0.1


@dataclass(frozen=True)
class Method:
    """A guidance method.

    ``make`` builds its guide; ``text`` describes it in a line; ``options`` are the names it takes
    with their lowest and highest value; ``share`` gives the share of tokens that may change at a
    strength; ``repaint`` the share of what the tokens missed of the strokes' local average colour
    that is added to the pixels; ``lack`` says in a sentence what a bundle lacks for it, if it does;
    ``ours``: strength 1 equals inpainting bit for bit and the strength is monotone.
    """

    make: Factory
    text: str
    options: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    share: Share = lambda strength, options: 1.0
    repaint: Callable[[float], float] = lambda strength: 0.0
    lack: Lack = lambda bundle: None
    ours: bool = False


def _confidence(strength: float, options: Options) -> float:
    return options.get("confidence", 1.0 - strength)


def _local_share(strength: float, options: Options) -> float:
    return options.get("release", min(1.0, strength / HOLD_BELOW))


def _release_share(strength: float, options: Options) -> float:
    return options.get("release", strength)


def _lacks_kernel(bundle: Bundle) -> str | None:
    if bundle.guidance_kernel is not None:
        return None
    return (
        f"The model {bundle.name} holds no learned kernel; "
        "train one with maskgit train guidance or choose self-code-l2."
    )


def _lacks_input(bundle: Bundle) -> str | None:
    if bundle.takes_guidance_tokens:
        return None
    return (
        f"The model {bundle.name} was not tuned to take guidance tokens; "
        "tune one with maskgit train iterative or choose another guidance."
    )


def _none(bundle: Bundle, painted: Painted, strength: float, options: Options) -> Guide | None:
    return None


def _context(bundle: Bundle, painted: Painted, strength: float, options: Options) -> Guide:
    return ContextGuide(painted)


def _self_identity(bundle: Bundle, painted: Painted, strength: float, options: Options) -> Guide:
    return SelfGuide(painted, identity_kernel(bundle.codes), _confidence(strength, options))


def _self_code_l2(bundle: Bundle, painted: Painted, strength: float, options: Options) -> Guide:
    return SelfGuide(painted, code_l2_kernel(bundle.codebook), _confidence(strength, options))


def _self_learned(bundle: Bundle, painted: Painted, strength: float, options: Options) -> Guide:
    assert bundle.guidance_kernel is not None
    kernel = np.load(bundle.guidance_kernel, allow_pickle=False).astype(np.float32)
    return SelfGuide(painted, kernel, _confidence(strength, options))


def _iterative(bundle: Bundle, painted: Painted, strength: float, options: Options) -> Guide:
    return IterativeGuide(painted)


def _code_distance(bundle: Bundle, painted: Painted, strength: float, options: Options) -> Guide:
    return CodeDistanceGuide(
        painted, bundle.codebook, options.get("pull", weight(strength, at_half=6.0))
    )


def _colour(bundle: Bundle, painted: Painted, strength: float, options: Options) -> Guide:
    pull = options.get("pull", weight(strength, at_half=100.0))
    last = options.get("last", (1.0 - strength) ** 2)
    return ColourGuide(painted, bundle.code_colours, pull, last)


def _local_colour(bundle: Bundle, painted: Painted, strength: float, options: Options) -> Guide:
    shrink = weight(strength, at_half=SHRINK, power=1.0)
    return LocalColourGuide(
        painted,
        bundle.code_colours,
        strength,
        options.get("tolerance", TOLERANCE),
        options.get("shrink", shrink),
        _local_share(strength, options),
    )


def _sdedit(bundle: Bundle, painted: Painted, strength: float, options: Options) -> Guide:
    return ReleaseGuide(painted, _release_share(strength, options))


_PULL = {"pull": (0.0, 1e6)}
_CONFIDENCE = {"confidence": (0.0, 1.0)}
_SHARE = {"release": (0.0, 1.0)}

METHODS: dict[str, Method] = {
    "local-colour": Method(
        _local_colour,
        "the average colour follows the strokes, each token stays free",
        {"tolerance": (0.0, 1e3), "shrink": (0.0, 1e6), **_SHARE},
        _local_share,
        lambda strength: (1.0 - strength) ** 2,
        ours=True,
    ),
    "colour": Method(
        _colour,
        "each token's colour follows the strokes, less in late passes",
        {**_PULL, "last": (0.0, 1.0)},
        ours=True,
    ),
    "code-distance": Method(
        _code_distance, "codes near those of the strokes are favoured", _PULL, ours=True
    ),
    "sdedit": Method(
        _sdedit,
        "some of the strokes' tokens are kept, the others are made again",
        _SHARE,
        _release_share,
        ours=True,
    ),
    "none": Method(_none, "plain inpainting, whatever was painted", ours=True),
    "self-identity": Method(
        _self_identity, "MaskGIT-Edit: the strokes' own codes are favoured", _CONFIDENCE
    ),
    "self-code-l2": Method(
        _self_code_l2, "MaskGIT-Edit: codes near those of the strokes are favoured", _CONFIDENCE
    ),
    "self-learned": Method(
        _self_learned,
        "MaskGIT-Edit: the same with a learned nearness",
        _CONFIDENCE,
        lack=_lacks_kernel,
    ),
    "context": Method(_context, "MaskGIT-Edit: unsure tokens are shown as the strokes have them"),
    "iterative": Method(
        _iterative,
        "MaskGIT-Edit: a tuned network sees the strokes beside the mask",
        lack=_lacks_input,
    ),
}
DEFAULT = "local-colour"


def find_method(name: str) -> Method:
    """The method called ``name`` (``default`` is the best of ours), or :class:`RequestError`."""
    method = METHODS.get(DEFAULT if name == "default" else name)
    if method is None:
        raise RequestError(
            f"There is no guidance {name!r}; choose one of default, {', '.join(METHODS)}."
        )
    return method


def check_guidance(name: str, bundle: Bundle, strength: float, options: Options) -> Method:
    """The method called ``name``, if ``bundle`` can do it with these numbers.

    Raises :class:`RequestError` with a sentence for an unknown method or option, a value out of
    range, or a method that the bundle cannot do.
    """
    method = find_method(name)
    for key, value in options.items():
        if key not in method.options:
            known = ", ".join(method.options) or "none"
            raise RequestError(f"The guidance {name} takes no option {key!r}; it takes: {known}.")
        low, high = method.options[key]
        if not np.isfinite(value) or not low <= value <= high:
            raise RequestError(f"The option {key} must be from {low:g} to {high:g}, not {value!r}.")
    if not np.isfinite(strength) or not 0.0 <= strength <= 1.0:
        raise RequestError(f"The strength must be a number from 0 to 1, not {strength!r}.")
    sentence = method.lack(bundle)
    if sentence:
        raise RequestError(sentence)
    return method


def make_guide(
    name: str, bundle: Bundle, painted: Painted, strength: float, options: Options
) -> Guide | None:
    """The guide of method ``name`` at ``strength`` in (0, 1], None where that is plain inpainting.

    ``options`` override what the strength would set.  Raises as :func:`check_guidance`.
    """
    method = check_guidance(name, bundle, strength, options)
    if method.ours and strength >= 1.0:
        return None
    return method.make(bundle, painted, strength, options)


def may_change(name: str, strength: float, tokens: int, options: Options | None = None) -> int:
    """How many of a footprint's ``tokens`` may change: none at strength 0, all at 1."""
    method = find_method(name)
    if strength <= 0 or not tokens:
        return 0
    if method.ours and strength >= 1.0:
        return tokens
    return released_count(tokens, method.share(strength, options or {}))
