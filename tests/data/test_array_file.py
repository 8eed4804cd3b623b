from __future__ import annotations

import errno

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossprobe.data.array_file import FrameArrayWriter


@given(st.lists(st.booleans(), max_size=12), st.integers(1, 40))
def test_any_run_of_frames_and_holes_reads_back(tmp_path_factory, kinds, size):
    path = tmp_path_factory.mktemp("array") / "frames.npy"
    generator = np.random.default_rng(0)
    expected = []
    with FrameArrayWriter(path, size) as writer:
        for full in kinds:
            frame = (
                generator.integers(0, 256, (size, size), dtype=np.uint8)
                if full
                else np.zeros((size, size), np.uint8)
            )
            expected.append(frame)
            if full:
                writer.append(frame)
            else:
                writer.append_zeros()
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    assert array.shape == (len(kinds), size, size)
    assert array.dtype == np.uint8
    assert all(np.array_equal(one, other) for one, other in zip(array, expected, strict=True))


def test_unlabelled_frames_take_no_room(tmp_path):
    with FrameArrayWriter(tmp_path / "holes.npy", 224) as writer:
        for _ in range(200):
            writer.append_zeros()
    status = (tmp_path / "holes.npy").stat()
    assert status.st_size == 128 + 200 * 224 * 224
    assert status.st_blocks * 512 < status.st_size / 100


def test_another_shape_is_refused(tmp_path):
    with (
        FrameArrayWriter(tmp_path / "a.npy", 8) as writer,
        pytest.raises(ValueError, match=r"expected uint8 \[8, 8\]"),
    ):
        writer.append(np.zeros((8, 9), np.uint8))


def test_the_first_error_is_the_one_that_shows(tmp_path):
    def fill() -> None:
        with FrameArrayWriter(tmp_path / "a.npy", 8) as writer:
            writer.append(np.zeros((8, 8), np.uint8))
            raise OSError(errno.ENOSPC, "first")

    with pytest.raises(OSError, match="first") as caught:
        fill()
    assert caught.value.errno == errno.ENOSPC
