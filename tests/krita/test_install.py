"""The plugin gets into Krita whole, enabled, with a library that fits, and harms nothing."""

import ast
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from tests.krita.launch import Profile

from maskgit_daemon.commands.krita import krita
from maskgit_daemon.errors import MaskgitError
from maskgit_daemon.krita_install import plugin_files
from maskgit_daemon.kritas import enable, enabled, find_places
from maskgit_refine.vendor import Target, VendorError, find_wheel, fits, this_python, unpack

MODULE = "maskgit_refine"
LINUX = "manylinux_2_26_x86_64.manylinux_2_28_x86_64"


def make_wheel(folder: Path, python: tuple[int, int]) -> Path:
    tag = "cp{}{}".format(*python)
    path = folder / f"pyzmq-27.1.0-{tag}-{tag}-{LINUX}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("zmq/__init__.py", "__version__ = '27.1.0'\n")
    return path


@pytest.mark.parametrize(
    ("wheel", "version", "system", "machine", "expected"),
    [
        (f"pyzmq-27.1.0-cp311-cp311-{LINUX}.whl", (3, 11), "linux", "x86_64", True),
        (f"pyzmq-27.1.0-cp311-cp311-{LINUX}.whl", (3, 10), "linux", "x86_64", False),
        (f"pyzmq-27.1.0-cp311-cp311-{LINUX}.whl", (3, 11), "linux", "aarch64", False),
        (f"pyzmq-27.1.0-cp311-cp311-{LINUX}.whl", (3, 11), "win32", "amd64", False),
        (f"pyzmq-27.1.0-cp312-abi3-{LINUX}.whl", (3, 14), "linux", "x86_64", True),
        (f"pyzmq-27.1.0-cp312-abi3-{LINUX}.whl", (3, 11), "linux", "x86_64", False),
        (f"pyzmq-27.1.0-cp313-cp313t-{LINUX}.whl", (3, 13), "linux", "x86_64", False),
        ("pyzmq-27.1.0-cp310-cp310-win_amd64.whl", (3, 10), "win32", "amd64", True),
        ("pyzmq-27.1.0-cp312-abi3-macosx_10_15_universal2.whl", (3, 13), "darwin", "arm64", True),
        ("pyzmq-27.1.0-cp311-cp311-musllinux_1_2_x86_64.whl", (3, 11), "linux", "x86_64", False),
        ("pyzmq-27.1.0.tar.gz", (3, 11), "linux", "x86_64", False),
        ("notes.whl", (3, 11), "linux", "x86_64", False),
    ],
)
def test_a_wheel_fits_by_its_name(
    wheel: str, version: tuple[int, int], system: str, machine: str, expected: bool
) -> None:
    assert fits(wheel, Target(version, system, machine)) is expected


def test_the_newest_fitting_wheel_is_taken(tmp_path: Path) -> None:
    names = [f"pyzmq-{v}-cp311-cp311-{LINUX}.whl" for v in ("27.1.0", "27.10.0", "27.9.1")]
    for name in [*names, f"pyzmq-28.0.0-cp310-cp310-{LINUX}.whl"]:
        (tmp_path / name).touch()
    found = find_wheel(tmp_path, Target((3, 11), "linux", "x86_64"))
    assert found is not None
    assert found.name == names[1]


def test_a_wheel_is_unpacked_once_and_whole(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, (3, 11))
    folder = unpack(wheel, tmp_path / "library")
    module = folder / "zmq" / "__init__.py"
    before = module.stat().st_mtime_ns
    assert unpack(wheel, tmp_path / "library") == folder
    assert module.stat().st_mtime_ns == before


def test_a_damaged_wheel_leaves_nothing_behind(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, (3, 11))
    wheel.write_bytes(wheel.read_bytes()[:80])
    with pytest.raises(VendorError, match="could not be unpacked"):
        unpack(wheel, tmp_path / "library")
    assert list((tmp_path / "library").iterdir()) == []


