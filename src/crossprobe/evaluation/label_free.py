"""Choosing an arm for a new probe without a single label from it, and what that choice costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from crossprobe.errors import CrossprobeError, LabelsNotAllowed

CRITERIA = {
    "consensus": True,
    "consistency": True,
    "entropy": False,
    "area_jump": False,
}
"""Criteria, and whether more is better."""

REGRET_COLUMNS = ("by", "chosen", "score", "oracle", "oracle_score", "regret")
VARIANTS = ("flip", "darker", "brighter")
_GAIN = {"darker": 0.8, "brighter": 1.25}


@dataclass(frozen=True)
class UnlabelledFrame:
    """What every arm says about one frame of the target's selection part. There is no place for a label.

    Attributes:
        patient: Pseudonym of the patient.
        video: Pseudonym of the video; frames of one video follow one another in order.
        probabilities: Probability of foreground [H, W] by arm.
        perturbed: By arm, the probabilities of `VARIANTS` of the frame, each mapped back onto the frame.
    """

    patient: str
    video: str
    probabilities: Mapping[str, np.ndarray]
    perturbed: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)


def perturb(images: np.ndarray, variant: str) -> np.ndarray:
    """Changes frames in a way that must not change the answer.

    Args:
        images: uint8 [n, H, W].
        variant: One of `VARIANTS`: mirrored, or gain times .8 or 1.25.

    Returns:
        uint8 [n, H, W].
    """
    if variant == "flip":
        return np.ascontiguousarray(images[..., ::-1])
    return np.clip(np.rint(images.astype(np.float32) * _GAIN[variant]), 0, 255).astype(np.uint8)


def undo(values: np.ndarray, variant: str) -> np.ndarray:
    """Maps what was predicted on a perturbed frame back onto the frame.

    Args:
        values: Predictions [..., W].
        variant: One of `VARIANTS`.

    Returns:
        Predictions, same shape.
    """
    return values[..., ::-1] if variant == "flip" else values


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Dice of two boolean masks; two empty ones agree."""
    both = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / both if both else 1.0


def _entropy(probability: np.ndarray) -> np.ndarray:
    """Binary entropy in bits."""
    p = np.clip(probability.astype(np.float64), 1e-8, 1 - 1e-8)
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))


