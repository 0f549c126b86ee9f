"""Bundles back into checkpoints: the same weights, the same logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.export.test_bundle_writer import CODES, save_starter

from maskgit_daemon.bundle import STARTER, Bundle, load_bundle
from maskgit_daemon.runtime import Conditioning, load_model
from maskgit_export.bundle_writer import write_bundle
from maskgit_export.families.starter import read
from maskgit_export.from_bundle import tokenizer_state, transformer_state
from maskgit_export.tokenizer import Tokenizer
from maskgit_export.transformer import MaskedTransformer, TransformerConfig


def written(folder: Path, net: MaskedTransformer, labels: tuple[str, ...]) -> Bundle:
    """A bundle of ``net`` beside a tokenizer that fits it."""
    tokenizer, transformer = save_starter(folder)
    state = {"kind": "transformer", "config": net.config.as_dict(), "categories": list(labels)}
    torch.save({**state, "model": net.state_dict()}, transformer)
    source = read(tokenizer, transformer)
    return load_bundle(write_bundle(source, folder / "bundle", precisions=("fp32",)))


def test_a_bundle_is_unpacked_into_the_weights_it_was_made_of() -> None:
    bundle = load_bundle(STARTER)
    config, weights = transformer_state(bundle)
    model = MaskedTransformer(config).eval()
    model.load_state_dict(weights)
    sizes, parts = tokenizer_state(bundle)
    tokenizer = Tokenizer(sizes).eval()
    tokenizer.load_state_dict(parts)
    resident = load_model(bundle, "cpu", "fp32", threads=1)
    image = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    tokens = resident.encode(image)
    with torch.no_grad():
        assert torch.equal(tokenizer.encode(torch.from_numpy(image)), torch.from_numpy(tokens))
        pixels = tokenizer.decode(torch.from_numpy(tokens)).numpy()
        null = torch.tensor([config.null_label])
        logits = model(torch.from_numpy(tokens), null).numpy()
    np.testing.assert_allclose(resident.decode(tokens), pixels, atol=1e-3)
    np.testing.assert_allclose(resident.logits(tokens), logits, atol=1e-3)


@pytest.mark.parametrize("labels", [(), ("grass", "sky")])
def test_a_model_that_takes_guidance_takes_it_still(tmp_path: Path, labels: tuple[str]) -> None:
    torch.manual_seed(0)
    config = TransformerConfig(CODES, len(labels), width=64, layers=2, heads=1, takes_guidance=True)
    net = MaskedTransformer(config).eval()
    for weight in net.parameters():
        # Weights alike, as a new model has them, would be stored as one.
        torch.nn.init.normal_(weight, std=0.1)
    bundle = written(tmp_path, net, labels)
    found, weights = transformer_state(bundle)
    assert found == config
    again = MaskedTransformer(found).eval()
    again.load_state_dict(weights)
    tokens = torch.randint(0, CODES + 1, (2, 8, 9))
    guidance = torch.randint(-1, CODES, tokens.shape)
    null = torch.full((2,), config.null_label)
    with torch.no_grad():
        guided, plain = net(tokens, null, guidance), net(tokens, null)
        assert torch.equal(again(tokens, null, guidance), guided)
        assert torch.equal(again(tokens, null, torch.full_like(tokens, -1)), plain)
    assert not torch.allclose(guided, plain, atol=1e-2)
    resident = load_model(bundle, "cpu", "fp32", threads=1)
    rows = [Conditioning()] * 2
    logits = resident.logits(tokens.numpy(), rows, guidance.numpy())
    np.testing.assert_allclose(logits, guided.numpy(), atol=1e-3)
    np.testing.assert_allclose(resident.logits(tokens.numpy(), rows), plain.numpy(), atol=1e-3)
