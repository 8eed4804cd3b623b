"""Sections about the run: the data, pictures, curves, calibration, speed, rejections, limits."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from crossprobe.evaluation.aggregate import table_means
from crossprobe.reporting import charts
from crossprobe.reporting.blocks import (
    Block,
    Bullets,
    Cell,
    Details,
    Facts,
    Paragraph,
    Row,
    Section,
    Table,
    chart,
    plain_table,
)
from crossprobe.reporting.inputs import ReportInputs
from crossprobe.reporting.seed_section import ONE_SEED_LIMIT
from crossprobe.reporting.style import arm_colours, arm_label, metric_label
from crossprobe.reporting.wording import MISSING, UNMEASURED, number, plural

COUNTED = r"^(?:(?P<items>\d+) x )?(?P<reason>.*?)(?: \(first: (?P<first>[^)]*)\))?$"
"""A reason with a count before and an example behind it, as the frames stage writes it."""

LISTED = 200
"""Rejected items listed on the page; the table holds the rest."""

LIMITS = (
    "A triage aid under study, not a diagnosis and not a medical device. Missed fractures matter most; a "
    "mask that overlaps well can still miss one.",
    "Patients, not frames, are the samples: a few dozen patients leave wide intervals, and an interval that "
    "covers zero is no proof of equality.",
    "Scores hold for these two devices, these operators and this anatomy; another probe is another question.",
)
TEST_LABELS_LIMIT = (
    "The target's test labels serve this report alone. Choosing an arm by them and reporting the same "
    "figures would flatter it."
)
OUTLINES_LIMIT = "Reference outlines were drawn by people: two of them would not agree perfectly either."
PHANTOM_LIMIT = (
    "These scans are a phantom: physics imitated with assumed numbers. It shows that the method runs and "
    "what it does where the truth is known; it is not a patient and says nothing about one."
)

PICTURES = {
    "panels": ("panels", "Predictions against the reference"),
    "weights": ("weights", "Fusion weights"),
    "reconstruction": ("reconstruction", "Reconstruction by masked image modelling"),
    "phantom": ("phantom", "The phantom"),
    "scans": ("scans", "The scans"),
}


def data_section(inputs: ReportInputs) -> Section:
    """Says what was run on which data: cohort, hashes, seeds, versions, device, parameters.

    Args:
        inputs: What the report is made from.

    Returns:
        The section.
    """
    blocks: list[Block] = []
    if inputs.cohort is not None and len(inputs.cohort):
        note = (
            "Parts are disjoint by patient, video and near-duplicate; the split is a file, named by its hash."
        )
        blocks.append(plain_table(inputs.cohort, "Who is in the data", note))
    for group, facts in inputs.facts.items():
        blocks.append(Facts(tuple((_words(key), str(value)) for key, value in facts.items()), _words(group)))
    if inputs.parameters:
        lines = tuple(flatten(inputs.parameters).items())
        blocks.append(Details(f"All parameters ({len(lines)})", (Facts(lines),)))
    return Section("data", "What was run on which data", tuple(blocks))


def _words(name: object) -> str:
    text = str(name).replace("_", " ")
    return text[:1].upper() + text[1:]


def flatten(parameters: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Lays nested parameters flat under dotted names, as they are logged.

    Args:
        parameters: Nested mappings.
        prefix: Put before every name.

    Returns:
        Text of every value by dotted name.
    """
    flat: dict[str, str] = {}
    for key, value in parameters.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = str(value)
    return flat


def picture_section(inputs: ReportInputs, name: str) -> Section | None:
    """Shows the pictures handed over under a name.

    Args:
        inputs: What the report is made from.
        name: One of `PICTURES`.

    Returns:
        The section, or None where there are no pictures.
    """
    images = inputs.images.get(name, ())
    if not images:
        return None
    anchor, title = PICTURES[name]
    if name == "panels" and not inputs.target_scored():
        title = "Predictions, without a reference"
    return Section(anchor, title, tuple(image.block() for image in images))


def curves_section(inputs: ReportInputs) -> Section | None:
    """Draws training and validation curves, a chart a stage.

    Args:
        inputs: What the report is made from.

    Returns:
        The section, or None where there are no histories.
    """
    histories = inputs.histories
    if histories is None or histories.empty:
        return None
    blocks: list[Block] = []
    for stage in dict.fromkeys(histories["stage"]):
        drawn = charts.training_curves(histories, str(stage))
        blocks.append(chart(drawn, f"{_words(stage)}: thin lines are training, thick ones validation."))
    return Section("curves", "Training curves", tuple(blocks))


def calibration_section(inputs: ReportInputs) -> Section | None:
    """Shows whether the probabilities can be believed.

    Args:
        inputs: What the report is made from.

    Returns:
        The section, or None where only masks were scored.
    """
    wanted = inputs.patients[inputs.patients["metric"].isin(("ece", "brier"))]
    if wanted.empty:
        return None
    means = table_means(wanted).set_index(["arm", "site", "metric"])["mean"]
    sites = list(dict.fromkeys(wanted["site"]))
    columns = [(site, metric) for site in sites for metric in ("ece", "brier")]
    colours = arm_colours(inputs.names())
    rows = tuple(
        Row(
            arm_label(arm),
            tuple(Cell(f"{means.get((arm, *column), float('nan')):.4f}") for column in columns),
            colours.get(arm, ""),
        )
        for arm in dict.fromkeys(wanted["arm"])
    )
    table = Table(
        "Calibration of pixel probabilities, mean over patients",
        "Arm",
        tuple(f"{metric_label(metric)} ↓" for _, metric in columns),
        rows,
        tuple((f"{site.capitalize()} test", 2) for site in sites),
        "Most pixels are background far from bone and easy, so values are small: compare arms, not data "
        "sets.",
    )
    blocks: list[Block] = [table]
    reliability = inputs.reliability
    if reliability is not None and (reliability["site"] == "target").any():
        caption = "On the dashed line, stated and observed agree; below it the arm claims too much."
        blocks.append(chart(charts.reliability_plot(reliability), caption))
    return Section("calibration", "Calibration", tuple(blocks))


