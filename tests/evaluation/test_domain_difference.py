"""Two sites' tables: what is alike is called alike, what was shifted is found and measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crossprobe.evaluation.domain_difference import (
    compare_features,
    compare_histograms,
    compare_measures,
    compare_spectra,
    project_patients,
    spectrum_db,
)
from crossprobe.evaluation.domain_settings import DistanceSettings
from crossprobe.evaluation.frame_texture import LEVELS, MEASURES

SETTINGS = DistanceSettings(permutations=39, resamples=300, components=4)


def identity(site: str, patients: int, frames: int = 1) -> pd.DataFrame:
    names = np.repeat([f"p_{site}{number}" for number in range(patients)], frames)
    return pd.DataFrame({"site": site, "device": f"device {site}", "patient": names})


def textures(site: str, patients: int, shift: float = 0.0, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    table = identity(site, patients, 3)
    own = np.repeat(generator.standard_normal((patients, len(MEASURES))), 3, axis=0)
    return table.assign(**{name: own[:, place] + shift for place, name in enumerate(MEASURES)})


def histograms(site: str, patients: int, middle: int) -> pd.DataFrame:
    generator = np.random.default_rng(middle)
    rows = np.zeros((patients, LEVELS))
    rows[np.arange(patients), middle + generator.integers(-2, 3, patients)] = 1
    return identity(site, patients).join(pd.DataFrame(rows, columns=[f"level_{n}" for n in range(LEVELS)]))


def test_grey_levels_shifted_by_twelve_are_twelve_apart():
    source = histograms("source", 20, 100)
    target = source.assign(site="target", patient="t" + source["patient"])
    columns = [f"level_{n}" for n in range(LEVELS)]
    target[columns] = np.roll(source[columns].to_numpy(), 12, axis=1)
    row = compare_histograms(source, target, SETTINGS).iloc[0]
    assert row["value"] == pytest.approx(12)
    assert row["low"] <= 12 <= row["high"]
    assert row["p"] == pytest.approx(1 / 40)
    same = compare_histograms(source, source, SETTINGS).iloc[0]
    assert same["value"] == 0
    assert same["p"] == 1


def test_ten_times_the_power_is_ten_decibels():
    assert spectrum_db(np.ones(8), np.full(8, 10.0)) == pytest.approx(10)
    names = [f"{side}_{place}" for side in ("axial", "lateral") for place in range(4)]
    one = identity("source", 6).join(pd.DataFrame(np.ones((6, 8)), columns=names))
    other = identity("target", 6).join(pd.DataFrame(np.ones((6, 8)) * ([10] * 4 + [1] * 4), columns=names))
    table = compare_spectra(one, other, SETTINGS)
    assert table["features"].tolist() == ["axial spectrum", "lateral spectrum"]
    assert table["value"].tolist() == pytest.approx([10, 0])


def test_measures_by_patient():
    table = compare_measures(textures("source", 40), textures("target", 30, shift=1.5, seed=1), SETTINGS)
    assert table["measure"].tolist() == list(MEASURES)
    assert (table["source_patients"] == 40).all()
    assert (table["target_patients"] == 30).all()
    assert ((table["low"] < 1.5) & (table["high"] > 1.5)).mean() > 0.7
    assert table["effect"].mean() == pytest.approx(1.5, abs=0.3)
    assert table["separation"].between(0.75, 0.95).mean() > 0.7
    assert (table["p_holm"] < 0.01).all()


def test_measures_of_one_distribution_do_not_differ():
    table = compare_measures(textures("source", 40), textures("target", 40, seed=1), SETTINGS)
    assert (table["p_holm"] > 0.05).all()
    assert ((table["low"] < 0) & (table["high"] > 0)).mean() > 0.7


def test_a_measure_that_a_site_lacks_is_left_out():
    one, other = textures("source", 8), textures("target", 8, seed=1).assign(nakagami=np.nan)
    table = compare_measures(one, other, SETTINGS)
    assert "nakagami" not in set(table["measure"])
    assert len(table) == len(MEASURES) - 1


def test_features_alike_and_apart():
    one = textures("source", 25)
    alike = compare_features("f", one, textures("target", 25, seed=1), SETTINGS).set_index("distance")
    apart = compare_features("f", one, textures("target", 25, shift=2, seed=1), SETTINGS).set_index(
        "distance"
    )
    assert list(apart.index) == ["proxy_a", "squared_mmd", "frechet"]
    assert (alike["p"] > 0.05).all()
    assert (apart["p"] == 1 / 40).all()
    assert (apart["value"] > apart["chance_high"]).all()
    assert apart["value"]["proxy_a"] > 1.5


def test_frames_without_a_number_are_left_out():
    one, other = textures("source", 8), textures("target", 8, seed=1)
    other.loc[0, "nakagami"] = np.nan
    assert compare_features("f", one, other, SETTINGS)["value"].notna().all()


def test_patients_are_projected_once_each():
    places = project_patients(textures("source", 7), textures("target", 5, shift=4, seed=1))
    assert places.groupby("site").size().to_dict() == {"source": 7, "target": 5}
    means = places.groupby("site")["first"].mean()
    assert abs(means["source"] - means["target"]) > 1
