"""Choosing without labels: criteria by hand, ties, and what may never happen."""

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
import pytest

from crossprobe.errors import CrossprobeError, LabelsNotAllowed
from crossprobe.evaluation.label_free import (
    CRITERIA,
    VARIANTS,
    UnlabelledFrame,
    frame_criteria,
    label_free_table,
    perturb,
    regret,
    undo,
)

ARMS = ("source_only", "mim", "mt_nxent")


def box(top: int, size: int = 4, inside: float = 0.9, outside: float = 0.05) -> np.ndarray:
    values = np.full((16, 16), outside)
    values[top : top + size, 4:12] = inside
    return values


def sweep(tops: dict[str, list[int]], inside: dict[str, float] | None = None) -> list[UnlabelledFrame]:
    """Frames of one video: each arm draws its box where told, mim alone keeps it when perturbed."""
    inside = inside or {}
    frames = []
    for index in range(len(next(iter(tops.values())))):
        maps = {arm: box(places[index], inside=inside.get(arm, 0.9)) for arm, places in tops.items()}
        perturbed = {
            arm: [values if arm == "mim" else np.roll(values, 2, axis=0)] for arm, values in maps.items()
        }
        frames.append(UnlabelledFrame("p1", "v1", maps, perturbed))
    return frames


def test_criteria_by_hand():
    maps = {"source_only": box(2), "mim": box(4), "mt_nxent": box(4)}
    frame = UnlabelledFrame("p", "v", maps, {"mim": [box(4), box(6)]})
    table = frame_criteria(frame, ARMS, ARMS).set_index("arm")
    # Without source_only the mean of the others is its own box at 4; rows 4 and 5 of 4 + 4 are shared.
    assert table.loc["source_only", "consensus"] == pytest.approx(0.5)
    # For mim the mean of boxes at 2 and 4 reaches .5 where both are (.9) but not where one is (.475).
    assert table.loc["mim", "consensus"] == pytest.approx(2 * 2 / (4 + 2))
    assert table.loc["mim", "consistency"] == pytest.approx((1 + 0.5) / 2)
    assert np.isnan(table.loc["mt_nxent", "consistency"])
    assert table.loc["mim", "area"] == pytest.approx(32 / 256)
    bits = {p: -(p * np.log2(p) + (1 - p) * np.log2(1 - p)) for p in (0.9, 0.05)}
    assert table.loc["mim", "entropy"] == pytest.approx((4 * bits[0.9] + 2 * bits[0.05]) / 6)


def test_the_steady_and_agreed_arm_is_chosen():
    frames = sweep({"source_only": [2, 9, 2], "mim": [4, 4, 4], "mt_nxent": [4, 5, 4]})
    table = label_free_table(frames, ARMS)
    assert table["arm"].iloc[0] == "mim"
    assert table["chosen"].tolist() == [True, False, False]
    assert (table["n_frames"].iloc[0], table["n_patients"].iloc[0]) == (3, 1)
    assert table.set_index("arm").loc["mim", "consistency"] == 1


def test_area_jump_is_measured_inside_a_video_only():
    def frames(video: str, sizes: list[int]) -> list[UnlabelledFrame]:
        return [UnlabelledFrame("p", video, {arm: box(2, size) for arm in ARMS}) for size in sizes]

    table = label_free_table([*frames("a", [4, 2]), *frames("b", [8, 8])], ARMS)
    assert table["area_jump"].tolist() == pytest.approx([0.25] * 3), "half, nothing, and no jump from a to b"


def test_equals_fall_to_the_baseline():
    frames = sweep({"mim": [4, 4], "source_only": [4, 4]})
    frames = [UnlabelledFrame(frame.patient, frame.video, frame.probabilities) for frame in frames]
    table = label_free_table(frames, ("mim", "source_only"))
    assert table["arm"].iloc[0] == "source_only"
    assert table["consistency"].isna().all()


def test_an_empty_answer_does_not_win_on_entropy_by_default():
    empty = np.full((16, 16), 0.4)
    maps = {"source_only": box(4), "mim": empty, "mt_nxent": box(4)}
    table = label_free_table([UnlabelledFrame("p", "v", maps)], ARMS).set_index("arm")
    assert table.loc["mim", "entropy"] > table.loc["source_only", "entropy"]
    nothing = {arm: np.zeros((4, 4)) for arm in ARMS}
    assert (label_free_table([UnlabelledFrame("p", "v", nothing)], ARMS)["entropy"] == 0).all()


def test_candidates_are_guarded():
    frames = sweep({"source_only": [4], "mim": [4], "target_supervised": [4]})
    with pytest.raises(CrossprobeError, match="must be among"):
        label_free_table(frames, ("mim",))
    with pytest.raises(LabelsNotAllowed, match="target_supervised"):
        label_free_table(frames, ("source_only", "mim", "target_supervised"))
    with pytest.raises(CrossprobeError, match="empty"):
        label_free_table([], ("source_only",))


def test_nothing_here_can_take_a_label():
    for function in (label_free_table, frame_criteria, UnlabelledFrame):
        names = inspect.signature(function).parameters
        assert not [name for name in names if "mask" in name or "reference" in name or "label" in name]


@pytest.mark.parametrize("variant", VARIANTS)
def test_perturbations_can_be_undone_in_space(variant):
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 6), dtype=np.uint8)
    changed = perturb(images, variant)
    assert changed.dtype == np.uint8
    assert not np.array_equal(changed, images)
    back = undo(changed, variant)
    if variant == "flip":
        assert np.array_equal(back, images)
    else:
        assert np.corrcoef(back.ravel(), images.ravel())[0, 1] > 0.9


def test_regret_by_hand():
    table = pd.DataFrame({"arm": ["mim", "source_only", "mt_nxent"], "chosen": [True, False, False]})
    table = table.assign(
        consensus=[0.9, 0.8, 0.7], consistency=np.nan, entropy=[0.3, 0.2, 0.1], area_jump=[3, 1, 2]
    )
    found = regret(table, {"mim": 0.70, "source_only": 0.65, "mt_nxent": 0.74, "target_supervised": 0.9})
    assert found["by"].tolist() == ["mean rank", *(name for name in CRITERIA if name != "consistency")]
    assert set(found["oracle"]) == {"mt_nxent"}, "an arm that was no candidate is no oracle either"
    assert found["regret"].tolist() == pytest.approx([0.04, 0.04, 0.0, 0.09])
    with pytest.raises(CrossprobeError, match="mt_nxent"):
        regret(table, {"mim": 0.7, "source_only": 0.6})
    unknown = regret(table, {})
    assert unknown.empty
    assert list(unknown.columns) == list(found.columns), "where no test label is, no regret is known"


def test_branches_do_not_vote_on_what_is_made_of_them():
    """A fused arm that repeats its branches must not win the consensus by agreeing with itself."""
    generator = np.random.default_rng(0)
    maps = {name: generator.random((16, 16)) for name in ("source_only", "left", "right")}
    maps["both"] = (maps["left"] + maps["right"]) / 2
    frame = UnlabelledFrame("p", "v", maps)
    voters = ["source_only", "left", "right"]
    naive = frame_criteria(frame, list(maps), voters).set_index("arm")["consensus"]
    fair = frame_criteria(frame, list(maps), voters, made_of={"both": ("left", "right")}).set_index("arm")[
        "consensus"
    ]
    assert naive["both"] > fair["both"] + 0.1
    assert naive.drop("both").equals(fair.drop("both"))