def speed_section(inputs: ReportInputs) -> Section | None:
    """Shows speed beside accuracy.

    Args:
        inputs: What the report is made from.

    Returns:
        The section, or None where nothing was timed.
    """
    if inputs.speed is None or inputs.speed.empty:
        return None
    rows, colours, site = [], arm_colours(inputs.names()), "target" if inputs.target_scored() else "source"
    for row in inputs.speed.to_dict("records"):
        scored = inputs.row(row["arm"], site)
        cells = (
            Cell(number(scored["mean"]) if scored is not None else MISSING),
            Cell(f"{row['parameters'] / 1e6:.2f}"),
            Cell(f"{row['gflop']:.2f}"),
            Cell(f"{row['latency_ms_p50']:.1f}", f"p95 {row['latency_ms_p95']:.1f}"),
            Cell(f"{row['frames_per_second']:.1f}"),
            Cell(f"{row['peak_memory_mb']:,.0f}"),
        )
        rows.append(Row(arm_label(row["arm"]), cells, colours.get(row["arm"], "")))
    devices = ", ".join(dict.fromkeys(inputs.speed["device"].astype(str)))
    memory = " and ".join(dict.fromkeys(inputs.speed["memory_of"].astype(str)))
    columns = (
        f"{site} DSC",
        "parameters (M)",
        "GFLOP a frame",
        "latency (ms)",
        "frames a second",
        "memory (MB)",
    )
    note = f"Measured on {devices}. Latency: one frame at a time, p50. Frames a second: in batches. "
    return Section(
        "speed",
        "Speed",
        (Table("Speed", "Arm", columns, tuple(rows), note=f"{note}Memory: peak of the {memory}."),),
    )


def rejections_section(inputs: ReportInputs) -> Section:
    """Counts what was dropped, and says why.

    Args:
        inputs: What the report is made from.

    Returns:
        The section.
    """
    rejections = inputs.rejections
    if rejections is None or rejections.empty:
        text = (
            "Nothing was rejected." if rejections is not None else "No table of rejections was handed over."
        )
        return Section("rejections", "What was rejected and why", (Paragraph(text),))
    rejections = _counted(rejections)
    counts = rejections.groupby(["site", "stage", "reason"], sort=True)["items"].sum().reset_index()
    counts = counts.sort_values("items", ascending=False, kind="stable")
    total = plural(int(rejections["items"].sum()), "item")
    blocks: list[Block] = [
        Paragraph(f"{total} dropped, cut or kept without a label, as the reason says; the run went on.")
    ]
    if counts["reason"].nunique() > 2:
        caption = "Items by reason and site."
        blocks.append(chart(charts.rejections_chart(rejections), caption))
    blocks.append(plain_table(counts[["reason", "site", "stage", "items"]].head(LISTED), "Reasons"))
    listed = rejections.head(LISTED)[["item", "site", "stage", "reason"]]
    more = len(rejections) - len(listed)
    note = f"And {more:,} more in the table of rejections." if more else ""
    blocks.append(
        Details(f"Every item ({len(rejections):,})", (plain_table(listed, "Rejected items", note),))
    )
    return Section("rejections", "What was rejected and why", tuple(blocks))


def _counted(rejections: pd.DataFrame) -> pd.DataFrame:
    """Takes the count out of reasons such as `3 x blank frame (first: frame 7)`, into a column of its own."""
    parts = rejections["reason"].str.extract(COUNTED)
    items = parts["items"].fillna("1").astype(int)
    first = parts["first"].map(lambda text: f", first: {text}" if isinstance(text, str) else "")
    return rejections.assign(
        items=items, reason=parts["reason"].fillna(rejections["reason"]), item=rejections["item"] + first
    )


def limits_section(inputs: ReportInputs, absent: list[str]) -> Section:
    """States what this report does not show.

    Args:
        inputs: What the report is made from.
        absent: Titles of sections without data.

    Returns:
        The section.
    """
    items = [*LIMITS, TEST_LABELS_LIMIT if inputs.target_scored() else UNMEASURED]
    items.insert(0, PHANTOM_LIMIT if inputs.images.get("phantom") else OUTLINES_LIMIT)
    if inputs.n_seeds() < 2:
        items.append(ONE_SEED_LIMIT)
    if absent:
        items.append(f"Not part of this run: {', '.join(title.lower() for title in absent)}.")
    return Section("limits", "Limits", (Bullets(tuple(items)),))


def sizes_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Counts who is in a table of frames: a ready-made cohort table.

    Args:
        frame: Rows of a manifest with the columns `site`, `part`, `patient`, `video` and `labelled`.

    Returns:
        Table `site, part, patients, videos, frames, labelled_frames`.
    """
    grouped = frame.groupby(["site", "part"], sort=False, observed=True)
    table = grouped.agg(
        patients=("patient", "nunique"),
        videos=("video", "nunique"),
        frames=("video", "size"),
        labelled_frames=("labelled", "sum"),
    )
    return table.reset_index()
