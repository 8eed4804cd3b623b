"""Charts drawn from metrics tables: arms with intervals, differences by patient, breakdowns, curves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from crossprobe.evaluation.arms_table import ArmRoles
from crossprobe.evaluation.statistics import StatisticsSettings, bootstrap_interval, paired_differences
from crossprobe.reporting.style import LIGHT, arm_colours, arm_label, bands, drawing, metric_label


def arms_dot_plot(table: pd.DataFrame, metric: str = "dsc") -> Figure:
    """Draws every arm with its interval, sites side by side, claimed figures as hollow diamonds.

    Args:
        table: From `arms_table`.
        metric: Metric to draw.

    Returns:
        The figure.
    """
    chosen = table[table["metric"] == metric]
    arms, sites = list(dict.fromkeys(chosen["arm"])), list(dict.fromkeys(chosen["site"]))
    colours = arm_colours(arms)
    with drawing():
        figure = Figure(figsize=(9.2, 0.9 + 0.42 * max(len(arms), 1)), layout="constrained")
        grid = figure.subplots(1, max(len(sites), 1), sharex=True, sharey=True, squeeze=False)[0]
        for axes, site in zip(grid, sites, strict=False):
            rows = chosen[chosen["site"] == site].set_index("arm")
            _dots(axes, rows, arms, colours)
            axes.set_title(f"{site.capitalize()} test patients (n = {int(rows['n_patients'].max())})")
            axes.set_xlabel(metric_label(metric))
        grid[0].set_yticks(range(len(arms)), [arm_label(arm) for arm in arms])
        if chosen["claimed"].notna().any():
            claimed = Line2D([], [], marker="D", color=LIGHT.muted, markersize=5, linestyle="none")
            claimed.set_markerfacecolor("none")
            claimed.set_label("claimed by the paper, on other data")
            measured = Line2D([], [], marker="o", color=LIGHT.muted, label="measured, with its interval")
            handles = [measured, claimed]
            figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _dots(axes: Axes, rows: pd.DataFrame, arms: Sequence[str], colours: dict[str, str]) -> None:
    """One site of the dot plot; the figures stand at the right of their dots' row."""
    bands(axes, len(arms))
    for place, arm in enumerate(arms):
        if arm not in rows.index:
            continue
        row, colour = rows.loc[arm], colours[arm]
        if np.isfinite(row["low"]):
            axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.2, alpha=0.75)
        axes.plot(row["mean"], place, "o", color=colour, markersize=7)
        axes.plot(row["claimed"], place, "D", color=LIGHT.muted, markerfacecolor="none", markersize=5)
        axes.text(
            1.01, place, f"{row['mean']:.3f}", transform=axes.get_yaxis_transform(), va="center", fontsize=8.5
        )


