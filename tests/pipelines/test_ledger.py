from __future__ import annotations

from pathlib import Path

import pytest

from crossprobe.data.ledger import LedgerSettings
from crossprobe.data.split import SplitSettings
from crossprobe.pipelines.data_processing.settings import RawSettings
from crossprobe.pipelines.ledger import collection_of, open_ledger, scheme_of

RAW = RawSettings(kind="wrist", folder=Path("/clinic"))


def test_a_folder_may_move_and_other_data_start_a_history_of_their_own():
    here = collection_of(RAW, {})
    assert collection_of(RAW.model_copy(update={"folder": Path("/elsewhere")}), {}) == here
    others = [
        collection_of(RAW.model_copy(update={"device": "GE"}), {}),
        collection_of(RAW.model_copy(update={"patient_prefix": "A"}), {}),
        collection_of(RAW.model_copy(update={"classes": ("benign",)}), {}),
        collection_of(RAW, {"settings_hash": "another phantom"}),
    ]
    assert len({here, *others}) == 5


@pytest.mark.parametrize("change", [{"seed": 1}, {"stratify": False}, {"labelled_parts": ("test",)}])
def test_another_way_of_dealing_is_another_split(change):
    assert scheme_of(SplitSettings()) != scheme_of(SplitSettings(**change))


def test_a_database_is_named_by_the_environment_alone(tmp_path, monkeypatch):
    settings = LedgerSettings(file=tmp_path / "unused.sqlite")
    monkeypatch.setenv("CROSSPROBE_LEDGER_URL", f"sqlite:///{tmp_path}/named.sqlite")
    with open_ledger(settings) as ledger:
        assert ledger.runs() == 0
    assert (tmp_path / "named.sqlite").exists()
    assert not settings.file.exists()
