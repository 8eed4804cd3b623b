"""Files are found by the names the user knows; links that lead away or in a circle are not followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossprobe.errors import CrossprobeError
from crossprobe.prediction import inputs

ELSEWHERE = Path("/nowhere/results")


def find_inputs(paths, output=ELSEWHERE):
    return inputs.find_inputs(paths, output)


def names(items):
    return {item.name: item.refused for item in items}


@pytest.mark.parametrize("given", ["out", "link/out", "deep/../out"])
def test_results_among_the_files_are_no_files(given, tmp_path):
    root = tmp_path / "clips"
    for name in ("a.png", "out/video-1/masks/000000.png", "out/video-1/overlay.mp4", "deep/out/b.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    (tmp_path / "link").symlink_to(root)
    output = tmp_path / given if given.startswith("link") else root / given
    found = names(find_inputs([root], output))
    assert found == {
        "clips/a.png": "",
        "clips/out": "skipped: the folder of the results",
        "clips/deep/out/b.png": "",
    }


def test_results_do_not_go_into_the_very_folder_of_the_files(tmp_path):
    with pytest.raises(CrossprobeError, match=r"cannot hold both .* such as .*predictions"):
        find_inputs([tmp_path], tmp_path)


def test_a_folder_is_searched_in_a_fixed_order(tmp_path):
    root = tmp_path / "clips"
    for name in ("b.mp4", "a.png", "sub/c.dcm", "ordner mit Leerzeichen/Ünïcode 超音波.avi"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    found = find_inputs([root])
    assert [item.name for item in found] == [
        "clips/a.png",
        "clips/b.mp4",
        "clips/ordner mit Leerzeichen/Ünïcode 超音波.avi",
        "clips/sub/c.dcm",
    ]
    assert not any(item.refused for item in found)


def test_what_is_no_medium_is_skipped_and_said(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.png").write_bytes(b"x")
    dicom = tmp_path / "IM0001"
    dicom.write_bytes(b"\0" * 128 + b"DICM")
    found = {name.split("/")[-1]: why for name, why in names(find_inputs([tmp_path])).items()}
    assert "no image, video or DICOM file (.txt)" in found["notes.txt"]
    assert "hidden" in found[".hidden.png"]
    assert found["IM0001"] == ""


def test_links_that_lead_away_or_in_a_circle(tmp_path):
    root = tmp_path / "clips"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"x")
    (root / "inside.png").write_bytes(b"x")
    (root / "away.png").symlink_to(tmp_path / "secret.png")
    (root / "alias.png").symlink_to(root / "inside.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    (root / "nothing.png").symlink_to(root / "gone.png")
    (root / "sub" / "up").symlink_to(root, target_is_directory=True)
    found = names(find_inputs([root]))
    assert "out of the folder" in found["clips/away.png"]
    assert found["clips/alias.png"] == found["clips/inside.png"] == ""
    assert "cannot be opened" in found["clips/loop.png"]
    assert "cannot be opened" in found["clips/nothing.png"]
    assert "not followed" in found["clips/sub/up"]
    assert len(found) == 6


def test_a_name_that_is_not_there(tmp_path):
    assert names(find_inputs([tmp_path / "gone.mp4"])) == {"gone.mp4": "no such file or folder"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    assert "permission" in next(iter(names(find_inputs([tmp_path])).values()))


def test_equal_names_of_different_folders_stay_apart(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "clip.mp4").write_bytes(b"x")
    found = find_inputs([tmp_path / "a/clip.mp4", tmp_path / "b/clip.mp4"])
    assert [item.name for item in found] == ["clip.mp4", "clip.mp4 (2)"]


@given(st.lists(st.sampled_from(["a", "b", "a (2)"]), max_size=8))
@settings(deadline=None)
def test_no_two_items_share_a_name(tmp_path_factory, given_names):
    root = tmp_path_factory.mktemp("names")
    paths = []
    for place, name in enumerate(given_names):
        (root / str(place)).mkdir()
        (root / str(place) / name).write_bytes(b"x")
        paths.append(root / str(place) / name)
    found = [item.name for item in find_inputs(paths)]
    assert len(set(found)) == len(found)
