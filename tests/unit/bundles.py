"""Small bundles for tests: sound in form, their graphs are a few bytes that nothing runs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

CODES = 16


def seal(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest with size and SHA-256 of every file beside it."""
    manifest["files"] = {
        path.name: {
            "size": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(folder.iterdir())
        if path.name != "manifest.json"
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def small_bundle(folder: Path) -> dict[str, Any]:
    """Make a bundle in ``folder`` and return its manifest."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    np.save(folder / "codebook.npy", rng.random((CODES, 4), np.float32))
    np.save(folder / "code_colours.npy", rng.random((CODES, 3), np.float32))
    graphs: dict[str, Any] = {}
    for name in ("encoder", "transformer", "decoder"):
        (folder / f"{name}.onnx").write_bytes(f"this is the {name}".encode())
        graphs[name] = {"fp32": {"file": f"{name}.onnx"}}
    manifest: dict[str, Any] = {
        "format": 1,
        "name": folder.name,
        "family": "starter",
        "stride": 8,
        "codebook_size": CODES,
        "mask_id": CODES,
        "grid": {"min": [8, 8], "max": [32, 32]},
        "condition": {"kind": "class", "labels": ["rock", "water, sea"], "null_label": 2},
        "codebook": "codebook.npy",
        "code_colours": "code_colours.npy",
        "graphs": graphs,
        "licence": "CC0-1.0",
        "origin": "a test",
    }
    seal(folder, manifest)
    return manifest
