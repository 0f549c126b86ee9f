"""Trained guidance: what is learned lands in a bundle that can do more than before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from tests.export.test_bundle_writer import save_starter

from maskgit_daemon.bundle import STARTER, load_bundle
from maskgit_daemon.errors import MaskgitError
from maskgit_daemon.guidance.edit_self import code_l2_kernel
from maskgit_daemon.refine import refine
from maskgit_daemon.request import RefineRequest
from maskgit_daemon.runtime import load_model
from maskgit_export.bundle_writer import write_bundle
from maskgit_export.commands.train import train
from maskgit_export.families.starter import read
from maskgit_export.run import load_checkpoint
from maskgit_export.train_guidance import (
    add_kernel,
    iterative_loss,
    kernel_loss,
    unroll,
    with_guidance,
)
from maskgit_export.transformer import MaskedTransformer, TransformerConfig

CODES = 32


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return save_starter(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="module")
def folder(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(read(*files), tmp_path_factory.mktemp("bundles") / "small")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pictures")
    for number in range(2):
        small = np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)
        large = Image.fromarray(small).resize((320, 288), Image.Resampling.BICUBIC)
        large.save(place / f"{number}.png")
    return place


def refined(bundle: Path, method: str) -> np.ndarray:
    pixels = np.random.default_rng(1).integers(0, 256, (96, 96, 4), np.uint8)
    pixels[..., 3] = 255
    selection = np.zeros((96, 96), np.uint8)
    selection[32:64, 32:64] = 255
    request = RefineRequest(pixels, selection, strength=0.5, guidance=method, steps=2)
    return refine(load_model(load_bundle(bundle)), request)[0].pixels


def test_a_second_pass_hides_some_of_what_the_first_hid() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, CODES, (4, 8, 8))
    tokens[:, 2:6, 2:6] = CODES
    logits = rng.normal(size=(4, 8, 8, CODES)).astype(np.float32)
    second = unroll(logits, tokens, CODES, rng)
    assert (second.hidden <= (tokens == CODES)).all()
    assert second.hidden.any((1, 2)).all()
    assert ((second.rejected >= 0) == second.hidden).all()
    known = tokens != CODES
    assert np.array_equal(second.tokens[known], tokens[known])


def test_the_kernel_learns_which_reject_means_which_truth() -> None:
    torch.manual_seed(0)
    codebook = np.random.default_rng(0).normal(size=(CODES, 4)).astype(np.float32)
    kernel = torch.from_numpy(code_l2_kernel(codebook)).requires_grad_()
    adam = torch.optim.Adam([kernel], lr=0.05)
    rejected = torch.arange(CODES).repeat(8)
    truth, logits = rejected.flip(0), torch.ones(len(rejected), CODES)
    confidence = torch.full((len(rejected),), 0.75)
    losses = []
    for _ in range(60):
        loss = kernel_loss(kernel, logits, rejected, truth, confidence)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert (kernel.detach()[rejected].argmax(1) == truth).float().mean() > 0.95


class TestTheCommands:
    def test_guidance_gives_a_bundle_that_can_do_self_learned(
        self, folder: Path, pictures: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(MaskgitError, match="maskgit train guidance"):
            refined(folder, "self-learned")
        target = tmp_path / "learned"
        words = ["guidance", "--data", str(pictures), "--bundle", str(folder), "-o", str(target)]
        result = CliRunner().invoke(train, [*words, "--minutes", "0.02", "--side", "8"])
        assert result.exit_code == 0, result.output
        kernel = np.load(target / "guidance_kernel.npy")
        assert kernel.shape == (CODES, CODES)
        # The codes' own L2 has zeros there.
        assert np.abs(np.diag(kernel)).max() > 1e-4
        assert refined(target, "self-learned").shape == (32, 32, 4)

    def test_iterative_gives_a_model_that_takes_guidance_tokens(
        self, folder: Path, files: tuple[Path, Path], pictures: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(MaskgitError, match="maskgit train iterative"):
            refined(folder, "iterative")
        words = ["iterative", "--data", str(pictures), "--out", str(tmp_path / "run")]
        words += ["--tokenizer", str(files[0]), "--transformer", str(files[1])]
        words += ["--minutes", "0.02", "--side", "8", "--batch", "2", "--threads", "1"]
        result = CliRunner().invoke(train, words)
        assert result.exit_code == 0, result.output
        tuned = tmp_path / "run" / "transformer.pt"
        target = write_bundle(read(files[0], tuned), tmp_path / "tuned", precisions=("fp32",))
        assert load_bundle(target).takes_guidance_tokens
        assert refined(target, "iterative").shape == (32, 32, 4)


def test_iterative_starts_from_a_bundle_alone_and_says_what_it_needs(
    pictures: Path, tmp_path: Path
) -> None:
    words = ["iterative", "--data", str(pictures), "--out", str(tmp_path), "--minutes", "0.01"]
    refused = CliRunner().invoke(train, words)
    assert refused.exit_code == 2
    assert "Give --init with a bundle" in refused.output
    result = CliRunner().invoke(train, [*words, "--init", str(STARTER)])
    assert result.exit_code == 0, result.output
    assert load_checkpoint(tmp_path / "transformer.pt")["config"]["takes_guidance"]


def test_a_kernel_that_was_tampered_with_is_refused(folder: Path, tmp_path: Path) -> None:
    target = add_kernel(
        folder, np.zeros((CODES, CODES), np.float32), tmp_path / "b", overwrite=False
    )
    assert json.loads((target / "manifest.json").read_text())["guidance_kernel"]
    file = target / "guidance_kernel.npy"
    file.write_bytes(file.read_bytes()[:-2] + b"xx")
    with pytest.raises(MaskgitError, match="SHA-256"):
        load_bundle(target)


def test_tuning_begins_as_the_model_it_came_from(files: tuple[Path, Path]) -> None:
    state = load_checkpoint(files[1])
    plain = MaskedTransformer(TransformerConfig(**state["config"]))
    plain.load_state_dict(state["model"])
    tuned = with_guidance(state)
    tokens, labels = torch.randint(0, CODES, (2, 8, 8)), torch.zeros(2, dtype=torch.int64)
    with torch.no_grad():
        assert torch.equal(plain(tokens, labels), tuned(tokens, labels, tokens))
    loss = iterative_loss(tuned, tokens, labels, np.random.default_rng(0))
    loss.backward()
    assert tuned.guide.weight.grad is not None
    assert tuned.guide.weight.grad.abs().sum() > 0
