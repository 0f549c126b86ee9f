"""Reading PyTorch checkpoints of unknown origin: no code in them is run, every array is checked."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from maskgit_daemon.errors import MaskgitError

MAGICS = (b"PK", b"\x80\x02")
"""How torch.save's files begin: a zip archive, or before version 1.6 a pickle of protocol 2."""


class CheckpointError(MaskgitError):
    """A checkpoint that cannot be turned into a bundle."""


def load_torch(path: Path) -> dict[str, Any]:
    """A ``torch.save`` file as a dict of plain values and tensors, without running code in it.

    Raises :class:`CheckpointError` with one sentence.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(2)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise CheckpointError(f"There is no file {path}; check the path.") from None
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); check it.") from error
    if start not in MAGICS:
        raise CheckpointError(
            f"{path} is not a PyTorch checkpoint; give the file that its authors publish."
        )
    try:
        state = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than weights (it would run code when loaded) and was refused; "
            "get the checkpoint from its authors."
        ) from error
    except Exception as error:  # foreign bytes make the unpickler fail in any way
        raise CheckpointError(
            f"{path} is not a whole PyTorch checkpoint ({first_line(error)}); fetch it again."
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__} instead of named weights.")
    return state


def fill(model: nn.Module, weights: Mapping[str, object], path: Path, what: str) -> None:
    """Load ``weights`` into ``model`` (which may be on the meta device) after checking them all.

    Names must match exactly, shapes too, and every array must be of floats (read as float32) where
    the model has floats.  Raises :class:`CheckpointError`; ``what`` names the expected model.
    """
    wanted = model.state_dict()
    wrong = sorted(wanted.keys() ^ weights.keys())
    if wrong:
        verb = "lacks" if wrong[0] in wanted else "also holds"
        raise CheckpointError(
            f"{path} is not a {what} checkpoint: it {verb} {wrong[0]!r}"
            f"{f' and {len(wrong) - 1} other names differ' if len(wrong) > 1 else ''}; "
            "check that it belongs to this family and size."
        )
    ready: dict[str, Tensor] = {}
    for name, value in weights.items():
        goal = wanted[name]
        if not isinstance(value, Tensor) or value.shape != goal.shape:
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise CheckpointError(
                f"{path}: {name} is {found} where a {what} has {tuple(goal.shape)}; "
                "check that it belongs to this family and size."
            )
        if value.is_floating_point() != goal.is_floating_point() or value.is_complex():
            raise CheckpointError(
                f"{path}: {name} is of type {value.dtype} where a {what} has {goal.dtype}."
            )
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path}: {name} holds NaN or infinite weights; fetch it again.")
        ready[name] = value.to(goal.dtype)
    model.load_state_dict(ready, assign=True)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, cut to 120 characters."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:120].rstrip(".")
