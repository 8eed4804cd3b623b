"""`crossprobe promote` and `crossprobe rollback`: which version is in use."""

from __future__ import annotations

import click

from crossprobe.command_line.project import (
    ENVIRONMENT,
    configuration,
    model_option,
    registered_name,
    tracking_uri,
)


@click.command()
@click.argument("version", type=click.IntRange(min=1))
@model_option()
@ENVIRONMENT
@click.option("--force", metavar="REASON", help="Promote against the gate, and say why; the reason is kept.")
def promote(version: int, name: str | None, env: str | None, force: str | None) -> None:
    """Makes VERSION the champion, if it passed the gate against the present one."""
    loader = configuration(env)
    from crossprobe.tracking.promotion import promote_by_hand
    from crossprobe.tracking.registry import Registry

    registry = Registry(tracking_uri(loader), registered_name(loader, name))
    click.echo(promote_by_hand(registry, version, force))


@click.command()
@model_option()
@ENVIRONMENT
@click.option("--reason", default="by hand", show_default=True, help="Kept with the version withdrawn.")
def rollback(name: str | None, env: str | None, reason: str) -> None:
    """Makes the champion before the present one champion again."""
    loader = configuration(env)
    from crossprobe.tracking.registry import Registry

    registry = Registry(tracking_uri(loader), registered_name(loader, name))
    withdrawn, back = registry.rollback(reason)
    click.echo(f"{registry.name}: version {back} is champion again, version {withdrawn} is withdrawn")
