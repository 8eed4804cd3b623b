"""What a clinic runs every night: take in what is new, decide, and train again if it is due."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from crossprobe.pipelines.arrivals import nodes
from crossprobe.pipelines.data_processing.pipeline import site_pipeline

SITES = ("source", "target")


def create_pipeline() -> Pipeline:
    """Builds the pipeline.

    Returns:
        Ingestion of both sites up to the split, the decision, and training.
    """
    ingestion = sum((site_pipeline(site).to_outputs(f"{site}.split") for site in SITES), Pipeline([]))
    found = [f"{site}.{part}" for site in SITES for part in ("arrivals", "split")]
    return ingestion + Pipeline(
        [
            Node(
                nodes.decide_on_training,
                inputs=["params:arrivals", "params:ledger", *found],
                outputs="arrivals.decision",
                name="decide",
            ),
            Node(
                nodes.train_again,
                inputs=["params:arrivals", "params:ledger", "arrivals.decision"],
                outputs="arrivals.training",
                name="train_again",
            ),
        ]
    )
