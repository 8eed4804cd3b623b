from __future__ import annotations

import cv2
import numpy as np
import pytest

from crossprobe.data.mask_files import read_pieces
from crossprobe.data.sources.class_folders import find_images
from crossprobe.errors import InvalidMetadata


@pytest.fixture
def put(tmp_path):
    def write(name: str, value: int = 90):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.full((40, 50), value, np.uint8))
        return path

    return write


def test_an_image_and_its_mask_in_one_folder(put, tmp_path):
    put("benign/a (1).png")
    mask = put("benign/a (1)_mask.png")
    put("benign/a (10).png")
    images, faults = find_images(tmp_path, ())
    assert [(image.label, image.name, image.masks) for image in images] == [
        ("benign", "benign/a (1).png", mask),
        ("benign", "benign/a (10).png", None),
    ]
    assert faults == []


def test_several_masks_are_one_by_their_union(put, tmp_path):
    put("benign/a (1).png")
    for place, name in enumerate(("a (1)_mask", "a (1)_mask_1", "a (1)_mask_2")):
        mask = np.zeros((40, 50), np.uint8)
        mask[10 * place : 10 * place + 5] = 255
        cv2.imwrite(str(tmp_path / f"benign/{name}.png"), mask)
    put("benign/a (10).png")
    put("benign/a (10)_mask.png", 255)
    images, _ = find_images(tmp_path, ())
    union = read_pieces(images[0].masks)
    assert union.sum() == 3 * 5 * 50
    assert union[[0, 10, 20]].all()
    assert not union[30:].any()


def test_what_is_no_image_is_named(put, tmp_path):
    put("benign/lonely_mask.png")
    put("benign/deep/b.jpg")
    (tmp_path / "benign/notes.txt").touch()
    (tmp_path / "normal").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    images, faults = find_images(tmp_path, ())
    assert [(image.label, image.name) for image in images] == [("benign", "benign/deep/b.jpg")]
    assert dict(faults) == {
        "benign/lonely_mask.png": "named like a mask, but its image does not lie beside it",
        "benign/notes.txt": "no image: suffix '.txt' is not read",
        "normal/": "class folder holds no image",
    }


def test_a_folder_full_of_masks_is_an_empty_class(put, tmp_path):
    put("benign/a_mask.png")
    images, faults = find_images(tmp_path, ())
    assert images == []
    assert ("benign/", "class folder holds no image") in faults


def test_links_are_followed_to_files_inside_only(put, tmp_path):
    root = tmp_path / "data"
    put("data/benign/a.png")
    put("data/malignant/b.png")
    put("elsewhere/secret.png")
    folder = root / "benign"
    for name, target in {
        "loop": "..", "out": tmp_path / "elsewhere", "secret.png": tmp_path / "elsewhere/secret.png",
        "secret_mask.png": tmp_path / "elsewhere/secret.png", "gone.png": "none.png", "self.png": "self.png",
        "inside.png": "../malignant/b.png",
    }.items():  # fmt: skip
        (folder / name).symlink_to(target)
    (root / "linked").symlink_to(folder)
    # The folder of the data may be a link itself.
    (tmp_path / "by another name").symlink_to(root)
    for place in (root, tmp_path / "by another name"):
        images, faults = find_images(place, ())
        assert [image.name for image in images] == ["benign/a.png", "benign/inside.png", "malignant/b.png"]
        not_followed = "a link to a folder; such links are not followed"
        leads_out = "a link that leads out of the folder of the data"
        assert dict(faults) == {
            "linked/": not_followed, "benign/loop": not_followed, "benign/out": not_followed,
            "benign/secret.png": leads_out, "benign/secret_mask.png": leads_out,
            "benign/gone.png": "a link that leads nowhere", "benign/self.png": "a link that leads nowhere",
        }  # fmt: skip


def test_no_class_folders(put, tmp_path):
    put("a.png")
    with pytest.raises(InvalidMetadata, match="expected a folder a class with images in it, found none"):
        find_images(tmp_path, ())


def test_a_misspelt_class_is_answered_with_the_closest(put, tmp_path):
    put("malignant/a.png")
    put("benign/a.png")
    with pytest.raises(InvalidMetadata, match=r"no folder of class 'malignent' \(found 'malignant'\)"):
        find_images(tmp_path, ("benign", "malignent"))
    assert [image.label for image in find_images(tmp_path, ("malignant",))[0]] == ["malignant"]
