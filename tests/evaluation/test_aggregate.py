"""Means of means, worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crossprobe.errors import CrossprobeError
from crossprobe.evaluation.aggregate import (
    breakdown,
    empty_counts,
    patient_means,
    patient_scores,
    table_means,
    video_scores,
)


def frame(patient, video, number, value, metric="dsc", view="dorsal", **more):
    identity = {
        "arm": "mim",
        "site": "target",
        "device": "d",
        "operator": "unknown",
        "view": view,
        "class": "a",
    }
    return {
        **identity,
        "patient": patient,
        "video": video,
        "frame": number,
        "metric": metric,
        "value": value,
    } | more


@pytest.fixture
def scores() -> pd.DataFrame:
    # p1: video a has three frames (mean .6), video b one (1.0): patient .8, not the frames' mean .7.
    # p2: one video, .2. Table: .5, not the frames' mean.
    rows = [frame("p1", "a", 0, 0.5), frame("p1", "a", 1, 0.6), frame("p1", "a", 2, 0.7)]
    rows += [frame("p1", "b", 0, 1.0, view="volar"), frame("p2", "c", 0, 0.1), frame("p2", "c", 4, 0.3)]
    return pd.DataFrame(rows)


def test_each_level_weighs_its_members_equally(scores):
    assert video_scores(scores).set_index("video")["value"].to_dict() == pytest.approx(
        {"a": 0.6, "b": 1, "c": 0.2}
    )
    assert patient_scores(scores).set_index("patient")["value"].to_dict() == pytest.approx(
        {"p1": 0.8, "p2": 0.2}
    )
    table = table_means(patient_scores(scores))
    assert table["mean"].item() == pytest.approx(0.5)
    assert table["n_patients"].item() == 2


def test_missing_distances_are_left_out_and_a_patient_without_any_is_not_counted():
    rows = [frame("p1", "a", 0, np.nan, "hd95_mm"), frame("p1", "a", 1, 4.0, "hd95_mm")]
    rows += [frame("p2", "b", 0, np.nan, "hd95_mm")]
    table = table_means(patient_scores(pd.DataFrame(rows)))
    assert table["mean"].item() == 4.0
    assert table["n_patients"].item() == 1


def test_seeds_are_kept_apart_and_then_averaged_by_patient():
    rows = [
        frame("p1", "a", 0, 0.4, seed=0),
        frame("p1", "a", 0, 0.6, seed=1),
        frame("p2", "b", 0, 1.0, seed=0),
    ]
    patients = patient_scores(pd.DataFrame(rows))
    assert len(patients) == 3
    assert patient_means(patients)["value"].tolist() == pytest.approx([0.5, 1.0])
    assert table_means(patients)["mean"].item() == pytest.approx(0.75)


def test_a_patient_on_two_devices_counts_once():
    rows = [frame("p1", "a", 0, 0.0), frame("p1", "b", 0, 1.0, device="other"), frame("p2", "c", 0, 0.9)]
    table = table_means(patient_scores(pd.DataFrame(rows)))
    assert table["mean"].item() == pytest.approx((0.5 + 0.9) / 2)
    assert table["n_patients"].item() == 2


def test_empty_masks_are_counted():
    rows = [frame("p1", "a", 0, 1.0, "empty_prediction"), frame("p1", "a", 1, 0.0, "empty_prediction")]
    rows += [frame("p1", "a", 0, 0.0, "empty_reference"), frame("p1", "a", 1, 1.0, "empty_reference")]
    counted = empty_counts(pd.DataFrame(rows)).iloc[0].to_dict()
    assert counted == {
        "arm": "mim",
        "site": "target",
        "n_frames": 2,
        "empty_prediction": 1,
        "empty_reference": 1,
    }


def test_breakdown_by_view(scores):
    table = breakdown(scores)
    assert set(table["by"]) == {"device", "view", "class"}, "operator is unknown throughout and left out"
    views = table[table["by"] == "view"].set_index("group")
    assert views.loc["dorsal", "mean"] == pytest.approx((0.6 + 0.2) / 2)
    assert views.loc["dorsal", ["n_patients", "n_videos", "n_frames"]].tolist() == [2, 2, 5]
    assert views.loc["volar", "mean"] == 1.0
    seeded = pd.concat([scores.assign(seed=seed) for seed in (0, 1)])
    assert breakdown(seeded)["n_frames"].tolist() == table["n_frames"].tolist()


def test_breakdown_chooses_metrics_and_may_be_empty(scores):
    assert breakdown(scores, metrics=["iou"]).empty
    bare = scores.assign(device="unknown", view=None, **{"class": "unknown"})
    assert breakdown(bare).empty


def test_missing_columns_are_named(scores):
    with pytest.raises(CrossprobeError, match="patient"):
        patient_scores(scores.drop(columns="patient"))
