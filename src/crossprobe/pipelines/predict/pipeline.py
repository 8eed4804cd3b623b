"""Masks for new files by the model in use."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from crossprobe.pipelines.predict import nodes


def create_pipeline() -> Pipeline:
    """Builds the pipeline.

    Returns:
        One node: the files are no data sets, they are named by parameters.
    """
    template = Pipeline(
        [
            Node(
                nodes.predict,
                inputs=["params:prediction", "params:runtime"],
                outputs="files",
                name="predict",
            )
        ]
    )
    parameters = {"params:prediction": "params:prediction", "params:runtime": "params:runtime"}
    return Pipeline(template, namespace="predict", parameters=parameters)
