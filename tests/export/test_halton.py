"""Halton-MaskGIT with LlamaGen's tokenizer equals the published code on the reference vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maskgit_daemon.bundle import Bundle, load_bundle
from maskgit_export.bundle_writer import write_bundle
from maskgit_export.families.halton import read, read_transformer
from maskgit_export.families.llamagen import read_vq
from maskgit_export.onnx_graphs import run, session

GOLDEN = Path(__file__).parent.parent / "data" / "golden" / "halton_tiny"
CODES, NULL = 64, 10
Files = tuple[Path, Path]


@pytest.fixture(scope="module")
def golden() -> Any:
    return np.load(GOLDEN / "golden.npz")


@pytest.fixture(scope="module")
def bundle(halton_files: Files, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundles") / "halton-tiny"
    return load_bundle(write_bundle(read(*halton_files, heads=4), folder))


def picture(golden: Any) -> torch.Tensor:
    return torch.from_numpy(golden["image_u8"] / np.float32(127.5) - 1).permute(0, 3, 1, 2)


def test_transformer(halton_files: Files, golden: Any) -> None:
    net = read_transformer(halton_files[1], heads=4)
    tokens = torch.from_numpy(golden["tokens"]).long()
    labels = torch.from_numpy(golden["labels"]).long()
    with torch.no_grad():
        hidden = torch.stack(net.hidden(tokens, net.cls_emb(labels)))
        raw = net(tokens, labels)
        null = net(tokens, torch.full_like(labels, NULL))
    np.testing.assert_allclose(hidden, golden["hidden_cond"], atol=5e-5, rtol=0)
    np.testing.assert_allclose(raw, golden["logits_cond"], atol=5e-5, rtol=0)
    np.testing.assert_allclose(null, golden["logits_null"], atol=5e-5, rtol=0)


def test_tokenizer(halton_files: Files, golden: Any) -> None:
    vq = read_vq(halton_files[0])
    with torch.no_grad():
        latents = vq.latents(picture(golden))
        ids = vq.quantize.nearest(latents)
        image = vq.pixels(torch.from_numpy(golden["dec_ids"]).long())
        quantized = vq.quantize.codes()[ids]
    np.testing.assert_allclose(latents.permute(0, 2, 3, 1), golden["z"], atol=1e-4, rtol=0)
    np.testing.assert_array_equal(ids, golden["ids"])
    np.testing.assert_allclose(quantized, golden["quantized"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(image.permute(0, 2, 3, 1), golden["dec_image"], atol=1e-4, rtol=0)


def test_onnx_graphs_equal_the_reference(bundle: Bundle, golden: Any) -> None:
    tokens, labels = golden["tokens"].astype(np.int64), golden["labels"].astype(np.int64)
    net = session(bundle.graphs["transformer"]["fp32"])
    for name, condition in (("cond", labels), ("null", np.full_like(labels, NULL))):
        logits = net.run(["logits"], {"tokens": tokens, "condition": condition})[0]
        wanted = golden[f"logits_{name}"][..., :CODES].reshape(3, 8, 8, CODES)
        np.testing.assert_allclose(logits, wanted, atol=5e-5, rtol=0)
    image = golden["image_u8"].transpose(0, 3, 1, 2) / np.float32(255)
    found = run(bundle.graphs["encoder"]["fp32"], {"image": image})["tokens"]
    np.testing.assert_array_equal(found, golden["ids"])
    ids = golden["dec_ids"].astype(np.int64)
    decoded = run(bundle.graphs["decoder"]["fp32"], {"tokens": ids})["image"]
    wanted = golden["dec_image"].transpose(0, 3, 1, 2) * 0.5 + 0.5
    np.testing.assert_allclose(decoded, wanted, atol=1e-4, rtol=0)


def temperatures(args: dict[str, Any]) -> torch.Tensor:
    """What the sampler multiplies the logits by at each step: a ramp, halved while warming up."""
    ramp = (
        torch.linspace(args["sm_temp_min"], args["sm_temp_max"], args["step"]) ** args["temp_pow"]
    )
    ramp[: args["temp_warmup"]] *= 0.5
    return ramp


def test_guided_sampling_equals_the_reference(halton_files: Files, golden: Any) -> None:
    """The published sampler with classifier-free guidance, on raw logits with the mask's own."""
    net = read_transformer(halton_files[1], heads=4)
    args = json.loads(str(golden["cfg_args"]))
    labels = torch.from_numpy(golden["cfg_labels"]).long()
    state = torch.full((2, 8, 8), CODES)
    for step, heat in enumerate(temperatures(args)):
        with torch.no_grad():
            guided = net(state, labels) * (1 + args["w"])
            guided -= net(state, torch.full_like(labels, NULL)) * args["w"]
        gumbel = -np.log(golden["cfg_exp_noise"][step])
        drawn = ((guided * heat).log_softmax(-1).numpy() + gumbel).argmax(-1).reshape(2, 8, 8)
        mask = golden["cfg_mask"][step].astype(bool)
        np.testing.assert_array_equal(drawn[mask], golden["cfg_pred"][step][mask])
        state = torch.where(torch.from_numpy(mask), torch.from_numpy(drawn), state)
        np.testing.assert_array_equal(state, golden["cfg_code_after"][step])
    np.testing.assert_array_equal(state.clamp(0, CODES - 1), golden["cfg_code_final"])
    vq = read_vq(halton_files[0])
    with torch.no_grad():
        image = vq.pixels(state[:1].clamp(0, CODES - 1)).clamp(-1, 1).permute(0, 2, 3, 1)
    np.testing.assert_allclose(image, golden["cfg_image"], atol=1e-4, rtol=0)


