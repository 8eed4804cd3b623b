"""Logs a package as an MLflow model: from code, with a signature, an example of noise and pinned versions."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from crossprobe.prediction.package import PackageIndex, index_hash, read_index
from crossprobe.tracking.served_code import copy_code

SERVED = Path(__file__).with_name("served_model.py")
# As `served_model.py` asks for them: to import that file would be to set a model.
HASH, RUNTIME = "package_sha256", "runtime"
CARD = "model_card.md"
# What `served_model.py` imports by way of the library; torch without the suffix of a local build.
REQUIREMENTS = (
    "mlflow", "numpy", "opencv-python-headless", "pandas", "pillow", "pydantic", "pydicom", "safetensors",
    "torch",
)  # fmt: skip
CLASSIFIER_REQUIREMENTS = ("timm", "torchvision")


def pinned_requirements(index: PackageIndex) -> list[str]:
    """Names what serving needs, at the versions at hand.

    Args:
        index: Of the package; backbones of classifiers are timm's, and one step of preparing frames takes a
            library that no other part of serving needs.

    Returns:
        Requirements such as `numpy==2.4.6`.
    """
    needed = list(REQUIREMENTS)
    if index.kind == "classifier":
        needed += CLASSIFIER_REQUIREMENTS
    if any(step.step == "total_variation" for step in index.frames.preprocessing):
        needed.append("scikit-image")
    versions = {name: importlib.metadata.version(name) for name in needed}
    return [f"{name}=={version.partition('+')[0]}" for name, version in versions.items()]


def example_request() -> dict[str, list]:
    """Makes a request of noise in the shape of a fan: never a patient's frame."""
    from crossprobe.prediction.picture import encode_picture

    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[0:96, 0:128]
    fan = np.hypot(rows + 20, columns - 64) < 110
    speckle = generator.rayleigh(40, fan.shape) * np.exp(-rows / 120)
    image = np.where(fan, np.clip(speckle, 0, 255), 0).astype(np.uint8)
    return {"image": [encode_picture(image)]}


def log_package(folder: Path, card: str, run_id: str, name: str, tags: dict[str, str]) -> Any:
    """Logs a package into a run.

    Args:
        folder: The package.
        card: Model card, Markdown; kept inside the model.
        run_id: Run that the model belongs to.
        name: Name of the model inside the run.
        tags: Kept with the logged model.

    Returns:
        MLflow's `ModelInfo`; its `model_uri` names the model from now on.
    """
    import tempfile

    import mlflow
    from mlflow.models import Model

    with tempfile.TemporaryDirectory() as scratch:
        return Model.log(
            artifact_path=None,
            name=name,
            flavor=mlflow.pyfunc,
            flavor_name="pyfunc.ModelFromCode",
            run_id=run_id,
            tags=tags,
            **model_contents(folder, card, Path(scratch)),
        )


def model_contents(folder: Path, card: str, scratch: Path) -> dict[str, Any]:
    """Collects what MLflow makes a model of.

    Args:
        folder: The package.
        card: Model card, Markdown.
        scratch: An empty folder, needed until the model is written.

    Returns:
        Arguments of `mlflow.pyfunc.save_model`.
    """
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    optional = {"required": False}
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec("string", "image"),
        ColSpec("string", "clip", **optional),
        ColSpec("double", "spacing_mm", **optional),
    ]
    index = read_index(folder)
    outputs: list[ColSpec | TensorSpec] = [ColSpec(kind, name) for name, kind in _outputs(index).items()]
    written = scratch / CARD
    written.write_text(card, encoding="utf-8")
    # MLflow keeps the name of the folder that it is given.
    named = scratch / "package"
    shutil.copytree(folder, named)
    return {
        "python_model": str(SERVED),
        "artifacts": {"package": str(named), "card": str(written)},
        "model_config": {HASH: index_hash(folder), RUNTIME: {}},
        "code_paths": [str(copy_code(SERVED, scratch))],
        "signature": ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs)),
        "input_example": pd.DataFrame(example_request()),
        "pip_requirements": pinned_requirements(index),
    }


def _outputs(index: PackageIndex) -> dict[str, str]:
    """Columns of an answer and their types, as MLflow names them."""
    if index.kind == "classifier":
        from crossprobe.prediction.class_table import answer_columns

        columns = answer_columns(index.classes)
        return {name: "string" if name in ("class", "read") else "double" for name in columns}
    pictures = dict.fromkeys(("mask", "confidence_map"), "string")
    return {**pictures, "confidence": "double", "area_px": "long", "area_mm2": "double", "read": "string"}
