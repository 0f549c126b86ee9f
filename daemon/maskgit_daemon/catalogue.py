"""Published models that ``maskgit models pull`` knows, with their publishers' own addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

GOOGLE = "https://storage.googleapis.com/maskgit-public/checkpoints"
HALTON = "https://huggingface.co/llvictorll/Halton-MaskGIT/resolve/main"
LLAMAGEN = "https://huggingface.co/FoundationVision/LlamaGen/resolve/main"
AMUSED = "https://huggingface.co/amused"


@dataclass(frozen=True)
class Published:
    """One model: ``files`` are addresses by the export's option name.

    For a model that is a folder, ``folder`` is that option's name and ``files`` are addresses by
    path inside it.  ``megabytes``: about how much is downloaded.
    """

    name: str
    family: str
    title: str
    licence: str
    origin: str
    megabytes: int
    files: Mapping[str, str]
    folder: str | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)


def _google(size: int) -> Published:
    return Published(
        name=f"google-{size}",
        family="google",
        title=f"Google MaskGIT, ImageNet {size} px, class labels",
        licence="Apache-2.0 for the code; none is stated for the weights (trained on ImageNet)",
        origin="https://github.com/google-research/maskgit",
        megabytes=910,
        files={
            "tokenizer": f"{GOOGLE}/tokenizer_imagenet{size}_checkpoint",
            "transformer": f"{GOOGLE}/maskgit_imagenet{size}_checkpoint",
        },
    )


def _halton(letter: str, word: str, size: int, megabytes: int) -> Published:
    return Published(
        name=f"halton-{letter}-{size}",
        family="halton",
        title=f"Halton-MaskGIT {word}, ImageNet {size} px, class labels and none",
        licence="MIT (tokenizer: LlamaGen, MIT; trained on ImageNet)",
        origin="https://github.com/valeoai/Halton-MaskGIT",
        megabytes=megabytes,
        files={
            "tokenizer": f"{LLAMAGEN}/vq_ds16_c2i.pt",
            "transformer": f"{HALTON}/ImageNet_{size}_{word}.pth",
        },
    )


def _amused(size: int) -> Published:
    base = f"{AMUSED}/amused-{size}/resolve/main"
    paths = (
        "transformer/config.json",
        "transformer/diffusion_pytorch_model.safetensors",
        "vqvae/config.json",
        "vqvae/diffusion_pytorch_model.safetensors",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "scheduler/scheduler_config.json",
    )
    return Published(
        name=f"amused-{size}",
        family="amused",
        title=f"aMUSEd {size} px, text prompts",
        licence="openrail++",
        origin=f"{AMUSED}/amused-{size}",
        megabytes=3400,
        files={path: f"{base}/{path}" for path in paths},
        folder="folder",
    )


CATALOGUE = {
    model.name: model
    for model in (
        _google(256),
        _google(512),
        _halton("t", "tiny", 256, 390),
        _halton("s", "small", 256, 560),
        _halton("b", "base", 256, 860),
        _halton("s", "small", 384, 570),
        _halton("b", "base", 384, 860),
        _halton("l", "large", 384, 2200),
        _amused(256),
        _amused(512),
    )
}
