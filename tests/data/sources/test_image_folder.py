from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest

from crossprobe.data.image_groups import ImageGroups
from crossprobe.data.pseudonym import pseudonym
from crossprobe.data.sources.image_folder import ImageFolderSettings
from crossprobe.data.sources.registry import read_source
from crossprobe.errors import InvalidMetadata

SALT = "a salt for tests"


class Folder:
    """A folder of classes that a test fills image by image; every image shows something else."""

    def __init__(self, root, make_speckle):
        self.root = root
        self.make = make_speckle
        self.count = 0

    def image(self, name: str, pixels: np.ndarray | None = None) -> np.ndarray:
        self.count += 1
        pixels = self.make(1, 96, 120, self.count)[0] if pixels is None else pixels
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(self.root / name), pixels)
        return pixels

    def patients(self, **names: str) -> None:
        table = pd.DataFrame({"file": names.keys(), "patient": names.values()})
        table.to_csv(self.root / "patients.csv", index=False)

    def read(self, groups: ImageGroups | None = None, **settings: object):
        return read_source(ImageFolderSettings(folder=self.root, **settings), "source", SALT, groups)


@pytest.fixture
def folder(tmp_path, make_speckle) -> Folder:
    root = tmp_path / "images"
    root.mkdir()
    return Folder(root, make_speckle)


@pytest.fixture
def two_classes(folder) -> Folder:
    for label in ("benign", "malignant"):
        for number in range(3):
            folder.image(f"{label}/{number}.png")
    return folder


def test_classes_become_recordings(two_classes):
    recordings, rejections = two_classes.read(device="My scanner")
    assert rejections.empty
    assert recordings["class"].value_counts().to_dict() == {"benign": 3, "malignant": 3}
    assert recordings["patient"].nunique() == 6
    assert set(recordings["device"]) == {"My scanner"}
    assert set(recordings["view"]) == {"unknown"}


def test_near_copies_are_one_patient_within_a_class(two_classes):
    image = two_classes.image("benign/one.png")
    two_classes.image("benign/mirrored.png", image[:, ::-1])
    two_classes.image("benign/cut.png", image[4:-4, 6:-6])
    recordings, rejections = two_classes.read()
    assert rejections.empty
    same = recordings[recordings["path"].str.contains("/(?:one|mirrored|cut).png")]
    assert len(set(same["patient"])) == 1
    assert recordings["patient"].nunique() == 7


def test_the_same_image_under_two_labels_is_dropped_and_said(two_classes):
    image = two_classes.image("benign/one.png")
    two_classes.image("malignant/one.png", image)
    recordings, rejections = two_classes.read()
    assert len(recordings) == 6
    assert len(rejections) == 2
    assert set(rejections["reason"]) == {"near-identical images carry the classes benign and malignant"}
    kept, _ = two_classes.read(duplicates={"conflicting": True})
    assert len(kept) == 8
    assert len(set(kept[kept["path"].str.contains("/one.png")]["patient"])) == 1


def test_the_same_file_under_two_labels_with_patients_known(two_classes):
    image = two_classes.image("benign/one.png")
    two_classes.image("malignant/one.png", image)
    names = [file.relative_to(two_classes.root).as_posix() for file in two_classes.root.rglob("*.png")]
    two_classes.patients(**{name: f"patient {place}" for place, name in enumerate(names)})
    recordings, rejections = two_classes.read()
    assert len(recordings) == 6
    assert rejections["reason"].tolist() == ["the same file carries the classes benign and malignant"] * 2


def test_a_class_with_one_image_is_dropped_and_said(two_classes, caplog):
    two_classes.image("normal/only.png")
    recordings, rejections = two_classes.read()
    assert set(recordings["class"]) == {"benign", "malignant"}
    assert rejections["item"].tolist() == ["class normal"]
    assert rejections["reason"][0].startswith(
        "class dropped: 1 image of 1 patients or groups of copies, fewer"
    )
    assert "class normal" in caplog.text
    assert set(two_classes.read(smallest_class=1)[0]["class"]) == {"benign", "malignant", "normal"}


def test_an_empty_class_is_said(two_classes):
    (two_classes.root / "normal").mkdir()
    recordings, rejections = two_classes.read()
    assert len(recordings) == 6
    assert rejections[["item", "reason"]].values.tolist() == [["normal/", "class folder holds no image"]]