def test_folders_honour_xdg_and_flatpak(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    plain = find_places(environ={}, platform="linux")
    assert plain == (tmp_path / ".local/share/krita", tmp_path / ".config/kritarc")
    moved = find_places(
        environ={"XDG_DATA_HOME": "/data", "XDG_CONFIG_HOME": "/config"}, platform="linux"
    )
    assert moved == (Path("/data/krita"), Path("/config/kritarc"))
    sandboxed = find_places(flatpak=True, environ={}, platform="linux")
    assert sandboxed.data == tmp_path / ".var/app/org.kde.krita/data/krita"
    assert sandboxed.settings == tmp_path / ".var/app/org.kde.krita/config/kritarc"


LINES = st.lists(
    st.one_of(
        st.sampled_from(["[python]", "[General]", "enable_other=true", "", "# note", "name=ä ö"]),
        st.sampled_from(["enable_maskgit_refine=false", "enable_maskgit_refine=true"]),
    ),
    max_size=12,
)


@given(LINES)
def test_enabling_changes_no_other_line(tmp_path_factory: pytest.TempPathFactory, lines) -> None:
    settings = tmp_path_factory.mktemp("settings") / "kritarc"
    settings.write_text("\n".join(lines) + "\n", "utf-8")
    enable(settings, MODULE)
    assert enabled(settings, MODULE)

    def others(text: str) -> list[str]:
        own = ("enable_maskgit_refine=", "[python]")
        return [line for line in text.splitlines() if line and not line.startswith(own)]

    text = settings.read_text("utf-8")
    assert others(text) == others("\n".join(lines))
    once = text
    enable(settings, MODULE)
    assert settings.read_text("utf-8") == once


def run(*arguments: str) -> Result:
    return CliRunner().invoke(krita, arguments, catch_exceptions=True)


@pytest.fixture
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("HOME", "MASKGIT_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    return tmp_path


def test_installing_replaces_an_older_plugin_whole(own_home: Path) -> None:
    wheel = make_wheel(own_home, this_python().version)
    python = "{}.{}".format(*this_python().version)
    old = own_home / "xdg_data_home" / "krita" / "pykrita" / MODULE / "gone.py"
    old.parent.mkdir(parents=True)
    old.write_text("old = True\n")
    done = run("install", "--wheel", str(wheel), "--python-version", python)
    assert done.exit_code == 0, done.output
    plugins = own_home / "xdg_data_home" / "krita" / "pykrita"
    assert sorted(path.name for path in plugins.iterdir()) == [MODULE, f"{MODULE}.desktop"]
    assert not old.exists()
    assert (plugins / MODULE / "__init__.py").is_file()
    assert (plugins / MODULE / "Manual.html").is_file()
    assert (plugins / MODULE / "wheels" / wheel.name).is_file()
    assert (own_home / "xdg_data_home" / "krita" / "actions" / f"{MODULE}.action").is_file()
    assert enabled(own_home / "xdg_config_home" / "kritarc", MODULE)
    launcher = json.loads((own_home / "maskgit_home" / "launcher.json").read_text())
    assert launcher["command"]


def test_a_wheel_for_another_python_is_refused_before_anything_is_written(own_home: Path) -> None:
    wheel = make_wheel(own_home, (3, 5))
    done = run("install", "--wheel", str(wheel), "--python-version", "3.11")
    assert isinstance(done.exception, MaskgitError)
    assert "No given wheel" in str(done.exception)
    assert not (own_home / "xdg_data_home").exists()


def test_without_a_network_nothing_is_installed_and_a_sentence_says_so(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    done = run("install", "--python-version", "3.11")
    assert isinstance(done.exception, MaskgitError)
    assert "could not be downloaded" in str(done.exception)
    assert "--wheel" in str(done.exception)
    assert not (own_home / "xdg_data_home").exists()


def test_a_folder_that_cannot_be_written_is_said_in_a_sentence(own_home: Path) -> None:
    wheel = make_wheel(own_home, (3, 11))
    (own_home / "file").write_text("no folder")
    where = str(own_home / "file" / "krita")
    options = ("--wheel", str(wheel), "--python-version", "3.11", "--data-dir", where)
    done = run("install", *options)
    assert isinstance(done.exception, MaskgitError)
    assert "cannot be put into" in str(done.exception)


@pytest.mark.parametrize("version", ["3", "2.7", "3.x", "eleven"])
def test_a_wrong_python_version_is_a_usage_error(version: str) -> None:
    assert run("install", "--python-version", version).exit_code == 2


def test_all_that_krita_gets_is_python_3_8() -> None:
    sources = [(name, data) for name, data in plugin_files(()) if name.endswith(".py")]
    assert len(sources) > 10
    for name, data in sources:
        ast.parse(data, filename=name, feature_version=(3, 8))


@pytest.mark.krita
def test_kritas_own_importer_takes_the_package(warm_profile: Profile, tmp_path: Path) -> None:
    zipped = tmp_path / "plugin.zip"
    wheel = make_wheel(tmp_path, (3, 11))
    done = run("package", "-o", str(zipped), "--wheel", str(wheel))
    assert done.exit_code == 0, done.output
    importer = "/usr/share/krita/pykrita/plugin_importer/plugin_importer.py"
    target = tmp_path / "krita"
    target.mkdir()
    imported = subprocess.run(
        [sys.executable, importer, str(zipped), str(target)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "MaskGIT Refine" in imported.stdout
    assert (target / "pykrita" / f"{MODULE}.desktop").is_file()
    assert (target / "actions" / f"{MODULE}.action").is_file()
    module = target / "pykrita" / MODULE
    assert (module / "extension.py").is_file()
    assert [path.name for path in (module / "wheels").iterdir()] == [wheel.name]


@pytest.mark.krita
def test_the_doctor_finds_nothing_wrong_after_installing(warm_profile: Profile) -> None:
    done = warm_profile.maskgit("krita", "doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    for name in ("Krita", "PyQt5", "plugin", "plugin enabled", "pyzmq"):
        assert checks[name]["ok"] is True, checks[name]


@pytest.mark.krita
def test_the_doctor_tells_a_fresh_user_what_to_run(own_home: Path) -> None:
    done = run("doctor")
    assert done.exit_code == 1
    assert "maskgit krita install" in done.output