def test_guided_sampling_with_the_bundle(bundle: Bundle, golden: Any) -> None:
    """The same from the bundle's K logits, wherever the reference did not draw the mask itself."""
    net = session(bundle.graphs["transformer"]["fp32"])
    args = json.loads(str(golden["cfg_args"]))
    labels = golden["cfg_labels"].astype(np.int64)
    before = np.full((2, 8, 8), CODES)
    for step, heat in enumerate(temperatures(args).tolist()):
        both = np.concatenate([labels, np.full_like(labels, NULL)])
        feeds = {"tokens": np.concatenate([before, before]), "condition": both}
        cond, null = np.split(net.run(["logits"], feeds)[0].reshape(4, 64, CODES), 2)
        guided = ((1 + args["w"]) * cond - args["w"] * null) * np.float32(heat)
        gumbel = -np.log(golden["cfg_exp_noise"][step])[..., :CODES]
        drawn = (guided + gumbel).argmax(-1).reshape(2, 8, 8)
        wanted = golden["cfg_pred"][step]
        compared = golden["cfg_mask"][step].astype(bool) & (wanted != CODES)
        np.testing.assert_array_equal(drawn[compared], wanted[compared])
        before = golden["cfg_code_after"][step].astype(np.int64)


def test_top_k_sampling_equals_the_reference(halton_files: Files, golden: Any) -> None:
    net = read_transformer(halton_files[1], heads=4)
    args = json.loads(str(golden["topk_args"]))
    labels = torch.from_numpy(golden["topk_labels"]).long()
    state = torch.full((2, 8, 8), CODES)
    for step, heat in enumerate(temperatures(args)):
        with torch.no_grad():
            best = (net(state, labels) * heat).softmax(-1).topk(args["top_k"])
        scores = best.values.log().numpy() - np.log(golden["topk_exp_noise"][step])
        choice = torch.from_numpy(scores.argmax(-1))[..., None]
        drawn = best.indices.gather(-1, choice).view(2, 8, 8)
        mask = torch.from_numpy(golden["topk_mask"][step].astype(bool))
        state = torch.where(mask, drawn, state)
        np.testing.assert_array_equal(state, golden["topk_code_after"][step])


def test_manifest_facts(bundle: Bundle) -> None:
    assert (bundle.stride, bundle.codes, bundle.order) == (16, CODES, "halton")
    assert bundle.condition.null_label == NULL
    assert not bundle.condition.required
    np.testing.assert_allclose(np.linalg.norm(bundle.codebook, axis=1), 1, atol=1e-6)
