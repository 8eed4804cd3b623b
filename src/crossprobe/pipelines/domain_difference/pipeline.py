"""Raw data of two sites to a page on how their devices differ."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from crossprobe.pipelines import data_processing
from crossprobe.pipelines.domain_difference import nodes

SITES = ("source", "target")
MEASURED = ("texture", "histograms", "spectra", "features")
SETTINGS = "params:domain_difference"


def create_pipeline() -> Pipeline:
    """Builds the pipeline.

    Returns:
        The data pipeline; for each site a node that measures its frames and one that draws some; then the
        comparison of their numbers, and the page.
    """
    measured = {site: [f"domain_difference.{site}_{name}" for name in MEASURED] for site in SITES}
    profiles = {
        site: [*(f"domain_difference.{site}_{name}" for name in ("histograms", "spectra")),
               f"report.domain_difference.{site}_preprocessing"]
        for site in SITES
    }  # fmt: skip
    compared = [f"report.domain_difference.{name}" for name in ("distances", "measures", "places")]
    charts = ("grey_levels", "spectra", "measures", "features")
    own = [
        *(node for site in SITES for node in _site_nodes(site, measured[site], profiles[site][-1])),
        Node(
            nodes.compare_sites,
            inputs=[SETTINGS, *measured["source"], *measured["target"]],
            outputs=compared,
            name="compare",
            namespace="domain_difference",
        ),
        Node(
            nodes.make_page,
            inputs=[SETTINGS, *compared, *profiles["source"], *profiles["target"]],
            outputs=[
                "report.domain_difference.page",
                *(f"report.domain_difference.{chart}_chart" for chart in charts),
            ],
            name="make_page",
            namespace="domain_difference",
        ),
    ]
    return data_processing.create_pipeline() + Pipeline(own)


def _site_nodes(site: str, measured: list[str], panel: str) -> list[Node]:
    return [
        Node(
            nodes.measure_site,
            inputs=[f"{site}.frames", f"{site}.split", SETTINGS, "params:runtime"],
            outputs=measured,
            name=f"measure_{site}",
            namespace="domain_difference",
        ),
        Node(
            nodes.draw_preprocessing,
            inputs=[f"{site}.recordings", f"{site}.split", f"params:{site}.frames", SETTINGS],
            outputs=panel,
            name=f"preprocessing_{site}",
            namespace="domain_difference",
        ),
    ]
