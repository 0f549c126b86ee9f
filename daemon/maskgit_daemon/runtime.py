"""ONNX Runtime sessions of one bundle, resident on one device."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from maskgit_daemon.bundle import Bundle
from maskgit_daemon.errors import BundleError, MaskgitError

LOG = logging.getLogger(__name__)

DEVICES = ("auto", "cuda", "cpu")
ERRORS_ONLY = 3

Floats = NDArray[np.float32]
Tokens = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What one row of a batch is conditioned on; fields the bundle does not take stay None."""

    label: int | None = None
    text_hidden: Floats | None = None
    text_pooled: Floats | None = None
    micro_conditions: Floats | None = None


@dataclass(frozen=True, eq=False)
class Model:
    """A bundle with its graphs loaded.  Methods take and return numpy arrays.

    ``spent`` counts the seconds inside ONNX Runtime, by graph, since the model was loaded.
    """

    bundle: Bundle
    device: str
    precision: str
    sessions: dict[str, Any]
    spent: dict[str, float] = field(default_factory=dict)

    @property
    def rows_independent(self) -> bool:
        """Whether jobs may share a batch: not where rows share their activations' scale."""
        return self.precision != "int8" or self.bundle.rows_independent

    def _run(self, graph: str, outputs: list[str], feeds: dict[str, NDArray[Any]]) -> list[Any]:
        began = time.perf_counter()
        results: list[Any] = self.sessions[graph].run(outputs, feeds)
        self.spent[graph] = self.spent.get(graph, 0.0) + time.perf_counter() - began
        return results

    def encode(self, image: Floats) -> Tokens:
        """Pixels (B,3,H,W) float32 in [0,1], sides multiples of the stride → tokens (B,h,w)."""
        tokens: Tokens = self._run("encoder", ["tokens"], {"image": image})[0]
        return tokens

    def decode(self, tokens: Tokens) -> Floats:
        """Tokens (B,h,w) → pixels (B,3,H,W) float32, nominally [0,1], not clamped."""
        image: Floats = self._run("decoder", ["image"], {"tokens": tokens})[0]
        return image

    def logits(
        self,
        tokens: Tokens,
        rows: Sequence[Conditioning] = (),
        guidance_tokens: Tokens | None = None,
    ) -> Floats:
        """Tokens (B,h,w) with the mask id where unknown, one conditioning a row → (B,h,w,K)."""
        feeds: dict[str, NDArray[Any]] = {"tokens": tokens}
        kind = self.bundle.condition.kind
        rows = rows or [Conditioning()] * len(tokens)
        if kind == "class":
            null = self.bundle.condition.null_label
            labels = [null if row.label is None else row.label for row in rows]
            feeds["condition"] = np.asarray(labels, np.int64)
        elif kind == "prompt":
            for name in ("text_hidden", "text_pooled", "micro_conditions"):
                feeds[name] = np.stack([getattr(row, name) for row in rows])
        if self.bundle.takes_guidance_tokens:
            feeds["guidance_tokens"] = (
                np.full_like(tokens, -1) if guidance_tokens is None else guidance_tokens
            )
        out: Floats = self._run("transformer", ["logits"], feeds)[0]
        return out.astype(np.float32, copy=False)

    def classify(self, image: Floats) -> Floats | None:
        """Class logits (B,C) of pixels (B,3,H,W), or None if the bundle has no classifier."""
        if "classifier" not in self.sessions:
            return None
        scores: Floats = self._run("classifier", ["class_logits"], {"image": image})[0]
        return scores

    def encode_text(self, ids: Tokens) -> tuple[Floats, Floats]:
        """Token ids (B,L) → hidden states (B,L,D) and pooled (B,P)."""
        hidden, pooled = self._run("text_encoder", ["text_hidden", "text_pooled"], {"ids": ids})
        return hidden, pooled


def cuda_works() -> bool:
    """Whether a CUDA device and the libraries ONNX Runtime needs are really there."""
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return False
    if not any(Path("/dev").glob("nvidia[0-9]*")) and os.name != "nt":
        return False
    try:
        ort.preload_dlls()
        session = ort.InferenceSession(_one_node(), providers=["CUDAExecutionProvider"])
    except Exception as error:  # any failure of a driver or library means: not usable
        LOG.info("CUDA is not usable: %s", error)
        return False
    return "CUDAExecutionProvider" in session.get_providers()


def _one_node() -> bytes:
    """The smallest ONNX model (y = x, float32 of length 1, IR 8, opset 17)."""
    return bytes.fromhex(
        "08083a370a100a017812017922084964656e746974791201675a0f0a0178120a"
        "0a08080112040a020801620f0a0179120a0a08080112040a02080142040a0010"
        "11"
    )


def pick_device(wanted: str) -> str:
    """``cuda`` or ``cpu``; raises :class:`MaskgitError` where CUDA is asked for but not there."""
    if wanted not in DEVICES:
        raise MaskgitError(f"There is no device {wanted!r}; choose one of {', '.join(DEVICES)}.")
    if wanted == "cpu":
        return "cpu"
    if cuda_works():
        return "cuda"
    if wanted == "cuda":
        raise MaskgitError(
            "CUDA was asked for but no usable device or library was found; install the gpu extra "
            "(pip install 'maskgit-refine[gpu]') or use --device cpu."
        )
    return "cpu"


def available_threads() -> int:
    """Processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_model(
    bundle: Bundle, device: str = "cpu", precision: str = "auto", threads: int | None = None
) -> Model:
    """Load a bundle's graphs on ``cuda`` or ``cpu``.

    ``precision`` auto is fp16 on CUDA and int8 on the CPU, each graph falling back to fp32 where
    the bundle has no such variant.  Raises :class:`BundleError` if a graph does not load.
    """
    ort.set_default_logger_severity(ERRORS_ONLY)
    chosen = {"cuda": "fp16", "cpu": "int8"}[device] if precision == "auto" else precision
    providers = ["CUDAExecutionProvider"] if device == "cuda" else []
    options = ort.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.intra_op_num_threads = threads or available_threads()
    options.inter_op_num_threads = 1
    sessions = {}
    for name in bundle.graphs:
        path = bundle.graph(name, chosen)
        if path is None:
            continue
        try:
            sessions[name] = ort.InferenceSession(
                str(path), options, providers=[*providers, "CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises many unrelated types here
            reason = str(error).splitlines()[0]
            raise BundleError(f"{path} does not load in ONNX Runtime: {reason}.") from error
    return Model(bundle, device, chosen, sessions)
