"""Charts and panels show what they were given."""

from __future__ import annotations

import re
from dataclasses import astuple
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from crossprobe.evaluation.arms_table import ArmRoles
from crossprobe.reporting.charts import (
    arms_dot_plot,
    breakdown_heatmap,
    chart_figures,
    paired_differences_plot,
    rejections_chart,
    reliability_plot,
    training_curves,
)
from crossprobe.reporting.panels import (
    PredictionPanel,
    ReconstructionPanel,
    prediction_panels,
    reconstruction_panels,
    region_of_interest,
)
from crossprobe.reporting.style import (
    DARK,
    LIGHT,
    arm_colours,
    arm_label,
    darkened,
    metric_label,
    png_bytes,
    svg_bytes,
)


def texts(figure: Figure) -> list[str]:
    found = []
    for axes in figure.axes:
        labels = [*axes.texts, axes.title, axes._left_title, *axes.get_xticklabels(), *axes.get_yticklabels()]
        found += [label.get_text() for label in labels]
    return found


def test_arms_carry_their_figures(study):
    figure = arms_dot_plot(study.arms)
    shown = texts(figure)
    assert f"{study.row('mim')['mean']:.3f}" in shown
    assert "MT-NXent" in shown
    assert len(figure.axes) == 2
    hollow = [
        line for line in figure.axes[1].lines if line.get_marker() == "D" and np.isfinite(line.get_xdata()[0])
    ]
    assert len(hollow) == 6, "every arm but the plain average is claimed on the target"


def test_differences_are_one_dot_a_patient(study):
    axes = paired_differences_plot(study.patients).axes[0]
    clouds = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata()) == 12]
    assert len(clouds) == 6
    values = study.patients.query("site == 'target' and metric == 'dsc'").pivot_table(
        index="patient", columns="arm", values="value"
    )
    assert np.sort(clouds[0].get_xdata()) == pytest.approx(np.sort(values["mim"] - values["source_only"]))


def test_heatmap_writes_its_figures(study):
    figure = breakdown_heatmap(study.breakdown, "view")
    value = study.breakdown.query("by == 'view' and group == 'volar' and arm == 'mim' and site == 'target'")
    mean = value.query("metric == 'dsc'")["mean"].item()
    assert f"{mean:.3f}" in texts(figure)
    assert breakdown_heatmap(study.breakdown, "nothing").axes


def test_curves_have_a_panel_a_stage_and_metric(study):
    figure = training_curves(study.histories)
    visible = [axes for axes in figure.axes if axes.get_visible()]
    assert len(visible) == 3
    single = pd.DataFrame(
        [{"stage": "s", "arm": "mim", "step": 1, "part": "validation", "metric": "dsc", "value": 1.0}]
    )
    assert len(training_curves(single).axes[0].lines) == 2, "one point is drawn as a dot"


@pytest.mark.parametrize("stage", [None, "pretraining, contrastive"])
def test_titles_of_curves_do_not_run_into_one_another(stage):
    metrics = ("masked_pairs_per_anchor", "negatives_per_anchor", "contrastive_loss")
    rows = [
        {"stage": name, "arm": "mim", "step": step, "part": "train", "metric": metric, "value": 1.0}
        for name in ("pretraining, contrastive", "pretraining, mim")
        for metric in metrics
        for step in (1, 2)
    ]
    figure = training_curves(pd.DataFrame(rows), stage)
    FigureCanvasAgg(figure).draw()
    boxes = [axes.title.get_window_extent() for axes in figure.axes if axes.get_visible()]
    assert len(boxes) >= len(metrics)
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_rejections_and_reliability(study):
    assert " 34" in texts(rejections_chart(study.rejections))
    axes = reliability_plot(study.reliability).axes[0]
    assert len(axes.lines) == 1 + 3


