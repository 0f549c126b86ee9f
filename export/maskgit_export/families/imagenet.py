"""The 1000 classes of ImageNet by their WordNet names, in the order every published model uses."""

from __future__ import annotations

from importlib import resources


def class_labels(count: int) -> list[str]:
    """``count`` labels, synonyms after commas; plain numbers where it is not ImageNet's 1000."""
    if count != 1000:
        return [str(number) for number in range(count)]
    table = resources.files(__package__).joinpath("imagenet_classes.txt")
    return table.read_text(encoding="utf-8").splitlines()
