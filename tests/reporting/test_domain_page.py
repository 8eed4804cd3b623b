from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from crossprobe.data.frame_settings import FrameSettings
from crossprobe.errors import UnreadableMedia
from crossprobe.evaluation.domain_difference import (
    compare_features,
    compare_histograms,
    compare_measures,
    compare_spectra,
    project_patients,
)
from crossprobe.evaluation.domain_settings import DomainDifferenceSettings
from crossprobe.evaluation.frame_texture import LEVELS, MEASURES
from crossprobe.reporting.domain_page import DomainResults, render_domain_page
from crossprobe.reporting.preprocessing_panel import frame_stages, preprocessing_panel

SETTINGS = DomainDifferenceSettings(distance={"permutations": 5, "resamples": 20, "components": 3})


@pytest.fixture(scope="module")
def results() -> DomainResults:
    generator = np.random.default_rng(0)
    tables: dict[str, dict[str, pd.DataFrame]] = {name: {} for name in ("texture", "levels", "spectra")}
    for site in ("source", "target"):
        who = pd.DataFrame(
            {"site": site, "device": f"<{site} & co>", "patient": [f"{site}{n}" for n in range(6)]}
        )
        random = generator.random
        tables["texture"][site] = who.join(pd.DataFrame(random((6, len(MEASURES))), columns=list(MEASURES)))
        levels = pd.DataFrame(random((6, LEVELS)), columns=[f"level_{n}" for n in range(LEVELS)])
        tables["levels"][site] = who.join(levels)
        names = [f"{side}_{n}" for side in ("axial", "lateral") for n in range(8)]
        tables["spectra"][site] = who.join(pd.DataFrame(random((6, 16)), columns=names))
    pair = {name: (found["source"], found["target"]) for name, found in tables.items()}
    distance = SETTINGS.distance
    distances = [
        compare_histograms(*pair["levels"], distance),
        compare_spectra(*pair["spectra"], distance),
        compare_features("encoder resnet18 (random)", *pair["texture"], distance),
        compare_features("texture measures", *pair["texture"], distance),
    ]
    figure = Figure(figsize=(1, 1))
    return DomainResults(
        pd.concat(distances, ignore_index=True),
        compare_measures(*pair["texture"], distance),
        project_patients(*pair["texture"]),
        tables["levels"],
        tables["spectra"],
        {"source": figure, "target": figure},
    )


def test_the_page_holds_every_section_and_escapes_names(results):
    page = render_domain_page(results, SETTINGS)
    titles = ["Summary", "Grey levels", "Fineness of detail", "Speckle and contrast", "Distance of features"]
    for title in [*titles, "Before and after preprocessing", "How to read this"]:
        assert f">{title}</h2>" in page
    assert "&lt;source &amp; co&gt;" in page
    assert "<source" not in page.replace("<source media", "")
    for row in results.distances.to_dict("records"):
        assert f"{row['value']:.3f}" in page
    assert "weights are random" in page
    assert "http" not in page.partition("<main>")[2]


def test_given_weights_are_not_called_random(results):
    chosen = SETTINGS.model_copy(update={"encoder": SETTINGS.encoder.model_copy(update={"weights": "timm"})})
    assert "weights are random" not in render_domain_page(results, chosen)


def test_the_panel_shows_every_step(tmp_path, make_recordings):
    settings = FrameSettings(preprocessing=[{"step": "median"}, {"step": "clahe"}], overlay="inpaint")
    figure = preprocessing_panel(make_recordings(4), settings, frames=3)
    assert len(figure.axes) == 3 * 5
    assert [axes.get_title(loc="left") for axes in figure.axes[:5]] == [
        "as recorded", "cropped", "marks filled in", "median", "clahe",
    ]  # fmt: skip


def test_stages_begin_with_the_frame_itself():
    frame = np.random.default_rng(0).integers(40, 200, (60, 80), dtype=np.uint8)
    shown = frame_stages(frame, FrameSettings(area={"crop": False}))
    assert [name for name, _ in shown] == ["as recorded", "cropped"]
    assert all(np.array_equal(image, frame) for _, image in shown)


def test_what_cannot_be_read_is_left_out_of_the_panel(make_recordings, caplog):
    recordings = make_recordings(2)
    broken = recordings.assign(path=[recordings["path"][0], "/nowhere.png"])
    assert len(preprocessing_panel(broken, FrameSettings()).axes) == 2
    assert "left out" in caplog.text
    with pytest.raises(UnreadableMedia, match="none of the 1 recordings"):
        preprocessing_panel(broken.iloc[1:], FrameSettings())


@pytest.fixture
def make_recordings(tmp_path):
    def make(count: int) -> pd.DataFrame:
        paths = []
        for number in range(count):
            image = np.random.default_rng(number).integers(40, 200, (60, 80), dtype=np.uint8)
            paths.append(str(tmp_path / f"{number}.png"))
            assert cv2.imwrite(paths[-1], image)
        return pd.DataFrame({"path": paths, "class": "c", "video": [f"v_{n}" for n in range(count)]})

    return make
