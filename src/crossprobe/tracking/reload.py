"""Loads a logged model in a process of its own, as a server would, and lets it predict."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from crossprobe.errors import RegistryError

LONGEST_S = 600


def predict_in_fresh_process(model_uri: str, tracking_uri: str, images: np.ndarray) -> np.ndarray:
    """Predicts with a model that a new Python process has loaded through MLflow.

    Args:
        model_uri: Of the logged model.
        tracking_uri: Where it was logged.
        images: uint8 [B, S, S], prepared as for training.

    Returns:
        Probabilities: float32 [B, S, S] of a segmenter, float64 [B, classes] of a classifier.

    Raises:
        RegistryError: The process failed; the end of what it said is quoted.
    """
    with tempfile.TemporaryDirectory(prefix="crossprobe-reload-") as scratch:
        given, made = Path(scratch) / "images.npy", Path(scratch) / "probabilities.npy"
        np.save(given, images, allow_pickle=False)
        # Another working folder: the process must find nothing of this project but what is installed.
        done = subprocess.run(
            [sys.executable, "-m", "crossprobe.tracking.reload", model_uri, tracking_uri, given, made],
            cwd=scratch,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
        if done.returncode != 0:
            raise RegistryError(
                f"{model_uri} was logged but does not load in a fresh process: {done.stderr[-800:]}"
            )
        return np.load(made, allow_pickle=False)


def main(model_uri: str, tracking_uri: str, given: str, made: str) -> None:
    """What the fresh process does.

    Args:
        model_uri: Of the logged model.
        tracking_uri: Where it was logged.
        given: File of images.
        made: File of probabilities to write.
    """
    import mlflow

    mlflow.set_tracking_uri(tracking_uri)
    served = mlflow.pyfunc.load_model(model_uri).unwrap_python_model()
    images = np.load(given, allow_pickle=False)
    batches = np.array_split(images, len(images))
    answers = [served.reader.probabilities(batch) for batch in batches]
    np.save(made, np.concatenate(answers), allow_pickle=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
