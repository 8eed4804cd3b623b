"""The node that predicts files."""

from __future__ import annotations

import pandas as pd

from crossprobe.errors import InvalidMetadata
from crossprobe.pipelines.predict.settings import PredictJob
from crossprobe.training.settings import RuntimeSettings


def predict(job: PredictJob, runtime: RuntimeSettings) -> pd.DataFrame:
    """Predicts files with a registered model; names of files stay in the folder of the results.

    Returns:
        The table of files, without their names.
    """
    from crossprobe.pipelines.predict.prediction import run_prediction
    from crossprobe.tracking import stage

    if not job.paths:
        raise InvalidMetadata(
            "prediction.paths is empty: name files or folders, as in "
            "--params=prediction.paths=[/data/clip.mp4], or use `crossprobe predict PATH`"
        )
    title, files = run_prediction(job, stage.current().uri, runtime)
    return files.drop(columns="file").assign(model=title)