def test_charts_for_the_catalog(study):
    figures = chart_figures(study.arms, study.patients, study.roles, study.breakdown, study.histories)
    assert set(figures) == {
        "arms",
        "differences",
        "curves",
        *(f"breakdown_{by}" for by in ("device", "view", "operator", "class")),
    }
    alone = study.patients[study.patients["arm"] == "mim"]
    assert set(chart_figures(study.arms, alone, ArmRoles())) == {"arms"}


def test_drawings_are_the_same_bytes_and_ask_for_nothing(study):
    first, again = svg_bytes(arms_dot_plot(study.arms)), svg_bytes(arms_dot_plot(study.arms))
    assert first == again
    assert b"<!DOCTYPE" not in first
    assert b"system-ui" in first
    assert b"font-face" not in first
    assert png_bytes(arms_dot_plot(study.arms), 50).startswith(b"\x89PNG")


def test_a_dark_page_gets_lighter_ink_and_the_same_drawing(study):
    light = svg_bytes(arms_dot_plot(study.arms))
    dark = darkened(light)
    for before, after in zip(astuple(LIGHT)[:2], astuple(DARK)[:2], strict=True):
        assert before.encode() in light
        assert before.encode() not in dark
        assert after.encode() in dark
    assert arm_colours(["mim"])["mim"].encode() not in dark
    colour = rb"#[0-9a-f]{6}\b"
    assert re.sub(colour, b"", dark) == re.sub(colour, b"", light)


def test_a_figure_is_drawn_once(study, monkeypatch):
    figure = arms_dot_plot(study.arms)
    first = png_bytes(figure, 40)
    monkeypatch.setattr(Figure, "savefig", None)
    assert png_bytes(figure, 40) is first


def test_region_of_interest_holds_every_mask():
    first, second = np.zeros((100, 200), bool), np.zeros((100, 200), bool)
    first[40:45, 50:120], second[48:52, 60:140] = True, True
    rows, columns = region_of_interest([first, second], (100, 200))
    inside = np.zeros((100, 200), bool)
    inside[rows, columns] = True
    assert inside[first | second].all()
    assert inside.sum() < 100 * 200
    assert (rows.stop - rows.start) > 40, "a thin band gets room above and below"
    whole = region_of_interest([np.zeros((100, 200))], (100, 200))
    assert whole == (slice(0, 100), slice(0, 200))
    assert region_of_interest([], (5, 6)) == (slice(0, 5), slice(0, 6))


def test_many_arms_wrap_and_empty_masks_draw():
    image = np.zeros((40, 60), np.uint8)
    masks = {f"arm_{index}": np.zeros((40, 60), np.uint8) for index in range(7)}
    figure = prediction_panels([PredictionPanel("one", image, masks), PredictionPanel("two", image, masks)])
    assert len(figure.axes) == 2 * 2 * 7
    assert sum(axes.get_visible() for axes in figure.axes) == 2 * 8
    assert not np.isnan(np.frombuffer(png_bytes(figure, 40), np.uint8)).any()


def test_reconstruction_takes_floats_too():
    image = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    figure = reconstruction_panels([ReconstructionPanel("one", image, image * 0, image + 0.5)])
    error = figure.axes[3].images[0].get_array()
    assert float(error.max()) == pytest.approx(0.5, abs=1e-6)


def test_colours_and_names():
    names = ["mim", "mt_nxent", "odd one", "even one"]
    colours = arm_colours(names)
    assert len(set(colours.values())) == 4
    assert arm_colours(["mim"])["mim"] == colours["mim"], "an arm keeps its colour"
    assert len(arm_colours([f"a{index}" for index in range(30)])) == 30
    fused = ["mim", "fused_average", "fused_entropy", "fused_margin", "fused_flip"]
    assert len(set(arm_colours(fused).values())) == len(fused)
    assert arm_label("fused_flip") == "Fusion, flip"
    assert (metric_label("hd95_mm"), metric_label("nsd_px"), metric_label("accuracy")) == (
        "HD95 (mm)",
        "NSD",
        "accuracy",
    )
