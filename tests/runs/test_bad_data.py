"""Damaged data in a clinic's folder: each fault is told, counted and left out, and the run goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from crossprobe.errors import InvalidMetadata, LeakageFound


@pytest.fixture
def clinic(finished_run, tmp_path, monkeypatch) -> Path:
    """A copy of the phantom's folders, and a place of its own for what the run writes."""
    for site in ("source", "target"):
        shutil.copytree(finished_run / "01_raw/phantom" / site, tmp_path / "raw" / site)
    monkeypatch.setenv("CROSSPROBE_TEST_DATA", str(tmp_path / "data"))
    return tmp_path / "raw"


def parameters(clinic: Path) -> dict:
    return {site: {"raw": {"kind": "wrist", "folder": str(clinic / site)}} for site in ("source", "target")}


def rejected(clinic: Path, site: str) -> str:
    folder = clinic.parent / "data/02_intermediate" / site
    tables = [pd.read_csv(folder / f"rejected_at_{stage}.csv") for stage in ("ingest", "decode")]
    return " | ".join(pd.concat(tables)["reason"])


def add_row(folder: Path, **changes) -> None:
    table = pd.read_csv(folder / "metadata.csv", dtype=str, keep_default_na=False)
    row = table.iloc[[0]].assign(**changes)
    pd.concat([table, row]).to_csv(folder / "metadata.csv", index=False)


def test_faulty_files_are_counted_and_the_run_goes_on(clinic, kedro_run):
    target = clinic / "target"
    (target / "videos/empty.avi").write_bytes(b"")
    cv2.imwrite(str(target / "videos/picture.png"), np.zeros((64, 64), np.uint8))
    (target / "videos/picture.png").rename(target / "videos/picture.mp4")
    (target / "videos/noise.mp4").write_bytes(bytes(range(256)) * 40)
    for name in ("empty.avi", "picture.mp4", "noise.mp4", "missing.avi"):
        add_row(target, file=name, patient=f"X{name}")
    add_row(target, file="spacing.avi", patient="Xspacing", spacing_mm="NaN")
    shutil.copy(next((target / "videos").glob("*.avi")), target / "videos/spacing.avi")
    mask = sorted((target / "masks").rglob("*.png"))[0]
    cv2.imwrite(str(mask), np.zeros((10, 10), np.uint8))
    before = pd.read_csv(clinic / "source/metadata.csv")

    kedro_run("data_processing", params=parameters(clinic))

    reasons = rejected(clinic, "target")
    for words in ("empty", "PNG", "no such file", "spacing", "10"):
        assert words in reasons, words
    manifest = pd.read_parquet(clinic.parent / "data/03_primary/target/manifest.parquet")
    assert len(manifest) > 0
    assert manifest["patient"].nunique() <= 6
    source = pd.read_parquet(clinic.parent / "data/03_primary/source/manifest.parquet")
    assert source["video"].nunique() == len(before)


def test_a_misspelt_column_stops_and_names_the_closest(clinic, kedro_run):
    table = pd.read_csv(clinic / "source/metadata.csv").rename(columns={"patient": "patiant"})
    table.to_csv(clinic / "source/metadata.csv", index=False)
    with pytest.raises(InvalidMetadata, match=r"(?s)metadata\.csv.*patient.*patiant"):
        kedro_run("data_processing", params=parameters(clinic))


def test_a_patient_on_both_sites_stops(clinic, kedro_run):
    names = [pd.read_csv(clinic / site / "metadata.csv", dtype=str) for site in ("source", "target")]
    stranger = names[0]["patient"].iloc[0]
    first = names[1]["patient"].iloc[0]
    names[1]["patient"] = names[1]["patient"].replace(first, stranger)
    names[1].to_csv(clinic / "target/metadata.csv", index=False)
    with pytest.raises(LeakageFound, match="share 1 patients"):
        kedro_run("data_processing", params=parameters(clinic))


def test_a_copy_under_another_patient_stops(clinic, kedro_run):
    """The planted duplicate: one video twice, under two patients, must not pass as two."""
    source = clinic / "source"
    table = pd.read_csv(source / "metadata.csv", dtype=str)
    original = Path(table.iloc[0]["file"]).name
    # As many copies as there are parts: at least one lands in another part than the original.
    rows = [table]
    for number in range(6):
        name = f"copy{number}{Path(original).suffix}"
        shutil.copy(source / "videos" / original, source / "videos" / name)
        shutil.copytree(source / "masks" / Path(original).stem, source / f"masks/copy{number}")
        rows.append(table.iloc[[0]].assign(file=name, patient=f"COPY{number}"))
    pd.concat(rows).to_csv(source / "metadata.csv", index=False)
    with pytest.raises(LeakageFound, match="keep one of them"):
        kedro_run("data_processing", params=parameters(clinic))


def test_a_folder_that_is_not_there(clinic, kedro_run):
    given = parameters(clinic)
    given["source"]["raw"]["folder"] = str(clinic / "nowhere")
    with pytest.raises(InvalidMetadata, match=r"source\.raw\.folder is '.*nowhere', which is no folder"):
        kedro_run("data_processing", params=given)
