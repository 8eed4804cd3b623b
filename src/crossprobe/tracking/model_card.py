"""The model card: what a model is for, what it was made from, what it scored, and its limits."""

from __future__ import annotations

import pandas as pd

from crossprobe.prediction.package import Package
from crossprobe.reporting.wording import UNMEASURED

TEMPLATE = """# {name}: {arm}

## Intended use

Outlines structures on ultrasound frames of the probe it was adapted to, for research. **A triage aid at most,
not a diagnosis and not a medical device.** A missed finding matters more than a mean Dice: a frame in which
nothing is found is no frame without a finding.

## What it is

{kind} of {branches}, fused by `{fusion}`; threshold {threshold:g}; input {size} px square. No pickle:
safetensors and JSON, a SHA-256 for every file. Fingerprint `{fingerprint}`, made by run `{run}`.

| branch | temperature | bias |
|---|---|---|
{branch_rows}

## What it was made from

| site | data | devices | frame store | manifest | split |
|---|---|---|---|---|---|
{site_rows}

Target patients took part without labels.

## What it scored

Mean Dice over test patients with its interval. Labels of the target's test patients chose nothing, and were
no evidence for promotion.

{scores}

## Which frames a person should read

{reading}

## Limits

- Scores hold for the data above. On another probe, view or body part the model may be wrong and sure of it.
- The rule for reading was set on validation patients of the *source*; on the target it may flag fewer poor
  frames.
- Weights can remember training images. Treat them as data of the sites that trained them.
"""


def model_card(name: str, package: Package, arms: pd.DataFrame) -> str:
    """Writes the card.

    Args:
        name: Name of the registered model.
        package: The model.
        arms: Table of arms of the study.

    Returns:
        Markdown.
    """
    index = package.index
    sites = index.provenance["sites"]
    return TEMPLATE.format(
        name=name,
        arm=index.arm,
        kind=index.kind.capitalize(),
        branches=" and ".join(branch.name for branch in index.branches),
        fusion=index.answer.confidence,
        threshold=index.threshold,
        size=index.frames.size,
        fingerprint=index.fingerprint()[:16],
        run=index.run or "unknown",
        branch_rows="\n".join(
            f"| {branch.name} | {branch.temperature:.3f} | {branch.bias:.3f} |" for branch in index.branches
        ),
        site_rows="\n".join(
            f"| {site} | {facts['data']} | {facts['devices']} | `{facts['frame_store'][:16]}` | "
            f"`{facts['manifest_hash'][:16]}` | `{facts['split_hash'][:16]}` |"
            for site, facts in sites.items()
        ),
        scores=_scores(arms),
        reading=_reading(package),
    )


def _scores(arms: pd.DataFrame) -> str:
    table = arms[arms["metric"] == "dsc"]
    lines = ["| arm | site | Dice | patients |", "|---|---|---|---|"]
    for row in table.to_dict("records"):
        interval = f"[{row['low']:.3f}, {row['high']:.3f}]" if pd.notna(row["low"]) else "no interval"
        lines.append(f"| {row['arm']} | {row['site']} | {row['mean']:.3f} {interval} | {row['n_patients']} |")
    unmeasured = [] if (table["site"] == "target").any() else ["", UNMEASURED]
    return "\n".join([*lines, *unmeasured])


def _reading(package: Package) -> str:
    rule = package.index.reading
    if rule is None:
        return "No rule was set: a person should read every frame."
    if rule.caught_share is None:
        caught = f"no frame was below Dice {rule.poor_dsc:g}"
    else:
        poor = f"{rule.poor_frames} frames below Dice {rule.poor_dsc:g}"
        caught = f"{rule.caught_share:.0%} of the {poor} were flagged"
    return (
        f"Those in which nothing is found, and those whose confidence over the predicted area is below "
        f"{rule.least_confidence:.3f}. On {rule.frames} validation frames of the source "
        f"{rule.flagged_share:.0%} were flagged, and {caught}."
    )
