from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from crossprobe.data.pseudonym import pseudonym
from crossprobe.data.sources.registry import SourceSettings, read_source
from crossprobe.data.sources.wrist import WristSettings, read
from crossprobe.errors import InvalidMetadata

SALT = "a salt for tests"


def reasons(rejections) -> dict[str, str]:
    return dict(zip(rejections["item"], rejections["reason"], strict=True))


def hidden(name: str) -> str:
    return pseudonym("video", f"source/{name}", SALT)


def test_the_layout_becomes_recordings(wrist):
    wrist.video("a.avi", "Anna", labelled=[0])
    wrist.video("b.mp4", "Berta", operator="", view="", spacing_mm="")
    (wrist.folder / "truths" / "a").mkdir(parents=True)
    recordings, rejections = wrist.read()
    assert rejections.empty
    assert list(recordings["video"]) == sorted(recordings["video"])
    by_patient = recordings.set_index("patient")
    anna = by_patient.loc[pseudonym("patient", "Anna", SALT)]
    assert anna["spacing_mm"] == 0.1
    assert anna["masks"].endswith("masks/a")
    assert anna["truths"].endswith("truths/a")
    assert anna["operator"] == pseudonym("operator", "Dr Operator", SALT)
    assert anna["video"] == pseudonym("video", "source/a.avi", SALT)
    berta = by_patient.loc[pseudonym("patient", "Berta", SALT)]
    assert (berta["operator"], berta["view"]) == ("unknown", "unknown")
    assert math.isnan(berta["spacing_mm"])
    assert np.isnan(berta["masks"])


def test_videos_in_folders_and_windows_paths(wrist, make_speckle, save_video):
    for name in ("day1/a.avi", "day2/a.avi"):
        save_video(wrist.folder / "videos" / name, make_speckle(2, 64, 80))
    wrist.row("videos/day1/a.avi", "Anna")
    wrist.row("day2\\a.avi", "Anna")
    recordings, rejections = wrist.read()
    assert rejections.empty
    assert len(recordings) == 2


def test_dicom_tells_its_own_spacing_where_the_table_does_not(wrist, make_speckle, save_dicom):
    for name in ("a.dcm", "b.dcm"):
        save_dicom(wrist.folder / "videos" / name, make_speckle(2, 64, 80), PixelSpacing=[0.2, 0.2])
    wrist.row("a.dcm", "Anna", spacing_mm="")
    wrist.row("b.dcm", "Anna", spacing_mm="0.3")
    recordings, _ = wrist.read()
    assert sorted(recordings["spacing_mm"]) == [0.2, 0.3]


@pytest.mark.parametrize(
    "cell",
    [
        "nan", "NaN", "NA", "n/a", "unknown", "inf", "-0.1", "0", "0,11",
    ],
)  # fmt: skip
def test_a_spacing_that_is_no_length_costs_the_row(wrist, cell):
    wrist.video("a.avi", "Anna")
    wrist.video("b.avi", "Berta", spacing_mm=cell)
    recordings, rejections = wrist.read()
    assert len(recordings) == 1
    assert reasons(rejections)["metadata.csv row 3, b.avi"] == (
        f"spacing_mm is '{cell}', not a number above 0; leave the cell empty where the spacing is unknown"
    )


def test_equal_rows_count_once_and_differing_ones_not_at_all(wrist):
    wrist.video("a.avi", "Anna")
    wrist.video("b.avi", "Berta")
    wrist.row("a.avi", "Anna")
    wrist.row("b.avi", "Clara")
    recordings, rejections = wrist.read()
    assert recordings["path"].str.endswith("a.avi").all()
    assert reasons(rejections) == {
        "metadata.csv row 4, a.avi": "duplicate: the same row stands above",
        "metadata.csv row 3, b.avi": "duplicate: rows with this file differ; keep the right one",
        "metadata.csv row 5, b.avi": "duplicate: rows with this file differ; keep the right one",
    }


def test_two_files_of_one_stem_cannot_share_masks(wrist):
    wrist.video("a.avi", "Anna", labelled=[0])
    wrist.video("a.mp4", "Berta")
    wrist.video("b.mp4", "Clara")
    recordings, rejections = wrist.read()
    assert len(recordings) == 1
    assert set(rejections["reason"]) == {"2 files share the masks of this stem; rename them"}


