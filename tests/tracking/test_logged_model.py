"""A logged model loads through MLflow, refuses what was edited, and leaves Python's path as it was."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from crossprobe.errors import PackageRefused
from crossprobe.prediction.class_reader import ClassReader
from crossprobe.prediction.judged import Reader
from crossprobe.prediction.package import INDEX
from crossprobe.prediction.picture import encode_picture, mask_picture
from crossprobe.tracking.model_log import model_contents
from small_model import CPU, fan, small_classifier, small_package

PROJECT = Path(__file__).resolve().parents[2]
FRESH = """
import multiprocessing, sys
import mlflow

def installed():
    import crossprobe.reporting.wording
    return crossprobe.__file__

if __name__ == "__main__":
    mlflow.pyfunc.load_model(sys.argv[1])
    print(installed())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(installed))
"""
ALONE = """
import sys
sys.path = [place for place in sys.path if not place.endswith("/src")]
# An editable installation answers before any path does.
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
import mlflow, pandas as pd
for _ in range(2):
    model = mlflow.pyfunc.load_model(sys.argv[1])
import crossprobe
print(crossprobe.__file__)
print(model.predict(pd.DataFrame({"image": [sys.argv[2]]}))[sys.argv[3]][0])
"""


@pytest.fixture(scope="module")
def logged(tmp_path_factory) -> Path:
    """A model as MLflow writes it when it is logged."""
    scratch = tmp_path_factory.mktemp("scratch")
    contents = model_contents(small_package().save(scratch / "small"), "# card", scratch)
    folder = tmp_path_factory.mktemp("logged") / "model"
    mlflow.pyfunc.save_model(folder, **contents)
    return folder


def python(code: str, *given: object, folder: Path) -> list[str]:
    """Runs a script in a fresh process that finds the library; gives its last two lines."""
    script = folder / "script.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
    done = subprocess.run(
        [sys.executable, script, *given], capture_output=True, text=True, check=False, cwd=folder,
        env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-2:]


@pytest.mark.slow
def test_the_installed_library_is_whole_after_a_model_was_loaded(logged, tmp_path):
    """In the process that loaded it, and in those that it starts: the copy holds no reporting."""
    installed = str(PROJECT / "src" / "crossprobe" / "__init__.py")
    assert python(FRESH, logged, folder=tmp_path) == [installed, installed]


def test_a_library_in_memory_stays_the_one_that_is_imported_from(logged):
    mlflow.pyfunc.load_model(str(logged))
    assert str(logged / "code") not in sys.path


@pytest.mark.slow
def test_without_the_library_the_copy_is_enough(logged, tmp_path):
    frame = fan()
    where, mask = python(ALONE, logged, encode_picture(frame), "mask", folder=tmp_path)
    assert where == str(logged / "code" / "crossprobe" / "__init__.py")
    expected = next(iter(Reader(small_package(), CPU).read(iter([frame]), batch_size=1)))
    assert mask == encode_picture(mask_picture(expected.prediction.mask))
    assert expected.prediction.mask.any()


@pytest.mark.slow
def test_without_the_library_the_copy_is_enough_for_a_classifier(tmp_path):
    scratch, elsewhere, model = (tmp_path / name for name in ("scratch", "elsewhere", "model"))
    scratch.mkdir()
    elsewhere.mkdir()
    contents = model_contents(small_classifier().save(scratch / "small"), "# card", scratch)
    mlflow.pyfunc.save_model(model, **contents)
    frame = fan()
    where, found = python(ALONE, model, encode_picture(frame), "p_benign", folder=elsewhere)
    assert where == str(model / "code" / "crossprobe" / "__init__.py")
    (expected,) = ClassReader(small_classifier(), CPU).read(iter([frame]), batch_size=1)
    assert float(found) == pytest.approx(expected.answer.probabilities[0], abs=1e-6)
    written = mlflow.models.Model.load(model)
    assert [column.name for column in written.signature.outputs] == [
        "class", "p_benign", "p_malignant", "confidence", "read",
    ]  # fmt: skip


def test_the_hash_travels_with_the_model_and_is_checked(logged, tmp_path):
    edited = tmp_path / "edited"
    shutil.copytree(logged, edited)
    path = edited / "artifacts" / "package" / INDEX
    index = json.loads(path.read_text())
    index["branches"][0]["temperature"] = 9.0
    path.write_text(json.dumps(index))
    with pytest.raises(PackageRefused, match="changed after its registration"):
        mlflow.pyfunc.load_model(str(edited))
