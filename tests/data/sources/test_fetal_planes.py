from __future__ import annotations

import cv2
import numpy as np
import pytest

from crossprobe.data.pseudonym import pseudonym
from crossprobe.data.sources.fetal_planes import TABLE, FetalPlanesSettings
from crossprobe.data.sources.registry import read_source
from crossprobe.errors import InvalidMetadata

SALT = "a salt for tests"
HEADER = "Image_name;Patient_num;Plane;Brain_plane;Operator;US_Machine;Train "


@pytest.fixture
def site(tmp_path):
    """Writes rows of the table, as published, and a file for each name."""
    (tmp_path / "Images").mkdir()

    def write(*rows: str, files: tuple[str, ...] | None = None, header: str = HEADER):
        (tmp_path / TABLE).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        names = [row.partition(";")[0] for row in rows] if files is None else files
        for place, name in enumerate(names):
            image = np.random.default_rng(place).integers(0, 255, (40, 50), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "Images" / f"{name}.png"), image)
        return tmp_path

    return write


def row(name: str, patient: int, plane: str, device: str = "Voluson E6") -> str:
    return f"{name};{patient};{plane};Not A Brain;Op. 1;{device};1"


def read(folder, **settings):
    chosen = FetalPlanesSettings(folder=folder, **{"smallest_class": 1, **settings})
    return read_source(chosen, "source", SALT)


FOUR = [row(f"P{n}", n, plane) for n, plane in
        enumerate(("Fetal brain", "Fetal abdomen", "Fetal femur", "Fetal thorax"))]  # fmt: skip


def test_four_planes_by_default_and_the_rest_by_a_switch(site):
    folder = site(*FOUR, row("P7", 7, "Maternal cervix"), row("P8", 8, "Other"))
    recordings, rejections = read(folder)
    assert rejections.empty
    assert set(recordings["class"]) == {"brain", "abdomen", "femur", "thorax"}
    assert set(recordings["device"]) == {"Voluson E6"}
    assert pseudonym("patient", "fetal-planes/0", SALT) in set(recordings["patient"])
    everything, _ = read(folder, planes=("brain", "abdomen", "femur", "thorax", "cervix", "other"))
    assert len(everything) == 6


def test_one_scanner(site):
    folder = site(*FOUR, row("P9", 9, "Fetal brain", "Aloka"))
    recordings, rejections = read(folder, device="Aloka")
    assert set(recordings["device"]) == {"Aloka"}
    assert len(recordings) == 1
    assert rejections.empty
    with pytest.raises(
        InvalidMetadata, match=r"no US_Machine starts with 'GE'; found \['Aloka', 'Voluson E6'\]"
    ):
        read(folder, device="GE")


def test_rows_without_a_file_and_files_without_a_row(site):
    folder = site(*FOUR, files=("P0", "P1", "Stranger"))
    recordings, rejections = read(folder)
    assert len(recordings) == 2
    reasons = rejections.set_index("item")["reason"]
    assert reasons[f"{TABLE} row 4"] == reasons[f"{TABLE} row 5"] == "row has no file under Images/"
    assert f"file has no row in {TABLE}" in set(reasons)
    assert not rejections["item"].str.contains("Stranger").any()


def test_many_rows_without_a_file_are_counted_in_one_line(site):
    rows = [row(f"X{n}", n, "Fetal brain") for n in range(60)]
    recordings, rejections = read(site(*FOUR, *rows, files=("P0",)))
    assert len(recordings) == 1
    assert rejections["item"].tolist() == [f"63 items (first: {TABLE} row 3)"]


def test_an_unknown_plane_a_repeated_name_and_empty_cells(site):
    folder = site(*FOUR, row("P4", 4, "Fetal hand"), row("P0", 0, "Fetal femur"), ";5;Other;;;Voluson E6;1")
    recordings, rejections = read(folder)
    assert len(recordings) == 3
    text = " ".join(rejections["reason"])
    assert "Plane is 'Fetal hand', expected one of Fetal brain, " in text
    assert "stands in several rows" in text


def test_a_table_with_commas_is_named(site):
    folder = site(*[line.replace(";", ",") for line in FOUR], files=(), header=HEADER.replace(";", ","))
    with pytest.raises(InvalidMetadata, match="cells must be separated by semicolons"):
        read(folder)


def test_blanks_in_the_header_do_not_matter(site):
    folder = site(*FOUR, header=HEADER.replace("US_Machine", " US_Machine "))
    assert len(read(folder)[0]) == 4


def test_no_folder_of_images(site):
    folder = site(*FOUR, files=())
    (folder / "Images").rmdir()
    with pytest.raises(InvalidMetadata, match="Images: no such folder"):
        read(folder)


@pytest.mark.data
def test_the_sample_with_the_published_table(real_data):
    recordings, rejections = read(real_data("fetal_planes_sample"))
    assert len(recordings) + len(set(recordings["path"])) == 2 * len(recordings)
    assert set(recordings["class"]) == {"brain", "abdomen", "femur", "thorax"}
    assert {"Aloka", "Voluson E6", "Voluson S10"} <= set(recordings["device"])
    missing = rejections[rejections["reason"] == "row has no file under Images/"]
    count = int(missing["item"].iloc[0].split(" ")[0].replace(",", ""))
    # 711 + 3,092 + 1,040 + 1,718 rows show one of the four planes.
    assert count + len(recordings) == 6561


def test_a_link_that_leads_out_is_rejected(site, tmp_path_factory):
    folder = site(*FOUR)
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    (folder / "Images/P0.png").rename(secret)
    (folder / "Images/P0.png").symlink_to(secret)
    recordings, rejections = read(folder)
    assert len(recordings) == 3
    assert rejections["reason"].tolist() == ["file is a link that leads out of Images/"]
