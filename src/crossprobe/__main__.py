"""Runs the project as a package: `python -m crossprobe run …` is `kedro run …`."""

from __future__ import annotations

import sys
from pathlib import Path

from kedro.framework.cli.utils import find_run_command
from kedro.framework.project import configure_project


def main(*args: str, **kwargs: object) -> object:
    """Hands the command line to the project's run command.

    Args:
        args: Command line arguments; those of the process where none are given.
        kwargs: Passed on to click.

    Returns:
        What the command returns.
    """
    package = Path(__file__).parent.name
    configure_project(package)
    run = find_run_command(package)
    kwargs.setdefault("standalone_mode", not hasattr(sys, "ps1"))
    return run(*args, **kwargs)


if __name__ == "__main__":
    main()
