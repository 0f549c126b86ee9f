"""A live server with an engine whose pace the tests set, a client of it, and a whole daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.daemon.doubles import PacedEngine, serving
from tests.daemon.refining import own_daemon, picture_and_mask

from maskgit_refine.client import Client
from maskgit_refine.connection import Connection


@pytest.fixture
def engine() -> PacedEngine:
    return PacedEngine()


@pytest.fixture
def connection(engine: PacedEngine) -> Iterator[Connection]:
    with serving(engine) as (_, connection):
        yield connection


@pytest.fixture
def client(connection: Connection) -> Iterator[Client]:
    with Client(connection) as client:
        yield client


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of a module's own, with a daemon that all of its tests use."""
    with own_daemon(tmp_path_factory.mktemp("refine") / "home") as folder:
        yield folder


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A picture and its selection."""
    return picture_and_mask(tmp_path)
