"""From frames to videos to patients to a table: each level an equal-weight mean of the level below."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from crossprobe.errors import CrossprobeError

COUNTS = ("empty_prediction", "empty_reference")
BREAKDOWN_COLUMNS = ("device", "view", "operator", "class")


def _arm_columns(scores: pd.DataFrame) -> list[str]:
    """Columns that tell one trained model from another: the arm, and its training seed where there is one."""
    return ["arm", "seed"] if "seed" in scores.columns else ["arm"]


def _needs(scores: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in scores.columns]
    if missing:
        raise CrossprobeError(
            f"the table of scores lacks the columns {missing}; it has {list(scores.columns)}"
        )


def video_scores(frame_scores: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Averages frames to videos.

    Frames whose distance does not exist (an empty mask) are left out of that metric's mean; a video with none
    left keeps NaN.

    Args:
        frame_scores: Long table of frame scores.
        by: Further columns that are constant in a video and kept, such as `view`.

    Returns:
        Long table: `arm, (seed,) site, device, patient, video, *by, metric, value`.
    """
    keys = list(
        dict.fromkeys([*_arm_columns(frame_scores), "site", "device", "patient", "video", *by, "metric"])
    )
    _needs(frame_scores, [*keys, "value"])
    return frame_scores.groupby(keys, sort=True, observed=True, dropna=False)["value"].mean().reset_index()


def patient_scores(frame_scores: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Averages frames to videos and videos to patients: the unit of every interval and test.

    Counts of empty masks become shares of frames.

    Args:
        frame_scores: Long table of frame scores.
        by: Further columns to keep apart, such as `view`: a patient then has one row a view.

    Returns:
        Long table: `arm, (seed,) site, device, patient, *by, metric, value`.
    """
    videos = video_scores(frame_scores, by)
    keys = [column for column in videos.columns if column not in ("video", "value")]
    return videos.groupby(keys, sort=True, observed=True, dropna=False)["value"].mean().reset_index()


def patient_means(metrics: pd.DataFrame) -> pd.DataFrame:
    """Gives each patient one value an arm, site and metric: training seeds and devices are averaged.

    Args:
        metrics: Long patient table, with or without seeds.

    Returns:
        Table `arm, site, patient, metric, value`; values that do not exist are gone.
    """
    _needs(metrics, ["arm", "site", "patient", "metric", "value"])
    keys = ["arm", "site", "patient", "metric"]
    return (
        metrics.dropna(subset="value").groupby(keys, sort=True, observed=True)["value"].mean().reset_index()
    )


def table_means(metrics: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Averages patients to one figure for each arm, site and metric, and group where asked.

    Args:
        metrics: Long patient table, with or without seeds.
        by: Columns that name groups to keep apart, such as `view`. A patient counts once in each of its
            groups.

    Returns:
        Table `*by, arm, site, metric, mean, n_patients`: patients whose value exists, each with the same
        weight.
    """
    groups = [*by, "arm", "site", "metric"]
    _needs(metrics, [*groups, "patient", "value"])
    # A patient seen on two devices still counts once, so the mean runs over patients, not over rows.
    each = (
        metrics.dropna(subset="value").groupby([*groups, "patient"], sort=True, observed=True)["value"].mean()
    )
    grouped = each.reset_index().groupby(groups, sort=True, observed=True)
    return grouped.agg(mean=("value", "mean"), n_patients=("patient", "nunique")).reset_index()


def empty_counts(frame_scores: pd.DataFrame) -> pd.DataFrame:
    """Counts the frames whose distances do not exist, and why.

    Args:
        frame_scores: Long table of frame scores.

    Returns:
        Table `arm, site, n_frames, empty_prediction, empty_reference` (frames; over all seeds where several).
    """
    _needs(frame_scores, ["arm", "site", "metric", "value"])
    wanted = frame_scores[frame_scores["metric"].isin(COUNTS)]
    table = wanted.pivot_table(index=["arm", "site"], columns="metric", values="value", aggfunc="sum")
    frames = frame_scores[frame_scores["metric"] == COUNTS[0]].groupby(["arm", "site"], observed=True).size()
    table = table.reindex(columns=list(COUNTS), fill_value=0).astype(int)
    table.insert(0, "n_frames", frames.reindex(table.index).fillna(0).astype(int))
    return table.reset_index().rename_axis(columns=None)


def breakdown(
    frame_scores: pd.DataFrame,
    columns: Sequence[str] = BREAKDOWN_COLUMNS,
    metrics: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Scores by device, view, operator and class, each patient counting once in every group it belongs to.

    A column that says only "unknown", or nothing, tells nothing and is left out.

    Args:
        frame_scores: Long table of frame scores.
        columns: Columns to break down by.
        metrics: Metrics to keep; all but the counts where None.

    Returns:
        Table `by, group, arm, site, metric, mean, n_patients, n_videos, n_frames`.
    """
    wanted = frame_scores[~frame_scores["metric"].isin(COUNTS)]
    if metrics is not None:
        wanted = wanted[wanted["metric"].isin(metrics)]
    parts = []
    for column in columns:
        if column not in wanted.columns or not _tells_something(wanted[column]):
            continue
        # A group may differ inside a video (a fracture in view on some frames), so it is a key from the
        # start.
        scores = wanted.assign(**{column: wanted[column].fillna("unknown")})
        groups = [column, "arm", "site", "metric"]
        means = table_means(patient_scores(scores, [column]), [column])
        frames = scores.drop_duplicates(list(dict.fromkeys([*groups, "video", "frame"]))).groupby(
            groups, observed=True
        )
        sizes = frames.agg(n_videos=("video", "nunique"), n_frames=("frame", "size")).reset_index()
        part = means.merge(sizes, on=groups)
        parts.append(part.rename(columns={column: "group"}).assign(by=column))
    names = ["by", "group", "arm", "site", "metric", "mean", "n_patients", "n_videos", "n_frames"]
    return pd.concat(parts, ignore_index=True)[names] if parts else pd.DataFrame(columns=names)


def _tells_something(values: pd.Series) -> bool:
    return bool((values.dropna().astype(str) != "unknown").any())
