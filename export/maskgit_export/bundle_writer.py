"""Write a bundle: all files into a folder beside the target, renamed when whole."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from maskgit_daemon.bundle import FORMAT, MANIFEST, PRECISIONS, file_digest, load_bundle
from maskgit_daemon.errors import MaskgitError
from maskgit_export.families.base import Source
from maskgit_export.onnx_graphs import deviation, export_graph, run, torch_outputs
from maskgit_export.quantise import convert, store_half

DEFAULT_PRECISIONS = ("fp32", "int8")


def write_bundle(
    source: Source,
    target: Path,
    *,
    precisions: Sequence[str] = DEFAULT_PRECISIONS,
    half_storage: bool = False,
    overwrite: bool = False,
    extra: Mapping[str, object] | None = None,
) -> Path:
    """Export ``source`` to the folder ``target`` and return it.

    fp32 is always written (``half_storage``: its weights stored as fp16); other precisions only for
    the graphs where they pay.  ``extra``: entries to add to the manifest.  Raises
    :class:`MaskgitError` with one sentence; then ``target`` is as it was before.
    """
    unknown = set(precisions) - set(PRECISIONS)
    if unknown:
        raise MaskgitError(f"There is no precision {min(unknown)!r}; use fp32, fp16 or int8.")
    with whole_folder(target, overwrite=overwrite) as folder:
        graphs: dict[str, dict[str, Any]] = {}
        for name, graph in source.graphs.items():
            fp32 = folder / f"{name}.onnx"
            export_graph(graph, fp32)
            feeds = {key: value.numpy() for key, value in graph.inputs.items()}
            reference = torch_outputs(graph, graph.inputs)
            files = {"fp32": fp32}
            for precision in sorted(set(precisions) - {"fp32"}):
                path = folder / f"{name}.{precision}.onnx"
                if convert(fp32, path, name, precision, source.codes):
                    files[precision] = path
            if half_storage:
                store_half(fp32)
            graphs[name] = {
                precision: {
                    "file": path.name,
                    "deviation": deviation(reference, run(path, feeds)),
                }
                for precision, path in files.items()
            }
        np.save(folder / "codebook.npy", source.codebook.astype(np.float32))
        np.save(folder / "code_colours.npy", code_colours(source))
        for name, content in source.files.items():
            (folder / name).write_bytes(content)
        write_manifest(folder, source, graphs, extra or {})
        load_bundle(folder)
    return target


def write_manifest(
    folder: Path,
    source: Source,
    graphs: Mapping[str, Mapping[str, Any]],
    extra: Mapping[str, object],
) -> None:
    """``manifest.json`` over all files now in ``folder``."""
    manifest = {
        "format": FORMAT,
        "name": source.name,
        "family": source.family,
        "stride": source.stride,
        "codebook_size": source.codes,
        "mask_id": source.codes,
        "grid": {"min": list(source.grid_min), "max": list(source.grid_max)},
        "condition": dict(source.condition),
        "order": source.order,
        "takes_guidance_tokens": source.takes_guidance_tokens,
        "rows_independent": True,
        "codebook": "codebook.npy",
        "code_colours": "code_colours.npy",
        "graphs": graphs,
        "licence": source.licence,
        "origin": source.origin,
        **source.extra,
        **extra,
        "files": {
            path.name: {"size": path.stat().st_size, "sha256": file_digest(path)}
            for path in sorted(folder.iterdir())
            if path.name != MANIFEST
        },
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


@torch.no_grad()
def code_colours(source: Source, batch: int = 256) -> NDArray[np.float32]:
    """The colour of each code, (K,3) float32 in [0,1]: an endless grid of it decoded and averaged.

    One token with every convolution padded by repetition is exactly that: each layer of an endless
    constant grid is constant too.
    """
    decoder = source.graphs["decoder"].module
    layers = [m for m in decoder.modules() if isinstance(m, nn.Conv2d)]
    modes = [layer.padding_mode for layer in layers]
    parts = []
    try:
        for layer in layers:
            layer.padding_mode = "replicate"
        for start in range(0, source.codes, batch):
            tokens = torch.arange(start, min(start + batch, source.codes))[:, None, None]
            parts.append(decoder(tokens).mean((2, 3)))
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.padding_mode = mode
    colours: NDArray[np.float32] = torch.cat(parts).clamp(0, 1).float().numpy()
    return colours


@contextmanager
def whole_folder(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """A new folder, which becomes ``target`` if the body succeeds and vanishes otherwise."""
    is_bundle = (target / MANIFEST).is_file()
    if target.exists() and not is_bundle:
        raise MaskgitError(f"{target} is already there and no bundle; choose another name.")
    if target.exists() and not overwrite:
        raise MaskgitError(f"{target} is already there; choose another name or add --overwrite.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise cannot_write(target, error) from error
    try:
        yield folder
        folder.chmod(0o755)
        replace_folder(folder, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def replace_folder(folder: Path, target: Path) -> None:
    """Rename ``folder`` to ``target``; a bundle that was there goes once the new one stands."""
    if not target.exists():
        os.replace(folder, target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    os.replace(target, old / "bundle")
    try:
        os.replace(folder, target)
    except OSError:
        os.replace(old / "bundle", target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def cannot_write(target: Path, error: OSError) -> MaskgitError:
    """The sentence for a folder that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MaskgitError(f"The disk that holds {target} is full; free some space and try again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return MaskgitError(f"{target} may not be written; choose a folder of your own.")
    return MaskgitError(f"{target} cannot be written ({error}); choose another folder.")
