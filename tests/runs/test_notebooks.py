"""The notebooks run from top to bottom on a finished run."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def execute(name: str):
    """Runs a notebook in its own folder and gives the outputs of its cells; an error in a cell raises."""
    book = nbformat.read(NOTEBOOKS / name, as_version=4)
    client = NotebookClient(
        book, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(NOTEBOOKS)}}
    )
    return [output for cell in client.execute().cells for output in cell.get("outputs", ())]


def tables(outputs) -> list[str]:
    return [output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {})]


def pictures(outputs) -> list[str]:
    return [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]


@pytest.fixture
def read_the_test_run(finished_run, monkeypatch):
    """The kernel inherits where the run lies from the fixture, and its environment's name from here."""
    monkeypatch.setenv("KEDRO_ENV", "test")


@pytest.mark.usefixtures("read_the_test_run")
def test_a_run_can_be_read():
    outputs = execute("01_read_a_run.ipynb")
    arms, comparisons, regret = tables(outputs)
    assert "target_supervised" in arms
    assert "p_holm" in comparisons
    assert "oracle" in regret
    assert len(pictures(outputs)) == 1


@pytest.mark.usefixtures("read_the_test_run")
def test_a_frame_can_be_looked_at():
    outputs = execute("02_look_at_one_frame.ipynb")
    assert "micrus_like" in tables(outputs)[0]
    assert len(pictures(outputs)) == 1


@pytest.mark.usefixtures("read_the_test_run")
def test_a_model_can_be_found_and_used():
    outputs = execute("03_find_a_model.ipynb")
    versions, hashes, answer = tables(outputs)
    assert "champion" in versions
    assert "split.hash" in hashes
    assert "area_mm2" in answer
    assert len(pictures(outputs)) == 1


@pytest.mark.parametrize(
    "name", ["01_read_a_run.ipynb", "02_look_at_one_frame.ipynb", "03_find_a_model.ipynb"]
)
def test_notebooks_are_kept_without_outputs(name):
    """An output may hold pixels of a patient."""
    book = nbformat.read(NOTEBOOKS / name, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in book.cells)
