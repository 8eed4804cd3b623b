"""Charts of classifiers: referral curves, and how adversarial training went."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure

from crossprobe.reporting.style import LIGHT, arm_colours, arm_label, drawing

CHANCE = {"domain_accuracy": 0.5, "domain_loss": math.log(2)}
PANELS = {"label_loss": "label loss", "domain_loss": "domain loss", "domain_accuracy": "domain accuracy"}


def referral_plot(table: pd.DataFrame, site: str) -> Figure:
    """Draws accuracy on what is left against the share referred to an expert.

    Args:
        table: From `referral_table`. Of each arm the answer by MC dropout is drawn, or else the plain one.
        site: Site to draw.

    Returns:
        The figure.
    """
    chosen = table[table["site"] == site]
    arms = list(dict.fromkeys(chosen["arm"]))
    with drawing():
        figure = Figure(figsize=(9.2, 3.6), layout="constrained")
        axes = figure.subplots()
        for arm, colour in arm_colours(arms).items():
            own = chosen[chosen["arm"] == arm]
            answer = "mc_dropout" if "mc_dropout" in set(own["answer"]) else "plain"
            line = own[own["answer"] == answer].sort_values("referred")
            axes.plot(line["referred"], line["accuracy"], color=colour, label=arm_label(arm))
        axes.set_xlabel("share referred, least sure first")
        axes.set_ylabel("accuracy on the rest")
        axes.set_title(f"Referral, {site} test")
        axes.grid()
        figure.legend(loc="outside right upper")
    return figure


def adversary_plot(histories: pd.DataFrame) -> Figure:
    """Draws label loss, domain loss and domain accuracy of adversarial arms, each in a panel of its own.

    Args:
        histories: Long table `arm, step, part, metric, value`.

    Returns:
        The figure; dashed lines are a discriminator that cannot tell the sites apart.
    """
    chosen = histories[histories["metric"].isin(PANELS)]
    arms = list(dict.fromkeys(histories.loc[histories["metric"] == "domain_loss", "arm"]))
    colours = arm_colours(arms)
    with drawing():
        figure = Figure(figsize=(9.6, 2.9), layout="constrained")
        for axes, (metric, title) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
            for (arm, part), line in chosen[chosen["metric"] == metric].groupby(["arm", "part"], sort=False):
                thick = {"linewidth": 1.9} if part == "validation" else {"linewidth": 0.9, "alpha": 0.6}
                axes.plot(line["step"], line["value"], color=colours[str(arm)], **thick)
            if metric in CHANCE:
                axes.axhline(CHANCE[metric], color=LIGHT.muted, linewidth=1, linestyle=(0, (4, 3)))
            axes.set_title(title)
            axes.set_xlabel("step")
            axes.grid(axis="y")
    return figure
