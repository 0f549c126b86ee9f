"""A bundle is whole, or it is refused in a sentence that names what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.bundles import CODES, seal, small_bundle

from maskgit_daemon.bundle import STARTER, Bundle, load_bundle
from maskgit_daemon.errors import BundleError, MaskgitError
from maskgit_daemon.runtime import load_model, pick_device

FILES = ("encoder.onnx", "transformer.onnx", "decoder.onnx", "codebook.npy", "code_colours.npy")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_bundle(tmp_path / "mine")
    return tmp_path / "mine"


def manifest_of(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text("utf-8"))


def refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def test_a_whole_bundle_says_all_about_itself(folder: Path) -> None:
    bundle = load_bundle(folder)
    assert (bundle.name, bundle.stride, bundle.codes, bundle.mask_id) == ("mine", 8, CODES, CODES)
    assert (bundle.grid_min, bundle.grid_max) == ((8, 8), (32, 32))
    assert bundle.condition.labels == ("rock", "water, sea")
    assert bundle.codebook.shape == (CODES, 4)
    assert bundle.codebook.dtype == bundle.code_colours.dtype == np.float32
    assert bundle.graph("decoder", "int8") == folder / "decoder.onnx"
    assert bundle.graph("classifier", "fp32") is None


def test_the_digest_tells_bundles_apart(folder: Path, tmp_path: Path) -> None:
    manifest = small_bundle(tmp_path / "other")
    first, second = load_bundle(folder), load_bundle(tmp_path / "other")
    assert first.digest != second.digest
    seal(tmp_path / "other", manifest | {"name": "mine"})
    assert load_bundle(tmp_path / "other").digest == first.digest


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_told(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"lacks {name}" in refusal(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_off_is_told(folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:-1])
    assert f"{name} has {path.stat().st_size} bytes instead of" in refusal(folder)


@pytest.mark.parametrize("name", FILES)
def test_one_changed_bit_is_told(folder: Path, name: str) -> None:
    path = folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert f"{name} does not match its SHA-256" in refusal(folder)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    assert "is not a model bundle" in refusal(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"format": ' + b"9" * 5000 + b"}"]
)
def test_a_manifest_that_is_no_json_is_told(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    assert "manifest.json cannot be read" in refusal(folder)


@pytest.mark.parametrize("content", [[], "text", None, {}, {"format": 2}])
def test_another_format_is_told(folder: Path, content: Any) -> None:
    (folder / "manifest.json").write_text(json.dumps(content))
    assert "this program reads format 1" in refusal(folder)


@pytest.mark.parametrize("name", ["../mine/encoder.onnx", "/etc/passwd", "manifest.json", ".", ""])
def test_a_file_elsewhere_is_never_read(folder: Path, name: str) -> None:
    manifest = manifest_of(folder)
    manifest["files"][name] = {"size": 0, "sha256": ""}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "is not a plain file name" in refusal(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"mask_id": 0}, "mask_id"),
        ({"min_p": 1.5}, "min_p is 1.5"),
        ({"min_p": float("nan")}, "min_p is nan"),
        ({"stride": 0}, "not a whole number"),
        ({"stride": True}, "not a whole number"),
        ({"codebook_size": 2**40}, "not a whole number"),
        ({"grid": {"min": [8, 8], "max": [4, 32]}}, "grid from"),
        ({"grid": {"min": [8], "max": [32]}}, "grid from"),
        ({"condition": {"kind": "mood"}}, "condition kind 'mood'"),
        ({"condition": {"kind": "class"}}, "without labels"),
        ({"condition": {"kind": "class", "labels": [1]}}, "not texts"),
        ({"graphs": {}}, "no encoder graph"),
        ({"graphs": {"oracle": {}}}, "oracle"),
        ({"graphs": {"encoder": {"fp32": {"file": "/bin/sh"}}}}, "encoder"),
        ({"codebook": "/etc/passwd"}, "codebook is not among the files"),
        ({"codebook": "encoder.onnx"}, "is not complete"),
        ({"code_colours": "codebook.npy"}, "not RGB"),
        ({"guidance_kernel": "kernel.npy"}, "guidance_kernel is not among the files"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_told(
    folder: Path, change: dict[str, Any], says: str
) -> None:
    seal(folder, manifest_of(folder) | change)
    assert says in refusal(folder)


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where in a manifest something could be changed."""
    inside = value.items() if isinstance(value, dict) else []
    inside = enumerate(value) if isinstance(value, list) else inside
    return [path] * bool(path) + [p for key, one in inside for p in paths_of(one, (*path, key))]


JSON = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=4),
    st.just([]),
    st.just({}),
    st.lists(st.integers(-1, 40), max_size=3),
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_a_manifest_says_it_is_a_bundle_or_a_sentence(
    folder: Path, data: st.DataObject
) -> None:
    manifest = manifest_of(folder)
    path = data.draw(st.sampled_from(paths_of(manifest)))
    parent = manifest
    for key in path[:-1]:
        parent = parent[key]
    before = json.dumps(manifest)
    if isinstance(parent, dict) and data.draw(st.booleans()):
        del parent[path[-1]]
    else:
        parent[path[-1]] = data.draw(JSON)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    try:
        loaded: Bundle | str = load_bundle(folder)
    except BundleError as error:
        loaded = str(error)
    finally:
        (folder / "manifest.json").write_text(before, encoding="utf-8")
    assert isinstance(loaded, Bundle) or loaded.endswith(".")


def test_a_graph_that_is_no_onnx_is_told(folder: Path) -> None:
    with pytest.raises(BundleError, match=r"onnx does not load in ONNX Runtime: .+\.$"):
        load_model(load_bundle(folder))


def test_a_device_that_is_not_there_is_told() -> None:
    with pytest.raises(MaskgitError, match="There is no device 'tpu'"):
        pick_device("tpu")
    assert pick_device("cpu") == "cpu"


def test_the_bundle_that_ships_is_whole_and_small() -> None:
    bundle = load_bundle(STARTER)
    assert (bundle.name, bundle.licence) == ("starter", "CC-BY-SA-4.0")
    files = [path for path in STARTER.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 64 * 2**20
