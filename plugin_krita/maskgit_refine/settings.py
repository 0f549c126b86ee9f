"""What the artist set in the docker, kept by Krita between sessions."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

GROUP = "maskgit_refine"
MAX_STEPS = 256
MAX_SEED = 2**31 - 1


class Settings(NamedTuple):
    """``strength`` 0…1; ``steps`` 1…256; ``seed`` 0…2³¹−1, used unless ``random_seed``.

    ``preview``: show every step, which takes the decoder's time once more for each.
    """

    strength: float = 1.0
    steps: int = 8
    seed: int = 0
    random_seed: bool = True
    preview: bool = False
    bundle: str = "starter"

    def next_seed(self) -> int:
        """The seed of the next job."""
        return random.randrange(MAX_SEED + 1) if self.random_seed else self.seed


def read_settings(application: Any) -> Settings:
    """The stored settings; whatever is missing or unreadable is at its default."""
    default = Settings()

    def stored(key: str, fallback: Any) -> str:
        return str(application.readSetting(GROUP, key, str(fallback)))

    def number(key: str, fallback: float, low: float, high: float) -> float:
        try:
            value = float(stored(key, fallback))
        except ValueError:
            return fallback
        return value if low <= value <= high else fallback

    return Settings(
        strength=number("strength", default.strength, 0.0, 1.0),
        steps=int(number("steps", default.steps, 1, MAX_STEPS)),
        seed=int(number("seed", default.seed, 0, MAX_SEED)),
        random_seed=stored("random_seed", default.random_seed) == "True",
        preview=stored("preview", default.preview) == "True",
        bundle=stored("bundle", default.bundle) or default.bundle,
    )


def write_settings(application: Any, settings: Settings) -> None:
    """Store all of them."""
    for key, value in settings._asdict().items():
        application.writeSetting(GROUP, key, str(value))
