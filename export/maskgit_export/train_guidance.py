"""MaskGIT-Edit's trained guidance: a learned kernel, and a transformer tuned on its own rejects.

Both unroll two passes of the decoder (joel99/maskgit_edit, Apache-2.0, read as a rule): the first
draws all hidden tokens and masks the least sure again; what it drew there is the guidance of the
second pass, which has to find the true tokens.  Cross-entropy with label smoothing 0.1.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from maskgit_daemon.bundle import MANIFEST, Bundle, file_digest, load_bundle
from maskgit_daemon.decode import DecodeJob, advance, begin
from maskgit_daemon.errors import MaskgitError
from maskgit_daemon.guidance.edit_self import code_l2_kernel
from maskgit_daemon.noise import SeededNoise
from maskgit_daemon.runtime import Conditioning, Model
from maskgit_export.bundle_writer import whole_folder
from maskgit_export.data import crops, load_folder
from maskgit_export.masking import random_masks
from maskgit_export.run import Clock, learning_rate, load_checkpoint, save_checkpoint
from maskgit_export.tokenizer import STRIDE
from maskgit_export.train_tokenizer import to_tensor
from maskgit_export.train_transformer import load_tokenizer
from maskgit_export.transformer import MaskedTransformer, TransformerConfig

Tokens = NDArray[np.int64]
Logits = NDArray[np.float32]

STEPS = 8
SMOOTHING = 0.1
KERNEL_FILE = "guidance_kernel.npy"


@dataclass(frozen=True)
class KernelPlan:
    """How to train a kernel; every field is a flag of the command."""

    minutes: float = 10.0
    batch: int = 4
    side: int = 16
    rate: float = 0.003
    seed: int = 0


@dataclass(frozen=True)
class IterativePlan:
    """How to tune a transformer to take guidance; every field is a flag of the command."""

    minutes: float = 30.0
    batch: int = 16
    side: int = 16
    rate: float = 2e-4
    label_dropout: float = 0.2
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Second:
    """The second pass: ``tokens`` (B,h,w) with the mask id where ``hidden``, ``rejected`` the first
    pass's draws there and −1 elsewhere."""

    tokens: Tokens
    hidden: NDArray[np.bool_]
    rejected: Tokens


def unroll(logits: Logits, tokens: Tokens, codes: int, rng: np.random.Generator) -> Second:
    """One pass of the decoder on each row, at a step of its own.

    ``logits`` (B,h,w,K), ``tokens`` (B,h,w) with the mask id ``codes`` where hidden.

    What stays after it is what was drawn, as in decoding, not the truth.
    """
    after, rejected = [], []
    for row, known in zip(logits, tokens, strict=True):
        noise = SeededNoise(int(rng.integers(2**62)))
        step = int(rng.integers(STEPS - 1))
        job = DecodeJob(known, codes, steps=STEPS, start_step=step, noise=noise)
        state = advance(job, begin(job), row)
        assert state.sampled is not None
        after.append(state.tokens)
        rejected.append(np.where(state.tokens == codes, state.sampled, -1))
    grid = np.stack(after)
    return Second(grid, grid == codes, np.stack(rejected))


def kernel_loss(
    kernel: Tensor, logits: Tensor, rejected: Tensor, truth: Tensor, confidence: Tensor
) -> Tensor:
    """Cross-entropy of logits (n,K) · w against ``truth`` (n,).

    w = softmax(kernel[rejected]·τ(c)) over its mean, τ(c) = 1e-6·(1e8)^c, as in decoding.
    """
    energy = kernel[rejected] * (1e-6 * 1e8**confidence).unsqueeze(1)
    weight = energy.softmax(1) * kernel.shape[1]
    return F.cross_entropy(logits * weight, truth, label_smoothing=SMOOTHING)


def train_kernel(model: Model, data: Path, plan: KernelPlan) -> NDArray[np.float32]:
    """A kernel (K,K) for the guidance self-learned, starting from the codes' L2; any bundle does.

    The bundle's own graphs make both passes; only the kernel is trained, at confidences drawn from
    0.5 … 0.9.
    """
    bundle = model.bundle
    rng = np.random.default_rng(plan.seed)
    kernel = torch.from_numpy(code_l2_kernel(bundle.codebook)).requires_grad_()
    adam = torch.optim.Adam([kernel], lr=plan.rate)
    clock, bar = Clock(plan.minutes), tqdm(total=round(plan.minutes * 60), unit="s")
    for step, tokens in enumerate(_tokens(model, data, plan, rng)):
        if clock.progress >= 1.0:
            break
        masks = _masks(len(tokens), plan.side, rng)
        rows = [_no_class(bundle)] * len(tokens)
        hidden = np.where(masks, bundle.codes, tokens)
        second = unroll(model.logits(hidden, rows), hidden, bundle.codes, rng)
        logits = model.logits(second.tokens, rows)[second.hidden]
        confidence = torch.from_numpy(rng.uniform(0.5, 0.9, len(logits)).astype(np.float32))
        loss = kernel_loss(
            kernel,
            torch.from_numpy(logits),
            torch.from_numpy(second.rejected[second.hidden]),
            torch.from_numpy(tokens[second.hidden]),
            confidence,
        )
        adam.param_groups[0]["lr"] = learning_rate(plan.rate, clock.progress, step, warmup=10)
        adam.zero_grad()
        loss.backward()
        adam.step()
        bar.n = min(round(clock.seconds), bar.total)
        bar.set_postfix(step=step, loss=f"{loss.item():.3f}")
    bar.close()
    trained: NDArray[np.float32] = kernel.detach().numpy()
    return trained


