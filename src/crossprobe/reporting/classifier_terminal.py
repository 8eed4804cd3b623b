"""The table of classifiers for the terminal."""

from __future__ import annotations

import pandas as pd
from rich import box
from rich.markup import escape
from rich.table import Table

from crossprobe.reporting.style import arm_label
from crossprobe.reporting.wording import interval, number

SHOWN = {"accuracy": "accuracy", "balanced_accuracy": "balanced acc.", "auroc": "AUROC"}


def classifier_terminal_table(arms: pd.DataFrame) -> Table:
    """Makes the table of classifiers: a line an arm and site, with the interval of the balanced accuracy.

    Args:
        arms: From `classifier_table`, with `claimed`.

    Returns:
        A rich table that fits 80 columns.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("Test", overflow="fold")
    for name in ("site", "n", *SHOWN.values(), "claimed acc."):
        table.add_column(name, justify="right", no_wrap=name != "claimed acc.")
    for (site, arm), rows in arms.groupby(["site", "arm"], sort=False):
        figures = {str(row["metric"]): row for row in rows.to_dict("records")}
        cells = [number(figures[metric]["value"]) for metric in SHOWN]
        balanced = figures["balanced_accuracy"]
        cells[1] += f" [dim]{escape(interval(balanced['low'], balanced['high']))}[/dim]"
        claimed = figures["accuracy"]["claimed"]
        count = int(balanced["n_patients"])
        table.add_row(
            escape(arm_label(str(arm))), str(site), str(count), *cells,
            number(claimed) if pd.notna(claimed) else "",
        )  # fmt: skip
    return table
