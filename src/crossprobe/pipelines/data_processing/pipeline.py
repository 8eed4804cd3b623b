"""Raw data to a split frame store, stamped once a site."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from crossprobe.pipelines.bound import bound
from crossprobe.pipelines.data_processing import nodes

SHARED_PARAMETERS = {"params:phantom", "params:leaks", "params:folders", "params:runtime", "params:ledger"}


def create_pipeline(sites: tuple[str, ...] = ("source", "target")) -> Pipeline:
    """Builds the pipeline.

    Args:
        sites: Whose data are needed.

    Returns:
        Collect, ingest, frames, split and leak audit for each site, and the check that no two share a
        patient.
    """
    audit = Node(
        bound(nodes.audit_sites, sites=sites),
        inputs=[f"{site}.split" for site in sites],
        outputs="site_audit",
        name="audit_sites",
    )
    return sum((site_pipeline(site) for site in sites), Pipeline([audit]))


def site_pipeline(site: str) -> Pipeline:
    """Stamps the template for one site.

    Args:
        site: `source` or `target`; becomes the namespace.

    Returns:
        The site's pipeline; it opens no file of the other site.
    """
    template = Pipeline(
        [
            Node(
                nodes.collect_raw,
                inputs=["params:raw", "params:phantom", "params:site", "params:runtime"],
                outputs="raw",
                name="collect",
            ),
            Node(
                nodes.ingest,
                inputs=["raw", "params:raw", "params:site", "params:ledger"],
                outputs=["recordings", "rejected_at_ingest"],
                name="ingest",
            ),
            Node(
                nodes.decode_frames,
                inputs=["recordings", "rejected_at_ingest", "raw", "params:raw", "params:frames",
                "params:site",
                        "params:folders", "params:runtime", "params:ledger"],
                outputs=["frames", "labelled_frames", "manifest", "rejected_at_decode", "arrivals"],
                name="decode",
            ),
            Node(
                nodes.split_patients,
                inputs=["manifest", "frames", "arrivals", "params:split", "params:leaks", "params:site",
                        "params:ledger"],
                outputs="split",
                name="split",
            ),
            Node(
                nodes.audit_split,
                inputs=["frames", "split", "params:leaks"],
                outputs="leak_audit",
                name="audit",
            ),
            Node(
                nodes.describe_site,
                inputs=["raw", "labelled_frames", "split", "leak_audit"],
                outputs=["facts", "cohort", "contact_sheet"],
                name="describe",
            ),
        ]
    )  # fmt: skip
    return Pipeline(
        template, namespace=site, parameters=SHARED_PARAMETERS, prefix_datasets_with_namespace=True
    )
