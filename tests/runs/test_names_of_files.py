"""Predicting as a pipeline records the job, and no name of a file."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from small_model import small_package

NAME = "kowalska_jadwiga"


@pytest.fixture
def files(tmp_path):
    """A picture, a broken one, one of no known kind and one that is not there, all named after a patient."""
    folder = tmp_path / "clips"
    folder.mkdir()
    picture = np.random.default_rng(0).integers(30, 220, (96, 128), dtype=np.uint8)
    cv2.imwrite(str(folder / f"{NAME}_1.png"), picture)
    (folder / f"{NAME}_2.png").write_bytes(b"\x89PNG and no more")
    (folder / f"{NAME}_3.xyz").write_bytes(b"?")
    return [str(folder / f"{NAME}_{number}") for number in ("1.png", "2.png", "3.xyz", "4.png")]


def test_no_name_of_a_predicted_file_is_in_the_database_or_among_the_artifacts(
    kedro_run, data_folder, files, tmp_path
):
    model = small_package().save(tmp_path / "model")
    job = {"model": str(model), "paths": files, "output": str(tmp_path / "results")}
    kedro_run("predict", params={"prediction": job, "runtime": {"device": "cpu"}})
    assert NAME in (tmp_path / "results/files.csv").read_text(encoding="utf-8")
    written = [data_folder / "mlflow.db", *(data_folder / "artifacts").rglob("*")]
    contents = {path: path.read_bytes() for path in written if path.is_file()}
    assert any(path.name == "parameters.yml" for path in contents)
    assert any(b"4 named, not recorded" in content for content in contents.values())
    assert not [path for path, content in contents.items() if NAME.encode() in content or NAME in str(path)]
