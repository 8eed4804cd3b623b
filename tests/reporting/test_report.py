"""The page: every section, nothing from outside, every name escaped, whatever is missing."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from crossprobe.evaluation.aggregate import breakdown, patient_scores
from crossprobe.evaluation.arms_table import ArmRoles, arms_table
from crossprobe.reporting.arm_sections import arms_section
from crossprobe.reporting.blocks import Paragraph, ReportImage, Section, Table, plain_table
from crossprobe.reporting.comparison_sections import fusion_section
from crossprobe.reporting.report import NOT_MISSED, SECTIONS, render_page, render_report
from crossprobe.reporting.run_sections import (
    LISTED,
    flatten,
    limits_section,
    picture_section,
    rejections_section,
    sizes_of,
)
from crossprobe.reporting.wording import NO_ACCURACY, UNMEASURED

VOID = {"meta", "img", "source", "br", "link"}


class Page(HTMLParser):
    """Collects what a browser would ask for, the headings, and tags that are never closed."""

    def __init__(self, text: str):
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name in ("src", "srcset", "data", "poster"):
                self.addresses.append(value)
            elif name == "href":
                self.links.add(value)
            elif name == "id":
                self.anchors.add(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"


def test_what_was_not_declared_is_not_said_to_be_shown(make_frames, make_inputs):
    means = {"source_only": (0.85, 0.64), "mim": (0.85, 0.69), "mt_nxent": (0.85, 0.70)}
    means |= {"fused_average": (0.86, 0.72), "fused_entropy": (0.86, 0.72), "fused_margin": (0.86, 0.71)}
    fused = fusion_section(make_inputs(make_frames(means))).blocks[0]
    said = {row.heading: row.cells[-1].text for row in fused.rows}
    margin = next(text for heading, text in said.items() if heading.endswith("margin"))
    assert margin == "better by its interval alone; no test was declared"
    assert not [text for heading, text in said.items() if "declared" in text and "margin" not in heading]


def test_the_first_columns_hold_what_matters(study):
    table = next(block for block in arms_section(study).blocks if isinstance(block, Table))
    assert table.columns[0].startswith("DSC")
    assert table.columns[1] == "vs Source only"
    assert sum(span for _, span in table.groups) == len(table.columns) == len(table.rows[0].cells)


@pytest.fixture(scope="module")
def page(study) -> str:
    return render_report(study)


def words(page: str) -> str:
    text = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)).replace("\u00a0", " ")


def test_every_section_is_there_and_linked(page, study):
    parsed = Page(page)
    assert not parsed.open, "every tag is closed"
    expected = {"summary", "data", "arms", "tests", "fusion", "label-free", "breakdown", "panels", "weights"}
    expected |= {"reconstruction", "curves", "calibration", "speed", "rejections", "limits"}
    assert expected <= parsed.anchors
    assert {f"#{anchor}" for anchor in expected} <= parsed.links
    assert {link[1:] for link in parsed.links} <= parsed.anchors


def test_nothing_is_asked_from_outside(page):
    parsed = Page(page)
    assert len(parsed.addresses) > 8
    assert all(address.startswith("data:image/") for address in parsed.addresses)
    assert not {"script", "link", "iframe"} & set(parsed.tags)
    assert "@import" not in page
    assert "url(" not in page
    assert all(link.startswith("#") for link in parsed.links)


def test_numbers_of_the_table_are_on_the_page(page, study):
    text = words(page)
    row = study.row("mim")
    assert f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}] claimed 0.712" in text
    assert "n = 12 patients" in text
    assert "arXiv:2605.29122" in text
    assert "a landmark, not a bar" in text
    assert "sha256:6f1c52d09a7be4" in text
    assert "finetune.learning_rate" in text
    assert "Both empty: overlap 1" in text
    assert "49 items dropped" in text
    assert "novice 2" in text
    assert "fracture" in text


def test_names_are_escaped(make_inputs, make_frames):
    frames = make_frames({"source_only": (0.8, 0.6), "<b>x</b>&": (0.8, 0.7)}, 6)
    frames["view"] = "<script>alert(1)</script>"
    rejected = pd.DataFrame({"site": ["t"], "stage": ["s"], "item": ["<i>"], "reason": ["a < b"]})
    page = render_report(
        make_inputs(
            frames,
            title="A & B <x>",
            breakdown=breakdown(frames),
            rejections=rejected,
            parameters={"<k>": "<v>"},
        )
    )
    assert "<script>" not in page
    assert "<b>x" not in page
    assert "<i>" not in page
    assert "A &amp; B &lt;x&gt;" in page
    assert "&lt;k&gt;" in page
    Page(page)


def test_only_the_needed_tables(make_inputs, frames):
    extra = Section("ablation", "Ablations", (Paragraph("Later."),))
    page = render_report(make_inputs(frames, extra=[extra]))
    parsed = Page(page)
    assert {"summary", "arms", "tests", "fusion", "limits"} <= parsed.anchors
    assert not {"speed", "breakdown", "curves", "phantom", "label-free"} & parsed.anchors
    text = words(page)
    assert "Not part of this run: what was run on which data, choosing without labels, by device" in text
    assert "the phantom" not in text
    assert "No table of rejections was handed over" in text
    assert "ablation" in parsed.anchors
    assert text.index("Later.") < text.index("not a diagnosis")


def test_a_single_arm_without_spacing(make_inputs, make_frames):
    frames = make_frames({"source_only": (0.8, 0.6)}, 4)
    frames["metric"] = frames["metric"].str.replace("_mm", "_px")
    frames["class"], frames["operator"] = "unknown", "unknown"
    page = render_report(make_inputs(frames, breakdown=breakdown(frames), rejections=pd.DataFrame()))
    text = words(page)
    assert "HD95 (px)" in text
    assert "(mm)" not in text
    assert "DSC by class" not in text
    assert "Nothing was rejected" in text
    assert "Only 4 patients" in text
    assert "tests" not in Page(page).anchors


def test_one_patient_and_a_site_without_any(make_inputs, make_frames):
    frames = make_frames({"source_only": (0.8, 0.6), "mim": (0.8, 0.7)}, 1)
    text = words(render_report(make_inputs(frames)))
    assert "cannot be judged on so few patients" in text
    source = make_frames({"source_only": (0.8, 0.6)}, 6).query("site == 'source'")
    text = words(render_report(make_inputs(source)))
    assert UNMEASURED in text


def test_the_phantom_is_called_one(study, tmp_path):
    sheet = tmp_path / "sheet.png"
    sheet.write_bytes(b"\x89PNG only in name")
    images = {"phantom": [ReportImage(sheet, "Contact sheet", "Frames of both probes")]}
    inputs = replace(study, images=images)
    picture = picture_section(inputs, "phantom")
    page = render_page("Phantom", "", [picture, limits_section(inputs, [])])
    assert "it is not a patient" in words(page)
    assert 'alt="Frames of both probes"' in page


def test_no_empty_mask_is_said_and_long_lists_are_cut(study):
    none = study.empty_counts.assign(empty_prediction=0, empty_reference=0)
    items = [f"item-{number}" for number in range(LISTED + 7)]
    many = pd.DataFrame({"site": "s", "stage": "frames", "item": items, "reason": "r"})
    inputs = replace(study, empty_counts=none, rejections=many)
    text = words(render_page("Cut", "", [arms_section(inputs), rejections_section(inputs)]))
    assert "No mask was empty" in text
    assert "And 7 more" in text
    assert "item-199 " in text
    assert "item-200" not in text


def test_other_sections_and_pages_fit_the_same_frame(study):
    frame = pd.DataFrame({"gap": ["0", "15"], "dsc": [0.699, np.nan], "n": [12, 12], "ok": [True, False]})
    section = Section("ablation", "Ablations", (plain_table(frame, "Gap"),))
    alone = render_page("Only a table", "", [section])
    assert "ablation" in Page(alone).anchors
    assert "0.699" in alone
    assert "True" in alone


def test_every_section_keeps_its_title(page):
    for title, _ in SECTIONS:
        assert title in page or title in NOT_MISSED


def test_roles_may_be_other_names(make_inputs, make_frames):
    frames = make_frames({"plain": (0.8, 0.6), "mine": (0.8, 0.7)}, 8)
    roles = ArmRoles(baseline="plain", fused=None, average=None, branches=(), reference=None)
    text = words(render_report(make_inputs(frames, roles=roles)))
    assert "costs plain" in text
    assert "fusion" in text, "its absence is said"


def test_parameters_are_laid_flat():
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1, 2]}) == {"a.b": "1", "a.c": "{}", "d": "[1, 2]"}


def test_the_cohort_is_counted():
    manifest = pd.DataFrame(
        {
            "site": ["source"] * 3,
            "part": ["train", "train", "test"],
            "patient": ["a", "a", "b"],
            "video": ["v", "w", "x"],
            "labelled": [True, False, True],
        }
    )
    counted = sizes_of(manifest).set_index("part")
    assert counted.loc["train"].tolist() == ["source", 1, 2, 2, 1]


@pytest.fixture(scope="module")
def unmeasured(study, frames):
    """The study where nobody has labelled a target patient, and the reference was not trained."""
    known = frames.query("site == 'source' and arm != 'target_supervised'")
    patients, none = patient_scores(known), study.comparisons.iloc[:0]
    return replace(
        study,
        patients=patients,
        arms=arms_table(patients, study.roles, none),
        comparisons=none,
        breakdown=breakdown(known),
        regret=study.regret.iloc[:0],
        reliability=study.reliability.iloc[:0],
        saw_target_labels=["target_supervised"],
    )


def test_without_target_labels_the_page_says_so_and_shows_no_figure_of_the_target(unmeasured):
    page = render_report(unmeasured)
    assert page.count(UNMEASURED) == 2
    assert NO_ACCURACY in page
    for absent in ("Target test, n", "target DSC", "test DSC", "Regret of", "p = nan", ">nan<"):
        assert absent not in page, absent


def test_an_arm_without_labels_to_learn_from_is_said_to_be_left_out(study, unmeasured):
    said = "Target-supervised reference is left out"
    assert said in render_report(unmeasured)
    scored = replace(study, arms=study.arms.query("arm != 'target_supervised'"))
    assert said in render_report(replace(scored, saw_target_labels=["target_supervised"]))
    assert said not in render_report(replace(study, saw_target_labels=["target_supervised"]))