def test_missing_listed_and_unlisted_files_are_counted(wrist, make_speckle, save_video):
    wrist.video("a.avi", "Anna")
    wrist.row("gone.avi", "Berta")
    wrist.row("", "Berta")
    wrist.row("../a.avi", "Berta")
    save_video(wrist.folder / "videos" / "extra.avi", make_speckle(2, 64, 80))
    wrist.mask("nobody", 0, np.zeros((4, 4), np.uint8))
    recordings, rejections = wrist.read()
    assert len(recordings) == 1
    assert reasons(rejections) == {
        "metadata.csv row 3, gone.avi": "no such file under videos/",
        "metadata.csv row 4": "file and patient must not be empty",
        "metadata.csv row 5, ../a.avi": "file must lie under videos/",
        f"videos/{hidden('extra.avi')}.avi": "file is not in metadata.csv",
        f"masks/{hidden('nobody')}": "masks of a video that is not in metadata.csv",
    }


def test_names_in_file_names_do_not_reach_the_rejections(wrist):
    wrist.video("a.avi", "Schmidt")
    wrist.row("SCHMIDT_wrist.avi", "Schmidt")
    _, rejections = wrist.read()
    assert not rejections["item"].str.contains("schmidt", case=False).any()
    assert rejections["item"].str.contains(pseudonym("patient", "Schmidt", SALT)).all()


def test_files_that_no_row_names_are_told_by_name_in_the_log_only(wrist, make_speckle, caplog):
    wrist.video("a.avi", "Schmidt")
    names = ("Mueller 1970.AVI", "day1/Mueller.png", "scan.Mueller", "Schmidt2.dcm")
    for name in names:
        path = wrist.folder / "videos" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    wrist.mask("Mueller", 0, np.zeros((4, 4), np.uint8))
    _, rejections = wrist.read()
    assert set(rejections["item"]) == {
        f"videos/{hidden('Mueller 1970.AVI')}.avi",
        f"videos/{hidden('day1/Mueller.png')}.png",
        f"videos/{hidden('scan.Mueller')}",
        f"videos/{hidden('Schmidt2.dcm')}.dcm",
        f"masks/{hidden('Mueller')}",
    }
    assert not rejections["reason"].str.contains("Mueller").any()
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    for name, item in [(f"videos/{name}", hidden(name)) for name in names] + [
        ("masks/Mueller", hidden("Mueller"))
    ]:
        assert sum(name in line and item in line for line in warned) == 1


@pytest.mark.parametrize("name", [".", "/", "..", "./", "videos/", "videos/.", ".avi", "..avi", "day1/.avi"])
def test_a_file_that_names_none_costs_the_row(wrist, name):
    wrist.video("a.avi", "Anna")
    wrist.row(name, "Berta")
    recordings, rejections = wrist.read()
    assert len(recordings) == 1
    assert len(rejections) == 1
    assert rejections["item"][0].startswith("metadata.csv row 3")


def test_a_misspelt_column_is_named_with_the_closest(wrist):
    wrist.video("a.avi", "Anna")
    wrist.write_table(columns=["file", "patient", "operator", "device", "view", "class"])
    text = (wrist.folder / "metadata.csv").read_text().replace("patient", "Pateint", 1)
    (wrist.folder / "metadata.csv").write_text(text)
    with pytest.raises(InvalidMetadata) as caught:
        read(WristSettings(folder=wrist.folder), "source", SALT)
    message = str(caught.value)
    assert "metadata.csv: column 'patient' (found 'Pateint': rename it?), 'spacing_mm' missing" in message
    assert "['file', 'Pateint', 'operator', 'device', 'view', 'class']" in message


def test_another_separator_is_said(wrist):
    wrist.video("a.avi", "Anna")
    wrist.write_table()
    text = (wrist.folder / "metadata.csv").read_text().replace(",", ";")
    (wrist.folder / "metadata.csv").write_text(text)
    with pytest.raises(InvalidMetadata, match="cells must be separated by commas"):
        read(WristSettings(folder=wrist.folder), "source", SALT)


def test_a_spreadsheets_byte_order_mark_and_blanks_do_no_harm(wrist):
    wrist.video("a.avi", "Anna")
    wrist.write_table()
    text = (wrist.folder / "metadata.csv").read_text().replace("file,patient", "file , patient", 1)
    (wrist.folder / "metadata.csv").write_text(text, encoding="utf-8-sig")
    recordings, _ = read(WristSettings(folder=wrist.folder), "source", SALT)
    assert len(recordings) == 1


def test_ids_keep_their_leading_zeros(wrist):
    wrist.video("a.avi", "001")
    wrist.video("b.avi", "1")
    recordings, _ = wrist.read()
    assert recordings["patient"].nunique() == 2


