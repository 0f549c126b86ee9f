"""Flax checkpoints as published for MaskGIT: msgpack with arrays as extension types, no pickle.

An array is extension type 1, whose payload is again msgpack: (shape, dtype name, C-order bytes).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import torch
from torch import Tensor

from maskgit_export.families.reading import CheckpointError, first_line

ARRAY = 1
DTYPES = frozenset({"float16", "float32", "float64"})
MAX_BYTES = 1 << 30


class WrongArrayError(ValueError):
    """An array entry that contradicts itself; the message says how."""


def read_flax(path: Path) -> dict[str, Tensor]:
    """The arrays under ``params`` by their joined names, such as ``a/b/kernel``, as float32.

    Reads as it goes, so memory holds the arrays once.  Raises :class:`CheckpointError`.
    """
    try:
        with path.open("rb") as stream:
            unpacker = msgpack.Unpacker(
                stream,
                ext_hook=_extension,
                raw=False,
                max_buffer_size=MAX_BYTES + (1 << 20),
                max_ext_len=MAX_BYTES,
                max_bin_len=MAX_BYTES,
            )
            tree = unpacker.unpack()
            rest = stream.read(1) or unpacker.read_bytes(1)
    except FileNotFoundError:
        raise CheckpointError(f"There is no file {path}; check the path.") from None
    except msgpack.OutOfData:
        raise CheckpointError(
            f"{path} is cut off or no flax checkpoint; fetch it again from its authors."
        ) from None
    except WrongArrayError as error:
        raise CheckpointError(f"{path} is damaged ({error}); fetch it again.") from error
    except (msgpack.UnpackException, OSError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is not a flax checkpoint ({first_line(error)}); give the published file."
        ) from error
    if rest:
        raise CheckpointError(f"{path} goes on after its end; fetch it again.")
    params = tree.get("params") if isinstance(tree, dict) else None
    if not isinstance(params, dict):
        raise CheckpointError(
            f"{path} is not a flax checkpoint (no params); give the published file."
        )
    found: dict[str, Tensor] = {}
    _flatten(params, "", found, path)
    return found


def _flatten(tree: dict[Any, Any], prefix: str, found: dict[str, Tensor], path: Path) -> None:
    for key in list(tree):
        value = tree.pop(key)
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            _flatten(value, f"{name}/", found, path)
        elif isinstance(value, np.ndarray):
            found[name] = torch.from_numpy(value).float()
        else:
            raise CheckpointError(
                f"{path}: {name} is {type(value).__name__} where an array belongs; fetch it again."
            )


def _extension(kind: int, payload: bytes) -> np.ndarray[Any, Any]:
    if kind != ARRAY:
        raise WrongArrayError(f"extension type {kind} is unknown")
    entry = msgpack.unpackb(payload, raw=False)
    if not isinstance(entry, (list, tuple)) or len(entry) != 3:
        raise WrongArrayError("an array is not shape, type and bytes")
    shape, dtype, data = entry
    if dtype not in DTYPES:
        raise WrongArrayError(f"an array of type {dtype!r} where floats belong")
    if not all(isinstance(n, int) and n >= 0 for n in shape) or not isinstance(data, bytes):
        raise WrongArrayError("an array without a proper shape")
    if math.prod(shape) * np.dtype(dtype).itemsize != len(data):
        raise WrongArrayError(f"an array of shape {tuple(shape)} with {len(data)} bytes")
    return np.frombuffer(bytearray(data), dtype).reshape(shape)
