"""``maskgit daemon``: start it, ask how it is, stop it."""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from maskgit_daemon.connection_file import (
    KeyPair,
    hold_lock,
    is_locked,
    maskgit_command,
    new_keys,
    prepare_folder,
    remove_connection,
    server_keys,
    write_connection,
    write_launcher,
)
from maskgit_daemon.errors import MaskgitError
from maskgit_daemon.events import Event, Failed
from maskgit_daemon.folders import log_folder, models_folder
from maskgit_daemon.logs import start_logging
from maskgit_daemon.version import VERSION
from maskgit_refine.connection import Connection, NoDaemonError, home_folder

LOG = logging.getLogger(__name__)

STOP_SECONDS = 15.0
OWNER = "owner"
STARTER = "starter"


@click.command()
@click.option("--status", "action", flag_value="status", help="Say how the running daemon is.")
@click.option("--stop", "action", flag_value="stop", help="End the running daemon.")
@click.option("--detach", "action", flag_value="detach", help="Start it in the background.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cuda", "cpu"]),
    default="auto",
    show_default=True,
    help="Where to compute; auto takes CUDA if a device and its libraries are there.",
)
@click.option("--threads", type=click.IntRange(1, 1024), help="Processors to use; default: all.")
@click.option(
    "--bind",
    metavar="ADDRESS:PORT",
    help="Serve other machines at this address; needs a --client-key.",
)
@click.option(
    "--client-key",
    "client_keys",
    multiple=True,
    metavar="NAME=KEY",
    help="Let in the client with this public key (40 characters, Z85); may be repeated.",
)
@click.option(
    "--preload/--no-preload",
    default=True,
    show_default=True,
    help="Load the starter model at once, so that the first job is as fast as the next.",
)
@click.option("--json", "as_json", is_flag=True, help="Print --status as JSON.")
def daemon(
    action: str | None,
    device: str,
    threads: int | None,
    bind: str | None,
    client_keys: tuple[str, ...],
    preload: bool,
    as_json: bool,
) -> None:
    """Serve refinements to Krita and other clients, in the foreground until Ctrl-C."""
    home = home_folder()
    if action == "status":
        show_status(home, as_json)
    elif action == "stop":
        stop_daemon(home)
    else:
        clients = parse_clients(client_keys)
        if bind is not None and not clients:
            raise click.UsageError("--bind needs at least one --client-key NAME=KEY.")
        if bind is None and clients:
            raise click.UsageError("--client-key is of use only with --bind ADDRESS:PORT.")
        endpoint = None if bind is None else f"tcp://{bind}"
        if action == "detach":
            detach(home, device, threads, bind, client_keys, preload)
        else:
            run(home, device, threads, endpoint, clients, preload)


def parse_clients(told: tuple[str, ...]) -> dict[str, str]:
    """``NAME=KEY`` texts as name → public key; refuses what is no Z85 key of 32 bytes."""
    from zmq.utils import z85

    clients = {}
    for text in told:
        name, _, key = text.partition("=")
        try:
            sound = len(z85.decode(key.encode("ascii"))) == 32
        except (ValueError, KeyError):
            sound = False
        if not name or name == OWNER or not sound:
            raise click.UsageError(f"--client-key {text!r} is not NAME=KEY with a Z85 public key.")
        clients[name] = key
    return clients


def run(
    home: Path,
    device: str,
    threads: int | None,
    endpoint: str | None,
    clients: dict[str, str],
    preload: bool,
) -> None:
    """Serve until told to end; leaves no connection file behind."""
    prepare_folder(home)
    lock = hold_lock(home)
    try:
        path = start_logging(log_folder(), echo=os.isatty(2))
        write_launcher(home)
        keys = new_keys() if endpoint is None else server_keys(home)
        serve(home, keys, device, threads, endpoint, clients, preload)
        LOG.info("The daemon has ended; its log is %s", path)
    finally:
        lock.release()


