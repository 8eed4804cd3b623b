"""A package gives the model back; an edited, incomplete or foreign folder is refused before it is read."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest

from crossprobe.errors import CrossprobeError, PackageRefused
from crossprobe.prediction.held_out import probabilities
from crossprobe.prediction.package import INDEX, Package, index_hash
from small_model import CPU, small_package

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)


class Bomb:
    """Running this on loading is what a pickle may do."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


@pytest.fixture
def copy(packaged, tmp_path):
    return shutil.copytree(packaged, tmp_path / "copy")


def edit(folder, **changes):
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(index | changes))


def test_what_is_loaded_predicts_what_was_saved(packaged):
    saved = probabilities(small_package().ensemble(CPU), IMAGES)
    loaded = probabilities(Package.load(packaged).ensemble(CPU), IMAGES)
    assert np.array_equal(saved, loaded)
    assert np.ptp(saved) > 0.5


def test_temperatures_travel_with_the_weights(tmp_path):
    index = small_package().index
    colder = [branch.model_copy(update={"temperature": 0.1}) for branch in index.branches]
    other = small_package(branches=tuple(colder)).save(tmp_path / "other")
    assert not np.allclose(
        probabilities(Package.load(other).ensemble(CPU), IMAGES),
        probabilities(small_package().ensemble(CPU), IMAGES),
    )


def test_the_fingerprint_is_of_the_model_and_not_of_the_run(tmp_path):
    first = Package.load(small_package(run="a").save(tmp_path / "a")).index
    again = Package.load(small_package(run="b").save(tmp_path / "b")).index
    other = Package.load(small_package(seed=1).save(tmp_path / "c")).index
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()


def test_one_changed_byte_of_the_weights_is_refused(copy):
    weights = next(copy.rglob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(PackageRefused, match=r"weights-.*was changed or damaged"):
        Package.load(copy)


def test_an_edited_temperature_is_refused_by_the_hash_that_the_registry_keeps(copy):
    expected = index_hash(copy)
    branches = json.loads((copy / INDEX).read_text())["branches"]
    branches[0]["temperature"] = 9.0
    edit(copy, branches=branches)
    with pytest.raises(PackageRefused, match="changed after its registration"):
        Package.load(copy, expected)


@pytest.mark.parametrize("name", ["python_model.pkl", "branches/mim/weights.safetensors", "model.pt"])
def test_a_pickle_beside_the_files_is_refused_and_not_loaded(copy, name):
    (copy / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(PackageRefused, match="does not name; nothing is loaded"):
        Package.load(copy)


def test_a_pickle_that_the_list_names_is_refused_by_its_kind(copy):
    content = pickle.dumps(Bomb())
    (copy / "model.pkl").write_bytes(content)
    files = json.loads((copy / INDEX).read_text())["files"]
    edit(copy, files=files | {"model.pkl": "0" * 64})
    with pytest.raises(PackageRefused, match="neither safetensors nor JSON"):
        Package.load(copy)


def test_a_pickle_in_the_place_of_a_package(tmp_path):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Bomb()))
    for folder in (tmp_path, tmp_path / "model.pkl"):
        with pytest.raises(PackageRefused, match="no model of crossprobe"):
            Package.load(folder)


@pytest.mark.parametrize("name", ["../outside.json", "/etc/passwd", "a\\..\\b.json"])
def test_a_list_that_leads_out_of_the_folder(copy, name):
    files = json.loads((copy / INDEX).read_text())["files"]
    edit(copy, files=files | {name: "0" * 64})
    with pytest.raises(PackageRefused, match="leads out of the package"):
        Package.load(copy)


def test_a_branch_name_that_leads_out_of_the_folder(copy):
    branches = json.loads((copy / INDEX).read_text())["branches"]
    branches[0]["name"] = "../../other"
    edit(copy, branches=branches)
    with pytest.raises(PackageRefused, match=r"branches\.0\.name"):
        Package.load(copy)


def test_a_link_in_the_place_of_a_file(copy, packaged):
    weights = next(copy.rglob("*.safetensors"))
    weights.unlink()
    weights.symlink_to(packaged / weights.relative_to(copy))
    with pytest.raises(PackageRefused, match="changed or damaged"):
        Package.load(copy)


def test_a_missing_file(copy):
    next(copy.rglob("*.safetensors")).unlink()
    with pytest.raises(PackageRefused, match="lacks branches/"):
        Package.load(copy)


def test_a_package_of_a_later_format(copy):
    edit(copy, format="crossprobe package 9")
    with pytest.raises(PackageRefused, match="format"):
        Package.load(copy)


def test_a_classifier_gives_no_masks():
    package = small_package(kind="classifier", classes=("benign", "malignant"))
    with pytest.raises(CrossprobeError, match="fused is a classifier"):
        package.ensemble(CPU)
