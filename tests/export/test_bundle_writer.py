"""Bundles are written whole or not at all, and examined by ``--check``."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner

from maskgit_daemon.bundle import load_bundle
from maskgit_daemon.errors import MaskgitError
from maskgit_export import bundle_writer
from maskgit_export.bundle_writer import code_colours, whole_folder, write_bundle
from maskgit_export.check import check_bundle
from maskgit_export.commands.export import export
from maskgit_export.families.starter import read
from maskgit_export.onnx_graphs import run
from maskgit_export.tokenizer import Tokenizer, TokenizerConfig
from maskgit_export.transformer import MaskedTransformer, TransformerConfig

CODES, CLASSES = 32, ("grass", "sky")
CONFIG = TokenizerConfig(codes=CODES, code_dim=4, width=8, encoder_blocks=1, decoder_blocks=1)


def save_starter(folder: Path, categories: tuple[str, ...] = CLASSES) -> tuple[Path, Path]:
    """Small random checkpoints as maskgit train writes them."""
    torch.manual_seed(0)
    shape = TransformerConfig(codes=CODES, classes=len(categories), width=64, layers=2, heads=2)
    net = MaskedTransformer(shape)
    for weight in net.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.1)
    files = folder / "tokenizer.pt", folder / "transformer.pt"
    states: tuple[dict[str, Any], ...] = (
        {"kind": "tokenizer", "config": CONFIG.as_dict(), "model": Tokenizer(CONFIG).state_dict()},
        {
            "kind": "transformer",
            "config": shape.as_dict(),
            "categories": list(categories),
            "model": net.state_dict(),
        },
    )
    for path, state in zip(files, states, strict=True):
        torch.save(state, path)
    return files


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return save_starter(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="module")
def folder(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("bundles") / "small"
    return write_bundle(read(*files), target, precisions=("fp32", "fp16", "int8"))


def test_starter_equals_its_checkpoints_on_any_grid(files: tuple[Path, Path], folder: Path) -> None:
    source, bundle = read(*files), load_bundle(folder)
    rng = np.random.default_rng(0)
    for shape in ((1, 8, 8), (3, 8, 13), (2, 21, 9)):
        tokens = torch.from_numpy(rng.integers(0, CODES + 1, shape))
        label = torch.from_numpy(rng.integers(0, len(CLASSES) + 1, shape[0]))
        with torch.no_grad():
            wanted = source.graphs["transformer"].module(tokens, label)
        feeds = {"tokens": tokens.numpy(), "condition": label.numpy()}
        found = run(bundle.graphs["transformer"]["fp32"], feeds)["logits"]
        assert found.shape == (*shape, CODES)
        np.testing.assert_allclose(found, wanted, atol=2e-5)
        with torch.no_grad():
            wanted = source.graphs["decoder"].module(tokens % CODES)
        found = run(bundle.graphs["decoder"]["fp32"], {"tokens": tokens.numpy() % CODES})["image"]
        np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_without_classes_nothing_is_asked(tmp_path: Path) -> None:
    source = read(*save_starter(tmp_path, ()))
    bundle = load_bundle(write_bundle(source, tmp_path / "plain", precisions=("fp32",)))
    assert bundle.condition.kind == "none"
    tokens = np.full((1, 8, 8), CODES)
    logits = run(bundle.graphs["transformer"]["fp32"], {"tokens": tokens})["logits"]
    assert logits.shape == (1, 8, 8, CODES)


def test_every_listed_precision_has_its_deviation(folder: Path) -> None:
    graphs = json.loads((folder / "manifest.json").read_text())["graphs"]
    assert set(graphs["transformer"]) == {"fp32", "fp16", "int8"}
    for variants in graphs.values():
        assert variants["fp32"]["deviation"]
        for facts in variants.values():
            for numbers in facts["deviation"].values():
                assert numbers.get("changed", 0) <= 0.02
                assert numbers.get("max", 0) <= 0.2 * numbers.get("std", 1)


def test_versions_that_older_runtimes_load(folder: Path) -> None:
    for path in folder.glob("*.onnx"):
        model = onnx.load(os.fspath(path))
        assert model.ir_version <= 10
        assert {o.domain: o.version for o in model.opset_import}[""] <= 21


def test_colour_of_a_code_is_that_of_a_wide_constant_grid(files: tuple[Path, Path]) -> None:
    source = read(*files)
    colours = code_colours(source)
    assert colours.shape == (CODES, 3)
    with torch.no_grad():
        wide = source.graphs["decoder"].module(torch.full((1, 24, 24), 5))
    middle = wide[0, :, 88:104, 88:104].mean((1, 2)).clamp(0, 1)
    np.testing.assert_allclose(colours[5], middle, atol=1e-5)
    assert all(
        layer.padding_mode == "zeros"
        for layer in source.graphs["decoder"].module.modules()
        if isinstance(layer, torch.nn.Conv2d)
    )


def test_half_storage_halves_the_files(
    files: tuple[Path, Path], folder: Path, tmp_path: Path
) -> None:
    small = write_bundle(read(*files), tmp_path / "s", precisions=("fp32",), half_storage=True)
    whole = (folder / "transformer.onnx").stat().st_size
    assert (small / "transformer.onnx").stat().st_size < 0.7 * whole
    deviation = json.loads((small / "manifest.json").read_text())["graphs"]["transformer"]
    assert 0 < deviation["fp32"]["deviation"]["logits"]["max"] < 0.02


def test_existing_folders(files: tuple[Path, Path], folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MaskgitError, match="--overwrite"), whole_folder(folder, overwrite=False):
        pytest.fail("was begun")
    other = tmp_path / "pictures"
    other.mkdir()
    (other / "holiday.jpg").touch()
    with pytest.raises(MaskgitError, match="no bundle"), whole_folder(other, overwrite=True):
        pytest.fail("was begun")
    old = tmp_path / "old"
    old.mkdir()
    (old / "manifest.json").write_text("{}")
    write_bundle(read(*files), old, precisions=("fp32",), overwrite=True)
    assert load_bundle(old).codes == CODES
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old", "pictures"]


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "is full"), (errno.EACCES, "may not be written"), (errno.EIO, "cannot be")],
)
def test_failing_disk_leaves_nothing(tmp_path: Path, number: int, words: str) -> None:
    target = tmp_path / "b"

    def begin_and_fail() -> None:
        with whole_folder(target, overwrite=False) as inner:
            (inner / "encoder.onnx").write_bytes(b"half")
            raise OSError(number, os.strerror(number))

    with pytest.raises(MaskgitError, match=words):
        begin_and_fail()
    assert not list(tmp_path.iterdir())


def test_full_disk(files: tuple[Path, Path], tmp_path: Path) -> None:
    """A real limit on file size, as a full disk gives: the export ends in a sentence."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(MaskgitError, match="cannot be written"):
            write_bundle(read(*files), tmp_path / "b", precisions=("fp32",))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_interrupted_export_leaves_nothing(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle_writer, "write_manifest", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(read(*files), tmp_path / "b", precisions=("fp32",))
    assert not list(tmp_path.iterdir())


def test_folder_below_a_file(files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MaskgitError, match="cannot be written"):
        write_bundle(read(*files), tmp_path / "file" / "b", precisions=("fp32",))


def test_check_prints_a_table(folder: Path) -> None:
    result = CliRunner().invoke(export, ["--check", str(folder)])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].split()[:4] == ["graph", "precision", "opset", "ir"]
    assert sum(line.startswith("transformer") for line in lines) == 3
    rows = json.loads(CliRunner().invoke(export, ["--check", str(folder), "--json"]).output)
    assert {row["graph"] for row in rows} == {"encoder", "transformer", "decoder"}