def serve(
    home: Path,
    keys: KeyPair,
    device: str,
    threads: int | None,
    endpoint: str | None,
    clients: dict[str, str],
    preload: bool,
) -> None:
    """Bind, then tell clients, then serve; the starter is loaded while the first ones connect."""
    from maskgit_daemon.engine import Engine
    from maskgit_daemon.post import LOOPBACK
    from maskgit_daemon.server import Server

    owner = new_keys()
    session = secrets.token_hex(8)
    named = {OWNER: owner.public, **clients}
    engine = Engine(device, threads, (models_folder(),))
    try:
        server = Server(engine, keys, named, session, endpoint or LOOPBACK)
    except MaskgitError:
        engine.close()
        raise
    with ExitStack() as ending:
        # Closed from the last to the first: the engine's last events still find the server.
        ending.callback(server.close)
        ending.callback(engine.close)
        ending.callback(remove_connection, home)
        ending.enter_context(stopped_by_signals(server))
        connection = Connection(
            endpoint=reachable(server.endpoint),
            server_key=keys.public,
            client_key=owner.public,
            client_secret=owner.secret,
            pid=os.getpid(),
            session=session,
            version=VERSION,
            maskgit=maskgit_command()[0],
        )
        write_connection(home, connection)
        LOG.info("Daemon %s serves at %s", VERSION, server.endpoint)
        if preload:
            engine.load(STARTER, log_preload)
        server.serve()


def log_preload(event: Event) -> None:
    """Say in the log if the starter could not be loaded; a job that needs it will be told too."""
    if isinstance(event, Failed):
        LOG.warning("The starter is not loaded: %s", event.message)


@contextmanager
def stopped_by_signals(server: Any) -> Iterator[None]:
    """SIGTERM, Ctrl-C, and where they exist SIGHUP and SIGBREAK, stop the server."""
    names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK")
    caught = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, lambda *_: server.stop()) for number in caught}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def reachable(endpoint: str) -> str:
    """The bound endpoint as the owner's own clients reach it."""
    return endpoint.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def show_status(home: Path, as_json: bool) -> None:
    """Print what the running daemon says of itself; :class:`NoDaemonError` if there is none."""
    from maskgit_refine.client import connect

    try:
        with connect(home) as client:
            status = client.status()
    except NoDaemonError:
        if not as_json:
            raise
        click.echo(json.dumps({"running": False}))
        click.get_current_context().exit(1)
    if as_json:
        click.echo(json.dumps({"running": True, **status}))
        return
    loaded = ", ".join(status.get("loaded", ())) or "no model yet"
    click.echo(
        f"Daemon {status['version']} runs as process {status['pid']} at {status['endpoint']} "
        f"on {status.get('device')}, with {loaded} loaded and {status.get('jobs')} jobs."
    )


def stop_daemon(home: Path) -> None:
    """End the running daemon and wait until it has gone; none running is fine too."""
    from maskgit_refine.client import LostError, connect

    try:
        with connect(home) as client:
            client.shutdown()
    except NoDaemonError:
        if is_locked(home):
            raise MaskgitError(
                "A daemon is running but does not answer; end its process yourself."
            ) from None
        click.echo("No daemon is running.")
        return
    except LostError:
        pass
    until = time.monotonic() + STOP_SECONDS
    while is_locked(home):
        if time.monotonic() > until:
            raise MaskgitError("The daemon has agreed to end but still runs; end its process.")
        time.sleep(0.05)
    click.echo("The daemon has ended.")


def detach(
    home: Path,
    device: str,
    threads: int | None,
    bind: str | None,
    client_keys: tuple[str, ...],
    preload: bool,
) -> None:
    """Start a daemon in the background and return once it serves."""
    from maskgit_refine.client import connect
    from maskgit_refine.launch import start_daemon

    try:
        with connect(home) as client:
            click.echo(f"A daemon is running already, as process {client.daemon['pid']}.")
            return
    except NoDaemonError:
        pass
    write_launcher(home)
    options = ["--device", device]
    options += [] if threads is None else ["--threads", str(threads)]
    options += [] if bind is None else ["--bind", bind]
    options += [] if preload else ["--no-preload"]
    for text in client_keys:
        options += ["--client-key", text]
    with start_daemon(home, options) as client:
        click.echo(f"The daemon runs as process {client.daemon['pid']}.")
