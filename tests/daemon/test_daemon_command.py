"""``maskgit daemon`` as a user runs it: real processes, the real engine, the model that ships."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskgit_daemon.connection_file import is_locked, maskgit_command, new_keys, write_private
from maskgit_refine.client import (
    Accepted,
    Cancelled,
    Client,
    ClientError,
    LostError,
    NoDaemonError,
    RefusedError,
    Result,
    Step,
    connect,
)
from maskgit_refine.connection import Connection, read_connection
from maskgit_refine.launch import connect_or_start, start_daemon

SIDE = 96
LONG = 256
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A shared folder of this test's own; whatever daemon it leaves behind is stopped."""
    folder = tmp_path / "home"
    monkeypatch.setenv("MASKGIT_HOME", str(folder))
    yield folder
    if is_locked(folder):
        maskgit("daemon", "--stop")
    assert not is_locked(folder)


def maskgit(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*maskgit_command(), *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def in_foreground(home: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """A daemon of this process, once it serves."""
    process = subprocess.Popen([*maskgit_command(), "daemon", *arguments], stderr=subprocess.PIPE)
    until = time.monotonic() + 30
    while not (home / "connection.json").exists():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    return process


def ended(process: subprocess.Popen[bytes]) -> int:
    process.communicate(timeout=30)
    return process.returncode


def window(seed: int = 0) -> tuple[bytes, bytes]:
    """An opaque picture of noise, and the selection of a square in it."""
    pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 4), np.uint8)
    pixels[..., 3] = 255
    selection = np.zeros((SIDE, SIDE), np.uint8)
    selection[32:56, 40:64] = 255
    return pixels.tobytes(), selection.tobytes()


# Start, ask, stop


def test_a_daemon_is_started_asked_and_stopped(home: Path) -> None:
    started = maskgit("daemon", "--detach", "--device", "cpu")
    assert started.returncode == 0, started.stderr
    pid = read_connection(home).pid
    assert f"process {pid}" in started.stdout
    status = maskgit("daemon", "--status")
    assert status.returncode == 0
    assert f"process {pid} at tcp://127.0.0.1:" in status.stdout
    told = json.loads(maskgit("daemon", "--status", "--json").stdout)
    assert (told["running"], told["pid"], told["device"]) == (True, pid, "cpu")
    second = maskgit("daemon")
    assert second.returncode == 1
    assert second.stderr.splitlines() == [
        "maskgit: A daemon is running already; stop it first with: maskgit daemon --stop"
    ]
    again = maskgit("daemon", "--detach")
    assert (again.returncode, again.stdout) == (
        0,
        f"A daemon is running already, as process {pid}.\n",
    )
    stopped = maskgit("daemon", "--stop")
    assert (stopped.returncode, stopped.stdout) == (0, "The daemon has ended.\n")
    assert not (home / "connection.json").exists()
    assert (home / "launcher.json").exists()


def test_without_a_daemon_stop_is_content_and_status_says_how_to_start(home: Path) -> None:
    stopped = maskgit("daemon", "--stop")
    assert (stopped.returncode, stopped.stdout) == (0, "No daemon is running.\n")
    status = maskgit("daemon", "--status")
    assert status.returncode == 1
    assert status.stderr == (
        "maskgit: No daemon is running; start one with: maskgit daemon --detach\n"
    )
    told = maskgit("daemon", "--status", "--json")
    assert (told.returncode, json.loads(told.stdout)) == (1, {"running": False})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(home: Path, number: signal.Signals) -> None:
    process = in_foreground(home)
    process.send_signal(number)
    assert ended(process) == 0
    assert not (home / "connection.json").exists()
    assert "The daemon has ended" in (home / "logs" / "daemon.log").read_text("utf-8")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--device", "tpu"],
        ["--threads", "0"],
        ["--bind", "127.0.0.1:5000"],
        ["--client-key", "laptop=" + new_keys().public],
        ["--bind", "127.0.0.1:5000", "--client-key", "laptop=short"],
    ],
)
def test_wrong_usage_is_status_2(home: Path, arguments: list[str]) -> None:
    refused = maskgit("daemon", *arguments)
    assert refused.returncode == 2
    assert "Error: " in refused.stderr