def paired_differences_plot(
    metrics: pd.DataFrame,
    baseline: str = "source_only",
    metric: str = "dsc",
    site: str = "target",
    settings: StatisticsSettings | None = None,
) -> Figure:
    """Draws for every arm each patient's difference against the baseline, with mean and interval.

    Args:
        metrics: Long patient table.
        baseline: Arm at zero.
        metric: Metric to draw.
        site: Site to draw.
        settings: How to draw intervals.

    Returns:
        The figure.
    """
    chosen = metrics[(metrics["site"] == site) & (metrics["metric"] == metric)]
    arms = [arm for arm in dict.fromkeys(chosen["arm"]) if arm != baseline]
    colours = arm_colours(arms)
    with drawing():
        figure = Figure(figsize=(9.2, 1.0 + 0.46 * max(len(arms), 1)), layout="constrained")
        axes = figure.subplots()
        bands(axes, len(arms))
        axes.axvline(0, color=LIGHT.muted, linewidth=1.2)
        spread = np.random.default_rng(0)
        for place, arm in enumerate(arms):
            table = paired_differences(chosen, arm, baseline, site, metric)
            values = table.mean(axis=1).to_numpy()
            heights = place + spread.uniform(-0.22, 0.22, len(values))
            axes.plot(values, heights, "o", color=colours[arm], alpha=0.45, markersize=4.5, markeredgewidth=0)
            interval = bootstrap_interval(table.to_numpy(), settings)
            axes.plot([interval.low, interval.high], [place, place], color=LIGHT.ink, linewidth=2.4)
            axes.plot(interval.mean, place, "o", color=LIGHT.ink, markersize=6.5)
            label = f"{interval.mean:+.3f}"
            axes.text(1.01, place, label, transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
        axes.set_yticks(range(len(arms)), [arm_label(arm) for arm in arms])
        axes.set_xlabel(
            f"difference in {metric_label(metric)} to {arm_label(baseline).lower()}, one dot a patient"
        )
        axes.set_title(f"Differences on {site} test patients")
    return figure


def breakdown_heatmap(table: pd.DataFrame, by: str, metric: str = "dsc", site: str = "target") -> Figure:
    """Draws scores by group and arm as a heat map with its figures written in.

    Args:
        table: From `breakdown`.
        by: Column broken down by, such as `view`.
        metric: Metric to draw.
        site: Site to draw.

    Returns:
        The figure.
    """
    chosen = table[(table["by"] == by) & (table["metric"] == metric) & (table["site"] == site)]
    arms, groups = list(dict.fromkeys(chosen["arm"])), list(dict.fromkeys(chosen["group"]))
    cells = chosen.pivot_table(index="group", columns="arm", values="mean").reindex(
        index=groups, columns=arms
    )
    values = cells.to_numpy()
    with drawing():
        size = (2.2 + 1.15 * max(len(arms), 1), 1.4 + 0.42 * max(len(groups), 1))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        if values.size:
            image = axes.imshow(values, cmap="cividis", aspect="auto")
            middle = (np.nanmin(values) + np.nanmax(values)) / 2
            for (row, column), value in np.ndenumerate(values):
                ink = "#111111" if value > middle else "#ffffff"
                axes.text(column, row, f"{value:.3f}", ha="center", va="center", color=ink, fontsize=8.5)
            figure.colorbar(image, ax=axes, label=metric_label(metric), shrink=0.9)
        axes.set_xticks(range(len(arms)), [arm_label(arm) for arm in arms], rotation=25, ha="right")
        axes.set_yticks(range(len(groups)), groups)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_title(f"{metric_label(metric)} by {by}, {site}")
    return figure


def training_curves(histories: pd.DataFrame, stage: str | None = None) -> Figure:
    """Draws training (thin) and validation (thick) curves, a panel for each stage and metric.

    Args:
        histories: Long table `stage, arm, step, part, metric, value`; `part` is `train` or `validation`.
        stage: One stage; all where None.

    Returns:
        The figure.
    """
    chosen = histories if stage is None else histories[histories["stage"] == stage]
    panels = list(dict.fromkeys(zip(chosen["stage"], chosen["metric"], strict=True)))
    arms = list(dict.fromkeys(chosen["arm"]))
    colours = arm_colours(arms)
    columns = min(3, max(len(panels), 1))
    rows = max(1, math.ceil(len(panels) / columns))
    with drawing():
        figure = Figure(figsize=(9.6, 0.7 + 2.3 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (name, metric) in zip(grid, panels, strict=False):
            here = chosen[(chosen["stage"] == name) & (chosen["metric"] == metric)]
            for (arm, part), line in here.groupby(["arm", "part"], sort=False):
                ordered = line.sort_values("step")
                thick = {"linewidth": 1.9} if part == "validation" else {"linewidth": 0.9, "alpha": 0.6}
                axes.plot(ordered["step"], ordered["value"], color=colours[str(arm)], **thick)
                if part == "validation" and len(ordered) == 1:
                    axes.plot(ordered["step"], ordered["value"], "o", color=colours[str(arm)], markersize=4)
            axes.grid(axis="y")
            axes.set_title(metric_label(metric) if stage is not None else f"{name}:\n{metric_label(metric)}")
            axes.set_xlabel("step")
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        handles = [Line2D([], [], color=colours[arm], label=arm_label(arm)) for arm in arms]
        handles += [Line2D([], [], color=LIGHT.muted, linewidth=0.9, label="train")]
        handles += [Line2D([], [], color=LIGHT.muted, linewidth=1.9, label="validation")]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)))
    return figure


