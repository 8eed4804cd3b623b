"""Scores of a site: on native pixels, against annotator and truth, whatever the batch size."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from crossprobe.data.geometry import square_mask
from crossprobe.evaluation.label_free_frames import spread_over_videos, unlabelled_frames
from crossprobe.evaluation.score_settings import SiteScoring
from crossprobe.evaluation.score_site import score_site

SIZE, HEIGHT, WIDTH = 32, 64, 48


class Store:
    """Frames whose picture is their own mask, so that a predictor that copies them is perfect."""

    size = SIZE

    def __init__(self, frames: int = 5) -> None:
        self.drawn = np.zeros((frames, HEIGHT, WIDTH), np.uint8)
        for number in range(frames):
            self.drawn[number, 8 + 4 * number : 24 + 4 * number, 8:40] = 1
        self.manifest = pd.DataFrame({
            "site": "target", "device": "d", "operator": "o", "view": "v", "class": "c",
            "patient": ["p1", "p1", "p1", "p2", "p2"][:frames], "video": ["a", "a", "a", "b", "b"][:frames],
            "frame": range(frames), "spacing_mm": 0.5, "height": HEIGHT, "width": WIDTH, "labelled": True,
            "truth_path": ["x", None, "x", None, None][:frames],
        })  # fmt: skip

    def images(self, rows):
        return np.stack([square_mask(self.drawn[row], SIZE) for row in rows]) * 255

    def native_mask(self, row):
        return self.drawn[row]

    def native_truth(self, row):
        return np.roll(self.drawn[row], 8, axis=0)

    def rows(self, patients, labelled=None):
        return np.flatnonzero(self.manifest["patient"].isin(patients))


def copying(images: np.ndarray) -> dict:
    probability = torch.from_numpy(images).float().div(255).unsqueeze(1)
    return {
        "copy": SimpleNamespace(probability=probability),
        "blank": SimpleNamespace(probability=torch.zeros_like(probability)),
    }


ENSEMBLE = SimpleNamespace(predict=copying)


def means(table: pd.DataFrame, arm: str, metric: str) -> float:
    return float(table[(table["arm"] == arm) & (table["metric"] == metric)]["value"].mean())


def test_a_perfect_copy_scores_one_and_a_blank_none():
    table = score_site(ENSEMBLE, Store(), np.arange(5), SiteScoring())
    assert means(table, "copy", "dsc") > 0.97
    assert means(table, "copy", "nsd_mm") == 1.0
    assert means(table, "blank", "dsc") == 0.0
    assert means(table, "blank", "empty_prediction") == 1.0


def test_the_truth_is_scored_where_it_is_known():
    table = score_site(ENSEMBLE, Store(), np.arange(5), SiteScoring())
    truth = table[table["metric"] == "dsc_truth"]
    assert set(truth[truth["arm"] == "copy"]["frame"]) == {0, 2}
    assert means(table, "copy", "dsc_truth") == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 50])
def test_the_batch_size_changes_no_score(batch_size):
    keys = ["arm", "frame", "metric"]
    whole, pieces = (
        score_site(ENSEMBLE, Store(), np.arange(5), SiteScoring(batch_size=size)).sort_values(keys)
        for size in (3, batch_size)
    )
    pd.testing.assert_frame_equal(whole.reset_index(drop=True), pieces.reset_index(drop=True))


def test_variants_come_back_onto_their_frame():
    frames = list(unlabelled_frames({"one": ENSEMBLE}, Store(), np.arange(5), batch_size=2))
    assert [frame.video for frame in frames] == ["a", "a", "a", "b", "b"]
    for frame in frames:
        flipped, _, brighter = frame.perturbed["copy"]
        assert np.array_equal(flipped, frame.probabilities["copy"])
        assert np.array_equal(brighter, frame.probabilities["copy"])


def test_frames_are_spread_over_videos():
    assert spread_over_videos(Store(), ["p1", "p2"], 2).tolist() == [0, 2, 3, 4]
    assert spread_over_videos(Store(), ["p2"], 9).tolist() == [3, 4]
