"""The command `crossprobe`: each command is imported when it is called, for help must not wait for torch."""

from __future__ import annotations

import importlib
import sys

import click

from crossprobe.errors import CrossprobeError

COMMANDS = {
    "run": ("crossprobe.command_line.run", "Runs a pipeline, as `kedro run` does."),
    "models": ("crossprobe.command_line.models", "Lists registered models, their aliases, scores and data."),
    "promote": ("crossprobe.command_line.promotion", "Makes a version the champion."),
    "rollback": (
        "crossprobe.command_line.promotion",
        "Makes the champion before the present one champion again.",
    ),
    "predict": (
        "crossprobe.command_line.predict",
        "Predicts masks, or classes, on images, videos, DICOM files and folders.",
    ),
}


class LazyGroup(click.Group):
    """A group that knows its commands' names and help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports a command.

        Args:
            ctx: click's.
            cmd_name: What was typed.
        """
        if cmd_name not in COMMANDS:
            return None
        return getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of commands from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=LazyGroup)
@click.version_option(package_name="crossprobe")
def crossprobe() -> None:
    """Brings a new ultrasound probe online without labels.

    Works in the project folder and in every folder below it.
    """


def main(*args: str, **kwargs: object) -> object:
    """Runs the command line; errors that a user can act on are one line, without a traceback.

    Args:
        args: Command line arguments; those of the process where none are given.
        kwargs: Passed on to click.

    Returns:
        What the command returns.
    """
    try:
        return crossprobe(list(args) or None, **kwargs)
    except Exception as error:
        # MLflow's own errors (a server that does not answer, a wrong password) without importing MLflow here.
        if not isinstance(error, CrossprobeError) and not type(error).__module__.startswith("mlflow."):
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
