"""Noise that depends on (seed, variant, step, position) alone.

Philox (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) is a counter-based
generator: any block of its stream can be computed without those before it.  The key is (seed,
variant and step) and a position owns a fixed stretch of the counter, so a position's noise is the
same whatever else is unknown, whichever batch the job runs in and however many variants there are.
Only raw bits are taken from numpy, whose bit streams are guaranteed not to change between versions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Cells = NDArray[np.int64]
Gumbel = NDArray[np.float32]

_DRAW, _CHOICE, _ORDER = 0, 1, 2
_BLOCK = 8  # a Philox-4x64 block is 256 bits: eight values of 32 bits


class Noise(Protocol):
    """Standard Gumbel noise for the decode loop; ``cells`` are flat raster indices of the grid."""

    def draw(self, step: int, cells: Cells, codes: int) -> Gumbel:
        """(len(cells), codes) float32: the noise of the token draw."""

    def choice(self, step: int, cells: Cells) -> Gumbel:
        """(len(cells),) float32: the noise of the choice which tokens stay."""

    def order(self, cells: Cells) -> Gumbel:
        """(len(cells),) float32: one number a cell for the whole job, for a random order."""


@dataclass(frozen=True)
class SeededNoise:
    """The noise of one variant of one seed; ``seed`` in 0 … 2⁶³−1, ``variant`` from 0."""

    seed: int
    variant: int = 0

    def draw(self, step: int, cells: Cells, codes: int) -> Gumbel:
        width = -(-codes // _BLOCK) * _BLOCK
        bits = np.empty((len(cells), width), np.uint32)
        stream = self._stream(_DRAW, step)
        at = 0  # in positions
        for first, count in _runs(cells):
            position = int(cells[first])
            stream.advance((position - at) * (width // _BLOCK))
            raw = stream.random_raw(count * width // 2).astype("<u8", copy=False)
            bits[first : first + count] = raw.view("<u4").reshape(-1, width)
            at = position + count
        return _gumbel(bits)[:, :codes]

    def choice(self, step: int, cells: Cells) -> Gumbel:
        return self._one_each(_CHOICE, step, cells)

    def order(self, cells: Cells) -> Gumbel:
        return self._one_each(_ORDER, 0, cells)

    def _one_each(self, purpose: int, step: int, cells: Cells) -> Gumbel:
        if not len(cells):
            return np.empty(0, np.float32)
        raw = self._stream(purpose, step).random_raw(int(cells.max()) + 1)
        return _gumbel((raw >> np.uint64(32)).astype(np.uint32)[cells])

    def _stream(self, purpose: int, step: int) -> np.random.Philox:
        key = self.seed | (self.variant << 32 | step) << 64
        return np.random.Philox(key=key, counter=purpose << 192)


@dataclass(frozen=True, eq=False)
class GivenNoise:
    """Noise from arrays: ``draws`` (S,N,K), ``choices`` (S,N) float32; row 0 is ``start_step``."""

    draws: Gumbel
    choices: Gumbel
    start_step: int = 0

    def draw(self, step: int, cells: Cells, codes: int) -> Gumbel:
        rows: Gumbel = self.draws[step - self.start_step, cells, :codes]
        return rows

    def choice(self, step: int, cells: Cells) -> Gumbel:
        row: Gumbel = self.choices[step - self.start_step, cells]
        return row

    def order(self, cells: Cells) -> Gumbel:
        return self.choice(self.start_step, cells)


def _runs(cells: Cells) -> list[tuple[int, int]]:
    """(index of the first, length) of each run of consecutive positions in ascending ``cells``."""
    if not len(cells):
        return []
    starts = np.flatnonzero(np.diff(cells, prepend=cells[0] - 2) != 1)
    return list(zip(starts.tolist(), np.diff(starts, append=len(cells)).tolist(), strict=True))


def _gumbel(bits: NDArray[np.uint32]) -> Gumbel:
    """−log(−log u) in float32; u = (23 high bits + ½)/2²³ is never 0 or 1.  Uses up ``bits``."""
    bits >>= np.uint32(9)
    noise = bits.astype(np.float32)
    noise += np.float32(0.5)
    noise *= np.float32(2.0**-23)
    np.log(noise, out=noise)
    np.negative(noise, out=noise)
    np.log(noise, out=noise)
    return np.negative(noise, out=noise)