def test_a_corrupt_image_is_rejected_and_the_rest_goes_on(two_classes):
    (two_classes.root / "benign" / "Anna Schmidt.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    recordings, rejections = two_classes.read()
    assert len(recordings) == 6
    assert rejections["reason"].tolist() == [
        "not an image that can be decoded (truncated, or of another format)"
    ]
    assert not rejections["item"].str.contains("Anna").any()


@pytest.mark.parametrize("side", [20_000, 60_000])
def test_an_image_that_promises_gigapixels_is_rejected_and_the_rest_goes_on(two_classes, hollow_png, side):
    hollow_png(two_classes.root / "benign/bomb.png", side)
    recordings, rejections = two_classes.read()
    assert len(recordings) == 6
    assert len(rejections) == 1
    assert "promises" in rejections["reason"][0]


def test_one_three_four_channels_and_sixteen_bits(two_classes):
    grey = two_classes.image("benign/grey.png")
    two_classes.image("benign/colour.png", cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
    two_classes.image("benign/transparent.png", cv2.cvtColor(grey, cv2.COLOR_GRAY2BGRA))
    two_classes.image("benign/deep.png", grey.astype(np.uint16) * 257)
    recordings, rejections = two_classes.read()
    assert rejections.empty
    same = recordings[recordings["path"].str.contains("/(?:grey|colour|transparent|deep).png")]
    assert len(same) == 4
    assert len(set(same["patient"])) == 1, "all four hold the same grey levels"


def test_patients_come_from_the_table(two_classes):
    names = {
        f"{label}/{number}.png": f"Anna {number}" for label in ("benign", "malignant") for number in "012"
    }
    two_classes.patients(**names)
    recordings, rejections = two_classes.read(patient_prefix="a-")
    assert rejections.empty
    assert recordings["patient"].nunique() == 3
    assert pseudonym("patient", "image-folder/a-Anna 0", SALT) in set(recordings["patient"])


def test_rows_without_a_file_and_files_without_a_row(two_classes):
    names = {f"{label}/{number}.png": f"p{number}" for label in ("benign", "malignant") for number in "012"}
    two_classes.image("benign/stranger.png")
    two_classes.image("top.png")
    two_classes.patients(**names, **{"benign/Anna Schmidt.png": "Anna Schmidt"})
    recordings, rejections = two_classes.read()
    assert len(recordings) == 6
    assert sorted(rejections["reason"]) == [
        "file is not in patients.csv, so nobody knows whose it is",
        "lies beside the folders of the classes, so it has no class",
        "no such file in the folders of the classes",
    ]
    shown = " ".join(rejections["item"])
    assert "patients.csv row 8" in shown
    assert not any(name in shown for name in ("Anna", "Schmidt", "stranger", "top"))


def test_a_file_named_without_its_class(two_classes):
    two_classes.image("benign/alone.png")
    two_classes.patients(**{"alone.png": "A", "1.png": "B"})
    recordings, rejections = two_classes.read(smallest_class=1)
    assert len(recordings) == 1
    assert "several classes hold a file of this name; write class/file" in set(rejections["reason"])


def test_a_file_with_two_patients_is_dropped(two_classes):
    rows = [[f"benign/{number}.png", f"p{number}"] for number in range(3)] + [["benign/0.png", "p9"]]
    pd.DataFrame(rows, columns=["file", "patient"]).to_csv(two_classes.root / "patients.csv", index=False)
    recordings, rejections = two_classes.read(classes=("benign",), smallest_class=2)
    assert len(recordings) == 2
    assert "file has two patients" in set(rejections["reason"])


def test_rows_of_classes_that_were_not_asked_for_are_no_faults(two_classes):
    names = {f"{label}/{number}.png": f"p{number}" for label in ("benign", "malignant") for number in "012"}
    two_classes.patients(**names)
    recordings, rejections = two_classes.read(classes=("benign",))
    assert set(recordings["class"]) == {"benign"}
    assert rejections.empty


def test_many_faults_of_one_kind_are_counted(two_classes):
    for number in range(30):
        (two_classes.root / "benign" / f"{number}.txt").touch()
    _, rejections = two_classes.read()
    assert len(rejections) == 1
    assert rejections["item"][0].startswith("30 items (first: benign/v_")


def test_nothing_left_is_named(folder):
    folder.image("benign/a.png")
    with pytest.raises(InvalidMetadata, match=r"no usable image, so site 'source' is empty \(class benign: "):
        folder.read()


def patients_of(recordings) -> dict[str, str]:
    return {path.rsplit("/images/")[1]: name for path, name in recordings[["path", "patient"]].to_numpy()}


def read_again(folder, groups: ImageGroups):
    """What the next run reads: it knows what the one before gave out."""
    groups = ImageGroups({**groups.known, **groups.fresh})
    return *folder.read(groups=groups), groups


def test_a_late_copy_that_sorts_first_renames_nobody(two_classes):
    copied = two_classes.image("benign/m.png")
    groups = ImageGroups()
    before = patients_of(two_classes.read(groups=groups)[0])
    two_classes.image("benign/a.png", np.ascontiguousarray(copied[:, ::-1]))
    recordings, _, groups = read_again(two_classes, groups)
    after = patients_of(recordings)
    assert after["benign/a.png"] == before["benign/m.png"]
    assert before.items() <= after.items()
    # Nor when the first one of the group goes.
    (two_classes.root / "benign/m.png").unlink()
    recordings, _, _ = read_again(two_classes, groups)
    assert patients_of(recordings)["benign/a.png"] == before["benign/m.png"]


def test_a_late_image_that_resembles_two_groups_is_set_aside(two_classes):
    left, right = two_classes.image("benign/left.png"), two_classes.image("benign/right.png")
    groups = ImageGroups()
    before = patients_of(two_classes.read(groups=groups)[0])
    mixed = np.rint(left.astype(float) / 2 + right.astype(float) / 2).astype(np.uint8)
    two_classes.image("benign/a.png", mixed)
    recordings, rejections, _ = read_again(two_classes, groups)
    assert patients_of(recordings) == before
    assert rejections["reason"].str.contains("resembles images of two groups").sum() == 1


def test_another_image_under_the_name_of_the_first_is_another_group(two_classes):
    copied = two_classes.image("benign/m.png")
    two_classes.image("benign/n.png", copied)
    groups = ImageGroups()
    before = patients_of(two_classes.read(groups=groups)[0])
    two_classes.image("benign/m.png")
    recordings, _, _ = read_again(two_classes, groups)
    after = patients_of(recordings)
    assert after["benign/n.png"] == before["benign/n.png"] == before["benign/m.png"]
    assert after["benign/m.png"] not in before.values()
