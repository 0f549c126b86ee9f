"""Detail finer than a token can say, taken from the picture's own pixels round the selection.

A code stands for 8 × 8 pixels or more; which blade of grass stands where it cannot say, and a
decoder that guesses draws too little or the wrong kind.  But the known part of the window exists
twice, as pixels and as its own tokens decoded, and the two together are an example of what the
decoder leaves out: an image analogy (Hertzmann et al. 2001).
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from maskgit_daemon.fill import membrane
from maskgit_daemon.frame import Frame

Floats = NDArray[np.float32]
Places = tuple[NDArray[np.intp], NDArray[np.intp]]

SIDE, STEP = 8, 4
"""Pixels of a patch, and between two patches of the selection: they overlap by half."""
SIGMA = 2.75
"""Gaussian (pixels) that parts what the tokens say, above it, from detail, below it."""
ENERGY_SIGMA = 2.0
"""Gaussian (pixels) over which the decoder's own detail is averaged to its local strength."""
SOURCE_STEP, MOST_SOURCES, FEWEST_SOURCES = 2, 3500, 64
"""Pixels between two examples, how many are looked at, and below how many it is not worth it."""
MEAN, CHROMA, ENERGY = 0.5, 1.0, 2.0
"""Weights of a patch's mean colour, its colour and its detail's strength against its luma."""
SCALE = (0.6, 1.6)
"""How much weaker or stronger than in its example detail may become."""
SHAKE = 6.0
"""Standard deviation, of 255, of what is added to a patch's wish."""
COHERENCE = 1.0
"""How many times its own squared distance more an example may have that goes on a neighbour's."""
PHASES = (
    (0, 0, ()),
    (0, 1, ((0, -1), (0, 1))),
    (1, 0, ((-1, 0), (1, 0))),
    (1, 1, ((-1, 0), (1, 0), (0, -1), (0, 1))),
)
"""Which points of the lattice choose when (odd row, odd column), and on which neighbours' lead."""
FAINT = np.float32(0.004)
"""Detail of this strength (of 1) is as good as none."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def add_detail(picture: Floats, generated: Floats, frame: Frame, amount: float = 1.0) -> Floats:
    """``picture`` with its detail replaced by that of the best examples in the known pixels.

    ``generated`` (H,W,3): the decoded tokens of the whole window; ``picture`` (H,W,3): the same
    with its colours matched to the surroundings.  Each 8 × 8 patch in need looks for the known one
    whose *decoded* pixels are most like its own and takes what the real ones there have above
    ``SIGMA``, scaled by how much stronger the decoder draws here than there.  Where patches
    overlap they are blended and given back the energy that the average loses; at the border they
    are shifted to meet the real detail pixel by pixel.  ``amount`` (0…1) mixes with ``picture``.
    With fewer than ``FEWEST_SOURCES`` examples ``picture`` comes back as it is.
    """
    known = frame.known > 0
    if amount <= 0 or min(known.shape) < SIDE:
        return picture
    whole = _whole(known)
    sources, targets = _sources(whole), _targets(whole)
    if len(sources[0]) < FEWEST_SOURCES or not len(targets[0]):
        return picture
    real = np.where(known[..., None], frame.colour, picture)
    drawn = blur(generated, SIGMA)
    strength = np.sqrt(blur(np.square((generated - drawn) @ LUMA), ENERGY_SIGMA))
    chosen = _choose(_looks(drawn, strength), whole, targets, sources)
    high = real - blur(real, SIGMA)
    patches = _patches(high, chosen).transpose(0, 2, 3, 1)
    centre = SIDE // 2
    here = strength[targets[0] + centre, targets[1] + centre] + FAINT
    there = strength[chosen[0] + centre, chosen[1] + centre] + FAINT
    patches = patches * np.clip(here / there, *SCALE)[:, None, None, None]
    fine = _blend(patches, targets, known.shape)
    fine += membrane(high - fine, frame.known)
    change = np.where(known[..., None], np.float32(0), blur(picture, SIGMA) + fine - picture)
    out: Floats = np.clip(picture + np.float32(min(amount, 1.0)) * change, 0.0, 1.0)
    return out


def blur(array: Floats, sigma: float) -> Floats:
    """Gaussian blur of (H,W) or (H,W,C) over both axes, edges repeated; ``sigma`` in pixels."""
    reach = int(np.ceil(2.5 * sigma))
    weights = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / sigma))
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (0, 1):
        pad = [(0, 0)] * array.ndim
        pad[axis] = (reach, reach)
        wide = np.moveaxis(np.pad(array, pad, mode="edge"), axis, 0)
        length = array.shape[axis]
        total = weights[reach] * wide[reach : reach + length]
        for k in range(reach):
            mirrored = 2 * reach - k
            total += weights[k] * (wide[k : k + length] + wide[mirrored : mirrored + length])
        array = np.moveaxis(total, 0, axis)
    return np.ascontiguousarray(array)


def _whole(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether the patch with its top left corner at each pixel is known, (H−7,W−7)."""
    counts = np.pad(known, ((1, 0), (1, 0))).cumsum(0, np.int32).cumsum(1, np.int32)
    inside = counts[SIDE:, SIDE:] - counts[:-SIDE, SIDE:] - counts[SIDE:, :-SIDE]
    found: NDArray[np.bool_] = inside + counts[:-SIDE, :-SIDE] == SIDE * SIDE
    return found


