"""Where the daemon keeps what is not shared with its clients: log files and models."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs

NAME = "maskgit"


def log_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of the log files: ``MASKGIT_HOME/logs`` where that is set, else the platform's."""
    home = environ.get("MASKGIT_HOME")
    return Path(home, "logs") if home else Path(platformdirs.user_log_dir(NAME, appauthor=False))


def models_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of fetched bundles: ``MASKGIT_HOME/models`` or the platform's data folder."""
    home = environ.get("MASKGIT_HOME")
    base = Path(home) if home else Path(platformdirs.user_data_dir(NAME, appauthor=False))
    return base / "models"
