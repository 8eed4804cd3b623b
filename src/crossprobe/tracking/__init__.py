"""What the project tells MLflow and gets back: records of runs, models, and which of them is in use."""

import os

# A pickle in a model folder is code that runs on loading. None of ours holds one, so none is ever read.
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
