"""What a guidance comparison has made so far, an edit a file, so that it can be gone on with."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskgit_daemon.errors import MaskgitError
from maskgit_export.evaluate.guidance import Outcome, Setting

FACTS = "facts.json"


class Store:
    """The outcomes of a comparison in ``folder``.

    ``facts`` (JSON values) say what is compared.  Raises :class:`MaskgitError` if the folder holds
    a comparison of something else.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any], settings: Sequence[Setting]) -> None:
        self._folder, self._settings = folder, list(settings)
        text = json.dumps({**facts, "settings": [str(one) for one in settings]}, indent=1)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / FACTS
        if not file.exists():
            file.write_text(text, encoding="utf-8")
        elif file.read_text(encoding="utf-8") != text:
            raise MaskgitError(
                f"{folder} holds a comparison with other bundles, edits or settings; "
                "choose another --out."
            )

    def get(self, edit: int) -> list[Outcome] | None:
        """What was made of an edit, in order of the settings; None if it is still to be made."""
        path = self._path(edit)
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as kept:
            pictures, numbers = kept["pictures"], json.loads(str(kept["numbers"]))
        made = zip(self._settings, pictures, numbers, strict=True)
        return [Outcome(edit, setting, picture, values) for setting, picture, values in made]

    def put(self, edit: int, outcomes: Sequence[Outcome]) -> None:
        """Keep all outcomes of an edit, in order of the settings."""
        partial = self._path(edit).with_suffix(".partial")
        numbers = json.dumps([outcome.numbers for outcome in outcomes])
        with open(partial, "wb") as file:
            np.savez(file, pictures=np.stack([o.picture for o in outcomes]), numbers=numbers)
        os.replace(partial, self._path(edit))

    def _path(self, edit: int) -> Path:
        return self._folder / f"{edit:03d}.npz"
