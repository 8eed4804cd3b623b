"""Nodes that measure each site on its own, compare the numbers and make the page."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from crossprobe.data.frame_settings import FrameSettings
from crossprobe.data.frame_store import FrameStore
from crossprobe.errors import InvalidMetadata
from crossprobe.evaluation.domain_settings import DomainDifferenceSettings
from crossprobe.pipelines.model import for_scoring
from crossprobe.training.settings import RuntimeSettings


def measure_site(
    frames: FrameStore, split: dict[str, Any], settings: DomainDifferenceSettings, runtime: RuntimeSettings
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Measures the frames of one site.

    Returns:
        Texture by frame, histograms and spectra by patient, features by frame.
    """
    from crossprobe.evaluation.site_measurement import measure_site as measure
    from crossprobe.training.runtime import resolve

    if settings.part not in split["parts"]:
        raise InvalidMetadata(
            f"domain_difference.part is {settings.part!r}, but site {split['site']!r} has the parts "
            f"{', '.join(split['parts'])}"
        )
    found = measure(frames, split["parts"][settings.part], settings, resolve(for_scoring(runtime)))
    return found.texture, found.histograms, found.spectra, found.features


def draw_preprocessing(
    recordings: pd.DataFrame, split: dict[str, Any], frames: FrameSettings, settings: DomainDifferenceSettings
) -> Figure:
    """Draws some frames of one site before and after the preprocessing."""
    from crossprobe.reporting.preprocessing_panel import preprocessing_panel

    chosen = recordings[recordings["patient"].isin(split["parts"][settings.part])]
    return preprocessing_panel(chosen, frames, settings.shown_frames)


def compare_sites(
    settings: DomainDifferenceSettings,
    source_texture: pd.DataFrame,
    source_histograms: pd.DataFrame,
    source_spectra: pd.DataFrame,
    source_features: pd.DataFrame,
    target_texture: pd.DataFrame,
    target_histograms: pd.DataFrame,
    target_spectra: pd.DataFrame,
    target_features: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Compares what the sites measured.

    Returns:
        Distances, measures, and where patients lie among the features.
    """
    from crossprobe.evaluation import domain_difference as compare

    encoder = f"encoder {settings.encoder.name} ({settings.encoder.weights})"
    distances = [
        compare.compare_histograms(source_histograms, target_histograms, settings.distance),
        compare.compare_spectra(source_spectra, target_spectra, settings.distance),
        compare.compare_features(encoder, source_features, target_features, settings.distance),
        compare.compare_features("texture measures", source_texture, target_texture, settings.distance),
    ]
    return (
        pd.concat(distances, ignore_index=True),
        compare.compare_measures(source_texture, target_texture, settings.distance),
        compare.project_patients(source_features, target_features),
    )


def make_page(
    settings: DomainDifferenceSettings,
    distances: pd.DataFrame,
    measures: pd.DataFrame,
    places: pd.DataFrame,
    source_histograms: pd.DataFrame,
    source_spectra: pd.DataFrame,
    source_panel: bytes,
    target_histograms: pd.DataFrame,
    target_spectra: pd.DataFrame,
    target_panel: bytes,
) -> tuple[str, Figure, Figure, Figure, Figure]:
    """Makes the page, and its charts for kedro-viz and MLflow.

    Returns:
        The page, and the charts of grey levels, spectra, measures and features.
    """
    from crossprobe.reporting import domain_charts
    from crossprobe.reporting.domain_page import DomainResults, render_domain_page

    results = DomainResults(
        distances,
        measures,
        places,
        {"source": source_histograms, "target": target_histograms},
        {"source": source_spectra, "target": target_spectra},
        {"source": source_panel, "target": target_panel},
    )
    return (
        render_domain_page(results, settings),
        domain_charts.histogram_chart(dict(results.histograms)),
        domain_charts.spectrum_chart(dict(results.spectra)),
        domain_charts.measures_chart(measures),
        domain_charts.feature_chart(places),
    )
