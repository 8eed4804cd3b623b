"""The pipeline that compares two devices runs as a whole, and only numbers leave a site."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from kedro.framework.project import find_pipelines, pipelines
from kedro.framework.startup import bootstrap_project

from crossprobe.errors import InvalidMetadata
from crossprobe.pipelines.domain_difference.nodes import measure_site

PROJECT = Path(__file__).resolve().parents[2]


def test_only_numbers_leave_a_site():
    bootstrap_project(PROJECT)
    pipelines.configure("crossprobe.pipeline_registry")
    nodes = find_pipelines(raise_errors=True)["domain_difference"].nodes
    for site, other in (("source", "target"), ("target", "source")):
        own = [node for node in nodes if any(name.startswith(f"{site}.") for name in node.inputs)]
        for node in own:
            if node.name != "audit_sites":
                assert not any(name.startswith(f"{other}.") for name in node.inputs), node.name
    compare = next(node for node in nodes if node.name == "domain_difference.compare")
    kinds = {name.rpartition("_")[2] for name in compare.inputs if not name.startswith("params:")}
    assert kinds == {"texture", "histograms", "spectra", "features"}
    readers = [node for node in nodes if node.name.startswith("domain_difference.measure_")]
    assert not any("labelled_frames" in name for node in readers for name in node.inputs)


def test_the_whole_pipeline(kedro_run, data_folder):
    kedro_run("domain_difference")
    folder = data_folder / "08_reporting" / "domain_difference"
    distances = pd.read_csv(folder / "distances.csv")
    assert set(distances["distance"]) == {"wasserstein_levels", "rms_db", "proxy_a", "squared_mmd", "frechet"}
    assert distances["value"].notna().all()
    assert len(pd.read_csv(folder / "measures.csv")) > 5
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "How two devices differ" in page
    for name in ("source_preprocessing", "grey_levels", "features"):
        assert (folder / "figures" / f"{name}.png").is_file()


def test_a_part_that_is_not_there_is_named():
    from crossprobe.evaluation.domain_settings import DomainDifferenceSettings
    from crossprobe.training.settings import RuntimeSettings

    split = {"site": "target", "parts": {"train": [], "test": []}}
    with pytest.raises(InvalidMetadata, match="part is 'val', but site 'target' has the parts train, test"):
        measure_site(None, split, DomainDifferenceSettings(part="val"), RuntimeSettings())
