"""A job that ends early leaves the document as it was, and the next one works."""

from pathlib import Path

import pytest
from tests.krita.conftest import OUTPUT
from tests.krita.launch import Profile

pytestmark = pytest.mark.krita


def test_cancelled_or_killed_jobs_leave_no_trace(profile: Profile, picture: Path) -> None:
    report = profile.run("interrupted", OUTPUT / "interrupted", picture=str(picture))
    assert "running already" in report["second_trigger"]
    assert report["cancelled"] == {
        "message": "Cancelled; nothing was changed.",
        "after": report["before"],
    }
    assert "in the middle of the job" in report["killed"]["message"]
    assert report["killed"]["after"] == report["before"]
    assert not report["modified"]
    assert report["next"]["message"].startswith("Done in ")
    assert report["next"]["layers"] == 1


def test_a_picture_that_changed_meanwhile_is_not_touched(profile: Profile, picture: Path) -> None:
    report = profile.run("changed_meanwhile", OUTPUT / "changed", picture=str(picture))
    assert "size was changed" in report["resized"]
    assert "layer was deleted" in report["layer_deleted"]
    assert "is locked" in report["layer_locked"]
    assert "picture was closed" in report["closed"]
    for name in ("resized", "layer_deleted", "layer_locked"):
        assert report[f"{name}_layers"] == 0, name