def test_an_empty_site_is_named(wrist):
    with pytest.raises(InvalidMetadata, match=r"metadata\.csv: no such file"):
        read(WristSettings(folder=wrist.folder), "source", SALT)
    with pytest.raises(InvalidMetadata, match=r"metadata\.csv: the table has no rows, so the site is empty"):
        wrist.read()
    wrist.row("gone.avi", "Anna")
    with pytest.raises(
        InvalidMetadata, match=r"no usable recording in 1 rows, so site 'source' is empty .*no such file"
    ):
        wrist.read()
    (wrist.folder / "metadata.csv").write_text("")
    with pytest.raises(InvalidMetadata, match=r"metadata\.csv: not a UTF-8 table"):
        read(WristSettings(folder=wrist.folder), "source", SALT)


def test_columns_that_stand_twice_are_named(wrist):
    wrist.video("a.avi", "Anna")
    wrist.write_table()
    lines = (wrist.folder / "metadata.csv").read_text().splitlines()
    (wrist.folder / "metadata.csv").write_text(
        "\n".join([lines[0] + ", file", *(line + ",x" for line in lines[1:])])
    )
    with pytest.raises(InvalidMetadata, match=r"columns \['file'\] stand twice"):
        read(WristSettings(folder=wrist.folder), "source", SALT)


def test_a_prefix_keeps_two_sites_numbers_apart(wrist):
    wrist.video("a.avi", "1")
    wrist.write_table()
    plain, _ = read(WristSettings(folder=wrist.folder), "source", SALT)
    apart, _ = read(WristSettings(folder=wrist.folder, patient_prefix="north/"), "source", SALT)
    assert plain["patient"][0] != apart["patient"][0]


def test_a_broken_dicom_is_left_for_the_frames_stage(wrist):
    wrist.video("a.avi", "Anna")
    (wrist.folder / "videos" / "b.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)
    wrist.row("b.dcm", "Anna", spacing_mm="")
    recordings, rejections = wrist.read()
    assert len(recordings) == 2
    assert rejections.empty


def test_the_registry_picks_the_reader_by_kind(wrist):
    from pydantic import TypeAdapter

    wrist.video("a.avi", "Anna")
    wrist.write_table()
    settings = TypeAdapter(SourceSettings).validate_python({"kind": "wrist", "folder": str(wrist.folder)})
    recordings, _ = read_source(settings, "source", SALT)
    assert recordings.equals(wrist.read()[0])
    assert cv2.VideoCapture(recordings["path"][0]).isOpened()


def test_a_link_that_leads_out_of_the_folder_is_rejected(wrist, tmp_path):
    wrist.video("a.avi", "Anna")
    secret = tmp_path / "elsewhere.avi"
    secret.write_bytes((wrist.folder / "videos" / "a.avi").read_bytes())
    (wrist.folder / "videos" / "b.avi").symlink_to(secret)
    (wrist.folder / "videos" / "loop.avi").symlink_to(wrist.folder / "videos" / "loop.avi")
    (wrist.folder / "videos" / "inside.avi").symlink_to("a.avi")
    for name in ("b.avi", "loop.avi", "inside.avi", "../../elsewhere.avi", str(secret)):
        wrist.row(name, "Berta")
    recordings, rejections = wrist.read()
    assert len(recordings) == 2
    reasons = rejections["reason"].tolist()
    assert reasons.count("file is a link that leads out of videos/") == 1
    assert reasons.count("no such file under videos/") == 1
    assert reasons.count("file must lie under videos/") == 2


@pytest.mark.parametrize("kind", ["masks", "truths"])
@pytest.mark.parametrize("whole", [True, False])
def test_masks_that_are_links_out_of_the_folder_cost_the_recording(wrist, tmp_path, kind, whole):
    for name in ("a.avi", "b.avi"):
        wrist.video(name, name)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    cv2.imwrite(str(elsewhere / "000000.png"), np.zeros((4, 4), np.uint8))
    folder = wrist.folder / kind / "a"
    if whole:
        folder.parent.mkdir(exist_ok=True)
        folder.symlink_to(elsewhere)
    else:
        folder.mkdir(parents=True)
        (folder / "000000.png").symlink_to(elsewhere / "000000.png")
    recordings, rejections = wrist.read()
    assert len(recordings) == 1
    assert f"{kind} of this file are links that lead out of {kind}/" in rejections["reason"].tolist()