def _sources(whole: NDArray[np.bool_]) -> Places:
    """Top and left of the patches that are known to the last pixel, ``MOST_SOURCES`` at most."""
    tops, lefts = np.nonzero(whole[::SOURCE_STEP, ::SOURCE_STEP])
    every = np.linspace(0, len(tops) - 1, min(len(tops), MOST_SOURCES)).astype(np.intp)
    return tops[every] * SOURCE_STEP, lefts[every] * SOURCE_STEP


def _targets(whole: NDArray[np.bool_]) -> Places:
    """Top and left, on the lattice of ``STEP``, of the patches with an unknown pixel."""
    tops, lefts = np.nonzero(~whole[::STEP, ::STEP])
    return tops * STEP, lefts * STEP


def _patches(maps: Floats, places: Places) -> Floats:
    """Patches (n,C,SIDE,SIDE) of (H,W,C) at ``places``."""
    found: Floats = sliding_window_view(maps, (SIDE, SIDE), axis=(0, 1))[places]
    return found


def _looks(drawn: Floats, strength: Floats) -> Floats:
    """What patches are told by: (H,W,4), weighted luma, two colours and strength of detail."""
    luma = drawn @ LUMA
    red, blue = CHROMA * (drawn[..., 0] - luma), CHROMA * (drawn[..., 2] - luma)
    return np.stack([luma, red, blue, ENERGY * strength], -1).astype(np.float32)


def _describe(looks: Floats, places: Places) -> Floats:
    """What patches look like without their detail: (n,52) whole numbers within ±255."""
    patches = _patches(looks, places)
    seen = patches[:, :3, ::2, ::2]
    mean = seen.mean((2, 3), keepdims=True)
    seen = seen - np.float32(1 - MEAN) * mean
    rough = patches[:, 3:, 1::4, 1::4]
    flat = np.concatenate([part.reshape(len(part), -1) for part in (seen, rough)], 1)
    # Whole numbers, so small that sums of products are exact in float32: threads and machines may
    # add them up in any order and still agree on the nearest.
    return np.asarray(np.rint(np.clip(flat, -1.0, 1.0) * 255.0), np.float32)


