"""Reports as Markdown."""

from __future__ import annotations

from typing import Any

from maskgit_export.evaluate.realism import UNITS


def fills_as_text(values: dict[str, Any]) -> str:
    """The tables of ``fills`` in Markdown."""
    lines = []
    columns = [*UNITS, "seam median", "seam 90%", "seconds"]
    for kind, part in values["kinds"].items():
        lines += ["", f"### {kind}: {part['holes']} holes in {part['pictures']} pictures", ""]
        lines += ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
        for method, row in part["methods"].items():
            cells = [f"{row[c][0]:.3g} [{row[c][1]:.3g}, {row[c][2]:.3g}]" for c in columns]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
        for peer, row in part["against"].items():
            said = [f"{m} {v['verdict']}{' (apart)' if v['apart'] else ''}" for m, v in row.items()]
            lines.append(f"\nAgainst {peer}: {', '.join(said)}.")
        if "diversity" in part:
            lines.append(f"\nDiversity of 4 variants: {part['diversity'][0]:.1f} grey levels.")
    for name in ("likelihood", "memory"):
        if name in values:
            facts = ", ".join(
                f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}"
                for k, v in values[name].items()
            )
            lines.append(f"\n{name.capitalize()}: {facts}.")
    return "\n".join(lines)
