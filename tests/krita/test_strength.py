"""Strength 0 in the real Krita: no layer, not one pixel more opaque."""

from pathlib import Path

import pytest
from tests.krita.conftest import OUTPUT
from tests.krita.launch import Profile

pytestmark = pytest.mark.krita


def test_strength_0_adds_no_layer_and_says_so(profile: Profile, picture: Path) -> None:
    report = profile.run("unchanged", OUTPUT / "unchanged", picture=str(picture))
    assert report["message"] == "Strength 0 changes nothing."
    assert report["after"] == report["before"]
    assert not report["modified"]
