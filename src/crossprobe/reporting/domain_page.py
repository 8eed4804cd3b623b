"""The page on how two devices differ."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from crossprobe.evaluation.domain_settings import DomainDifferenceSettings
from crossprobe.reporting import domain_charts
from crossprobe.reporting.blocks import (
    Block,
    Bullets,
    Cell,
    Facts,
    Paragraph,
    ReportImage,
    Row,
    Section,
    Table,
    Tile,
    Tiles,
    chart,
)
from crossprobe.reporting.report import render_page
from crossprobe.reporting.wording import MISSING

DISTANCES = {
    "wasserstein_levels": "Wasserstein distance (grey levels)",
    "rms_db": "difference (dB)",
    "proxy_a": "proxy A-distance",
    "squared_mmd": "squared MMD",
    "frechet": "Fréchet distance, squared",
}


@dataclass(frozen=True)
class DomainResults:
    """What the page is made of: tables and pictures of both sites, by site where they are two."""

    distances: pd.DataFrame
    measures: pd.DataFrame
    places: pd.DataFrame
    histograms: Mapping[str, pd.DataFrame]
    spectra: Mapping[str, pd.DataFrame]
    panels: Mapping[str, bytes | Figure]


def render_domain_page(results: DomainResults, settings: DomainDifferenceSettings) -> str:
    """Makes the page.

    Args:
        results: Tables and pictures.
        settings: What they were made with.

    Returns:
        HTML with style and pictures inside.
    """
    devices = results.places.groupby("site")["device"].unique()
    names = {str(site): ", ".join(sorted(found)) for site, found in devices.items()}
    subtitle = f"Source: {names.get('source', '?')}. Target: {names.get('target', '?')}."
    sections = [
        _summary(results, settings),
        _grey_levels(results),
        _detail(results),
        _speckle(results, settings),
        _features(results, settings),
        _panels(results),
        _reading(settings),
    ]
    return render_page("How two devices differ", subtitle, sections)


def _summary(results: DomainResults, settings: DomainDifferenceSettings) -> Section:
    table = results.distances
    encoder = table[table["features"].str.startswith("encoder")]
    proxy = encoder[encoder["distance"] == "proxy_a"].iloc[0]
    levels = table[table["distance"] == "wasserstein_levels"].iloc[0]
    accuracy = 0.5 + proxy["value"] / 4
    largest = results.measures.sort_values("effect", key=abs).iloc[-1]
    tiles = (
        Tile("proxy A-distance of features", f"{proxy['value']:.2f}",
             f"0 alike, 2 apart; by chance {proxy['chance']:.2f}, p {_p(proxy['p'])}"),
        Tile("devices told apart", f"{100 * accuracy:.0f} %",
             "balanced accuracy of a linear classifier on unseen patients; 50 % is a guess"),
        Tile("grey levels apart by", f"{levels['value']:.1f} levels",
             f"[{levels['low']:.1f}, {levels['high']:.1f}], p {_p(levels['p'])}"),
        Tile("largest change", domain_charts.measure_label(str(largest["measure"])),
             f"{largest['effect']:+.1f} deviations between patients"),
    )  # fmt: skip
    counts = results.places.groupby("site")["patient"].nunique()
    facts = Facts(
        (
            *((f"{site} patients", str(int(count))) for site, count in counts.items()),
            ("part", settings.part),
            ("most frames a patient", str(settings.frames_per_patient)),
            ("encoder", f"{settings.encoder.name}, {settings.encoder.weights} weights"),
            ("shuffles", str(settings.distance.permutations)),
        )
    )
    blocks: list[Block] = [Tiles(tiles), facts]
    if settings.encoder.weights == "random":
        blocks.append(
            Paragraph(
                "The encoder's weights are random: its features see texture and brightness, not anatomy.",
                "note",
            )
        )
    return Section("summary", "Summary", tuple(blocks))


def _grey_levels(results: DomainResults) -> Section:
    picture = chart(
        domain_charts.histogram_chart(dict(results.histograms)),
        "Mean share of each grey level; shaded: the middle half of patients.",
    )
    return Section("grey-levels", "Grey levels", (picture, _distance_table(results, ["grey levels"])))


def _detail(results: DomainResults) -> Section:
    picture = chart(
        domain_charts.spectrum_chart(dict(results.spectra)),
        "Power by frequency of the stored frames; shaded: the middle half of patients.",
    )
    names = ["axial spectrum", "lateral spectrum"]
    return Section("detail", "Fineness of detail", (picture, _distance_table(results, names)))


def _speckle(results: DomainResults, settings: DomainDifferenceSettings) -> Section:
    picture = chart(
        domain_charts.measures_chart(results.measures),
        "Difference of each measure, with its interval over patients.",
    )
    rows = [
        Row(
            domain_charts.measure_label(str(row["measure"])),
            (
                Cell(f"{row['source']:.3g}"),
                Cell(f"{row['target']:.3g}"),
                Cell(f"{row['difference']:+.3g}", f"[{row['low']:+.3g}, {row['high']:+.3g}]"),
                Cell(f"{row['effect']:+.2f}"),
                Cell(f"{row['separation']:.2f}"),
                Cell(_p(row["p_holm"])),
            ),
        )
        for row in results.measures.to_dict("records")
    ]
    note = (
        "Speckle is measured after undoing a logarithm over an assumed "
        f"{settings.texture.dynamic_range_db:g} dB, so it compares devices under one assumption and is no "
        "physical constant. Fully developed speckle: mean / deviation 1.91, Nakagami parameter 1. "
        "Separation: chance that a target patient's value is the larger."
    )
    columns = ("source", "target", "target less source", "effect", "separation", "p (Holm)")
    table = Table("Measures, averaged by patient", "measure", columns, tuple(rows), note=note)
    return Section("speckle", "Speckle and contrast", (picture, table))


def _features(results: DomainResults, settings: DomainDifferenceSettings) -> Section:
    picture = chart(
        domain_charts.feature_chart(results.places),
        f"Patients by the mean features of {settings.encoder.name} ({settings.encoder.weights} weights).",
    )
    names = [
        name for name in dict.fromkeys(results.distances["features"])
        if name.startswith(("encoder", "texture"))
    ]  # fmt: skip
    return Section("features", "Distance of features", (picture, _distance_table(results, names)))


def _panels(results: DomainResults) -> Section:
    pictures = tuple(
        ReportImage(figure, f"{site}: frames as recorded, and after each step of the preprocessing.").block()
        for site, figure in results.panels.items()
    )
    return Section("preprocessing", "Before and after preprocessing", pictures)


def _reading(settings: DomainDifferenceSettings) -> Section:
    items = (
        "Each site was measured on its own; what was compared are numbers under pseudonyms, not frames.",
        f"Only the part {settings.part!r} was looked at. Labels were not.",
        "p counts how often whole patients, dealt to the sites at random, lie as far apart.",
        "A difference between sites is not only the device: patients, operators and settings differ too.",
        "A distance does not tell how much a model loses. Read it beside the scores of a source-only model.",
    )
    return Section("reading", "How to read this", (Bullets(items),))


def _distance_table(results: DomainResults, names: list[str]) -> Table:
    chosen = results.distances[results.distances["features"].isin(names)]
    rows = [
        Row(
            str(row["features"]),
            (
                Cell(DISTANCES[row["distance"]], numeric=False),
                Cell(_number(row["value"]), _interval(row)),
                Cell(_number(row["chance"])),
                Cell(_number(row["chance_high"])),
                Cell(_p(row["p"])),
            ),
        )
        for row in chosen.to_dict("records")
    ]
    columns = ("distance", "value", "by chance, mean", "by chance, upper end", "p")
    return Table("Distances between the sites", "of", columns, tuple(rows))


def _number(value: float) -> str:
    return MISSING if pd.isna(value) else f"{value:.3f}"


def _interval(row: Mapping[Hashable, float]) -> str:
    return "" if pd.isna(row["low"]) else f"[{row['low']:.3f}, {row['high']:.3f}]"


def _p(value: float) -> str:
    if pd.isna(value):
        return MISSING
    return f"{value:.3f}" if value >= 0.001 else "< .001"
