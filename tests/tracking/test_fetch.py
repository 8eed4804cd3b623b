"""From a name to a verified package: what is unknown is said, what was edited or is foreign is not loaded."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import mlflow
import pytest

from crossprobe.errors import PackageRefused, RegistryError
from crossprobe.prediction.package import INDEX, index_hash
from crossprobe.tracking.fetch import fetch_model
from crossprobe.tracking.registry import FINGERPRINT, PACKAGE_HASH, Registry
from small_model import small_package


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


@pytest.fixture
def registered(uri, tmp_path):
    """A version whose artifacts are a plain folder, as the layout of a logged model has it."""
    model = tmp_path / "model"
    package = small_package().save(model / "artifacts" / "package")
    registry = Registry(uri, "crossprobe-test")
    version, _ = registry.register(str(model), "", {FINGERPRINT: "f", PACKAGE_HASH: index_hash(package)})
    registry.promote(version, "r", instead_of=None)
    return uri, package


@pytest.mark.parametrize("name", ["models:/crossprobe-test@champion", "models:/crossprobe-test/1"])
def test_a_model_by_alias_and_by_version(registered, name):
    model = fetch_model(name, registered[0])
    assert model.title() == "crossprobe-test/1"
    assert model.package.index.arm == "fused"


def test_a_folder_is_a_model_too(registered):
    assert fetch_model(str(registered[1]), registered[0]).version is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "models:/crossprobe-tset@champion",
            "no model named crossprobe-tset.*registered are crossprobe-test",
        ),
        ("models:/crossprobe-test@winner", r"no alias 'winner'; there are: champion \(version 1\)"),
        ("models:/crossprobe-test/7", "no version 7; it has 1"),
        ("models:/crossprobe-test", "write models:/NAME@champion"),
        ("models:/../../etc/passwd", "write models:/NAME@champion"),
    ],
)
def test_names_that_lead_nowhere(registered, name, words):
    with pytest.raises(RegistryError, match=words):
        fetch_model(name, registered[0])


def test_an_edited_package_is_refused_though_its_own_list_fits(registered):
    uri, package = registered
    index = json.loads((package / INDEX).read_text())
    index["branches"][0]["temperature"] = 9.0
    (package / INDEX).write_text(json.dumps(index))
    with pytest.raises(PackageRefused, match="changed after its registration"):
        fetch_model("models:/crossprobe-test@champion", uri)


def test_a_model_that_crossprobe_did_not_register(registered, tmp_path):
    uri, package = registered
    Registry(uri, "foreign").register(str(package.parents[1]), "", {FINGERPRINT: "x", PACKAGE_HASH: ""})
    with pytest.raises(PackageRefused, match="changed after its registration"):
        fetch_model("models:/foreign/1", uri)


def test_a_pickled_model_is_not_loaded(uri, tmp_path):
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "python_model.pkl").write_bytes(pickle.dumps(Bomb()))
    flavour = {
        "loader_module": "mlflow.pyfunc.model",
        "python_model": "python_model.pkl",
        "cloudpickle_version": "3",
    }
    (folder / "MLmodel").write_text(json.dumps({"flavors": {"python_function": flavour}}))
    Registry(uri, "pickled").register(str(folder), "", {FINGERPRINT: "x", PACKAGE_HASH: "0" * 64})
    with pytest.raises(RegistryError, match="is it a model of crossprobe"):
        fetch_model("models:/pickled/1", uri)
    with pytest.raises(mlflow.MlflowException, match="pickle is disallowed"):
        mlflow.pyfunc.load_model(str(folder))


def test_artifacts_that_are_gone(registered):
    uri, package = registered
    shutil.rmtree(Path(package).parent)
    with pytest.raises(RegistryError, match="cannot be fetched"):
        fetch_model("models:/crossprobe-test/1", uri)
