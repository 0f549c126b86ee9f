"""The reference vectors and small checkpoints that the export tests share."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent.parent / "data" / "golden"


def unpack(archive: Path, folder: Path) -> Path:
    """The gzip file unpacked into ``folder``."""
    path = folder / archive.stem
    with gzip.open(archive) as packed, path.open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    return path


@pytest.fixture(scope="session")
def google_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Tokenizer and transformer checkpoint of the small Google MaskGIT."""
    folder = GOLDEN / "google_tiny"
    tokenizer = unpack(folder / "tokenizer_tiny_checkpoint.gz", tmp_path_factory.mktemp("google"))
    return tokenizer, folder / "maskgit_tiny_checkpoint"


@pytest.fixture(scope="session")
def halton_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Tokenizer and transformer checkpoint of the small Halton-MaskGIT."""
    folder = GOLDEN / "halton_tiny"
    tokenizer = unpack(folder / "vq_ds16_tiny.pt.gz", tmp_path_factory.mktemp("halton"))
    return tokenizer, folder / "ImageNet_tiny.pth"
