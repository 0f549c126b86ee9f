"""Google's MaskGIT: PyTorch and ONNX equal the published code on the reference vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from maskgit_daemon.bundle import Bundle, load_bundle
from maskgit_daemon.decode import DecodeJob, decode
from maskgit_daemon.noise import GivenNoise
from maskgit_export.bundle_writer import write_bundle
from maskgit_export.families.google import read, read_bert, read_vqgan
from maskgit_export.onnx_graphs import run, session

GOLDEN = Path(__file__).parent.parent / "data" / "golden" / "google_tiny"
CODES, WORDS = 64, 75
Files = tuple[Path, Path]


@pytest.fixture(scope="module")
def golden() -> Any:
    return np.load(GOLDEN / "golden.npz")


@pytest.fixture(scope="module")
def golden64() -> Any:
    return np.load(GOLDEN / "golden_f64.npz")


@pytest.fixture(scope="module")
def bundle(google_files: Files, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundles") / "google-tiny"
    return load_bundle(
        write_bundle(read(*google_files), folder, precisions=("fp32", "fp16", "int8"))
    )


def words(tokens: NDArray[Any]) -> torch.Tensor:
    """The reference's sequences, whose mask is −1, as rows of the vocabulary."""
    return torch.from_numpy(tokens.astype(np.int64) % WORDS)


def picture(golden: Any) -> torch.Tensor:
    return torch.from_numpy(golden["image_u8"] / np.float32(255)).permute(0, 3, 1, 2)


def inputs(sequence: NDArray[Any]) -> dict[str, NDArray[np.int64]]:
    """A reference sequence (B,65) as the bundle's inputs."""
    grid = sequence[:, 1:].reshape(-1, 8, 8).astype(np.int64)
    return {
        "tokens": np.where(grid < 0, CODES, grid),
        "condition": sequence[:, 0].astype(np.int64) - CODES,
    }


def test_transformer_in_float32(google_files: Files, golden: Any) -> None:
    bert = read_bert(google_files[1])
    with torch.no_grad():
        np.testing.assert_allclose(
            bert(words(golden["tokens"])), golden["logits"], atol=5e-5, rtol=0
        )
        hidden = torch.stack(bert.hidden(words(golden["tokens"])))
    np.testing.assert_allclose(hidden, golden["hidden"], atol=2e-5, rtol=0)


def test_structure_in_float64(google_files: Files, golden: Any, golden64: Any) -> None:
    bert, vqgan = read_bert(google_files[1]).double(), read_vqgan(google_files[0]).double()
    with torch.no_grad():
        logits = bert(words(golden["tokens"]))
        latents = vqgan.encoder(picture(golden).double()).permute(0, 2, 3, 1)
        image = vqgan.decode(torch.from_numpy(golden["dec_ids"]).long()).permute(0, 2, 3, 1)
    np.testing.assert_allclose(logits, golden64["logits"], atol=1e-9, rtol=0)
    np.testing.assert_allclose(latents, golden64["z"], atol=1e-9, rtol=0)
    np.testing.assert_allclose(image[:, ::4, ::4], golden64["dec_image_s4"], atol=1e-9, rtol=0)


def test_tokenizer_in_float32(google_files: Files, golden: Any) -> None:
    vqgan = read_vqgan(google_files[0])
    with torch.no_grad():
        latents = vqgan.encoder(picture(golden)).permute(0, 2, 3, 1)
        ids = vqgan.encode(picture(golden))
        image = vqgan.decode(torch.from_numpy(golden["dec_ids"]).long()).permute(0, 2, 3, 1)
    np.testing.assert_allclose(latents, golden["z"], atol=5e-4, rtol=0)
    np.testing.assert_array_equal(ids, golden["ids"])
    np.testing.assert_allclose(image, golden["dec_image"], atol=1e-4, rtol=0)


