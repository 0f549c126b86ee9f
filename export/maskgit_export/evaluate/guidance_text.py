"""The guidance comparison as Markdown: what was asked of the default, and the table of settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maskgit_export.evaluate.guidance_report import Knob
from maskgit_export.evaluate.realism import UNITS


def knob_text(
    judged: Knob, strengths: Sequence[float], verdicts: Sequence[Mapping[str, Any]]
) -> str:
    """Two tables: the default's error by strength, and what was asked of it beside what it did."""
    dominating = [v["setting"] for v in verdicts if v["dominates"]]
    unbeaten = [v["setting"] for v in verdicts if v["differs"] and not v["beaten_by"]]
    like_plain = [v["setting"] for v in verdicts if not v["differs"]]
    asked = [
        (
            "Spearman's rank correlation of strength and error, mean curve",
            "≥ 0.95",
            f"{judged.mean_correlation:.3f}",
        ),
        (
            "edits whose own correlation is at least 0.8",
            "≥ 90 %",
            _percent(judged.share_monotone),
        ),
        (
            "the largest step of 0.1, share of the whole range",
            "≤ 25 %",
            _percent(judged.largest_step),
        ),
        (
            "local-contrast entropy at strength 0.5, flat strokes, of the real patch's",
            "85–115 %",
            _percent(judged.detail_at_half),
        ),
        (
            "time over plain inpainting's, the encoder pass over the strokes included",
            "≤ 1.1 and that pass",
            f"{judged.time:.2f}",
        ),
        (
            "settings of MaskGIT-Edit that are better on both axes than one of ours",
            "none",
            ", ".join(dominating) or "none",
        ),
        (
            "settings of MaskGIT-Edit that differ from inpainting and that none of ours beats",
            "none",
            ", ".join(unbeaten) or "none",
        ),
    ]
    rows = [
        ["strength", *(f"{s:g}" for s in strengths)],
        ["---"] * (len(strengths) + 1),
        ["default", *(f"{error:.1f}" for error in judged.curve)],
    ]
    facts = [["what was asked of the default", "wanted", "measured"], ["---"] * 3, *asked]
    told = ", ".join(like_plain) or "no setting"
    tables = "\n\n".join("\n".join(map(_row, table)) for table in (rows, facts))
    return f"{tables}\n\nCannot be told apart from plain inpainting on either axis: {told}.\n"


def settings_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of a :func:`maskgit_export.evaluate.guidance_report.summary`."""
    names = ("error16", "error4", *UNITS, "detail", "seconds")
    heads = ["method", "strength", *names, "unrealism (95 %)"]
    lines = [_row(heads), _row(["---"] * len(heads))]
    for row in rows:
        options = "".join(f", {key} {value:g}" for key, value in row["options"].items())
        mean, low, high = row["unrealism"]
        cells = [f"{row['method']}{options}", f"{row['strength']:g}"]
        cells += [f"{row[name]:.3g}" for name in names]
        lines.append(_row([*cells, f"{mean:.2f} ({low:.2f}–{high:.2f})"]))
    return "\n".join(lines) + "\n"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
