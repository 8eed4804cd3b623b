from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from crossprobe.data.fingerprint import code_hash, file_hash, fingerprint


class Settings(BaseModel):
    size: int = 3
    parts: dict[str, float] = {}


class Others(BaseModel):
    size: int = 3
    parts: dict[str, float] = {}


@dataclass
class Point:
    x: int


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def canonical(value):
    """What may be told apart: type and content, at every depth."""
    if isinstance(value, list):
        return ("list", *map(canonical, value))
    if isinstance(value, dict):
        return ("map", *sorted(((key, canonical(item)) for key, item in value.items()), key=repr))
    return (type(value).__name__, repr(value))


@given(plain, plain)
def test_equal_content_and_only_that_gives_an_equal_hash(one, other):
    assert (fingerprint(one) == fingerprint(other)) == (canonical(one) == canonical(other))


@given(st.dictionaries(st.text(max_size=3), st.integers(), min_size=2))
def test_the_order_of_a_mapping_does_not_matter(table):
    assert fingerprint(table) == fingerprint(dict(reversed(table.items())))


def test_lookalikes_differ():
    values = [
        1,
        1.0,
        True,
        "1",
        b"1",
        [1],
        [[1]],
        {1: 1},
        {1},
        None,
        "",
        [],
        np.array([1]),
        np.array([1.0]),
        Point(1),
    ]
    assert len({fingerprint(value) for value in values}) == len(values)
    assert fingerprint("ab", "c") != fingerprint("a", "bc")


def test_models_count_by_name_and_content():
    assert fingerprint(Settings()) == fingerprint(Settings(size=3))
    assert fingerprint(Settings()) != fingerprint(Settings(size=4))
    assert fingerprint(Settings()) != fingerprint(Others())


def test_numpy_scalars_are_their_plain_values():
    assert fingerprint(np.int64(3), np.float64(0.5)) == fingerprint(3, 0.5)


def test_the_hash_is_the_same_in_another_process():
    value = "fingerprint({'a': {1, 2, 'x'}, 'b': [None, 0.1]})"
    code = f"from crossprobe.data.fingerprint import fingerprint; print({value})"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == fingerprint({"a": {1, 2, "x"}, "b": [None, 0.1]})


@pytest.mark.parametrize("value", [object(), {"a": object()}, np.array([object()])])
def test_what_has_no_stable_form_is_refused(value):
    with pytest.raises(TypeError, match="no stable fingerprint"):
        fingerprint(value)


def test_a_file_is_hashed_by_content(tmp_path):
    one = tmp_path / "one"
    one.write_text("1")
    assert file_hash(one) == "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"


def test_code_counts_as_text(tmp_path, monkeypatch):
    package = tmp_path / "toy_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    whole, part = code_hash("toy_package"), code_hash("toy_package.part")
    assert whole != part
    (package / "part.py").write_text("x = 2\n")
    assert code_hash("toy_package") != whole
    assert code_hash("toy_package.part") != part


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(ModuleNotFoundError, match=r"crossprobe\.nothing"):
        code_hash("crossprobe.nothing")


def test_the_tables_and_settings_import_without_torch():
    code = (
        "import sys; import crossprobe.data.manifest, crossprobe.data.fingerprint;"
        "import crossprobe.data.frame_settings;"
        "import crossprobe.data.frames, crossprobe.data.sources.registry, crossprobe.data.leakage;"
        "sys.exit(bool({'torch', 'kedro', 'mlflow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_paths_count_as_their_text():
    assert fingerprint(Path("a/b")) == fingerprint("a/b")