def frame_criteria(
    frame: UnlabelledFrame,
    arms: Sequence[str],
    voters: Sequence[str],
    threshold: float = 0.5,
    made_of: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Computes for each arm what one frame tells without a label.

    `consensus` is the Dice with the mean probability of the other voters. `consistency` is the mean Dice with
    the arm's own answers on perturbed frames. `entropy` is the mean binary entropy, in bits, over the pixels
    that any arm calls foreground, so that no arm wins by calling nothing. `area` is the share of foreground.

    Args:
        frame: The frame.
        arms: Candidates.
        voters: Arms whose mean is the consensus; each is left out of its own.
        threshold: A pixel is foreground at this probability or above.
        made_of: Branches of fused arms: they do not vote on an arm that is made of them.

    Returns:
        One row an arm: `arm, patient, video, consensus, consistency, entropy, area`.
    """
    masks = {arm: frame.probabilities[arm] >= threshold for arm in {*arms, *voters}}
    anywhere = np.logical_or.reduce([masks[arm] for arm in arms])
    rows = []
    for arm in arms:
        own = {arm, *(made_of or {}).get(arm, ())}
        others = [frame.probabilities[voter] for voter in voters if voter not in own]
        consensus = _overlap(masks[arm], np.mean(others, axis=0) >= threshold) if others else np.nan
        variants = [_overlap(masks[arm], values >= threshold) for values in frame.perturbed.get(arm, ())]
        entropy = float(_entropy(frame.probabilities[arm][anywhere]).mean()) if anywhere.any() else 0.0
        row = {"arm": arm, "patient": frame.patient, "video": frame.video, "consensus": consensus}
        row |= {"consistency": np.mean(variants) if variants else np.nan, "entropy": entropy}
        rows.append(row | {"area": masks[arm].mean()})
    return pd.DataFrame(rows)


def label_free_table(
    frames: Iterable[UnlabelledFrame],
    arms: Sequence[str],
    baseline: str = "source_only",
    voters: Sequence[str] | None = None,
    threshold: float = 0.5,
    forbidden: Sequence[str] = ("target_supervised",),
    made_of: Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Ranks arms on unlabelled target frames, patients weighing the same.

    Beside the criteria of `frame_criteria`, `area_jump` is the mean relative change of foreground from one
    frame of a video to the next: bone does not come and go. The arm with the best mean rank over the
    criteria is chosen; among equals the baseline, then the first named.

    Args:
        frames: Frames of the target's selection part, those of one video in order.
        arms: Candidates; the baseline must be among them.
        baseline: The arm that learned from the source alone.
        voters: Arms that make the consensus; every candidate where None. Leave fused arms out: they repeat
            their branches.
        threshold: A pixel is foreground at this probability or above.
        forbidden: Arms that have seen target labels and cannot be candidates.
        made_of: Branches of fused arms: they do not vote on an arm that is made of them.

    Returns:
        One row an arm, best first: `arm, consensus, consistency, entropy, area_jump, area, mean_rank, chosen,
        n_patients, n_frames`.

    Raises:
        CrossprobeError: The baseline is not a candidate, or there are no frames.
        LabelsNotAllowed: A candidate has seen target labels.
    """
    seen = [arm for arm in arms if arm in forbidden]
    if seen:
        raise LabelsNotAllowed(f"{seen} learned from target labels and cannot be chosen without them")
    if baseline not in arms:
        raise CrossprobeError(
            f"{baseline} must be among the candidates {list(arms)}: it may be the best choice"
        )
    parts = [frame_criteria(frame, arms, voters or arms, threshold, made_of) for frame in frames]
    if not parts:
        raise CrossprobeError("no unlabelled frames: the target's selection part is empty")
    scores = pd.concat(parts, ignore_index=True)
    area = scores.groupby(["arm", "patient", "video"], sort=False)["area"]
    before, after = area.shift(), scores["area"]
    largest = np.maximum(before, after)
    scores["area_jump"] = ((after - before).abs() / largest).where(largest != 0, 0.0).where(before.notna())
    means = scores.drop(columns="video").groupby(["arm", "patient"], sort=False).mean().groupby("arm").mean()
    table = means.reindex(list(arms))[[*CRITERIA, "area"]]
    usable = [criterion for criterion in CRITERIA if table[criterion].notna().all()]
    # Rounded, so that arms that differ in the last bit only are the equals they are.
    ranks = pd.DataFrame({name: table[name].round(9).rank(ascending=not CRITERIA[name]) for name in usable})
    table = table.assign(mean_rank=ranks.mean(axis=1).round(9))
    order = sorted(
        arms, key=lambda arm: (table.loc[arm, "mean_rank"], arm != baseline, list(arms).index(arm))
    )
    table = table.loc[order].rename_axis("arm").reset_index()
    sizes = {"n_patients": scores["patient"].nunique(), "n_frames": len(parts)}
    return table.assign(chosen=table["arm"] == order[0], **sizes)


def regret(table: pd.DataFrame, target_metrics: Mapping[str, float]) -> pd.DataFrame:
    """Says what choosing without labels cost, once the target's test labels are opened.

    Args:
        table: From `label_free_table`.
        target_metrics: Mean target score by arm, more is better; empty where no test patient has a label.

    Returns:
        One row for the choice by mean rank and one for each criterion alone: `by, chosen, score, oracle,
        oracle_score, regret` (the oracle's score less the chosen arm's). No row without target scores.

    Raises:
        CrossprobeError: A candidate has no target score although others have.
    """
    if not target_metrics:
        return pd.DataFrame(columns=list(REGRET_COLUMNS))
    missing = [arm for arm in table["arm"] if arm not in target_metrics]
    if missing:
        raise CrossprobeError(f"no target score for the candidates {missing}")
    scores = table["arm"].map(target_metrics).astype(float)
    oracle = str(table["arm"].iloc[int(scores.argmax())])
    best = float(scores.max())
    choices = {"mean rank": table["arm"][table["chosen"]].iloc[0]}
    for criterion, more in CRITERIA.items():
        if table[criterion].notna().all():
            column = table[criterion].round(9)
            choices[criterion] = str(table["arm"].iloc[int(column.argmax() if more else column.argmin())])
    rows = []
    for by, arm in choices.items():
        score = float(target_metrics[arm])
        rows.append({"by": by, "chosen": arm, "score": score, "oracle": oracle, "oracle_score": best})
    return pd.DataFrame(rows).assign(regret=lambda rows: rows["oracle_score"] - rows["score"])
