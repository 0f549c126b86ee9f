"""What training commands share: kinds of paths, and one option for each field of a plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
TARGET = click.Path(file_okay=False, path_type=Path)


def plan_options(plan: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """One option for each field of a plan, with its default."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for field in reversed(dataclasses.fields(plan)):
            flag = "--" + field.name.replace("_", "-")
            command = click.option(flag, field.name, default=field.default, show_default=True)(
                command
            )
        return command

    return decorate
