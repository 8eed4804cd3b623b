"""Prediction with a model of the registry."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pandas as pd

from crossprobe.pipelines.model import for_prediction
from crossprobe.training.settings import RuntimeSettings

if TYPE_CHECKING:
    from crossprobe.pipelines.predict.settings import PredictJob


def run_prediction(job: PredictJob, uri: str, runtime: RuntimeSettings) -> tuple[str, pd.DataFrame]:
    """Fetches the model and predicts the files.

    Args:
        job: Model, files, output.
        uri: Tracking URI.
        runtime: Where to compute, and in which precision new files are predicted (`inference.precision`).

    Returns:
        Name and version of the model, and the table of files.
    """
    from crossprobe.pipelines.data_processing.nodes import KEY_VARIABLE, PUBLIC_KEY
    from crossprobe.prediction.open_reader import open_reader
    from crossprobe.prediction.predict_files import predict_files
    from crossprobe.tracking.fetch import fetch_model
    from crossprobe.training.runtime import resolve

    model = fetch_model(job.model, uri)
    reader = open_reader(model.package, resolve(for_prediction(runtime)))
    salt = os.environ.get(KEY_VARIABLE, PUBLIC_KEY)
    return model.title(), predict_files(reader, job.paths, job.output, job.settings, salt)