def reliability_plot(table: pd.DataFrame, site: str = "target") -> Figure:
    """Draws observed against stated probability of foreground, by arm.

    Args:
        table: From `reliability_table`, arms stacked.
        site: Site to draw.

    Returns:
        The figure.
    """
    chosen = table[table["site"] == site]
    arms = list(dict.fromkeys(chosen["arm"]))
    with drawing():
        figure = Figure(figsize=(9.2, 3.9), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=LIGHT.muted, linewidth=1, linestyle=(0, (4, 3)))
        for arm, colour in arm_colours(arms).items():
            line = chosen[chosen["arm"] == arm].sort_values("bin")
            axes.plot(
                line["stated"], line["observed"], "o-", color=colour, markersize=3.5, label=arm_label(arm)
            )
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_xlabel("stated probability of a pixel")
        axes.set_ylabel("observed share of foreground")
        axes.set_title(f"Calibration, {site} test")
        axes.grid()
        figure.legend(loc="outside right upper")
    return figure


def rejections_chart(rejections: pd.DataFrame, most: int = 12) -> Figure:
    """Draws how many items were dropped, by reason and site.

    Args:
        rejections: Table `site, stage, item, reason`.
        most: Reasons drawn, the commonest.

    Returns:
        The figure.
    """
    counts = pd.crosstab(rejections["reason"], rejections["site"])
    counts = counts.loc[counts.sum(axis=1).sort_values(ascending=False).index].head(most)
    shades = ["#0072b2", "#e69f00", "#009e73", "#cc79a7"]
    with drawing():
        figure = Figure(figsize=(9.2, 0.9 + 0.36 * max(len(counts), 1)), layout="constrained")
        axes = figure.subplots()
        bands(axes, len(counts))
        start = np.zeros(len(counts))
        for index, site in enumerate(counts.columns):
            values = counts[site].to_numpy()
            axes.barh(
                range(len(counts)), values, left=start, height=0.62, label=site, color=shades[index % 4]
            )
            start = start + values
        for place, total in enumerate(start):
            axes.text(total, place, f" {int(total)}", va="center", fontsize=8.5)
        axes.set_yticks(range(len(counts)), list(counts.index))
        axes.set_xlabel("items dropped")
        axes.legend(loc="lower right")
    return figure


def chart_figures(
    arms: pd.DataFrame,
    patients: pd.DataFrame,
    roles: ArmRoles,
    breakdown: pd.DataFrame | None = None,
    histories: pd.DataFrame | None = None,
) -> dict[str, Figure]:
    """Draws the report's charts for use elsewhere, such as the catalog and the pipeline's picture.

    Args:
        arms: From `arms_table`.
        patients: Long patient table.
        roles: Names the baseline.
        breakdown: From `breakdown`.
        histories: Training histories.

    Returns:
        Figures by name: `arms`, `differences` (on the target; on the source where the target has no test
        labels), `breakdown_<column>`, `curves`; those whose data are there.
    """
    figures = {"arms": arms_dot_plot(arms)}
    if roles.baseline in set(patients["arm"]) and len(set(patients["arm"])) > 1:
        site = "target" if "target" in set(patients["site"]) else "source"
        figures["differences"] = paired_differences_plot(patients, roles.baseline, site=site)
    if breakdown is not None and len(breakdown):
        target = breakdown[breakdown["site"] == "target"]
        figures |= {f"breakdown_{by}": breakdown_heatmap(target, by) for by in dict.fromkeys(target["by"])}
    if histories is not None and len(histories):
        figures["curves"] = training_curves(histories)
    return figures
