"""What every training run shares: a clock that survives restarts, safe checkpoints, pictures."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm


@dataclass
class Clock:
    """Training time in seconds, counted across restarts, against a budget in minutes."""

    minutes: float
    spent: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds trained so far, earlier runs included."""
        return self.spent + time.monotonic() - self._started

    @property
    def progress(self) -> float:
        """Share of the budget used, 0 … 1."""
        return min(1.0, self.seconds / (60.0 * self.minutes))


class Run:
    """The frame of a training loop: its clock, its bar, its checkpoint now and then.

    ``path``: the checkpoint.  ``minutes``: the budget; ``spent``: seconds of it used before.
    ``every``: seconds between checkpoints.  ``leads``: whether this process shows and saves.
    """

    def __init__(
        self, path: Path, minutes: float, every: float, spent: float = 0.0, leads: bool = True
    ) -> None:
        self.path = path
        self.clock = Clock(minutes, spent)
        self._every = every
        self._leads = leads
        self._saved = time.monotonic()
        self._bar = tqdm(
            total=round(minutes * 60), unit="s", initial=round(spent), disable=not leads
        )
        if leads and spent >= 60.0 * minutes:
            self.say(f"The {minutes:g} minutes are used; go on with more --minutes.")

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self._leads and time.monotonic() - self._saved > self._every

    def show(self, **facts: object) -> None:
        """Move the bar to the time used, with ``facts`` beside it."""
        self._bar.n = min(round(self.clock.seconds), self._bar.total)
        self._bar.set_postfix(facts)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.write(line)

    def save(self, state: dict[str, Any]) -> None:
        """Write the checkpoint."""
        save_checkpoint(self.path, state)
        self._saved = time.monotonic()

    def end(self, state: dict[str, Any]) -> Path:
        """Write the last checkpoint, close the bar and return the checkpoint's path."""
        if self._leads:
            self.save(state)
        self._bar.close()
        return self.path


def learning_rate(peak: float, progress: float, step: int, *, warmup: int = 200) -> float:
    """Linear warm-up over ``warmup`` steps, then a cosine from ``peak`` to 2 % of it."""
    decay = 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * progress))
    return peak * min(1.0, (step + 1) / warmup) * decay


Network = TypeVar("Network", bound=nn.Module)


def channels_last(network: Network) -> Network:
    """The network with its convolutions' weights laid out for fast CPU kernels, in place."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that a crash at any moment leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running any code in it."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def decibels(target: Tensor, made: Tensor) -> float:
    """Mean PSNR of pictures (B,3,H,W) in [0,1], for the eye."""
    error = (target - made.detach().clamp(0, 1)).square().mean((1, 2, 3))
    return float((-10.0 * error.clamp_min(1e-8).log10()).mean())


def save_grid(path: Path, rows: list[Tensor]) -> None:
    """A contact sheet PNG: each row a batch (B,3,H,W) in [0,1], pictures side by side."""
    sheet = torch.cat([torch.cat(list(row.clamp(0, 1)), 2) for row in rows], 1)
    pixels = (sheet * 255.0 + 0.5).byte().permute(1, 2, 0).contiguous().cpu().numpy()
    partial = path.with_suffix(".partial.png")
    Image.fromarray(pixels).save(partial)
    os.replace(partial, path)
