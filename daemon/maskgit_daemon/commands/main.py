"""The program ``maskgit``: a table of commands, each imported only when it is called."""

from __future__ import annotations

import importlib
import os
import sys

import click

from maskgit_daemon.errors import MaskgitError
from maskgit_daemon.version import VERSION
from maskgit_refine.connection import ClientError

COMMANDS = {
    "daemon": ("maskgit_daemon.commands.daemon:daemon", "Start, stop or ask the local daemon."),
    "refine": ("maskgit_daemon.commands.refine:refine", "Make a selected part of a picture again."),
    "models": ("maskgit_daemon.commands.models:models", "List, fetch and check model bundles."),
    "krita": (
        "maskgit_daemon.commands.krita:krita",
        "Install the plugin into Krita, or examine it.",
    ),
    "tray": ("maskgit_daemon.commands.tray:tray", "Show the daemon in the system tray."),
    "export": ("maskgit_export.commands.export:export", "Turn checkpoints into model bundles."),
    "train": ("maskgit_export.commands.train:train", "Train or tune models on your own pictures."),
    "evaluate": (
        "maskgit_export.commands.evaluate:evaluate",
        "Judge models with numbers and plots.",
    ),
}
NEEDS = {
    "PySide6": "tray",
    **dict.fromkeys(("torch", "onnx", "onnxscript", "msgpack", "safetensors", "httpx"), "export"),
    **dict.fromkeys(("scipy", "matplotlib"), "evaluate"),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if cmd_name == "daemon":
            # numpy's threads and ONNX Runtime's would wait for each other; read by numpy's import.
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup)
@click.version_option(VERSION, prog_name="maskgit")
def group() -> None:
    """Make a selected patch of a picture again, with masked token models."""


def main() -> None:
    """Run the program; an error a user can act on is one sentence and exit status 1."""
    try:
        group(prog_name="maskgit")
    except (MaskgitError, ClientError) as error:
        click.echo(f"maskgit: {error}", err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        extra = NEEDS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        click.echo(
            f"maskgit: this command needs {error.name}; "
            f"install it with: pip install 'maskgit-refine[{extra}]'",
            err=True,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
