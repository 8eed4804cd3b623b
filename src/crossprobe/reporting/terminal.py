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
from crossprobe.reporting.wording import NO_ACCURACY, UNMEASURED, interval, number, p_value


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
        result: A table of arms, the order of the arms that was found without labels, or sentences.
        report: Path of the report that belongs to it.
    """
    console = Console()
    if not isinstance(result, pd.DataFrame):
        for sentence in result:
            console.print(f"- {sentence}", markup=False, highlight=False)
    elif "metric" in result:
        print_arms(result, report, console)
    else:
        print_choice(result, console)


def print_arms(arms: pd.DataFrame, report: Path | None = None, console: Console | None = None) -> None:
    """Prints the table of arms, says if the target could not be scored, and where the report lies.

    Args:
        arms: From `arms_table`.
        report: Path of the report.
        console: Where to print; standard output where None.
    """
    console = console or Console()
    segmenters = "dsc" in set(arms["metric"])
    console.print(terminal_table(arms) if segmenters else classifier_terminal_table(arms))
    # A table of an earlier version may have been kept.
    if "n_seeds" in arms and (times := int(arms["n_seeds"].max())) > 1:
        console.print(f"Means over {times} trainings with different seeds; p is of patients alone.")
    if segmenters and "target" not in set(arms["site"]):
        console.print(UNMEASURED)
    if report is not None:
        console.print(f"Report: {report}", soft_wrap=True, markup=False, highlight=False)


def print_choice(label_free: pd.DataFrame, console: Console | None = None) -> None:
    """Prints the order of the arms that was found without labels, and that it is no accuracy.

    Args:
        label_free: From `label_free_table`.
        console: Where to print; standard output where None.
    """
    order = ", ".join(arm_label(arm) for arm in label_free["arm"])
    (console or Console()).print(f"Ranked without target labels: {order}. {NO_ACCURACY}", markup=False)
