"""The table of classifiers: one row an arm, site and figure, and what training took."""

from __future__ import annotations

import pandas as pd

from crossprobe.evaluation.classification import PLAIN


def classifier_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Takes the plain answer of every arm: what a classifier says without any help.

    Args:
        scores: A long table with a column `answer`.

    Returns:
        Its plain rows, without that column.
    """
    return scores[scores["answer"] == PLAIN].drop(columns="answer").reset_index(drop=True)


def training_minutes(history: pd.DataFrame) -> float:
    """Estimates the time a training run took, without its validations and pauses.

    Args:
        history: Of one run, with the figure `step_seconds`.

    Returns:
        Median seconds of a step times the steps, in minutes; NaN where no step was timed.
    """
    timed = history.loc[history["metric"] == "step_seconds", "value"]
    return float(timed.median()) * int(history["step"].max()) / 60 if len(timed) else float("nan")
