"""`crossprobe predict` takes every recording of the sets at hand: other probes, screens and codecs."""

from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd
import pytest

from crossprobe.command_line.group import main
from crossprobe.prediction import predict_files as module

PROJECT = Path(__file__).resolve().parents[2]
RECORDINGS = (".mov", ".mp4", ".mpeg", ".png")
FRAMES = 12


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["pocus_videos", "muscle_probes"])
def test_no_recording_fails(name, real_data, packaged, tmp_path, monkeypatch):
    """The start of each clip: decoding all of it is no different."""
    folder, whole = real_data(name), module.read_frames
    monkeypatch.setattr(module, "read_frames", lambda path: itertools.islice(whole(path), FRAMES))
    monkeypatch.chdir(PROJECT)
    monkeypatch.setenv("KEDRO_ENV", "test")
    options = {"--model": packaged, "--output": tmp_path / "out", "--device": "cpu"}
    given = [str(word) for pair in options.items() for word in pair]
    main("predict", str(folder), *given, standalone_mode=False)
    table = pd.read_csv(tmp_path / "out/files.csv").set_index("file")
    recordings = [path for path in folder.rglob("*") if path.suffix in RECORDINGS]
    assert len(recordings) > 20
    for path in recordings:
        row = table.loc[path.relative_to(folder.parent).as_posix()]
        assert row["status"] == "predicted", row["reason"]
        assert row["frames"] == (1 if path.suffix == ".png" else FRAMES)
    assert set(table["status"]) <= {"predicted", "skipped"}