def add_kernel(source: Path, kernel: NDArray[np.float32], target: Path, *, overwrite: bool) -> Path:
    """A copy of the bundle ``source`` at ``target`` that holds ``kernel`` (stored as float16)."""
    load_bundle(source)
    with whole_folder(target, overwrite=overwrite) as folder:
        for path in source.iterdir():
            shutil.copyfile(path, folder / path.name)
        file = folder / KERNEL_FILE
        np.save(file, kernel.astype(np.float16))
        manifest = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
        manifest["guidance_kernel"] = KERNEL_FILE
        facts = {"size": file.stat().st_size, "sha256": file_digest(file)}
        manifest["files"][KERNEL_FILE] = facts
        text = json.dumps(manifest, indent=1, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
        load_bundle(folder)
    return target


def train_iterative(
    data: Path, tokenizer: Path, transformer: Path, out: Path, plan: IterativePlan
) -> Path:
    """Tune a starter's transformer to take its rejected samples; returns ``out``/transformer.pt.

    The second embedding starts at zero, so the tuned model begins as the one it came from.  Both
    passes are trained: the first as before, so that plain decoding does not suffer.
    """
    state = load_checkpoint(transformer)
    model = with_guidance(state)
    vq = load_tokenizer(tokenizer)
    rng = np.random.default_rng(plan.seed)
    adam = torch.optim.AdamW(model.parameters(), lr=plan.rate, betas=(0.9, 0.96))
    extent = plan.side * STRIDE
    stream = crops(load_folder(data), plan.batch, extent, extent, rng)
    clock, bar = Clock(plan.minutes), tqdm(total=round(plan.minutes * 60), unit="s")
    step = 0
    while clock.progress < 1.0:
        pixels, categories = next(stream)
        with torch.no_grad():
            tokens = vq.encode(to_tensor(pixels))
        labels = torch.from_numpy(categories).clamp_max(model.config.null_label)
        labels[torch.from_numpy(rng.random(len(labels)) < plan.label_dropout)] = (
            model.config.null_label
        )
        adam.param_groups[0]["lr"] = learning_rate(plan.rate, clock.progress, step, warmup=20)
        loss = iterative_loss(model, tokens, labels, rng)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        step += 1
        bar.n = min(round(clock.seconds), bar.total)
        bar.set_postfix(step=step, loss=f"{loss.item():.3f}")
    bar.close()
    path = out / "transformer.pt"
    tuned = {**state, "config": model.config.as_dict(), "model": model.state_dict()}
    tuned.pop("optimisers", None)
    save_checkpoint(path, tuned)
    return path


def with_guidance(state: dict[str, object]) -> MaskedTransformer:
    """The model of a transformer checkpoint with the second embedding, zero if it is new."""
    config = TransformerConfig(**state["config"])  # type: ignore[arg-type]
    model = MaskedTransformer(replace(config, takes_guidance=True))
    weights = {"guide.weight": model.guide.weight, **state["model"]}  # type: ignore[dict-item]
    model.load_state_dict(weights)
    return model


def iterative_loss(
    model: MaskedTransformer, tokens: Tensor, labels: Tensor, rng: np.random.Generator
) -> Tensor:
    """Mean cross-entropy of both passes on tokens (B,h,w), each at its own hidden tokens."""
    codes = model.config.codes
    masks = torch.from_numpy(_masks(len(tokens), tokens.shape[1], rng))
    hidden = tokens.masked_fill(masks, codes)
    with torch.autocast(tokens.device.type, torch.bfloat16):
        first = model(hidden, labels, torch.full_like(tokens, -1)).float()
    second = unroll(first.detach().numpy(), hidden.numpy(), codes, rng)
    with torch.autocast(tokens.device.type, torch.bfloat16):
        after = model(
            torch.from_numpy(second.tokens), labels, torch.from_numpy(second.rejected)
        ).float()
    again = torch.from_numpy(second.hidden)
    return 0.5 * (
        F.cross_entropy(first[masks], tokens[masks], label_smoothing=SMOOTHING)
        + F.cross_entropy(after[again], tokens[again], label_smoothing=SMOOTHING)
    )


def _masks(batch: int, side: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    masks = random_masks(batch, side, side, rng, schedule="cosine", holes=0.5)
    # Two hidden tokens at least: one that may stay and one to be masked again.
    masks[:, side // 2, side // 2 : side // 2 + 2] = True
    return np.asarray(masks.numpy(), np.bool_)


def _tokens(
    model: Model, data: Path, plan: KernelPlan, rng: np.random.Generator
) -> Iterator[Tokens]:
    extent = plan.side * model.bundle.stride
    for pixels, _ in crops(load_folder(data), plan.batch, extent, extent, rng):
        image = pixels.astype(np.float32).transpose(0, 3, 1, 2) / np.float32(255)
        yield model.encode(np.ascontiguousarray(image))


def _no_class(bundle: Bundle) -> Conditioning:
    """What a row is conditioned on where nothing is asked for."""
    condition = bundle.condition
    if condition.kind == "prompt" or (condition.kind == "class" and condition.null_label is None):
        raise MaskgitError(
            f"The model {bundle.name} cannot run without a {condition.kind}; "
            "train the kernel on a model with a null class."
        )
    return Conditioning(label=condition.null_label)
