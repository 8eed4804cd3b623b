from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crossprobe.data.manifest import (
    ManifestSchema,
    RecordingSchema,
    Rejection,
    RejectionSchema,
    checked,
    manifest_hash,
    rejection_table,
)
from crossprobe.errors import InvalidMetadata


def recording(**cells: object) -> dict[str, object]:
    row = {
        "site": "s",
        "device": "d",
        "operator": "o",
        "patient": "p",
        "view": "v",
        "video": "a",
        "path": "x.mp4",
    }
    return {**row, "spacing_mm": None, "class": "unknown", "masks": None, "truths": None, **cells}


def manifest(**columns: object) -> pd.DataFrame:
    rows = [recording(video=video) for video in ("a", "a", "b")]
    table = pd.DataFrame(rows).drop(columns=["masks", "truths"]).assign(
        frame=[0, 1, 0], height=50, width=60, crop_top=0, crop_left=0, labelled=[True, False, False],
        mask_path=["m.png", None, None], truth_path=None, content=["1", "2", "3"],
    )  # fmt: skip
    return table.assign(**columns)


def test_a_good_table_keeps_its_missing_values():
    table = checked(
        pd.DataFrame([recording(), recording(video="b", spacing_mm=0.1)]), RecordingSchema, "here"
    )
    assert np.isnan(table["spacing_mm"][0])
    assert table["spacing_mm"][1] == 0.1
    assert table["masks"].isna().all()


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"spacing_mm": -0.1}, "spacing_mm, row 0"),
        ({"spacing_mm": 0.0}, "spacing_mm, row 0"),
        ({"patient": None}, "patient"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_bad_value_is_named_with_its_origin(cells, words):
    with pytest.raises(InvalidMetadata, match=rf"^table\.csv: .*{words}"):
        checked(pd.DataFrame([recording(**cells)]), RecordingSchema, "table.csv")


def test_a_video_stands_once():
    with pytest.raises(InvalidMetadata, match="video"):
        checked(pd.DataFrame([recording(), recording()]), RecordingSchema, "table.csv")


def test_a_frame_stands_once():
    with pytest.raises(InvalidMetadata, match="ManifestSchema"):
        checked(manifest(frame=[0, 0, 0]), ManifestSchema, "manifest")


def test_a_manifest_without_label_columns_is_whole_too():
    table = checked(manifest().drop(columns=["mask_path", "truth_path"]), ManifestSchema, "manifest")
    assert "mask_path" not in table


def test_the_hash_ignores_order_and_place_but_no_content():
    table = manifest()
    first = manifest_hash(table)
    assert manifest_hash(table.iloc[::-1]) == first
    assert manifest_hash(table[list(reversed(table.columns))]) == first
    assert manifest_hash(table.assign(path="moved", mask_path="moved")) == first
    for changed in (
        {"frame": [0, 2, 0]}, {"content": ["1", "2", "4"]}, {"labelled": True},
        {"spacing_mm": 0.1}, {"class": "x"},
    ):  # fmt: skip
        assert manifest_hash(table.assign(**changed)) != first


def test_the_hash_survives_a_file(tmp_path):
    table = checked(manifest(), ManifestSchema, "manifest")
    table.to_parquet(tmp_path / "manifest.parquet")
    back = checked(pd.read_parquet(tmp_path / "manifest.parquet"), ManifestSchema, "manifest")
    assert manifest_hash(back) == manifest_hash(table)


def test_an_empty_table_of_rejections_has_its_columns():
    assert list(rejection_table([]).columns) == ["site", "stage", "item", "reason"]
    table = rejection_table([Rejection("s", "ingest", "row 2", "no such file")])
    assert RejectionSchema.validate(table)["reason"].tolist() == ["no such file"]
