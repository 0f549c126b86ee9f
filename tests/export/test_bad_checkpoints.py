"""Checkpoints that are not what they should be: one sentence, exit status 1, nothing written."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from maskgit_daemon.errors import MaskgitError
from maskgit_export.commands.export import export
from maskgit_export.families.flax_file import read_flax
from maskgit_export.families.registry import FAMILIES

Files = tuple[Path, Path]


class Attack:
    """A pickle that would create a file when loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.target,)


def run_export(family: str, tokenizer: Path, transformer: Path, out: Path, *more: str) -> Result:
    arguments = [family, "--tokenizer", str(tokenizer), "--transformer", str(transformer)]
    return CliRunner().invoke(export, [*arguments, "-o", str(out), *more])


def sentence(result: Result) -> str:
    """The error a user sees; asserts that it is one sentence."""
    assert isinstance(result.exception, MaskgitError), result.exception
    text = str(result.exception)
    assert text.endswith(".")
    assert "\n" not in text
    return text


def array(value: np.ndarray[Any, Any], dtype: str | None = None) -> msgpack.ExtType:
    """A flax array entry."""
    entry = (value.shape, dtype or value.dtype.name, value.tobytes())
    return msgpack.ExtType(1, msgpack.packb(entry))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where bundles would go; must be empty after the test."""
    out = tmp_path / "out"
    out.mkdir()
    yield out
    assert not list(out.iterdir())


@pytest.mark.parametrize("family", FAMILIES)
def test_missing_files(family: str, folder: Path, tmp_path: Path) -> None:
    paths = dict.fromkeys(FAMILIES[family].inputs, tmp_path / "absent")
    flags = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
    result = CliRunner().invoke(export, [family, *flags, "-o", str(folder / "b")])
    assert "absent" in sentence(result)


def test_google_files_exchanged(google_files: Files, folder: Path) -> None:
    result = run_export("google", google_files[1], google_files[0], folder / "b")
    assert "exchanged" in sentence(result) or "tokenizer" in sentence(result)


def test_file_of_another_family(google_files: Files, halton_files: Files, folder: Path) -> None:
    for family, files in (("google", halton_files), ("halton", google_files)):
        sentence(run_export(family, *files, folder / "b"))
    sentence(run_export("starter", *halton_files, folder / "b"))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_files(
    google_files: Files, halton_files: Files, folder: Path, tmp_path: Path, share: float
) -> None:
    for family, files in (("google", google_files), ("halton", halton_files)):
        cut = tmp_path / f"cut-{family}"
        content = files[1].read_bytes()
        cut.write_bytes(content[: int(len(content) * share)])
        sentence(run_export(family, files[0], cut, folder / "b"))


def test_more_bytes_after_the_end(google_files: Files, tmp_path: Path) -> None:
    longer = tmp_path / "longer"
    longer.write_bytes(google_files[1].read_bytes() + b"x")
    with pytest.raises(MaskgitError, match="after its end"):
        read_flax(longer)


@pytest.mark.parametrize(
    "params",
    [
        b"not msgpack at all \xc1",
        msgpack.packb([1, 2]),
        msgpack.packb({"params": 3}),
        msgpack.packb({"params": {"a": 1}}),
        msgpack.packb({"params": {"a": msgpack.ExtType(9, b"")}}),
        msgpack.packb({"params": {"a": msgpack.ExtType(1, msgpack.packb([1]))}}),
        msgpack.packb({"params": {"a": array(np.zeros((2, 3)), "object")}}),
        msgpack.packb({"params": {"a": array(np.zeros(3, np.float32), "float64")}}),
        msgpack.packb(
            {"params": {"a": msgpack.ExtType(1, msgpack.packb([[1 << 40], "float32", b""]))}}
        ),
    ],
)
def test_msgpack_of_other_things(params: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(params)
    with pytest.raises(MaskgitError):
        read_flax(path)


def halton_state(files: Files) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(files[1], weights_only=True)
    return state


def change_shape(weights: dict[str, Any]) -> None:
    name = "transformer.layers.1.ff.w2.weight"
    weights[name] = weights[name][:-1].clone()


def change_type(weights: dict[str, Any]) -> None:
    weights["pos_emb.weight"] = weights["pos_emb.weight"].to(torch.int32)


def drop(weights: dict[str, Any]) -> None:
    del weights["last_norm.norm_final.bias"]


def add(weights: dict[str, Any]) -> None:
    weights["in_proj.weight"] = torch.zeros(3)


def poison(weights: dict[str, Any]) -> None:
    weights["cls_emb.weight"][3, 4] = float("nan")


def untie(weights: dict[str, Any]) -> None:
    weights["head.weight"] = weights["head.weight"] + 1


@pytest.mark.parametrize("change", [change_shape, change_type, drop, add, poison, untie])
def test_unexpected_weights(
    change: Callable[[dict[str, Any]], None], halton_files: Files, folder: Path, tmp_path: Path
) -> None:
    state = halton_state(halton_files)
    change(state["model_state_dict"])
    torch.save(state, tmp_path / "changed.pth")
    text = sentence(
        run_export(
            "halton", halton_files[0], tmp_path / "changed.pth", folder / "b", "--heads", "4"
        )
    )
    assert "changed.pth" in text


def test_size_that_was_never_published_needs_heads(halton_files: Files, folder: Path) -> None:
    assert "--heads" in sentence(run_export("halton", *halton_files, folder / "b"))


@pytest.mark.parametrize("zipped", [True, False])
def test_pickle_with_code_is_not_run(
    zipped: bool, halton_files: Files, folder: Path, tmp_path: Path
) -> None:
    target, evil = tmp_path / "was-run", tmp_path / "evil.pth"
    content = {"model_state_dict": Attack(target), "model": Attack(target)}
    if zipped:
        torch.save(content, evil)
    else:
        evil.write_bytes(pickle.dumps(content, protocol=2))
    assert "refused" in sentence(run_export("halton", halton_files[0], evil, folder / "b"))
    assert "refused" in sentence(run_export("starter", evil, evil, folder / "b"))
    assert not target.exists()
