"""One face for every tokenizer that is judged: a training checkpoint or a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.bundle import load_bundle
from maskgit_daemon.errors import MaskgitError

Image = NDArray[np.float32]
Tokens = NDArray[np.int64]


class Coder(Protocol):
    """Pixels to tokens and back; ``codes`` is the size of the codebook, ``stride`` in pixels."""

    codes: int
    stride: int

    def encode(self, image: Image) -> Tokens:
        """Tokens int64 (B,h,w) of pixels float32 (B,3,H,W) in [0,1]."""

    def decode(self, tokens: Tokens) -> Image:
        """Pixels float32 (B,3,H,W), not clamped, of tokens int64 (B,h,w)."""


class TorchCoder:
    """The tokenizer of a training checkpoint (``tokenizer.pt``)."""

    def __init__(self, path: Path) -> None:
        """Raises :class:`MaskgitError` if the file is not a tokenizer's checkpoint."""
        import torch

        from maskgit_export.run import load_checkpoint
        from maskgit_export.tokenizer import STRIDE, Tokenizer, TokenizerConfig

        if not path.is_file():
            raise MaskgitError(
                f"There is no {path}; give a tokenizer.pt that training has written."
            )
        state = load_checkpoint(path)
        if state.get("kind") != "tokenizer":
            raise MaskgitError(f"{path} is not a tokenizer's checkpoint; give a tokenizer.pt.")
        self._torch = torch
        self._model = Tokenizer(TokenizerConfig(**state["config"])).eval()
        self._model.load_state_dict(state["model"])
        self.codes, self.stride = self._model.config.codes, STRIDE

    def encode(self, image: Image) -> Tokens:
        with self._torch.inference_mode():
            tokens: Tokens = self._model.encode(self._torch.from_numpy(image)).numpy()
        return tokens

    def decode(self, tokens: Tokens) -> Image:
        with self._torch.inference_mode():
            image: Image = self._model.decode(self._torch.from_numpy(tokens)).float().numpy()
        return image


class BundleCoder:
    """The tokenizer inside a bundle, run as the daemon runs it."""

    def __init__(self, folder: Path, precision: str = "auto") -> None:
        """Raises :class:`maskgit_daemon.errors.BundleError` if the bundle cannot be used."""
        from maskgit_daemon.runtime import load_model

        bundle = load_bundle(folder)
        self._model = load_model(bundle, precision=precision)
        self.codes, self.stride = bundle.codes, bundle.stride

    def encode(self, image: Image) -> Tokens:
        tokens: Tokens = self._model.encode(image)
        return tokens

    def decode(self, tokens: Tokens) -> Image:
        image: Image = self._model.decode(tokens)
        return image


def to_image(pixels: NDArray[np.uint8]) -> Image:
    """uint8 (B,H,W,3) → float32 (B,3,H,W) in [0,1]."""
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)


def to_pixels(image: Image) -> NDArray[np.uint8]:
    """float32 (B,3,H,W), clamped to [0,1] → uint8 (B,H,W,3), rounded."""
    levels = np.clip(image, 0.0, 1.0) * np.float32(255) + np.float32(0.5)
    return np.ascontiguousarray(levels.astype(np.uint8).transpose(0, 2, 3, 1))
