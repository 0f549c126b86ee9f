"""The daemon's log: one file, rotated before it grows large."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

MAX_BYTES = 1_000_000
KEPT = 3
LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def start_logging(folder: Path, echo: bool) -> Path:
    """Send all log lines to ``folder/daemon.log`` (and to stderr if ``echo``); return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "daemon.log"
    handlers: list[logging.Handler] = [
        RotatingFileHandler(
            path,
            maxBytes=MAX_BYTES,
            backupCount=KEPT,
            encoding="utf-8",
            errors="backslashreplace",
            delay=True,
        )
    ]
    if echo:
        handlers.append(logging.StreamHandler())
    logging.basicConfig(level=logging.INFO, format=LINE, handlers=handlers, force=True)
    return path
