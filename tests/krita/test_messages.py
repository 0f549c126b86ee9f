"""What cannot be refined gets a sentence, and nothing in the document changes."""

from pathlib import Path

import pytest
from tests.krita.conftest import OUTPUT
from tests.krita.launch import Profile

pytestmark = pytest.mark.krita


def test_whatever_is_in_the_way_is_said_over_the_canvas_and_changes_nothing(
    profile: Profile,
) -> None:
    report = profile.run("messages", OUTPUT / "messages")
    expected = {
        "no_document": "No picture is open",
        "no_selection": "Nothing is selected",
        "selection_off_canvas": "outside the picture",
        "group_layer": "is a group layer",
        "locked_layer": "is locked",
        "vector_layer": "is a vector layer",
        "sixteen_bit": "is 16-bit RGB",
        "gray": "is 8-bit grayscale",
    }
    assert set(report["cases"]) == set(expected)
    for name, words in expected.items():
        case = report["cases"][name]
        assert words in case["message"], name
        assert case["message"].endswith("."), name
        assert case["before"] == case["after"], name
        assert not case["modified"], name
    assert not (Path(profile.maskgit_home) / "connection.json").exists(), "no daemon was needed"
