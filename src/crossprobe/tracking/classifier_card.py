"""The card of a classifier: what it is for, what it was made from, what it scored, and its limits."""

from __future__ import annotations

import pandas as pd

from crossprobe.prediction.package import Package

FIGURES = {"balanced_accuracy": "balanced accuracy", "auroc": "AUROC"}

TEMPLATE = """# {name}: {arm}

## Intended use

Names the class of ultrasound frames ({classes}), for research. **A triage aid at most, not a diagnosis and
not a medical device.** A frame that shows none of these classes gets one of them all the same.

## What it is

{branches}; the answer is the mean of calibrated probabilities. Frames are prepared at {size} px square. No
pickle: safetensors and JSON, a SHA-256 for every file. Fingerprint `{fingerprint}`, made by run `{run}`.

| branch | backbone | input (px) | temperature |
|---|---|---|---|
{branch_rows}

## What it was made from

| site | data | devices | frame store | manifest | split |
|---|---|---|---|---|---|
{site_rows}

{target}

## What it scored

On test patients, with intervals. Labels of the target's test patients chose nothing, and were no evidence for
promotion.

{scores}

## Which frames a person should read

{reading}

## Limits

- Scores hold for the data above. On another probe, view or body part the model may be wrong and sure of it.
- Temperature and the rule for reading were set on validation patients of the *source*, which also chose the
  weights; on the target the rule may flag fewer wrong answers.
- The answer for a clip is the mean over its frames. The rule was set on frames.
- Weights can remember training images. Treat them as data of the sites that trained them.
"""


def classifier_card(name: str, package: Package, scored: str, arms: pd.DataFrame) -> str:
    """Writes the card.

    Args:
        name: Name of the registered model.
        package: The model.
        scored: Name of its arm in the table.
        arms: Table of arms of the study.

    Returns:
        Markdown.
    """
    index = package.index
    sites = index.provenance["sites"]
    kinds = {checkpoint.config["model"]["backbone"] for checkpoint in package.checkpoints}
    took_part = (
        "Target images took part without labels." if "target" in sites else "No target image took part."
    )
    return TEMPLATE.format(
        name=name,
        arm=index.arm,
        classes=", ".join(index.classes),
        branches=f"Classifier of {' and '.join(branch.name for branch in index.branches)} "
        f"({', '.join(sorted(kinds))})",
        size=index.frames.size,
        fingerprint=index.fingerprint()[:16],
        run=index.run or "unknown",
        branch_rows="\n".join(
            f"| {branch.name} | {checkpoint.config['model']['backbone']} | "
            f"{checkpoint.config['model']['image_size']} | {branch.temperature:.3f} |"
            for branch, checkpoint in zip(index.branches, package.checkpoints, strict=True)
        ),
        site_rows="\n".join(
            f"| {site} | {facts['data']} | {facts['devices']} | `{facts['frame_store'][:16]}` | "
            f"`{facts['manifest_hash'][:16]}` | `{facts['split_hash'][:16]}` |"
            for site, facts in sites.items()
        ),
        target=took_part,
        scores=_scores(arms, scored),
        reading=_reading(package),
    )


def classifier_scores(arms: pd.DataFrame, scored: str) -> dict[str, str]:
    """Figures of an arm on every site's test patients, as people read them.

    Args:
        arms: Table of arms of the study.
        scored: Name of the arm.

    Returns:
        Text by `<site>_<metric>`.
    """
    rows = arms[(arms["arm"] == scored) & arms["metric"].isin(FIGURES)].to_dict("records")
    return {f"{row['site']}_{row['metric']}": f"{_interval(row)} n={row['n_patients']}" for row in rows}


def _scores(arms: pd.DataFrame, scored: str) -> str:
    lines = ["| arm | site | figure | | patients |", "|---|---|---|---|---|"]
    for row in arms[arms["metric"].isin(FIGURES)].to_dict("records"):
        arm = f"**{row['arm']}**" if row["arm"] == scored else row["arm"]
        figures = f"{FIGURES[row['metric']]} | {_interval(row)}"
        lines.append(f"| {arm} | {row['site']} | {figures} | {row['n_patients']} |")
    return "\n".join(lines)


def _interval(row: dict) -> str:
    if pd.isna(row["value"]):
        return "not defined (a class is missing)"
    known = pd.notna(row["low"])
    interval = f"[{row['low']:.3f}, {row['high']:.3f}]" if known else "no interval"
    return f"{row['value']:.3f} {interval}"


def _reading(package: Package) -> str:
    rule = package.index.class_reading
    if rule is None:
        return "No rule was set: a person should read every frame."
    if rule.caught_share is None:
        caught = "no answer was wrong"
    else:
        caught = f"{rule.caught_share:.0%} of the {rule.wrong_images} wrong answers were flagged"
    return (
        f"Those whose likeliest class has a probability below {rule.least_confidence:.3f}. On {rule.images} "
        f"validation images of the source {rule.flagged_share:.0%} were flagged, and {caught}."
    )
