"""Scores of a site: on native pixels, against annotator and truth, whatever the batch size."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from crossprobe.data.geometry import square_mask
from crossprobe.evaluation.aggregate import patient_scores, table_means
from crossprobe.evaluation.label_free_frames import spread_over_videos, unlabelled_frames
from crossprobe.evaluation.score_settings import SiteScoring
from crossprobe.evaluation.score_site import labelled_probabilities, score_site

SIZE, HEIGHT, WIDTH, TOP, LEFT = 32, 64, 48, 10, 6


class Store:
    """Frames whose picture is their own mask, cropped, so that a predictor that copies them is perfect."""

    size = SIZE

    def __init__(self, folder: Path, outside: bool = False) -> None:
        self.whole = np.zeros((5, HEIGHT + 20, WIDTH + 12), np.uint8)
        for number in range(5):
            self.whole[number, TOP + 8 + 4 * number : TOP + 24 + 4 * number, LEFT + 8 : LEFT + 40] = 1
            if outside:
                self.whole[number, :TOP] = 1
            cv2.imwrite(str(folder / f"{number}.png"), self.whole[number] * 255)
            cv2.imwrite(str(folder / f"truth{number}.png"), np.roll(self.whole[number], 8, axis=0) * 255)
        paths = [str(folder / f"{number}.png") for number in range(5)]
        truths = [str(folder / f"truth{number}.png") if number in (0, 2) else None for number in range(5)]
        self.manifest = pd.DataFrame({
            "site": "target", "device": "d", "operator": "o", "view": "v", "class": "c",
            "patient": ["p1", "p1", "p1", "p2", "p2"], "video": ["a", "a", "a", "b", "b"],
            "frame": range(5), "spacing_mm": 0.5, "height": HEIGHT, "width": WIDTH, "crop_top": TOP,
            "crop_left": LEFT, "labelled": True, "mask_path": paths, "truth_path": truths,
        })  # fmt: skip

    def masks(self, rows):
        crop = np.s_[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]
        return np.stack([square_mask(np.ascontiguousarray(self.whole[row][crop]), SIZE) for row in rows])

    def native_mask(self, row):
        return self.whole[row][TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]

    def images(self, rows):
        return self.masks(rows) * 255

    def rows(self, patients, labelled=None):
        return np.flatnonzero(self.manifest["patient"].isin(patients))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path)


def copying(images: np.ndarray) -> dict:
    probability = torch.from_numpy(images).float().div(255).unsqueeze(1)
    return {
        "copy": SimpleNamespace(probability=probability),
        "blank": SimpleNamespace(probability=torch.zeros_like(probability)),
    }


ENSEMBLE = SimpleNamespace(predict=copying)
ENSEMBLE.only = lambda answer: ENSEMBLE


def means(table: pd.DataFrame, arm: str, metric: str) -> float:
    return float(table[(table["arm"] == arm) & (table["metric"] == metric)]["value"].mean())


def test_a_perfect_copy_scores_one_and_a_blank_none(store):
    table = score_site(ENSEMBLE, store, np.arange(5), SiteScoring())
    assert means(table, "copy", "dsc") > 0.97
    assert means(table, "copy", "nsd_mm") == 1.0
    assert means(table, "blank", "dsc") == 0.0
    assert means(table, "blank", "empty_prediction") == 1.0


def test_the_truth_is_scored_where_it_is_known(store):
    table = score_site(ENSEMBLE, store, np.arange(5), SiteScoring())
    truth = table[table["metric"] == "dsc_truth"]
    assert set(truth[truth["arm"] == "copy"]["frame"]) == {0, 2}
    assert means(table, "copy", "dsc_truth") == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 50])
def test_the_batch_size_changes_no_score(batch_size, store):
    keys = ["arm", "frame", "metric"]
    whole, pieces = (
        score_site(ENSEMBLE, store, np.arange(5), SiteScoring(batch_size=size)).sort_values(keys)
        for size in (3, batch_size)
    )
    pd.testing.assert_frame_equal(whole.reset_index(drop=True), pieces.reset_index(drop=True))


def test_variants_come_back_onto_their_frame(store):
    frames = list(unlabelled_frames({"one": ENSEMBLE}, store, np.arange(5), batch_size=2))
    assert [frame.video for frame in frames] == ["a", "a", "a", "b", "b"]
    for frame in frames:
        flipped, _, brighter = frame.perturbed["copy"]
        assert np.array_equal(flipped, frame.probabilities["copy"])
        assert np.array_equal(brighter, frame.probabilities["copy"])


def test_frames_are_spread_over_videos(store):
    assert spread_over_videos(store, ["p1", "p2"], 2).tolist() == [0, 2, 3, 4]
    assert spread_over_videos(store, ["p2"], 9).tolist() == [3, 4]


def test_bone_outside_the_crop_counts_as_missed(store, tmp_path):
    (tmp_path / "outside").mkdir()
    cut = Store(tmp_path / "outside", outside=True)
    inside, missed = (score_site(ENSEMBLE, each, np.arange(5), SiteScoring()) for each in (store, cut))
    assert means(missed, "copy", "dsc") < means(inside, "copy", "dsc") - 0.2


def test_probabilities_come_with_their_masks(store):
    for batch_size in (1, 2, 5, 50):
        pairs = list(labelled_probabilities(ENSEMBLE, "copy", store, np.arange(5), batch_size))
        assert len(pairs) == 5
        assert all(np.array_equal(probability, mask) for probability, mask in pairs)
    assert not list(labelled_probabilities(ENSEMBLE, "copy", store, np.arange(0), 2))


def test_a_mask_in_several_pieces_counts_as_one(store, tmp_path):
    whole = score_site(ENSEMBLE, store, np.arange(5), SiteScoring())
    left, right = store.whole[0].copy(), store.whole[0].copy()
    left[:, WIDTH // 2 :], right[:, : WIDTH // 2] = 0, 0
    for name, piece in (("", left), ("_1", right)):
        cv2.imwrite(str(tmp_path / f"benign (4)_mask{name}.png"), piece * 255)
    store.manifest.loc[0, "mask_path"] = str(tmp_path / "benign (4)_mask*.png")
    pd.testing.assert_frame_equal(score_site(ENSEMBLE, store, np.arange(5), SiteScoring()), whole)


def test_without_a_labelled_frame_the_table_is_whole_and_empty(store, tmp_path):
    none = score_site(ENSEMBLE, store, np.arange(0), SiteScoring())
    some = score_site(ENSEMBLE, store, np.arange(5), SiteScoring())
    none.to_parquet(tmp_path / "none.parquet")
    none = pd.read_parquet(tmp_path / "none.parquet")
    assert none.empty
    assert list(none.columns) == list(some.columns)
    pd.testing.assert_frame_equal(patient_scores(pd.concat([none, some])), patient_scores(some))
    assert table_means(patient_scores(none)).empty
