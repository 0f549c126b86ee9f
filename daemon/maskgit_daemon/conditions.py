"""From a request's label or prompt to what the rows of a batch are conditioned on."""

from __future__ import annotations

import difflib

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.bundle import Bundle
from maskgit_daemon.errors import RequestError
from maskgit_daemon.prompts import prompt_rows
from maskgit_daemon.request import RefineRequest
from maskgit_daemon.runtime import Conditioning, Model

Floats = NDArray[np.float32]


def find_label(bundle: Bundle, wanted: str) -> int:
    """Index of a class by its name, one of its synonyms (after commas) or its number.

    Raises :class:`RequestError` naming the closest labels if there is none.
    """
    labels = bundle.condition.labels
    names: dict[str, int] = {}
    for index, entry in enumerate(labels):
        for name in entry.split(","):
            names.setdefault(name.strip().lower(), index)
    key = wanted.strip().lower()
    if key in names:
        return names[key]
    if key.isdecimal() and int(key) < len(labels):
        return int(key)
    close = difflib.get_close_matches(key, names, 3, 0.4) or list(names)[:12]
    raise RequestError(
        f"The model {bundle.name} knows no class {wanted!r}; try {', '.join(close)}."
    )


def condition_rows(model: Model, request: RefineRequest) -> tuple[Conditioning, ...]:
    """One conditioning, or two (conditional, null) where guidance is asked for.

    Raises :class:`RequestError` if the bundle cannot take what the request asks, or needs more.
    """
    bundle = model.bundle
    condition = bundle.condition
    if request.prompt is not None and condition.kind != "prompt":
        raise RequestError(f"The model {bundle.name} takes no prompt; leave it out.")
    if request.label is not None and condition.kind != "class":
        raise RequestError(f"The model {bundle.name} takes no class; leave it out.")
    if condition.kind == "class":
        return _class_rows(bundle, request)
    if condition.kind == "prompt":
        if request.prompt is None:
            raise RequestError(f"The model {bundle.name} needs a prompt; give one.")
        return prompt_rows(
            model, request.prompt, request.negative_prompt, guided=bool(request.guidance_scale)
        )
    return (Conditioning(),)


def _class_rows(bundle: Bundle, request: RefineRequest) -> tuple[Conditioning, ...]:
    null = bundle.condition.null_label
    if request.label is None:
        if null is None or bundle.condition.required:
            raise RequestError(
                f"The model {bundle.name} cannot work without a class; give one, for example "
                f"{bundle.condition.labels[0].split(',')[0]!r}."
            )
        return (Conditioning(label=null),)
    label = Conditioning(label=find_label(bundle, request.label))
    if not request.guidance_scale:
        return (label,)
    if null is None:
        raise RequestError(
            f"The model {bundle.name} has no null class, so it takes no guidance scale; "
            "leave it out."
        )
    return (label, Conditioning(label=null))


def mix(logits: Floats, scale: float, step: int, steps: int) -> Floats:
    """Classifier-free guidance: (1+w)·L_cond − w·L_null of logits (2,h,w,K); (1,…) pass through.

    w grows linearly to ``scale`` over the steps and stays there: late steps profit most
    (arXiv 2507.08965).
    """
    if len(logits) == 1:
        out: Floats = logits[0]
        return out
    weight = np.float32(scale * min(1.0, (step + 1) / steps))
    mixed: Floats = (1 + weight) * logits[0] - weight * logits[1]
    return mixed
