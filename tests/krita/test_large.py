"""A selection larger than the model's grid in the real Krita: what is shown while it is made."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.krita.conftest import OUTPUT
from tests.krita.launch import Profile

pytestmark = pytest.mark.krita


def test_previews_of_pieces_are_laid_where_they_lie(profile: Profile, picture: Path) -> None:
    folder = OUTPUT / "large"
    report = profile.run("large", folder, picture=str(picture))
    assert report["message"].startswith("Done in ")
    assert len(report["sizes"]) >= 3, "the whole, then pieces"
    for width, height in report["sizes"]:
        assert width / height == pytest.approx(450 / 300, rel=0.03), "never a piece alone"
    shown, result = (
        np.asarray(Image.open(folder / f"{name}.png").convert("RGB"), float)
        for name in ("shown", "result")
    )
    difference = np.abs(shown - result).mean()
    assert difference < 0.5 * np.abs(shown[:, ::-1] - result).mean()
    assert difference < 0.5 * np.abs(shown[::-1] - result).mean()
