"""A served model carries all of the library that it needs, and little else."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from crossprobe.prediction.class_reader import ClassReader
from crossprobe.prediction.judged import Reader
from crossprobe.prediction.picture import encode_picture, mask_picture
from crossprobe.tracking.model_log import SERVED
from crossprobe.tracking.served_code import PACKAGE, copy_code, needed_files
from small_model import CPU, fan, small_classifier, small_package

ALONE = """
import importlib.util, json, sys, types
sys.path = [sys.argv[1]] + [path for path in sys.path if not path.endswith("/src")]
# An editable installation answers before any path does.
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
import pandas as pd
spec = importlib.util.spec_from_file_location("served", sys.argv[2])
served = importlib.util.module_from_spec(spec)
spec.loader.exec_module(served)
import crossprobe
model = served.CrossprobeModel()
model.load_context(types.SimpleNamespace(artifacts={"package": sys.argv[3]}))
answer = model.predict(None, pd.DataFrame({"image": [sys.argv[4]]}))
print(json.dumps([crossprobe.__file__, answer[sys.argv[5]][0]]))
"""


def served_alone(tmp_path, package, frame, column):
    """What the copied code answers in a process without the project."""
    code = copy_code(SERVED, tmp_path / "code")
    package = package.save(tmp_path / "package")
    done = subprocess.run(
        [sys.executable, "-c", ALONE, code.parent, SERVED, package, encode_picture(frame), column],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    where, answer = json.loads(done.stdout.splitlines()[-1])
    assert where == str(code / "__init__.py")
    return answer


def test_what_is_copied_is_enough_by_itself(tmp_path):
    frame = fan()
    mask = served_alone(tmp_path, small_package(), frame, "mask")
    expected = next(iter(Reader(small_package(), CPU).read(iter([frame]), batch_size=1)))
    assert mask == encode_picture(mask_picture(expected.prediction.mask))
    assert np.asarray(expected.prediction.mask).any()


def test_what_is_copied_is_enough_for_a_classifier(tmp_path):
    frame = fan()
    probability = served_alone(tmp_path, small_classifier(), frame, "p_benign")
    (expected,) = ClassReader(small_classifier(), CPU).read(iter([frame]), batch_size=1)
    assert probability == pytest.approx(expected.answer.probabilities[0], abs=1e-6)


def test_what_is_copied_is_a_part():
    files = {file.relative_to(PACKAGE).as_posix() for file in needed_files(SERVED)}
    assert {"prediction/package.py", "models/transunet.py", "__init__.py", "data/__init__.py"} <= files
    assert not {file for file in files if file.startswith(("pipelines", "tracking", "phantom", "reporting"))}
    assert len(files) < 60
