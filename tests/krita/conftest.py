import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageOps
from tests.krita.launch import Profile, missing_parts

PHOTO = Path(__file__).parents[2] / "examples" / "mountain.jpg"
OUTPUT = Path(__file__).parents[2] / "out" / "krita"
MANDATORY = os.environ.get("CI") == "true" or os.environ.get("MASKGIT_KRITA") == "1"


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
    yield from _own_profile(warm_profile, tmp_path / "profile")


@pytest.fixture(scope="module")
def module_profile(
    warm_profile: Profile, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Profile]:
    """One such copy for all tests of a file, which look at one run of Krita."""
    yield from _own_profile(warm_profile, tmp_path_factory.mktemp("krita") / "profile")


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo of 640×480 pixels."""
    path = tmp_path_factory.mktemp("picture") / "photo.png"
    with Image.open(PHOTO) as photo:
        ImageOps.fit(photo.convert("RGB"), (640, 480)).save(path)
    return path


def _own_profile(warm: Profile, folder: Path) -> Iterator[Profile]:
    own = warm.copy(folder)
    yield own
    own.maskgit("daemon", "--stop")
    shutil.rmtree(folder, ignore_errors=True)