def test_onnx_graphs_equal_the_reference(bundle: Bundle, golden: Any) -> None:
    path = bundle.graphs
    logits = run(path["transformer"]["fp32"], inputs(golden["tokens"]))["logits"]
    assert logits.shape == (3, 8, 8, CODES)
    np.testing.assert_allclose(
        logits.reshape(3, 64, CODES), golden["logits"][:, 1:, :CODES], atol=5e-5, rtol=0
    )
    tokens = run(path["encoder"]["fp32"], {"image": picture(golden).numpy()})["tokens"]
    np.testing.assert_array_equal(tokens, golden["ids"])
    ids = golden["dec_ids"].astype(np.int64)
    image = run(path["decoder"]["fp32"], {"tokens": ids})["image"]
    np.testing.assert_allclose(image.transpose(0, 2, 3, 1), golden["dec_image"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["decA", "decB"])
@pytest.mark.parametrize("row", [0, 1])
def test_decode_traces_equal_the_reference(
    bundle: Bundle, golden: Any, name: str, row: int
) -> None:
    net = session(bundle.graphs["transformer"]["fp32"])
    steps, start = {"decA": (8, 0), "decB": (12, 2)}[name]
    given = inputs(golden[f"{name}_input"][row : row + 1])
    noise = GivenNoise(
        golden[f"{name}_cat_gumbel"][:, row, 1:],
        golden[f"{name}_choice_gumbel"][:, row, 1:],
        start,
    )
    job = DecodeJob(given["tokens"][0], CODES, steps=steps, start_step=start, noise=noise)
    loop = decode(job)
    ask = next(loop)
    for step in range(steps - start):
        wanted = inputs(golden[f"{name}_step_input"][step, row : row + 1])
        np.testing.assert_array_equal(ask.tokens, wanted["tokens"][0])
        feeds = {"tokens": ask.tokens[None], "condition": given["condition"]}
        logits = net.run(["logits"], feeds)[0][0]
        if step < steps - start - 1:
            ask = loop.send(logits)
            sampled = golden[f"{name}_seqs"][row, start + step, 1:].reshape(8, 8)
            np.testing.assert_array_equal(ask.sampled, sampled)
    with pytest.raises(StopIteration) as end:
        loop.send(logits)
    np.testing.assert_array_equal(
        end.value.value, golden[f"{name}_seqs"][row, -1, 1:].reshape(8, 8)
    )


def test_batch_and_picture_size_are_free(bundle: Bundle) -> None:
    tokens = np.random.default_rng(0).integers(0, CODES, (5, 3, 7))
    image = run(bundle.graphs["decoder"]["fp32"], {"tokens": tokens})["image"]
    assert image.shape == (5, 3, 48, 112)
    assert run(bundle.graphs["encoder"]["fp32"], {"image": image})["tokens"].shape == (5, 3, 7)
    one = run(bundle.graphs["decoder"]["fp32"], {"tokens": tokens[:1]})["image"]
    np.testing.assert_allclose(one, image[:1], atol=2e-5)


def test_int8_rows_do_not_change_each_other(bundle: Bundle, golden: Any) -> None:
    net = session(bundle.graphs["transformer"]["int8"])
    feeds = inputs(golden["tokens"])
    together = net.run(["logits"], feeds)[0]
    for row in range(3):
        alone = net.run(["logits"], {k: v[row : row + 1] for k, v in feeds.items()})[0][0]
        np.testing.assert_allclose(together[row], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("precision", "share"), [("int8", 0.1), ("fp16", 0.01)])
def test_smaller_precisions_stay_close(
    bundle: Bundle, golden: Any, precision: str, share: float
) -> None:
    feeds = inputs(golden["tokens"])
    exact = run(bundle.graphs["transformer"]["fp32"], feeds)["logits"]
    close = run(bundle.graphs["transformer"][precision], feeds)["logits"]
    assert close.dtype == np.float32
    assert np.abs(close - exact).mean() < share * exact.std()


def test_manifest_facts(bundle: Bundle) -> None:
    assert (bundle.stride, bundle.codes, bundle.grid_min, bundle.grid_max) == (
        16,
        64,
        (8, 8),
        (8, 8),
    )
    assert bundle.condition.kind == "class"
    assert bundle.condition.required
    assert bundle.condition.null_label is None
    assert len(bundle.condition.labels) == 10
    assert "Apache-2.0" in bundle.licence
    assert bundle.origin == "https://github.com/google-research/maskgit"
