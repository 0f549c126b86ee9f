"""Run every graph of a bundle once, as the daemon would."""

from __future__ import annotations

import time

import numpy as np

from maskgit_daemon.bundle import Bundle
from maskgit_daemon.errors import BundleError
from maskgit_daemon.runtime import Conditioning, load_model


def smoke_test(bundle: Bundle) -> dict[str, str]:
    """Encode, ask and decode on the smallest grid; what was found, by graph.

    Raises :class:`BundleError` if a graph does not load, or gives something else than the bundle's
    format says.
    """
    model = load_model(bundle)
    height, width = bundle.grid_min
    rng = np.random.default_rng(0)
    pixels = (1, 3, height * bundle.stride, width * bundle.stride)
    facts: dict[str, str] = {}

    def note(name: str, shape: tuple[int, ...], wanted: tuple[int, ...], began: float) -> None:
        if shape != wanted:
            raise BundleError(
                f"The {name} of {bundle.folder} gives {shape} instead of {wanted}; "
                "fetch or export the bundle again."
            )
        milliseconds = 1e3 * (time.perf_counter() - began)
        facts[name] = f"{'×'.join(map(str, shape))} in {milliseconds:.0f} ms"

    began = time.perf_counter()
    tokens = model.encode(rng.random(pixels, np.float32))
    note("encoder", tokens.shape, (1, height, width), began)
    row = Conditioning(label=0 if bundle.condition.kind == "class" else None)
    if bundle.condition.kind == "prompt":
        began = time.perf_counter()
        hidden, pooled = model.encode_text(np.ones((1, 77), np.int64))
        note("text_encoder", hidden.shape, (1, 77, hidden.shape[-1]), began)
        micro = np.zeros(5, np.float32)
        row = Conditioning(text_hidden=hidden[0], text_pooled=pooled[0], micro_conditions=micro)
    began = time.perf_counter()
    logits = model.logits(tokens, [row])
    note("transformer", logits.shape, (1, height, width, bundle.codes), began)
    began = time.perf_counter()
    image = model.decode(tokens)
    note("decoder", image.shape, pixels, began)
    if not (np.isfinite(logits).all() and np.isfinite(image).all()):
        raise BundleError(f"{bundle.folder} gives NaN or infinite numbers; fetch it again.")
    return facts