def copy_bundle(folder: Path, target: Path) -> Path:
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def replace(folder: Path, name: str, content: bytes) -> None:
    """Change a file and its entry in the manifest, so that hashes agree."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = {
        "size": len(content),
        "sha256": bundle_writer.file_digest(folder / name),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_check_refuses_what_is_no_graph(folder: Path, tmp_path: Path) -> None:
    broken = copy_bundle(folder, tmp_path / "broken")
    replace(broken, "decoder.onnx", b"no protobuf")
    with pytest.raises(MaskgitError, match="not a working graph"):
        check_bundle(broken)


def test_check_refuses_a_graph_of_another_model(folder: Path, tmp_path: Path) -> None:
    mixed = copy_bundle(folder, tmp_path / "mixed")
    replace(mixed, "decoder.onnx", (folder / "encoder.onnx").read_bytes())
    with pytest.raises(MaskgitError, match="gives tokens where a decoder gives image"):
        check_bundle(mixed)


def test_check_notices_tampering(folder: Path, tmp_path: Path) -> None:
    changed = copy_bundle(folder, tmp_path / "changed")
    content = bytearray((changed / "encoder.onnx").read_bytes())
    content[-100] ^= 1
    (changed / "encoder.onnx").write_bytes(content)
    result = CliRunner().invoke(export, ["--check", str(changed)])
    assert isinstance(result.exception, MaskgitError)
    assert "SHA-256" in str(result.exception)
