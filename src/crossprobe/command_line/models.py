"""`crossprobe models`: what is registered, which version is in use, what it scored, on which data."""

from __future__ import annotations

import dataclasses
import json

import click

from crossprobe.command_line.project import (
    ENVIRONMENT,
    configuration,
    model_option,
    registered_name,
    table_width,
    tracking_uri,
)

SCORE = "score."
WORDS = {"dsc": "Dice", "balanced_accuracy": "balanced accuracy", "auroc": "AUROC"}


@click.command()
@model_option()
@ENVIRONMENT
@click.option("--json", "as_json", is_flag=True, help="Everything that is known, as JSON.")
@click.option("--reasons", is_flag=True, help="Also what the gate found, check by check.")
def models(name: str | None, env: str | None, as_json: bool, reasons: bool) -> None:
    """Lists the versions of a registered model: aliases, gate, scores, hashes of the data behind them."""
    loader = configuration(env)
    from crossprobe.tracking.registry import Registry

    registry = Registry(tracking_uri(loader), registered_name(loader, name))
    rows = registry.rows()
    if as_json:
        listed = [{"model": registry.name, **dataclasses.asdict(row)} for row in rows]
        click.echo(json.dumps(listed, indent=2, default=str))
        return
    from rich.console import Console
    from rich.table import Table

    scores = list(dict.fromkeys(tag for row in rows for tag in sorted(row.tags) if tag.startswith(SCORE)))
    titles = (_title(tag) for tag in scores)
    columns = ("version", "aliases", "made", "gate", *titles, "source data", "target data", "splits")
    table = Table(*columns, title=registry.name)
    for row in rows:
        tags = row.tags
        table.add_row(
            str(row.version),
            ", ".join(row.aliases) + (" (withdrawn)" if tags.get("withdrawn") else ""),
            row.created,
            tags.get("gate", ""),
            *(tags.get(tag, "") for tag in scores),
            *(tags.get(f"data.{site}", "")[:12] for site in ("source", "target")),
            " ".join(tags.get(f"split.{site}", "")[:8] for site in ("source", "target")),
        )
    Console(width=table_width()).print(table)
    if reasons:
        for row in rows:
            click.echo(
                f"version {row.version}:\n{row.tags.get('gate_reasons', 'registered without the gate')}"
            )


def _title(tag: str) -> str:
    """Names a score for people: `score.source_dsc` is the source Dice."""
    site, _, metric = tag.removeprefix(SCORE).partition("_")
    return f"{site} {WORDS.get(metric, metric)}"