def test_an_address_that_is_not_ours_is_told(home: Path) -> None:
    key = "laptop=" + new_keys().public
    refused = maskgit("daemon", "--bind", "192.0.2.1:5000", "--client-key", key)
    assert refused.returncode == 1
    assert "cannot listen at tcp://192.0.2.1:5000" in refused.stderr.splitlines()[-1]


def test_what_a_dead_daemon_left_behind_is_harmless(home: Path) -> None:
    process = in_foreground(home)
    process.send_signal(KILL)
    assert ended(process) == -KILL
    left = read_connection(home)
    status = maskgit("daemon", "--status")
    assert status.returncode == 1
    assert "is gone from" in status.stderr
    assert maskgit("daemon", "--stop").stdout == "No daemon is running.\n"
    # Somebody else may have got the port by now.
    port = int(left.endpoint.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)), start_daemon(home) as client:
        assert client.connection.session != left.session
        assert client.daemon["pid"] != left.pid


def test_two_that_start_it_at_once_share_one(home: Path) -> None:
    assert maskgit("daemon", "--detach").returncode == 0
    assert maskgit("daemon", "--stop").returncode == 0
    clients: list[Client] = []
    threads = [
        threading.Thread(target=lambda: clients.append(start_daemon(home))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({client.daemon["pid"] for client in clients}) == 1
    for client in clients:
        client.close()


def test_why_it_did_not_start_is_told(home: Path) -> None:
    home.mkdir()
    command = [sys.executable, "-c", "raise SystemExit('maskgit: It is broken.')"]
    write_private(home / "launcher.json", {"command": command})
    with pytest.raises(ClientError, match=r"could not be started: maskgit: It is broken\."):
        start_daemon(home)


def test_the_starter_is_loaded_without_being_asked_for(home: Path) -> None:
    process = in_foreground(home)
    with connect(home) as client:
        until = time.monotonic() + 30
        while client.status()["loaded"] != ["starter"]:
            assert time.monotonic() < until
            time.sleep(0.02)
    process.terminate()
    assert ended(process) == 0


def test_or_not_until_it_is_needed(home: Path) -> None:
    process = in_foreground(home, "--no-preload")
    with connect(home) as client:
        # The engine has had its turn once a job has failed.
        with pytest.raises(RefusedError, match="There is no model 'other'"):
            list(client.refine(*window(), SIDE, SIDE, bundle="other"))
        assert client.status()["loaded"] == []
    process.terminate()
    assert ended(process) == 0


@pytest.mark.parametrize(("own", "then"), [(None, "1"), ("3", "3")])
def test_numpy_computes_on_one_thread_unless_told_otherwise(own: str | None, then: str) -> None:
    code = (
        "import os, sys; from maskgit_daemon.commands.main import group;"
        "assert 'numpy' not in sys.modules; group.get_command(None, 'daemon');"
        "assert 'numpy' in sys.modules; print(os.environ['OPENBLAS_NUM_THREADS'])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    environment |= {} if own is None else {"OPENBLAS_NUM_THREADS": own}
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == then


def test_another_machine_needs_a_named_key(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    laptop, stranger = new_keys(), new_keys()
    process = in_foreground(home, "--bind", address, "--client-key", f"laptop={laptop.public}")
    here = read_connection(home)
    assert here.endpoint == f"tcp://{address}"
    far = Connection(here.endpoint, here.server_key, *laptop, 0, "", "", "")
    with connect(home) as owner, Client(far) as client:
        assert owner.status()["pid"] == client.status()["pid"] == process.pid
    with pytest.raises(NoDaemonError, match="does not know this client's key"):
        Client(far._replace(client_key=stranger.public, client_secret=stranger.secret))
    process.terminate()
    assert ended(process) == 0
    process = in_foreground(home, "--bind", address, "--client-key", f"laptop={laptop.public}")
    with Client(far) as client:
        assert client.status()["pid"] == process.pid
    process.terminate()
    assert ended(process) == 0


# Jobs of the real engine


@pytest.fixture
def live(home: Path) -> Iterator[Client]:
    process = in_foreground(home, "--device", "cpu", "--threads", "1")
    with connect(home) as client:
        yield client
    process.kill()
    ended(process)


def test_a_selection_is_refined(live: Client) -> None:
    plan = live.plan("starter", (40, 32, 24, 24), (SIDE, SIDE))
    assert plan.footprint >= 9
    live.load("starter")
    assert live.status()["loaded"] == ["starter"]
    pixels, selection = window()
    first, second = (
        list(live.refine(pixels, selection, SIDE, SIDE, steps=3, seed=5, preview=True))
        for _ in range(2)
    )
    assert first[0] == Accepted()
    assert [e.step for e in first[1:-1] if isinstance(e, Step)] == [0, 1, 2]
    result, repeated = first[-1], second[-1]
    assert isinstance(result, Result)
    assert isinstance(repeated, Result)
    assert result.patches == repeated.patches
    (patch,) = result.patches
    alpha = np.zeros((SIDE, SIDE), np.uint8)
    rgba = np.frombuffer(patch.pixels, np.uint8).reshape(patch.height, patch.width, 4)
    below, right = patch.top + patch.height, patch.left + patch.width
    alpha[patch.top : below, patch.left : right] = rgba[..., 3]
    assert alpha.tobytes() == selection


def test_no_more_tokens_change_than_the_plan_says(live: Client) -> None:
    sdedit = {"strength": 0.4, "guidance": "sdedit"}
    plan = live.plan("starter", (40, 32, 24, 24), (SIDE, SIDE), **sdedit)
    assert (plan.footprint, plan.may_change) == (9, 4)
    assert live.plan("starter", (40, 32, 24, 24), (SIDE, SIDE)).may_change == 9
    pixels, selection = window()
    grids = set()
    for seed in range(6):
        (*_, result) = live.refine(pixels, selection, SIDE, SIDE, steps=1, seed=seed, **sdedit)
        assert isinstance(result, Result)
        grids.add(result.patches[0].tokens)
    drawn = np.stack([np.frombuffer(grid, np.int64) for grid in grids])
    assert 2 <= np.count_nonzero((drawn != drawn[0]).any(0)) <= plan.may_change


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"strength": 1.5}, "strength must be a number from 0 to 1"),
        ({"guidance": "magic"}, "There is no guidance 'magic'"),
        ({"guidance": "self-learned"}, "maskgit train guidance"),
        ({"guidance": "iterative"}, "maskgit train iterative"),
        ({"options": {"pull": 1.0}}, "takes no option 'pull'"),
        ({"guidance": "sdedit", "options": {"release": -1.0}}, "release must be"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_plan_and_with_the_job(
    live: Client, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(RefusedError, match=says):
        live.plan("starter", (40, 32, 24, 24), (SIDE, SIDE), **fields)
    with pytest.raises(RefusedError, match=says):
        list(live.refine(*window(), SIDE, SIDE, **fields))


def test_status_is_answered_and_a_job_cancelled_while_it_computes(live: Client) -> None:
    job = live.refine(*window(), SIDE, SIDE, steps=LONG)
    events = iter(job)
    while not isinstance(next(events), Step):
        pass
    assert live.status()["jobs"] == 1
    job.cancel()
    assert list(events)[-1] == Cancelled()
    assert live.status()["jobs"] == 0


def test_a_bundle_that_is_not_there_fails_the_job_only(live: Client) -> None:
    with pytest.raises(RefusedError, match="There is no model 'other'"):
        list(live.refine(*window(), SIDE, SIDE, bundle="other"))
    assert isinstance(list(live.refine(*window(), SIDE, SIDE, steps=1))[-1], Result)


def test_a_daemon_killed_in_the_middle_of_a_job_is_told_and_the_next_job_works(
    live: Client, home: Path
) -> None:
    events = iter(live.refine(*window(), SIDE, SIDE, steps=LONG))
    while not isinstance(next(events), Step):
        pass
    os.kill(live.daemon["pid"], KILL)
    with pytest.raises(LostError, match=r"ended before it had answered; nothing was changed"):
        list(events)
    with connect_or_start(home) as client:
        assert isinstance(list(client.refine(*window(), SIDE, SIDE, steps=1))[-1], Result)


def test_a_daemon_stopped_in_the_middle_of_a_job_tells_its_client(live: Client) -> None:
    events = iter(live.refine(*window(), SIDE, SIDE, steps=LONG))
    while not isinstance(next(events), Step):
        pass
    assert maskgit("daemon", "--stop").stdout == "The daemon has ended.\n"
    with pytest.raises(RefusedError, match="stopped before the job was done"):
        list(events)
