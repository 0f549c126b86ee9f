"""The families of checkpoints that can be exported, and what each is made from."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from maskgit_export.families.base import Source


@dataclass(frozen=True)
class Family:
    """``inputs``: the checkpoints by option name, with help; a name in ``folders`` is a folder.

    ``numbers``: optional whole numbers by option name, with help.  The module
    ``maskgit_export.families.<name>`` has ``read(**inputs, name=…, **numbers) -> Source``.
    """

    name: str
    summary: str
    inputs: Mapping[str, str]
    folders: frozenset[str] = frozenset()
    numbers: Mapping[str, str] = field(default_factory=dict)

    def read(self, name: str, paths: Mapping[str, Path], numbers: Mapping[str, int]) -> Source:
        """Read the checkpoints; raises :class:`maskgit_daemon.errors.MaskgitError`."""
        module = importlib.import_module(f"maskgit_export.families.{self.name}")
        source: Source = module.read(**paths, name=name, **numbers)
        return source


FAMILIES = {
    family.name: family
    for family in (
        Family(
            "starter",
            "The project's own models, as maskgit train writes them.",
            {
                "tokenizer": "tokenizer.pt of maskgit train.",
                "transformer": "transformer.pt of maskgit train.",
            },
        ),
        Family(
            "google",
            "Google's MaskGIT, ImageNet 256 or 512 (flax checkpoints).",
            {
                "tokenizer": "tokenizer_imagenet…_checkpoint.",
                "transformer": "maskgit_imagenet…_checkpoint.",
            },
        ),
        Family(
            "halton",
            "Halton-MaskGIT of valeoai with LlamaGen's VQ-16.",
            {"tokenizer": "vq_ds16_c2i.pt of LlamaGen.", "transformer": "ImageNet_….pth."},
            numbers={"heads": "Attention heads, for sizes that were never published."},
        ),
        Family(
            "amused",
            "aMUSEd with text prompts, from a folder as diffusers keeps it.",
            {"folder": "The folder with transformer, vqvae, text_encoder and tokenizer."},
            folders=frozenset({"folder"}),
        ),
    )
}
