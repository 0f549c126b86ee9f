"""Stage 2: masked visual token modelling (MaskGIT, section 3.2; ``maskgit train transformer``)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from maskgit_export.data import PictureFolder, crops, load_folder
from maskgit_export.masking import random_masks
from maskgit_export.parallel import average_gradients, join_team, share_clock
from maskgit_export.run import (
    Run,
    channels_last,
    learning_rate,
    load_checkpoint,
    save_grid,
)
from maskgit_export.tokenizer import STRIDE, Tokenizer, TokenizerConfig
from maskgit_export.train_tokenizer import to_tensor
from maskgit_export.transformer import MaskedTransformer, TransformerConfig

LOG = logging.getLogger(__name__)

GRIDS = ((16, 16),) * 6 + ((12, 24), (24, 12), (20, 20), (8, 16), (16, 8), (24, 24), (32, 32))
"""Token grids drawn in training, (height, width); 16×16 about half the time."""


@dataclass(frozen=True)
class TransformerPlan:
    """How to train; every field is a flag of the command."""

    minutes: float = 60.0
    tokens_per_step: int = 10_240
    rate: float = 2e-3
    muon_rate: float = 0.02
    optimiser: str = "muon"
    schedule: str = "cosine"
    holes: float = 0.4
    label_smoothing: float = 0.1
    label_dropout: float = 0.2
    seed: int = 0
    save_seconds: float = 120.0


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a training checkpoint, ready to encode."""
    state = load_checkpoint(path)
    tokenizer = Tokenizer(TokenizerConfig(**state["config"]))
    tokenizer.load_state_dict(state["model"])
    return channels_last(tokenizer.eval().requires_grad_(False))


def optimisers(model: MaskedTransformer, plan: TransformerPlan) -> list[torch.optim.Optimizer]:
    """Adam β = (0.9, 0.96) as in the paper; with ``muon`` the block matrices take Muon instead.

    Muon (torch.optim.Muon) orthogonalises the momentum of a matrix; on these sizes it needs about
    half of Adam's steps for the same loss.
    """
    matrices = [p for b in model.blocks for p in b.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices} if plan.optimiser == "muon" else set()
    rest = [p for p in model.parameters() if id(p) not in chosen]
    adam = torch.optim.AdamW(rest, lr=plan.rate, betas=(0.9, 0.96), weight_decay=0.01)
    if not chosen:
        return [adam]
    muon = torch.optim.Muon(matrices, lr=plan.muon_rate, momentum=0.95, weight_decay=0.01)
    return [adam, muon]


