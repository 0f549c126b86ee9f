import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.krita.launch import Profile, missing_parts

OUTPUT = Path(__file__).parents[2] / "out" / "krita"
MANDATORY = os.environ.get("CI") == "true" or os.environ.get("MASKGIT_KRITA") == "1"

RunScenario = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def warm_profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A Krita that has started once, with the plugin installed as a user would install it."""
    missing = missing_parts()
    if missing:
        sentence = f"Krita cannot be run here: install {', '.join(missing)}."
        if MANDATORY:
            pytest.fail(sentence)
        pytest.skip(sentence)
    profile = Profile(tmp_path_factory.mktemp("krita") / "warm")
    profile.prepare()
    installed = profile.maskgit("krita", "install")
    assert installed.returncode == 0, installed.stderr
    profile.run("nothing", OUTPUT / "warm")
    return profile


@pytest.fixture
def profile(warm_profile: Profile, tmp_path: Path) -> Iterator[Profile]:
    """A copy of the warmed profile; a daemon that was started in it is stopped at the end."""
    own = warm_profile.copy(tmp_path / "profile")
    yield own
    own.maskgit("daemon", "--stop")
