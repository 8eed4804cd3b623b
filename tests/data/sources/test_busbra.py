from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest

from crossprobe.data.pseudonym import pseudonym
from crossprobe.data.sources.busbra import BusBraSettings, read
from crossprobe.data.sources.registry import read_source
from crossprobe.errors import InvalidMetadata

SALT = "a salt for tests"


@pytest.fixture
def folder(tmp_path):
    rows = []
    for number, (case, device) in enumerate(
        [(1, "GE Logiq 7 @10-14MHz"), (1, "GE Logiq 7 @10-14MHz"), (2, "GE Logiq 5 @10-12MHz")]
    ):
        name = f"{number:04d}-l"
        for kind, start in (("Images", "bus"), ("Masks", "mask")):
            (tmp_path / kind).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / kind / f"{start}_{name}.png"), np.full((40, 50), 200, np.uint8))
        rows.append(
            {
                "ID": f"bus_{name}",
                "Case": case,
                "Pathology": "benign",
                "Device": device,
                "Side": "left",
                "BIRADS": 2,
            }
        )
    pd.DataFrame(rows).to_csv(tmp_path / "bus_data.csv", index=False)
    return tmp_path


def edit(folder, change):
    table = pd.read_csv(folder / "bus_data.csv")
    change(table).to_csv(folder / "bus_data.csv", index=False)


def test_one_scanners_images(folder):
    recordings, rejections = read_source(BusBraSettings(folder=folder, device="GE Logiq 7"), "target", SALT)
    assert rejections.empty
    assert len(recordings) == 2
    assert set(recordings["patient"]) == {pseudonym("patient", "bus-bra/1", SALT)}
    assert set(recordings["class"]) == {"benign"}
    assert set(recordings["view"]) == {"left"}
    assert recordings["spacing_mm"].isna().all()
    assert recordings["masks"].str.contains("/Masks/mask_").all()


def test_a_scanner_that_is_not_there_is_named(folder):
    with pytest.raises(
        InvalidMetadata, match=r"no Device starts with 'Philips'; found \['GE Logiq 5', 'GE Logiq 7'\]"
    ):
        read(BusBraSettings(folder=folder, device="Philips"), "target", SALT)


def test_a_misspelt_column_is_named(folder):
    edit(folder, lambda table: table.rename(columns={"Pathology": "Patology"}))
    with pytest.raises(
        InvalidMetadata, match=r"bus_data\.csv: column 'Pathology' \(found 'Patology': rename it\?\) missing"
    ):
        read(BusBraSettings(folder=folder), "target", SALT)


def test_faults_are_counted_and_the_rest_goes_on(folder):
    (folder / "Images" / "bus_0000-l.png").unlink()
    (folder / "Masks" / "mask_0001-l.png").unlink()
    (folder / "Images" / "bus_0099-l.png").touch()
    recordings, rejections = read(BusBraSettings(folder=folder), "target", SALT)
    assert len(recordings) == 2
    assert recordings["masks"].isna().sum() == 1
    assert dict(zip(rejections["item"], rejections["reason"], strict=True)) == {
        "bus_data.csv row 2, bus_0000-l": "no such file under Images/",
        "bus_data.csv row 3, bus_0001-l": "no mask; the image is kept without a label",
        "Images/bus_0099-l.png": "file is not in bus_data.csv",
    }


def test_duplicate_ids_are_rejected(folder):
    edit(folder, lambda table: pd.concat([table, table.iloc[:1].assign(Case=9)]))
    recordings, rejections = read(BusBraSettings(folder=folder), "target", SALT)
    assert len(recordings) == 2
    assert rejections["reason"].str.startswith("duplicate: this ID stands in several rows").sum() == 2


@pytest.mark.parametrize("name", ["../outside", "sub/bus_0009-l", "..\\outside", "/etc/x"])
def test_an_id_that_is_a_path_is_rejected(folder, name):
    (folder / "Images" / "sub").mkdir()
    for file in ("outside.png", "Images/sub/bus_0009-l.png", "Images/..\\outside.png"):
        cv2.imwrite(str(folder / file), np.full((40, 50), 200, np.uint8))
    edit(folder, lambda table: pd.concat([table, table.iloc[:1].assign(ID=name)]))
    recordings, rejections = read(BusBraSettings(folder=folder), "target", SALT)
    assert len(recordings) == 3
    assert (
        rejections.set_index("item")["reason"][f"bus_data.csv row 5, {name}"]
        == "ID must be a plain file name"
    )


def test_nothing_left_is_named(folder):
    edit(folder, lambda table: table.assign(Case=np.nan))
    with pytest.raises(
        InvalidMetadata, match=r"no usable image, so site 'target' is empty \(.*ID and Case must not be empty"
    ):
        read(BusBraSettings(folder=folder), "target", SALT)


@pytest.mark.data
@pytest.mark.parametrize(
    ("device", "images", "patients"), [("GE Logiq 5", 595, 362), ("GE Logiq 7", 629, 345)]
)
def test_the_published_counts(real_data, device, images, patients):
    settings = BusBraSettings(folder=real_data("bus_bra") / "BUSBRA", device=device)
    recordings, rejections = read(settings, "source", SALT)
    assert (len(recordings), recordings["patient"].nunique()) == (images, patients)
    assert rejections.empty
    assert set(recordings["class"]) == {"benign", "malignant"}


@pytest.mark.parametrize("name", ["Images/bus_0000-l.png", "Masks/mask_0000-l.png"])
def test_a_link_that_leads_out_is_rejected(folder, tmp_path_factory, name):
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    (folder / name).rename(secret)
    (folder / name).symlink_to(secret)
    recordings, rejections = read(BusBraSettings(folder=folder), "target", SALT)
    assert len(recordings) == 2
    assert rejections["reason"].tolist() == [f"file is a link that leads out of {name.split('/')[0]}/"]
