"""The folder that daemon and clients share, and what lies in it."""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
from pathlib import Path

import pytest

from maskgit_daemon.commands.daemon import parse_clients, reachable
from maskgit_daemon.connection_file import (
    hold_lock,
    is_locked,
    maskgit_command,
    new_keys,
    prepare_folder,
    remove_connection,
    server_keys,
    write_connection,
    write_launcher,
    write_private,
)
from maskgit_daemon.errors import MaskgitError
from maskgit_daemon.folders import log_folder, models_folder
from maskgit_daemon.logs import KEPT, MAX_BYTES, start_logging
from maskgit_refine.connection import (
    Connection,
    NoDaemonError,
    home_folder,
    read_connection,
    read_launcher,
    real_home,
)
from maskgit_refine.launch import clean_environment

CONNECTION = Connection("tcp://127.0.0.1:9", "s" * 40, "c" * 40, "x" * 40, 12, "s", "0.1", "/m")
POSIX = pytest.mark.skipif(os.name == "nt", reason="file modes are POSIX's")


@pytest.mark.parametrize(
    ("environ", "home"),
    [
        ({"HOME": "/home/ana"}, "/home/ana"),
        ({"HOME": "/home/ana/.var/app/org.kde.krita"}, "/home/ana"),
        ({"HOME": "/home/ana/.var/app/org.kde.krita/data"}, "/home/ana"),
        ({"HOME": "/home/ana/snap/krita/42", "SNAP": "/snap/krita/42"}, "/home/ana"),
        ({"HOME": "/x", "SNAP": "/snap/k", "SNAP_REAL_HOME": "/home/ana"}, "/home/ana"),
        ({"HOME": "/home/snap"}, "/home/snap"),
        ({"USERPROFILE": "/Users/ana"}, "/Users/ana"),
    ],
)
def test_the_home_is_the_real_one_in_a_sandbox_too(environ: dict[str, str], home: str) -> None:
    assert real_home(environ) == Path(home)
    assert home_folder(environ) == Path(home, ".maskgit")


def test_one_variable_moves_everything(tmp_path: Path) -> None:
    environ = {"HOME": "/home/ana", "MASKGIT_HOME": str(tmp_path)}
    assert home_folder(environ) == tmp_path
    assert log_folder(environ) == tmp_path / "logs"
    assert models_folder(environ) == tmp_path / "models"


def test_a_connection_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_connection(tmp_path, CONNECTION)
    assert read_connection(tmp_path) == CONNECTION
    remove_connection(tmp_path)
    with pytest.raises(NoDaemonError, match="No daemon is running; start one with"):
        read_connection(tmp_path)
    remove_connection(tmp_path)


@POSIX
def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    prepare_folder(home)
    write_connection(home, CONNECTION)
    server_keys(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for path in home.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b"{}", b'{"endpoint": 5}'],
    ids=["empty", "cut", "list", "binary", "nothing in it", "wrong type"],
)
def test_a_damaged_connection_file_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "connection.json").write_bytes(content)
    with pytest.raises(NoDaemonError, match="is damaged; start the daemon anew"):
        read_connection(tmp_path)


def test_what_cannot_be_written_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(MaskgitError, match="cannot be written"):
        write_private(path, {"a": 1})
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MaskgitError, match="cannot be made"):
        prepare_folder(tmp_path / "file" / "home")


def test_the_lock_is_held_by_one(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    lock = hold_lock(tmp_path)
    assert is_locked(tmp_path)
    with pytest.raises(MaskgitError, match="A daemon is running already"):
        hold_lock(tmp_path)
    lock.release()
    assert not is_locked(tmp_path)


def test_server_keys_last_and_are_made_anew_if_damaged(tmp_path: Path) -> None:
    keys = server_keys(tmp_path)
    assert server_keys(tmp_path) == keys
    damaged = {"public": new_keys().public, "secret": keys.secret}
    (tmp_path / "server_keys.json").write_text(json.dumps(damaged))
    assert server_keys(tmp_path) not in (keys, damaged)
    (tmp_path / "server_keys.json").write_text("[]")
    assert len(server_keys(tmp_path).public) == 40


def test_the_launcher_names_an_existing_program(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with pytest.raises(NoDaemonError, match="not known where the program maskgit is"):
        read_launcher(home)
    write_launcher(home)
    assert read_launcher(home) == maskgit_command()
    assert Path(maskgit_command()[0]).is_absolute()
    write_private(home / "launcher.json", {"command": ["/gone/maskgit"]})
    with pytest.raises(NoDaemonError, match="/gone/maskgit is not there"):
        read_launcher(home)
    write_private(home / "launcher.json", {"command": "maskgit"})
    with pytest.raises(NoDaemonError, match="not known where"):
        read_launcher(home)


def test_without_a_script_the_interpreter_runs_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.setenv("PATH", str(tmp_path))
    command = [str(tmp_path / "python"), "-m", "maskgit_daemon.commands.main"]
    assert maskgit_command() == command


def test_the_daemon_inherits_nothing_of_the_programs_python() -> None:
    environ = {
        "PATH": "/bin",
        "PYTHONPATH": "/tmp/.mount_krita/lib",
        "PYTHONHOME": "/tmp/.mount_krita",
        "APPDIR": "/tmp/.mount_krita",
        "LD_LIBRARY_PATH": os.pathsep.join(["/tmp/.mount_krita/usr/lib", "/opt/lib"]),
    }
    assert clean_environment(environ) == {
        "PATH": "/bin",
        "APPDIR": "/tmp/.mount_krita",
        "LD_LIBRARY_PATH": "/opt/lib",
    }


def test_client_keys_are_named_and_checked() -> None:
    key = new_keys().public
    assert parse_clients((f"laptop={key}",)) == {"laptop": key}
    for wrong in ("laptop", "laptop=short", f"={key}", f"owner={key}", f"a={key[:-5]}", "a=é"):
        with pytest.raises(Exception, match="is not NAME=KEY"):
            parse_clients((wrong,))


def test_an_address_for_all_is_reached_by_loopback() -> None:
    assert reachable("tcp://0.0.0.0:5") == "tcp://127.0.0.1:5"
    assert reachable("tcp://10.0.0.2:5") == "tcp://10.0.0.2:5"


def test_the_log_is_rotated(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    path = start_logging(tmp_path / "logs", echo=False)
    try:
        for _ in range(6 * MAX_BYTES // 100_000):
            root.info("x" * 100_000)
        root.info("unwritable: \ud800")
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers, root.level = before
    files = sorted(path.parent.iterdir())
    assert [f.name for f in files] == [
        "daemon.log",
        *(f"daemon.log.{n}" for n in range(1, KEPT + 1)),
    ]
    assert all(f.stat().st_size <= MAX_BYTES for f in files)
    assert "unwritable: \\ud800" in path.read_text("utf-8")
