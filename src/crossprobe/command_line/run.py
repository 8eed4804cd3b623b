"""`crossprobe run`: what `kedro run` does, from any folder of the project."""

from __future__ import annotations

import os
from typing import Any

import click

from crossprobe.command_line.project import project_folder


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
)
@click.pass_context
def run(context: click.Context) -> object:
    """Runs a pipeline, as `kedro run` does: same options, see `crossprobe run --help`."""
    from kedro.framework.cli.utils import find_run_command
    from kedro.framework.startup import bootstrap_project

    folder = project_folder()
    os.chdir(folder)
    metadata = bootstrap_project(folder)
    command: Any = find_run_command(metadata.package_name)
    return command.main(context.args, prog_name="crossprobe run", standalone_mode=False, obj=metadata)