def _choose(looks: Floats, whole: NDArray[np.bool_], targets: Places, sources: Places) -> Places:
    """For each target the place of its example: the most alike, or one that goes on a neighbour's.

    Every second target in both directions takes the most alike; those between take, if it is not
    much worse, the place beside a neighbour's example (coherence: Ashikhmin 2001), so that pieces
    of texture stay whole.  The wish of each is shaken a little, or a flat stroke would get one and
    the same example over and over, which shows as a grid.
    """
    wishes = _describe(looks, targets)
    shaken = wishes + np.rint(SHAKE * _noise(wishes.shape))
    examples = _describe(looks, sources)
    best = _most_alike(shaken, examples)
    costs = np.square(wishes - examples[best]).sum(1)
    rows, columns = targets[0] // STEP, targets[1] // STEP
    # Where each lattice point's example lies; a margin of points that have none.
    top = np.full((rows.max() + 3, columns.max() + 3), -1, np.intp)
    left = top.copy()
    tops, lefts = sources[0][best], sources[1][best]
    for odd_row, odd_column, ways in PHASES:
        part = np.flatnonzero((rows % 2 == odd_row) & (columns % 2 == odd_column))
        limit = (1 + COHERENCE) * costs[part]
        for down, across in ways:
            beside = rows[part] + down + 1, columns[part] + across + 1
            y, x = top[beside] - down * STEP, left[beside] - across * STEP
            inside = (top[beside] >= 0) & (y >= 0) & (x >= 0)
            inside &= (y < whole.shape[0]) & (x < whole.shape[1])
            inside[inside] = whole[y[inside], x[inside]]
            if not inside.any():
                continue
            found = _describe(looks, (y[inside], x[inside]))
            cost = np.square(wishes[part[inside]] - found).sum(1)
            better = cost <= limit[inside]
            taken = np.flatnonzero(inside)[better]
            tops[part[taken]], lefts[part[taken]] = y[taken], x[taken]
            limit[taken] = cost[better]
        top[rows[part] + 1, columns[part] + 1] = tops[part]
        left[rows[part] + 1, columns[part] + 1] = lefts[part]
    return tops, lefts


def _noise(shape: tuple[int, ...]) -> Floats:
    """The same standard normal noise (float32) each time."""
    return np.random.Generator(np.random.PCG64(0)).standard_normal(shape, np.float32)


def _most_alike(targets: Floats, sources: Floats) -> NDArray[np.intp]:
    """For each target (n,d) the index of the nearest source (m,d), the first of equals."""
    lengths = np.square(sources).sum(1)
    nearest = [
        (lengths - 2.0 * (part @ sources.T)).argmin(1)
        for part in np.array_split(targets, -(-len(targets) // 512))
    ]
    return np.concatenate(nearest)


def _blend(patches: Floats, places: Places, shape: tuple[int, ...]) -> Floats:
    """Overlapping patches (n,SIDE,SIDE,3) laid on (H,W,3) with their energy; 0 where none lies.

    An average of unlike patches is flatter than each of them: it is raised until its local mean
    square is the patches' own again, by 2.5 times at most.
    """
    window = np.sin((np.arange(SIDE) + 0.5) * np.pi / SIDE) ** 2
    weights = np.outer(window, window).astype(np.float32)[None, ..., None]
    energy = np.square(patches).mean(-1, keepdims=True)
    laid = np.concatenate([patches, energy, np.ones_like(energy)], -1) * weights
    height, width = shape
    rows, columns = -(-height // STEP), -(-width // STEP)
    total = np.zeros((rows, columns, STEP, STEP, 5), np.float32)
    for down in range(SIDE // STEP):
        for across in range(SIDE // STEP):
            part = np.s_[:, down * STEP : (down + 1) * STEP, across * STEP : (across + 1) * STEP]
            total[places[0] // STEP + down, places[1] // STEP + across] += laid[part]
    flat = total.transpose(0, 2, 1, 3, 4).reshape(rows * STEP, columns * STEP, 5)[:height, :width]
    weight = np.maximum(flat[..., 4:], np.float32(1e-6))
    fine = np.asarray(flat[..., :3] / weight, np.float32)
    wanted = blur(np.asarray(flat[..., 3:4] / weight, np.float32), ENERGY_SIGMA)
    left = blur(np.square(fine).mean(-1, keepdims=True), ENERGY_SIGMA)
    fine *= np.clip(np.sqrt((wanted + 1e-8) / (left + 1e-8)), 1.0, 2.5)
    return fine
