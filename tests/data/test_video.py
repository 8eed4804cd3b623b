from __future__ import annotations

import cv2
import numpy as np
import pytest

from crossprobe.data.video import media_kind, promised_frames, read_frames, read_image
from crossprobe.errors import UnreadableMedia


def frames_of(path, stride=1):
    return list(read_frames(path, stride))


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mov", ".mpeg"])
def test_every_container_gives_its_frames_in_order(tmp_path, make_speckle, save_video, suffix):
    levels = np.linspace(40, 210, 9)
    frames = np.stack([np.full((64, 80), level, np.uint8) for level in levels])
    path = save_video(tmp_path / f"clip{suffix}", frames)
    read = frames_of(path)
    assert [index for index, _ in read] == list(range(9))
    assert all(frame.shape == (64, 80) and frame.dtype == np.uint8 for _, frame in read)
    assert np.allclose([frame.mean() for _, frame in read], levels, atol=4)
    assert promised_frames(path) in (9, None) or suffix == ".mpeg"


def test_a_gif_is_a_video(tmp_path):
    from PIL import Image

    pictures = [Image.fromarray(np.full((40, 50), level, np.uint8)) for level in (20, 120, 220)]
    pictures[0].save(tmp_path / "clip.gif", save_all=True, append_images=pictures[1:], duration=40)
    levels = [frame.mean() for _, frame in frames_of(tmp_path / "clip.gif")]
    assert np.allclose(levels, [20, 120, 220], atol=3)


def test_a_stride_skips_but_keeps_the_numbers(tmp_path, make_speckle, save_video):
    frames = make_speckle(10, 64, 80)
    path = save_video(tmp_path / "clip.avi", frames)
    every = dict(frames_of(path))
    third = frames_of(path, stride=3)
    assert [index for index, _ in third] == [0, 3, 6, 9]
    assert all(np.array_equal(frame, every[index]) for index, frame in third)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_a_still_image_is_one_frame(tmp_path, make_speckle, suffix):
    image = make_speckle(1, 60, 70)[0]
    cv2.imwrite(str(tmp_path / f"still{suffix}"), image)
    [(index, frame)] = frames_of(tmp_path / f"still{suffix}")
    assert index == 0
    assert promised_frames(tmp_path / f"still{suffix}") == 1
    assert np.abs(frame.astype(int) - image).mean() < 3


def test_sixteen_bits_become_eight(tmp_path):
    image = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    cv2.imwrite(str(tmp_path / "deep.png"), image)
    assert np.array_equal(read_image(tmp_path / "deep.png"), np.arange(256, dtype=np.uint8).reshape(16, 16))


@pytest.mark.parametrize("brightest", [4000, 4100, 65535])
def test_the_brightest_pixel_does_not_change_the_scale(tmp_path, brightest):
    image = np.full((16, 16), 3855, np.uint16)
    image[0, 0] = brightest
    cv2.imwrite(str(tmp_path / "deep.png"), image)
    read = read_image(tmp_path / "deep.png")
    assert (read[1:] == 15).all()
    assert read[0, 0] == round(brightest / 257)


@pytest.mark.parametrize("channels", [3, 4])
def test_colour_becomes_luminance(tmp_path, channels):
    image = np.zeros((8, 8, channels), np.uint8)
    image[..., 1] = 200
    if channels == 4:
        image[..., 3] = 255
    cv2.imwrite(str(tmp_path / "colour.png"), image)
    assert np.allclose(read_image(tmp_path / "colour.png"), round(0.587 * 200), atol=1)


def test_deep_colour_becomes_luminance(tmp_path):
    image = np.zeros((8, 8, 3), np.uint16)
    image[..., 1] = 200 * 257
    cv2.imwrite(str(tmp_path / "deep.tif"), image)
    assert np.allclose(read_image(tmp_path / "deep.tif"), round(0.587 * 200), atol=1)


def test_a_mask_of_ones_in_sixteen_bits_is_not_rounded_away(tmp_path):
    image = np.zeros((8, 8), np.uint16)
    image[2:4] = 1
    image[5] = 60000
    cv2.imwrite(str(tmp_path / "mask.png"), image)
    assert np.array_equal(read_image(tmp_path / "mask.png", binary=True), (image > 0).astype(np.uint8))


