"""Several processes, one model: gradients averaged where ``torchrun`` started more than one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True)
class Team:
    """This process among those of a run; ``device`` is its GPU, or the CPU."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes checkpoints and shows progress."""
        return self.rank == 0


def join_team() -> Team:
    """Read what ``torchrun`` set (RANK, WORLD_SIZE, LOCAL_RANK); alone without it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    cuda = torch.cuda.is_available()
    device = (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if cuda
        else torch.device("cpu")
    )
    if size > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    return Team(rank, size, device)


def average_gradients(team: Team, parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over the team, in one message."""
    if team.size == 1:
        return
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in grads])
    dist.all_reduce(flat)
    flat /= team.size
    start = 0
    for grad in grads:
        grad.copy_(flat[start : start + grad.numel()].view_as(grad))
        start += grad.numel()


def share_clock(team: Team, seconds: float) -> float:
    """The leader's seconds, so that all stop after the same step."""
    if team.size == 1:
        return seconds
    value = torch.tensor([seconds], dtype=torch.float64, device=team.device)
    dist.broadcast(value, 0)
    return float(value)
