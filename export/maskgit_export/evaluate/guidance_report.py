"""From outcomes to what was asked: is the knob smooth, and does any method beat another?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from maskgit_export.evaluate.guidance import Setting
from maskgit_export.evaluate.intervals import Interval, bootstrap
from maskgit_export.evaluate.realism import UNITS

Real = NDArray[np.float64]
Numbers = Mapping[str, Real]
"""One setting's numbers by name, each (edits,)."""

PLAIN = Setting("none", 1.0)


class Knob(NamedTuple):
    """How a strength behaves.

    ``curve``: mean error at 16 px by strength.  ``mean_correlation``: Spearman's rank correlation
    of strength and ``curve``.  ``share_monotone``: share of edits whose own correlation is at
    least 0.8.
    ``largest_step``: the largest rise between neighbouring strengths, as a share of the range.
    ``detail_at_half``: entropy of the results over that of the real patches at strength 0.5, on
    flat strokes.  ``time``: seconds at strengths between 0 and 1 over those of plain inpainting.
    """

    curve: tuple[float, ...]
    mean_correlation: float
    share_monotone: float
    largest_step: float
    detail_at_half: float
    time: float


def table_of(outcomes: Sequence[Any]) -> dict[Setting, Numbers]:
    """Outcomes, in any order, as columns in order of their edits."""
    rows: dict[Setting, dict[int, Mapping[str, float]]] = {}
    for outcome in outcomes:
        rows.setdefault(outcome.setting, {})[outcome.edit] = outcome.numbers
    return {
        setting: {
            name: np.array([found[i][name] for i in sorted(found)])
            for name in next(iter(found.values()))
        }
        for setting, found in rows.items()
    }


def unrealism(table: Mapping[Setting, Numbers]) -> dict[Setting, Real]:
    """One number an edit: the mean of the five measures, each over its mean for plain inpainting.

    1 is as real as inpainting; lower is better.  Linear in the measures, so paired differences are.
    """
    scale = {name: float(table[PLAIN][name].mean()) for name in UNITS}
    return {
        setting: np.mean([numbers[name] / scale[name] for name in UNITS], axis=0)
        for setting, numbers in table.items()
    }


def knob(
    table: Mapping[Setting, Numbers],
    method: str,
    strengths: Sequence[float],
    flat: NDArray[np.bool_],
) -> Knob:
    """Judge the strength of ``method``; ``flat`` (edits,) says which strokes are of one colour."""
    errors = np.array([table[Setting(method, s)]["error16"] for s in strengths])
    curve = errors.mean(1)
    own = [_rank_correlation(strengths, errors[:, i]) for i in range(errors.shape[1])]
    half = table[Setting(method, 0.5)]
    between = [table[Setting(method, s)]["seconds"] for s in strengths if 0 < s < 1]
    return Knob(
        curve=tuple(float(v) for v in curve),
        mean_correlation=_rank_correlation(strengths, curve),
        share_monotone=float(np.mean([value >= 0.8 for value in own])),
        largest_step=float(np.diff(curve).max() / max(np.ptp(curve), 1e-12)),
        detail_at_half=float(half["made_bits"][flat].sum() / half["real_bits"][flat].sum()),
        time=float(np.median(between) / np.median(table[PLAIN]["seconds"])),
    )


def _rank_correlation(strengths: Sequence[float], values: Real) -> float:
    if np.ptp(values) == 0:
        return 0.0
    return float(stats.spearmanr(strengths, values).statistic)


class Pair(NamedTuple):
    """Ours minus theirs, in error at 16 px and in unrealism, with 95 % intervals."""

    error: Interval
    unrealism: Interval

    def better(self) -> bool:
        """Ours is no worse on either axis and better on one."""
        return (self.error.low <= 0 and self.unrealism.low <= 0) and (
            self.error.high < 0 or self.unrealism.high < 0
        )

    def worse(self) -> bool:
        """Theirs is better on both axes."""
        return self.error.low > 0 and self.unrealism.low > 0


def compare(
    table: Mapping[Setting, Numbers], ours: Setting, theirs: Setting, pictures: Sequence[str]
) -> Pair:
    """Paired differences over edits, whole pictures resampled."""
    scores = unrealism(table)
    return Pair(
        bootstrap(list(table[ours]["error16"] - table[theirs]["error16"]), pictures),
        bootstrap(list(scores[ours] - scores[theirs]), pictures),
    )


def verdicts(
    table: Mapping[Setting, Numbers],
    ours: Sequence[Setting],
    theirs: Sequence[Setting],
    pictures: Sequence[str],
) -> list[dict[str, Any]]:
    """For each of ``theirs``: does it differ from inpainting, whom it dominates, who beats it."""
    found = []
    for setting in theirs:
        plain = compare(table, PLAIN, setting, pictures)
        differs = not all(i.low <= 0 <= i.high for i in plain)
        pairs = {one: compare(table, one, setting, pictures) for one in ours}
        found.append(
            {
                "setting": str(setting),
                "differs": differs,
                "dominates": [str(one) for one, pair in pairs.items() if pair.worse()],
                "beaten_by": [str(one) for one, pair in pairs.items() if pair.better()],
            }
        )
    return found


def summary(table: Mapping[Setting, Numbers], pictures: Sequence[str]) -> list[dict[str, Any]]:
    """One row a setting: means of all numbers, with the interval of both axes of the plot."""
    scores = unrealism(table)
    rows = []
    for setting, numbers in table.items():
        row: dict[str, Any] = {"method": setting.method, "strength": setting.strength}
        row["options"] = dict(setting.options)
        row.update({name: float(values.mean()) for name, values in numbers.items()})
        row["detail"] = float(numbers["made_bits"].sum() / numbers["real_bits"].sum())
        row["error16_interval"] = list(bootstrap(list(numbers["error16"]), pictures))
        row["unrealism"] = list(bootstrap(list(scores[setting]), pictures))
        rows.append(row)
    return rows
