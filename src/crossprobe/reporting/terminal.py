"""The table of arms for the terminal, with where the report lies."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crossprobe.reporting.classifier_terminal import classifier_terminal_table
from crossprobe.reporting.style import arm_label
from crossprobe.reporting.wording import interval, number, p_value


def terminal_table(arms: pd.DataFrame) -> Table:
    """Makes the table of arms: DSC on every site's test patients, and the difference that matters.

    Args:
        arms: From `arms_table`.

    Returns:
        A rich table that fits 80 columns.
    """
    dsc = arms[arms["metric"] == "dsc"].set_index(["arm", "site"])
    sites = list(dict.fromkeys(arms["site"]))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("Test DSC", overflow="fold")
    for site in sites:
        here = dsc[dsc.index.get_level_values("site") == site]
        count = int(here["n_patients"].max()) if len(here) else 0
        table.add_column(f"{site}\nn = {count}", justify="right", no_wrap=True)
    table.add_column("vs source\nonly", justify="right", no_wrap=True)
    table.add_column("Holm p", justify="right", no_wrap=True)
    for arm in dict.fromkeys(arms["arm"]):
        rows = {site: dsc.loc[(arm, site)] for site in sites if (arm, site) in dsc.index}
        cells = [number(rows[site]["mean"]) if site in rows else "" for site in sites]
        last = rows.get(sites[-1])
        if last is not None:
            cells[-1] += f" [dim]{escape(interval(last['low'], last['high']))}[/dim]"
            cells += [number(last["baseline_difference"], sign=True), p_value(last["baseline_p_holm"])]
        table.add_row(escape(arm_label(arm)), *cells)
    return table


def print_result(result: pd.DataFrame | list[str], report: Path | None = None) -> None:
    """Prints a result of a run that is meant for people.

    Args:
        result: A table of arms, or sentences.
        report: Path of the report that belongs to it.
    """
    if isinstance(result, pd.DataFrame):
        print_arms(result, report)
        return
    console = Console()
    for sentence in result:
        console.print(f"- {sentence}", markup=False, highlight=False)


def print_arms(arms: pd.DataFrame, report: Path | None = None, console: Console | None = None) -> None:
    """Prints the table of arms and says where the report lies.

    Args:
        arms: From `arms_table`.
        report: Path of the report.
        console: Where to print; standard output where None.
    """
    console = console or Console()
    console.print(terminal_table(arms) if "dsc" in set(arms["metric"]) else classifier_terminal_table(arms))
    if report is not None:
        console.print(f"Report: {report}", soft_wrap=True, markup=False, highlight=False)
