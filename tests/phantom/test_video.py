from __future__ import annotations

import numpy as np
import pytest

from crossprobe.phantom.settings import PhantomSettings
from crossprobe.phantom.video import VideoJob, simulate_video

SETTINGS = PhantomSettings(source={"frames_per_video": 3}, target={"frames_per_video": 9})


@pytest.fixture(scope="module")
def videos():
    jobs = [
        VideoJob("source", 1, "dorsal", "none"),
        VideoJob("source", 2, "proximal_volar", "step"),
        VideoJob("target", 1, "dorsal", "gap"),
        VideoJob("target", 2, "volar", "buckle"),
    ]
    return {job: simulate_video(SETTINGS, job) for job in jobs}


def test_same_seed_same_bytes(videos):
    for job in list(videos)[::2]:
        again = simulate_video(SETTINGS, job)
        assert again.frames.tobytes() == videos[job].frames.tobytes()
        assert all(np.array_equal(again.masks[frame], mask) for frame, mask in videos[job].masks.items())


def test_another_seed_another_picture(videos):
    job = next(iter(videos))
    other = simulate_video(SETTINGS.model_copy(update={"seed": 1}), job)
    assert not np.array_equal(other.frames[0], videos[job].frames[0])


def test_masks_are_binary_and_as_large_as_the_frame(videos):
    for video in videos.values():
        for mask in [*video.masks.values(), *video.truths.values()]:
            assert mask.shape == video.frames.shape[1:] == (320, 400)
            assert set(np.unique(mask)) == {0, 1}


def test_source_labels_every_frame_and_target_one_in_eight(videos):
    for job, video in videos.items():
        assert video.masks.keys() == video.truths.keys()
        if job.site == "source":
            assert list(video.masks) == [0, 1, 2]
        else:
            assert set(np.diff(list(video.masks))) <= {8}


@pytest.mark.parametrize("site", ["source", "target"])
def test_cortex_is_bright_and_its_shadow_dark(videos, site):
    for job, video in videos.items():
        if job.site != site:
            continue
        for frame, truth in video.truths.items():
            image = video.frames[frame].astype(float)
            columns = np.flatnonzero(truth.any(axis=0))
            first = truth[:, columns].argmax(axis=0)
            pairs = list(zip(first, columns, strict=True))
            top = video.screen.top + int(1.5 / video.screen.spacing_mm)
            gap = int(3.0 / video.screen.spacing_mm)
            tissue = np.concatenate([image[top : row - 3, column] for row, column in pairs])
            cortex = np.array([image[row : row + 10, column].max() for row, column in pairs])
            shadow = np.concatenate([image[row + gap : row + 2 * gap, column] for row, column in pairs])
            assert cortex.mean() > tissue.mean() + 25
            assert shadow.mean() < 0.5 * tissue.mean()


def test_frames_move_through_one_anatomy(videos):
    def likeness(video, first, second):
        screen = video.screen
        area = video.frames[
            :, screen.top : screen.top + screen.height // 3, screen.left : screen.left + screen.width
        ]
        return np.corrcoef(area[first].ravel(), area[second].ravel())[0, 1]

    video = videos[VideoJob("source", 1, "dorsal", "none")]
    assert 0.98 > likeness(video, 0, 1) > likeness(video, 0, 2) > 0.2


def test_no_shift_gives_the_source_screen():
    job = VideoJob("target", 1, "dorsal", "none")
    video = simulate_video(PhantomSettings(severity=0.0, target={"frames_per_video": 2}), job)
    low, high = PhantomSettings().source.probe.depth_mm
    assert low <= video.plan.depth_mm <= high
    assert np.ptp(np.abs(np.diff(video.plan.elevation_mm))) == 0


def test_fracture_leaves_the_rest_of_the_wrist_alone():
    whole = simulate_video(SETTINGS, VideoJob("source", 3, "dorsal", "none"))
    broken = simulate_video(SETTINGS, VideoJob("source", 3, "dorsal", "step"))
    assert whole.screen == broken.screen
    changed = (whole.truths[0] != broken.truths[0]).any(axis=0)
    assert changed.any()
    assert not changed[: whole.screen.left + 20].any()
