"""The table of arms for the terminal, with where the report lies."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from crossprobe.reporting.style import arm_label, metric_label
from crossprobe.reporting.wording import interval, number, p_value

_SHOWN = ("dsc", "iou", "hd95_mm", "hd95_px")


def terminal_table(arms: pd.DataFrame, site: str = "target") -> Table:
    """Makes the table of arms for one site.

    Args:
        arms: From `arms_table`.
        site: Site to show.

    Returns:
        A rich table.
    """
    here = arms[arms["site"] == site]
    metrics = [metric for metric in _SHOWN if here["mean"][here["metric"] == metric].notna().any()]
    count = int(here["n_patients"].max()) if len(here) else 0
    table = Table(
        title=f"{site.capitalize()} test, {count} patients", box=box.SIMPLE_HEAD, title_justify="left"
    )
    table.add_column("Arm", no_wrap=True)
    for metric in metrics:
        table.add_column(metric_label(metric), justify="right", no_wrap=True)
    table.add_column("DSC less source only", justify="right", no_wrap=True)
    table.add_column("Holm p", justify="right", no_wrap=True)
    rows = here.set_index(["arm", "metric"])
    for arm in dict.fromkeys(here["arm"]):
        cells = []
        for metric in metrics:
            row = rows.loc[(arm, metric)] if (arm, metric) in rows.index else None
            text = "" if row is None else number(row["mean"], metric)
            if row is not None and metric == "dsc":
                text += f" [dim]{_plain(interval(row['low'], row['high']))}[/dim]"
            cells.append(text)
        row = rows.loc[(arm, "dsc")] if (arm, "dsc") in rows.index else None
        difference = "" if row is None else number(row["baseline_difference"], sign=True)
        p = "" if row is None else p_value(row["baseline_p_holm"])
        table.add_row(_plain(arm_label(arm)), *cells, difference, p)
    return table


def _plain(text: str) -> str:
    """Keeps brackets from being read as markup."""
    return text.replace("[", r"\[")


def print_arms(arms: pd.DataFrame, report: Path | None = None, console: Console | None = None) -> None:
    """Prints the table of arms of every site and says where the report lies.

    Args:
        arms: From `arms_table`.
        report: Path of the report.
        console: Where to print; standard output where None.
    """
    console = console or Console()
    for site in dict.fromkeys(arms["site"]):
        console.print(terminal_table(arms, str(site)))
    if report is not None:
        console.print(f"Report: {report}", soft_wrap=True, markup=False, highlight=False)