def test_a_zero_byte_video_is_named(tmp_path):
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(UnreadableMedia, match=r"empty\.mp4: the file has zero bytes"):
        frames_of(tmp_path / "empty.mp4")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableMedia, match=r"gone\.mp4: no such file"):
        frames_of(tmp_path / "gone.mp4")


def test_a_truncated_mp4_is_named(tmp_path, make_speckle, save_video):
    path = save_video(tmp_path / "cut.mp4", make_speckle(20, 64, 80))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableMedia, match=r"cut\.mp4: not a video that can be opened"):
        frames_of(path)


def test_a_truncated_avi_gives_what_decodes(tmp_path, make_speckle, save_video):
    path = save_video(tmp_path / "cut.avi", make_speckle(20, 64, 80))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 3 < len(frames_of(path)) < 18
    assert promised_frames(path) == 20


def test_a_video_without_a_decodable_frame_is_named(tmp_path, make_speckle, save_video):
    path = save_video(tmp_path / "noise.avi", make_speckle(5, 64, 80))
    content = bytearray(path.read_bytes())
    place = content.index(b"movi") + 4
    while content[place : place + 4] == b"00dc":
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        content[place + 8 : place + 8 + size] = bytes(size)
        place += 8 + size + size % 2
    path.write_bytes(bytes(content))
    with pytest.raises(UnreadableMedia, match=r"noise\.avi: a video with no frame that can be decoded"):
        frames_of(path)


def test_text_under_a_videos_name_is_refused(tmp_path):
    (tmp_path / "notes.mp4").write_text("this is no video, " * 50)
    with pytest.raises(UnreadableMedia, match=r"notes\.mp4: not a video"):
        frames_of(tmp_path / "notes.mp4")


@pytest.mark.parametrize(
    ("suffix", "name"), [(".png", "PNG"), (".jpg", "JPEG"), (".tif", "TIFF"), (".bmp", "BMP")]
)
def test_an_image_in_a_videos_place_is_refused(tmp_path, make_speckle, suffix, name):
    cv2.imwrite(str(tmp_path / f"still{suffix}"), make_speckle(1, 60, 70)[0])
    (tmp_path / f"still{suffix}").rename(tmp_path / "still.mp4")
    with pytest.raises(UnreadableMedia, match=rf"still\.mp4: a {name} image in a video's place"):
        frames_of(tmp_path / "still.mp4")


def test_a_broken_image_is_named(tmp_path, make_speckle):
    cv2.imwrite(str(tmp_path / "cut.png"), make_speckle(1, 60, 70)[0])
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:40])
    with pytest.raises(UnreadableMedia, match=r"cut\.png: not an image that can be decoded"):
        frames_of(tmp_path / "cut.png")


def test_an_unknown_suffix_is_named(tmp_path):
    (tmp_path / "table.xlsx").write_bytes(b"PK")
    with pytest.raises(UnreadableMedia, match=r"no reader for '\.xlsx'"):
        media_kind(tmp_path / "table.xlsx")


@pytest.mark.data
def test_all_real_clips_can_be_read(real_data):
    import pandas as pd

    folder = real_data("pocus_videos")
    table = pd.read_csv(folder / "manifest.csv")
    assert len(table) == 21
    for clip in table.itertuples():
        read = list(read_frames(folder / clip.path, stride=20))
        assert len(read) == -(-clip.frames // 20), clip.path
        assert all(frame.shape == (clip.height, clip.width) for _, frame in read)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("failure", [cv2.error("too large"), MemoryError()])
def test_what_opencv_throws_becomes_a_reason(tmp_path, monkeypatch, failure, binary):
    def fail(*_):
        raise failure

    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4), np.uint8))
    monkeypatch.setattr(cv2, "imread", fail)
    with pytest.raises(UnreadableMedia, match=r"a\.png: cannot be read \((error|MemoryError)\)"):
        read_image(tmp_path / "a.png", binary)
