from __future__ import annotations

import os

import pytest

from crossprobe.data.file_hashes import HashCache
from crossprobe.orchestration.landing import content_hash, look


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "landing"
    (place / "videos" / "tag ä 一").mkdir(parents=True)
    (place / "videos" / "tag ä 一" / "a b.avi").write_bytes(b"clip")
    return place


def content(place) -> str:
    landing = look({"source": place})
    return content_hash(landing, {"source": place}, HashCache(str))


def test_a_touched_file_is_no_news_and_an_edited_one_is(folder):
    file = folder / "videos" / "tag ä 一" / "a b.avi"
    glance, before = look({"source": folder}).glance, content(folder)
    os.utime(file, (1, 1))
    assert look({"source": folder}).glance != glance
    assert content(folder) == before
    file.write_bytes(b"clap")
    assert content(folder) != before


def test_hidden_files_and_loops_of_links_are_left_alone(folder):
    before = content(folder)
    (folder / "videos" / ".a.avi.part").write_bytes(b"half")
    (folder / "videos" / "loop").symlink_to(folder)
    (folder / "videos" / "itself.avi").symlink_to(folder / "videos" / "itself.avi")
    assert content(folder) == before


def test_a_folder_that_disappeared_is_said(folder, tmp_path):
    with pytest.raises(FileNotFoundError):
        look({"source": tmp_path / "nowhere"})


def test_the_age_of_the_last_write(folder):
    file = folder / "videos" / "tag ä 一" / "a b.avi"
    os.utime(file, (1000, 1000))
    assert look({"source": folder}, now=lambda: 1007.0).youngest_s == 7