def masked_loss(
    model: MaskedTransformer,
    tokens: Tensor,
    masks: Tensor,
    labels: Tensor,
    *,
    smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy in nats per hidden token; logits are computed at hidden places alone."""
    with torch.autocast(tokens.device.type, torch.bfloat16):
        hidden = model.features(tokens.masked_fill(masks, model.config.codes), labels)
        logits = model.head(hidden[masks])
    return F.cross_entropy(logits.float(), tokens[masks], label_smoothing=smoothing)


@torch.no_grad()
def validation_windows(
    tokenizer: Tokenizer, folder: PictureFolder, count: int, side: int = 16
) -> tuple[Tensor, Tensor]:
    """Tokens (count,side,side) and labels of fixed random windows, for a comparable loss."""
    rng = np.random.default_rng(12345)
    batches = crops(folder, count, side * STRIDE, side * STRIDE, rng)
    pixels, labels = next(batches)
    parts = [tokenizer.encode(to_tensor(pixels[i : i + 32])) for i in range(0, count, 32)]
    return torch.cat(parts), torch.from_numpy(labels)


@torch.no_grad()
def validation_loss(model: MaskedTransformer, tokens: Tensor) -> float:
    """Nats per hidden token with a fixed random half hidden, under the null label."""
    model.eval()
    masks = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(7)) < 0.5
    labels = torch.full((len(tokens),), model.config.null_label)
    losses = [
        float(masked_loss(model, tokens[i : i + 32], masks[i : i + 32], labels[i : i + 32]))
        for i in range(0, len(tokens), 32)
    ]
    model.train()
    return sum(losses) / len(losses)


@torch.no_grad()
def sample_fill(
    model: MaskedTransformer, tokenizer: Tokenizer, tokens: Tensor, *, steps: int = 8
) -> Tensor:
    """Pictures (B,3,H,W) whose centre half was sampled anew, for the eye only."""
    model.eval()
    side = tokens.shape[1]
    hole = torch.zeros_like(tokens, dtype=torch.bool)
    hole[:, side // 4 : side - side // 4, side // 4 : side - side // 4] = True
    state, open_cells = tokens.masked_fill(hole, model.config.codes), hole.clone()
    labels = torch.full((len(tokens),), model.config.null_label)
    for step in range(steps):
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(state, labels).float()
        noise = -torch.empty_like(logits).exponential_().log()
        drawn = (logits + noise).argmax(-1)
        drawn = torch.where(open_cells, drawn, state)
        if step + 1 == steps:
            state = drawn
            break
        score = logits.log_softmax(-1).gather(-1, drawn.unsqueeze(-1))[..., 0]
        ratio = (step + 1) / steps
        score = score - 4.5 * (1 - ratio) * torch.empty_like(score).exponential_().log()
        score = score.masked_fill(~open_cells, float("inf"))
        keep = int(hole[0].sum() * np.cos(np.pi / 2 * ratio))
        cut = score.flatten(1).sort(1).values[:, keep : keep + 1].unsqueeze(-1)
        open_cells = score < cut
        state = drawn.masked_fill(open_cells, model.config.codes)
    model.train()
    return tokenizer.decode(state)


def train_transformer(
    data: Path,
    tokenizer_path: Path,
    out: Path,
    plan: TransformerPlan,
    *,
    init: Path | None = None,
    validation: Path | None = None,
) -> Path:
    """Train until ``plan.minutes`` are used, resuming ``out``/transformer.pt if it is there.

    ``init`` starts from another run's transformer checkpoint (tuning).  Writes ``transformer.pt``
    and ``fills.png`` every ``save_seconds`` and returns the checkpoint's path.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "transformer.pt"
    team = join_team()
    torch.manual_seed(plan.seed)
    tokenizer = load_tokenizer(tokenizer_path).to(team.device)
    folder = load_folder(data)
    categories = folder.categories
    config = TransformerConfig(codes=tokenizer.config.codes, classes=len(categories))
    source = path if path.exists() else init
    state = load_checkpoint(source) if source else None
    if state is not None:
        config, categories = TransformerConfig(**state["config"]), tuple(state["categories"])
    model = MaskedTransformer(config)
    if state is None:
        model.start_from_codebook(tokenizer.codebook.codes)
    else:
        model.load_state_dict(state["model"])
    model.to(team.device)
    tools = optimisers(model, plan)
    spent, step = 0.0, 0
    if state is not None and source == path:
        for tool, saved_state in zip(tools, state["optimisers"], strict=True):
            tool.load_state_dict(saved_state)
        spent, step = state["seconds"], state["step"]
    peaks = (plan.rate, plan.muon_rate)
    # The grid is drawn alike by the whole team, so that all its steps take equally long.
    shapes = np.random.default_rng((plan.seed, step))
    rng = np.random.default_rng((plan.seed, step, team.rank))
    streams = {
        grid: crops(
            folder,
            max(1, plan.tokens_per_step // (grid[0] * grid[1] * team.size)),
            grid[0] * STRIDE,
            grid[1] * STRIDE,
            rng,
        )
        for grid in set(GRIDS)
    }
    held_out = load_folder(validation, scales=(1.0,)) if validation else folder
    check_tokens, _ = validation_windows(tokenizer, held_out, 128)
    run = Run(path, plan.minutes, plan.save_seconds, spent, team.leads)
    recent = 0.0

    def state_now() -> dict[str, Any]:
        return {
            "kind": "transformer",
            "config": config.as_dict(),
            "categories": list(categories),
            "model": model.state_dict(),
            "optimisers": [tool.state_dict() for tool in tools],
            "seconds": run.clock.seconds,
            "step": step,
        }

    seconds = run.clock.seconds
    while (progress := min(1.0, seconds / (60.0 * plan.minutes))) < 1.0:
        height, width = GRIDS[shapes.integers(len(GRIDS))]
        pixels, categories_drawn = next(streams[height, width])
        with torch.no_grad(), torch.autocast(team.device.type, torch.bfloat16):
            tokens = tokenizer.encode(to_tensor(pixels).to(team.device))
        labels = torch.from_numpy(categories_drawn).clamp_max(config.null_label)
        labels[torch.from_numpy(rng.random(len(labels)) < plan.label_dropout)] = config.null_label
        masks = random_masks(
            len(tokens), height, width, rng, schedule=plan.schedule, holes=plan.holes
        )
        for tool, peak in zip(tools, peaks, strict=False):
            for group in tool.param_groups:
                group["lr"] = learning_rate(peak, progress, step, warmup=100)
        masks, labels = masks.to(team.device), labels.to(team.device)
        loss = masked_loss(model, tokens, masks, labels, smoothing=plan.label_smoothing)
        loss.backward()
        average_gradients(team, model.parameters())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for tool in tools:
            tool.step()
            tool.zero_grad(set_to_none=True)
        step += 1
        recent = float(loss.detach()) if step == 1 else 0.98 * recent + 0.02 * float(loss.detach())
        if step % 10 == 0:
            run.show(step=step, loss=f"{recent:.3f}")
        seconds = share_clock(team, run.clock.seconds)
        if run.due:
            run.save(state_now())
            nats = validation_loss(model, check_tokens)
            run.say(
                f"step {step} after {run.clock.seconds / 60:.1f} min: {nats:.3f} nats on held-out"
            )
            original = tokenizer.decode(check_tokens[:8])
            save_grid(
                out / "fills.png",
                [original, sample_fill(model, tokenizer, check_tokens[:8])],
            )
    return run.end(state_now())
