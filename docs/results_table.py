"""Prints the README's table of measured results from a finished run; `--write` puts it there.

python docs/results_table.py phantom data/08_reporting/cross_domain/arms.csv --write
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pandas as pd

from crossprobe.evaluation.claimed import claimed_value
from crossprobe.reporting.style import arm_label
from crossprobe.reporting.wording import MISSING, interval, number, p_value, with_interval

BLOCKS = (
    "phantom", "seeds", "busbra", "busbra_reverse", "busbra_full",
    "breast", "zero_shift", "devices", "in_domain",
)  # fmt: skip
README = Path(__file__).resolve().parents[1] / "README.md"


def results_table(arms: pd.DataFrame, claims: bool) -> str:
    """Makes the table.

    Args:
        arms: The `arms.csv` of a run.
        claims: Whether the paper's figures belong beside it.

    Returns:
        Markdown.
    """
    dsc = arms[arms["metric"] == "dsc"].set_index(["arm", "site"])
    patients = {site: int(dsc.xs(site, level="site")["n_patients"].max()) for site in ("source", "target")}
    heads = [*(f"{site} test, n = {count}" for site, count in patients.items()), "less source only", "Holm p"]
    heads += ["claimed, source", "claimed, target"] if claims else []
    lines = ["| arm | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for arm in dict.fromkeys(arms["arm"]):
        target = dsc.loc[(arm, "target")]
        cells = [_figure(dsc.loc[(arm, "source")]), _figure(target)]
        cells += [number(target["baseline_difference"], sign=True), p_value(target["baseline_p_holm"])]
        if claims:
            name = "fused" if arm == "fused_entropy" else arm
            cells += [_claim(claimed_value(name, site, "dsc")) for site in ("source", "target")]
        lines.append(f"| {arm_label(arm)} | " + " | ".join(cells) + " |")
    return "\n".join(lines).replace("\u00a0", " ")


def trainings_table(arms: pd.DataFrame, patients: pd.DataFrame) -> str:
    """Makes the table of a study whose arms were trained several times: target DSC of each, and their mean.

    Args:
        arms: The `arms.csv` of a run.
        patients: Its `metrics.parquet`.

    Returns:
        Markdown.
    """
    target = patients[(patients["site"] == "target") & (patients["metric"] == "dsc")]
    each = target.pivot_table(index="arm", columns="seed", values="value")
    rows = arms[(arms["site"] == "target") & (arms["metric"] == "dsc")].set_index("arm")
    heads = [f"training {seed + 1}" for seed in each.columns]
    heads += [f"mean, n = {int(rows['n_patients'].max())}", "less source only", "Holm p"]
    lines = ["| arm | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for arm, row in rows.iterrows():
        change = MISSING if pd.isna(row["baseline_difference"]) else _change(row)
        cells = [*map(number, each.loc[arm]), _figure(row), change, p_value(row["baseline_p_holm"])]
        lines.append(f"| {arm_label(str(arm))} | " + " | ".join(cells) + " |")
    return "\n".join(lines).replace("\u00a0", " ")


def classifier_results(arms: pd.DataFrame) -> str:
    """Makes the table of a study of classifiers: AUROC, and accuracy of the classes alike.

    Args:
        arms: The `arms.csv` of a run.

    Returns:
        Markdown.
    """
    shown = {"auroc": "AUROC", "balanced_accuracy": "balanced accuracy"}
    rows = arms.set_index(["arm", "site", "metric"])
    sites = list(dict.fromkeys(arms["site"]))
    tested = arms[arms["metric"].isin(list(shown))].groupby("site")["n_patients"]
    # Arms that were tested on different patients say so in their own row.
    alike = {
        site: f", n = {int(counts.max())}" if counts.min() == counts.max() else "" for site, counts in tested
    }
    heads = [f"{label}, {site} test{alike[site]}" for site in sites for label in shown.values()]
    heads.append(f"AUROC less the first arm, {sites[-1]}")
    lines = ["| arm | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for arm in dict.fromkeys(arms["arm"]):
        places = [(arm, site, metric) for site in sites for metric in shown]
        cells = [
            _score(rows.loc[place], counted=not alike[place[1]]) if place in rows.index else MISSING
            for place in places
        ]
        change = rows.loc[places[-2]] if places[-2] in rows.index else None
        cells.append(MISSING if change is None or pd.isna(change["baseline_difference"]) else _change(change))
        lines.append(f"| {arm_label(arm)} | " + " | ".join(cells) + " |")
    return "\n".join(lines).replace("\u00a0", " ")


def _score(row: pd.Series, counted: bool) -> str:
    score = with_interval(row["value"], row["low"], row["high"])
    return f"{score}, n = {int(row['n_patients'])}" if counted else score


def _change(row: pd.Series) -> str:
    bounds = interval(row["baseline_low"], row["baseline_high"], sign=True)
    return f"{number(row['baseline_difference'], sign=True)} {bounds}"


def _claim(value: float) -> str:
    return MISSING if pd.isna(value) else f"{value:.4f}"


def _figure(row: pd.Series) -> str:
    return with_interval(row["mean"], row["low"], row["high"])


def main() -> None:
    """Reads the arguments, prints or writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("block", choices=BLOCKS)
    parser.add_argument("arms", type=Path)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    arms = pd.read_csv(given.arms)
    if given.block == "seeds":
        patients = sorted((given.arms.parent / "metrics.parquet").glob("*/*.parquet"))[-1]
        table = trainings_table(arms, pd.read_parquet(patients))
    elif "dsc" in set(arms["metric"]):
        table = results_table(arms, claims=given.block == "phantom")
    else:
        table = classifier_results(arms)
    print(table)
    if given.write:
        marks = f"(<!-- results:{given.block} -->\n).*?(<!-- /results:{given.block} -->)"
        text = README.read_text(encoding="utf-8")
        README.write_text(re.sub(marks, rf"\g<1>{table}\n\g<2>", text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
