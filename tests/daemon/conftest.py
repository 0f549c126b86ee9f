"""A live server with an engine whose pace the tests set, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.daemon.doubles import PacedEngine, serving

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
