"""Reports as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskgit_export.evaluate.realism import UNITS

COLUMNS = (*UNITS, "seam median", "seam 90%", "seconds")

PLOTS = ("schedules", "sampling", "ratios", "speed")


def fills_as_text(values: Mapping[str, Any]) -> str:
    """What ``maskgit evaluate fills`` found: a table a kind of hole, then the rest in sentences."""
    lines = []
    for kind, part in values["kinds"].items():
        lines += ["", f"### {kind}: {part['holes']} holes in {part['pictures']} pictures", ""]
        lines += ["| | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
        for method, row in part["methods"].items():
            cells = [f"{row[c][0]:.3g} [{row[c][1]:.3g}, {row[c][2]:.3g}]" for c in COLUMNS]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
        if part["against"]:
            lines += ["", "Ours against each peer, by the paired difference (◦: intervals apart):"]
            lines += ["", "| | " + " | ".join(UNITS) + " |", "|---" * (len(UNITS) + 1) + "|"]
        for peer, row in part["against"].items():
            said = [f"{row[m]['verdict']}{' ◦' if row[m]['apart'] else ''}" for m in UNITS]
            lines.append(f"| {peer} | " + " | ".join(said) + " |")
        if "best peer" in part:
            lines += ["", f"Best peer by mean rank: {part['best peer']}."]
        if "diversity" in part:
            value, low, high = part["diversity"]
            lines += [
                "",
                f"Diversity of four variants: {value:.1f} [{low:.1f}, {high:.1f}] grey levels.",
            ]
    for name in ("likelihood", "memory"):
        if name in values:
            lines += ["", f"{name.capitalize()}: {facts_as_text(values[name])}."]
    return "\n".join(lines)


def facts_as_text(facts: Mapping[str, Any]) -> str:
    """Names and values in one line."""
    return ", ".join(f"{name} {_shown(value)}" for name, value in facts.items())


def report_as_text(folder: Path) -> str:
    """Everything that ``maskgit evaluate all`` left in ``folder``, as one Markdown page."""
    lines = ["# Evaluation report"]
    if data := _load(folder / "data.json"):
        near = ", ".join(data["near-duplicates"]) or "none"
        lines += [
            "",
            f"Near-duplicates between the pictures trained on and judged on: {near}. The closest "
            f"are {data['closest']} (correlation {data['closest correlation']:.2f}).",
        ]
    if found := _load(folder / "tokenizer.json"):
        lines += ["", "## Tokenizer", "", "| measure | value |", "|---|---|"]
        lines += [f"| {name} | {_shown(value)} |" for name, value in found.items()]
    if fills := _load(folder / "fills.json"):
        lines += ["", "## Fills", fills_as_text(fills)]
        lines += [f"\n![{kind}](fills-{kind}.png)" for kind in fills["kinds"]]
    if studies := _load(folder / "studies.json"):
        lines += ["", "## Studies"]
        for name in PLOTS:
            if f"{name} found" in studies:
                lines += ["", studies[f"{name} found"], "", f"![{name}]({name}.png)"]
    if classes := _load(folder / "classes.json"):
        lines += ["", "## Edits by class", "", facts_as_text(classes) + "."]
    return "\n".join(lines) + "\n"


def _load(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value))
    return str(value)
