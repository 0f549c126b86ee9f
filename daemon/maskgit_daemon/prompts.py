"""From prompts to what the rows of a batch are conditioned on, for bundles that take text."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.errors import BundleError, RequestError
from maskgit_daemon.runtime import Conditioning, Model

TOKENIZER = "tokenizer.json"
AESTHETIC_SCORE = 6.0
"""What aMUSEd's authors ask for when they make pictures (arXiv 2401.01808, section 3)."""


def prompt_rows(
    model: Model, prompt: str, negative_prompt: str | None, *, guided: bool
) -> tuple[Conditioning, ...]:
    """One conditioning, or with ``guided`` two: the prompt's and the negative (or empty) one's.

    Text is cut to what the encoder takes.  The micro-conditions say: a whole picture of the size
    that the model was trained at, of good looks.  Raises :class:`RequestError` if the library that
    reads prompts is missing and :class:`BundleError` if the bundle has none.
    """
    bundle = model.bundle
    texts = [prompt, negative_prompt or ""] if guided else [prompt]
    hidden, pooled = model.encode_text(text_ids(bundle.folder / TOKENIZER, texts))
    height, width = (side * bundle.stride for side in bundle.grid_max)
    micro = np.array([width, height, 0.0, 0.0, AESTHETIC_SCORE], np.float32)
    return tuple(
        Conditioning(text_hidden=hidden[i], text_pooled=pooled[i], micro_conditions=micro)
        for i in range(len(texts))
    )


def text_ids(tokenizer: Path, texts: list[str]) -> NDArray[np.int64]:
    """Token ids (len(texts), L), padded and cut as the tokenizer's file says."""
    encodings = _tokenizer(tokenizer).encode_batch(texts)
    return np.array([encoding.ids for encoding in encodings], np.int64)


@lru_cache(maxsize=4)
def _tokenizer(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise RequestError(
            "Prompts need the library tokenizers; install it with: "
            "pip install 'maskgit-refine[text]'."
        ) from None
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare exceptions
        raise BundleError(f"{path} is missing or damaged; fetch the bundle again.") from error
