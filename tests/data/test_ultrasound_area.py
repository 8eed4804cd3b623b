from __future__ import annotations

import cv2
import numpy as np
import pytest

from crossprobe.data.overlay import fill_overlay, find_overlay
from crossprobe.data.ultrasound_area import Area, AreaSettings, FrameStatistics, find_area
from crossprobe.data.video import promised_frames, read_frames

SETTINGS = AreaSettings()


def statistics(frames):
    result = FrameStatistics(frames[0].shape)
    for frame in frames:
        result.update(frame)
    return result


def tissue(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Speckle that is wide across the beam, as a probe's is: columns are the lateral direction."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=(count, height, width)).astype(np.float32)
    smooth = np.stack([cv2.GaussianBlur(frame, (0, 0), sigmaX=4, sigmaY=1.2) for frame in noise])
    return np.clip(70 + 30 * smooth / smooth.std(), 12, 200).astype(np.uint8)


def scanner(scans: np.ndarray, background: int, jpeg: bool = True) -> tuple[list[np.ndarray], Area]:
    """Draws a scanner's screen around scans: lists of settings, a running clock, ruler, logo, grey bar."""
    height, width = scans[0].shape
    screens = []
    for index, scan in enumerate(scans):
        screen = np.full((height + 110, width + 260), background, np.uint8)
        screen[60 : 60 + height, 140 : 140 + width] = scan
        for row, text in enumerate(["L12-5 MSK", "14Hz", "4cm", "2D", "Gn 27", "232dB/C4", "MI 0.7"]):
            cv2.putText(screen, text, (6, 80 + 18 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 220, 1)
        cv2.putText(screen, f"ACME 12:31:{index % 60:02d}", (6, 22), cv2.FONT_HERSHEY_DUPLEX, 0.7, 255, 1)
        for row in range(0, height, height // 8):
            screen[60 + row : 62 + row, 140 + width + 14 : 140 + width + 22] = 200
        screen[70:170, -30:-14] = np.linspace(255, 0, 100, dtype=np.uint8)[:, None]
        cv2.circle(screen, (110, 40), 8, 255, -1)
        cv2.putText(screen, "D 12.3 mm", (150, 60 + height + 30), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 2)
        if jpeg:
            screen = cv2.imdecode(cv2.imencode(".jpg", screen, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], 0)
        screens.append(screen)
    return screens, Area(60, 140, height, width, True)


def cut_and_extra(found: Area, true: Area) -> tuple[int, int]:
    """Most px of the true area that are lost on a side, and most px of surroundings kept on a side."""
    sides = (
        found.top - true.top, found.left - true.left,
        true.top + true.height - found.top - found.height, true.left + true.width - found.left - found.width,
    )  # fmt: skip
    return max(0, *sides), max(0, *(-side for side in sides))


@pytest.mark.parametrize("background", [0, 20, 55])
def test_a_linear_scan_is_found_on_a_scanners_screen(background):
    screens, true = scanner(tissue(12, 240, 300), background)
    cut, extra = cut_and_extra(find_area(statistics(screens), SETTINGS), true)
    assert cut <= 2
    assert extra <= 14


@pytest.mark.parametrize("background", [0, 55])
def test_a_still_screen_is_cropped_too(background):
    screens, true = scanner(tissue(1, 240, 300), background, jpeg=False)
    cut, extra = cut_and_extra(find_area(statistics(screens), SETTINGS), true)
    assert cut == 0
    assert extra <= 24


def test_a_fan_keeps_its_tips():
    scans = tissue(12, 260, 340)
    rows, columns = np.mgrid[:260, :340]
    radius = np.hypot(rows + 60, columns - 170)
    fan = (radius > 70) & (radius < 318) & (np.abs(columns - 170) < 0.62 * (rows + 60))
    screens, true = scanner(scans * fan, 0)
    inside = np.argwhere(fan)
    (top, left), (bottom, right) = inside.min(0), inside.max(0)
    true = Area(60 + top, 140 + left, bottom - top + 1, right - left + 1, True)
    cut, extra = cut_and_extra(find_area(statistics(screens), SETTINGS), true)
    assert cut <= 3
    assert extra <= 16


def test_a_black_shadow_and_the_echo_below_it_are_kept():
    scans = tissue(12, 240, 300)
    scans[:, 90:] = 0
    scans[:, 170:176, 60:200] = tissue(12, 6, 140, seed=1)
    scans[:, 230:, :] = np.random.default_rng(2).integers(0, 3, (12, 10, 300))
    screens, true = scanner(scans, 0, jpeg=False)
    cut, extra = cut_and_extra(find_area(statistics(screens), SETTINGS), true)
    assert cut <= 2
    assert extra <= 14


def test_a_paused_clip_is_cropped_like_a_still():
    screens, true = scanner(np.repeat(tissue(1, 240, 300), 12, axis=0), 0, jpeg=False)
    cut, extra = cut_and_extra(find_area(statistics(screens), SETTINGS), true)
    assert cut == 0
    assert extra <= 24


def test_a_scan_without_surroundings_stays_whole():
    area = find_area(statistics(tissue(8, 200, 260)), SETTINGS)
    assert area[:4] == (0, 0, 200, 260)


def test_nothing_found_keeps_the_whole_frame():
    assert find_area(statistics(np.zeros((3, 100, 120), np.uint8)), SETTINGS) == Area(0, 0, 100, 120, False)


def test_cropping_can_be_switched_off():
    screens, _ = scanner(tissue(8, 240, 300), 0)
    assert find_area(statistics(screens), AreaSettings(crop=False)) == Area(0, 0, 350, 560, False)


def test_deviation_is_that_of_numpy():
    frames = tissue(9, 40, 50)
    assert np.allclose(statistics(frames).deviation(), frames.astype(float).std(axis=0), atol=0.02)


def lettered(frames: np.ndarray, level: int = 255) -> tuple[np.ndarray, np.ndarray]:
    ink = np.zeros(frames[0].shape, np.uint8)
    cv2.putText(ink, "MAMA DIR", (40, 200), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1, 1)
    for row, column in ((80, 90), (120, 180)):
        ink[row - 5 : row + 6, column] = 1
        ink[row, column - 5 : column + 6] = 1
    marked = frames.copy()
    marked[:, ink > 0] = level
    return marked, ink > 0


@pytest.mark.parametrize("count", [1, 10])
@pytest.mark.parametrize("level", [190, 255])
def test_lettering_and_calipers_are_found_and_filled(count, level):
    frames, ink = lettered(tissue(count, 240, 300), level)
    overlay = find_overlay(statistics(frames), Area(0, 0, 240, 300, True))
    assert overlay.mask[ink].mean() > 0.8
    assert (overlay.mask & ~cv2.dilate(ink.astype(np.uint8), np.ones((7, 7))).astype(bool)).mean() < 0.002
    assert 3 <= overlay.marks <= 12
    filled = fill_overlay(frames[0], overlay)
    clean = tissue(count, 240, 300)[0]
    found = ink & overlay.mask
    before = np.abs(frames[0].astype(int) - clean)[found].mean()
    assert np.abs(filled.astype(int) - clean)[found].mean() < 0.35 * before
    assert np.array_equal(filled[~overlay.mask], frames[0][~overlay.mask])


def test_tissue_alone_has_no_marks():
    for seed in range(5):
        frames = tissue(10, 240, 300, seed)
        overlay = find_overlay(statistics(frames), Area(0, 0, 240, 300, True))
        assert overlay.marks == 0
        assert np.array_equal(fill_overlay(frames[0], overlay), frames[0])


@pytest.mark.data
def test_no_anatomy_of_a_real_clip_is_cut_on_a_scanners_screen(real_data):
    folder = real_data("pocus_videos")
    for clip in sorted(folder.rglob("*.m*"))[::4]:
        scans = [frame for _, frame in read_frames(clip, max(1, (promised_frames(clip) or 1) // 15))]
        bare = find_area(statistics(scans), SETTINGS)
        screens, origin = scanner(np.stack(scans), 0)
        true = Area(origin.top + bare.top, origin.left + bare.left, bare.height, bare.width, True)
        cut, extra = cut_and_extra(find_area(statistics(screens), SETTINGS), true)
        assert cut <= 4, clip.name
        assert extra <= 24, clip.name


@pytest.mark.data
@pytest.mark.parametrize("probe", ["philips_hd11xe", "telemed_logicscan"])
def test_two_vendors_screens_are_cropped_to_the_muscle(real_data, probe):
    for file in sorted((real_data("muscle_probes") / probe).glob("*.png")):
        expected = Area(38, 237, 650, 760, True)
        if probe == "philips_hd11xe":
            # Three of them go to 5 cm and are narrower on the screen; two are all but black at depth.
            deep = file.stem in {"GM_P_11", "GM_P_12", "GM_P_14"}
            expected = Area(70, 120, 435, 569 if deep else 626, True)
        [(_, frame)] = read_frames(file)
        cut, extra = cut_and_extra(find_area(statistics([frame]), SETTINGS), expected)
        assert cut <= 2, file.name
        assert extra <= 32, file.name


@pytest.mark.data
def test_no_mask_of_bus_bra_is_cut(real_data):
    folder = real_data("bus_bra") / "BUSBRA"
    for file in sorted((folder / "Images").glob("*.png"))[::25]:
        [(_, frame)] = read_frames(file)
        top, left, height, width, _ = find_area(statistics([frame]), SETTINGS)
        mask = cv2.imread(str(folder / "Masks" / file.name.replace("bus_", "mask_")), 0) > 0
        assert mask[top : top + height, left : left + width].sum() == mask.sum(), file.name
