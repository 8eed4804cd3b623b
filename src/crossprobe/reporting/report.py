"""The report: one page that holds everything it shows and asks for nothing from outside."""

from __future__ import annotations

from collections.abc import Callable

import jinja2

from crossprobe.reporting import arm_sections, comparison_sections, run_sections
from crossprobe.reporting.blocks import Section
from crossprobe.reporting.inputs import ReportInputs
from crossprobe.reporting.seed_section import seeds_section
from crossprobe.reporting.summary import summary

SECTIONS: tuple[tuple[str, Callable[[ReportInputs], Section | None]], ...] = (
    ("Summary", summary),
    ("What was run on which data", run_sections.data_section),
    ("The arms", arm_sections.arms_section),
    ("Paired tests", arm_sections.paired_tests_section),
    ("Training seeds", seeds_section),
    ("Fusion", comparison_sections.fusion_section),
    ("Choosing without labels", comparison_sections.label_free_section),
    ("By device, view, operator and class", comparison_sections.breakdown_section),
    ("Predictions against the reference", lambda inputs: run_sections.picture_section(inputs, "panels")),
    ("Fusion weights", lambda inputs: run_sections.picture_section(inputs, "weights")),
    (
        "Reconstruction by masked image modelling",
        lambda inputs: run_sections.picture_section(inputs, "reconstruction"),
    ),
    ("The phantom", lambda inputs: run_sections.picture_section(inputs, "phantom")),
    ("The scans", lambda inputs: run_sections.picture_section(inputs, "scans")),
    ("Training curves", run_sections.curves_section),
    ("Calibration", run_sections.calibration_section),
    ("Speed", run_sections.speed_section),
    ("What was rejected and why", run_sections.rejections_section),
)
"""Title and maker of every section, in the order of the page."""
# A run has either the phantom or scans, and of a single seed the limits speak.
NOT_MISSED = ("The phantom", "The scans", "Training seeds")


def render_report(inputs: ReportInputs) -> str:
    """Makes the page.

    Args:
        inputs: What it is made from.

    Returns:
        HTML with style and pictures inside; it needs no network and no script.
    """
    sections, absent = [], []
    for title, make in SECTIONS:
        section = make(inputs)
        if section is None or not section.blocks:
            absent += [title] if title not in NOT_MISSED else []
        else:
            sections.append(section)
    sections += [*inputs.extra, run_sections.limits_section(inputs, absent)]
    return render_page(inputs.title, inputs.subtitle, sections)


def render_page(title: str, subtitle: str, sections: list[Section]) -> str:
    """Sets sections into the page's frame; also for pages that are not about arms.

    Args:
        title: Title.
        subtitle: One line below it.
        sections: In order.

    Returns:
        HTML.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("crossprobe.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.j2")
    return template.render(title=title, subtitle=subtitle, sections=sections)
