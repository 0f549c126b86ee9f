"""The engine's models: planned with, found, loaded, let go, tampered with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.daemon.engine_jobs import Inbox, refined, request, same, submit

from maskgit_daemon.bundle import STARTER
from maskgit_daemon.engine import Engine
from maskgit_daemon.errors import BundleError, RequestError
from maskgit_daemon.events import Done, Failed


def test_a_plan_loads_nothing() -> None:
    engine = Engine("cpu")
    plan, changing = engine.plan("starter", (40, 32, 24, 24), (2000, 1500))
    assert plan.scale == 1.0
    assert plan.footprint == changing == 9
    assert engine.plan("starter", (40, 32, 24, 24), (2000, 1500), 0.3, "sdedit", {})[1] == 3
    assert engine.status()["loaded"] == []
    with pytest.raises(RequestError, match="partly outside the picture"):
        engine.plan("starter", (1990, 32, 24, 24), (2000, 1500))
    with pytest.raises(BundleError, match="There is no model 'other'"):
        engine.plan("other", (0, 0, 8, 8), (20, 20))
    engine.close()


def test_models_are_found_loaded_and_let_go(tmp_path: Path) -> None:
    shutil.copytree(STARTER, tmp_path / "mine")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text("{}")
    engine = Engine("cpu", threads=1, search=[tmp_path])
    listed = {model["name"]: model for model in engine.models()}
    assert set(listed) == {"starter", "mine", "broken"}
    assert "reads format 1" in listed["broken"]["error"]
    assert listed["mine"]["licence"] == "CC-BY-SA-4.0"
    inbox = Inbox()
    engine.load("mine", inbox.events.put)
    assert isinstance(inbox.next(), Done)
    assert engine.status()["loaded"] == ["mine"]
    engine.unload("mine", inbox.events.put)
    assert isinstance(inbox.next(), Done)
    assert engine.status()["loaded"] == []
    engine.load("broken", inbox.events.put)
    failed = inbox.next()
    assert isinstance(failed, Failed)
    assert "reads format 1" in failed.message
    engine.close()


def test_a_bundle_tampered_with_fails_the_job_and_a_whole_one_works_then(tmp_path: Path) -> None:
    shutil.copytree(STARTER, tmp_path / "mine")
    graph = tmp_path / "mine" / "decoder.onnx"
    sound = graph.read_bytes()
    graph.write_bytes(sound[:-100] + bytes(100))
    engine = Engine("cpu", threads=1, search=[tmp_path])
    (event,) = submit(engine, request(bundle="mine"))[1].rest()
    assert isinstance(event, Failed)
    assert "does not match its SHA-256" in event.message
    graph.write_bytes(sound)
    assert same(refined(engine, request(bundle="mine")), refined(engine, request()))
    engine.close()


def test_a_bundle_is_found_by_its_folder(tmp_path: Path) -> None:
    shutil.copytree(STARTER, tmp_path / "mine")
    engine = Engine("cpu", threads=1)
    assert refined(engine, request(bundle=str(tmp_path / "mine")))
    engine.close()
