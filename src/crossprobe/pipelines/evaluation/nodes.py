"""Nodes of the evaluation pipeline: one arm on one site at a time."""

from __future__ import annotations

from typing import Any

import pandas as pd

from crossprobe.data.frame_store import FrameStore
from crossprobe.evaluation.score_settings import SiteScoring
from crossprobe.models.checkpoint import Checkpoint
from crossprobe.pipelines.folders import Folders
from crossprobe.pipelines.model import for_scoring
from crossprobe.pipelines.remembered import remembered
from crossprobe.training.settings import RuntimeSettings

# What scores depend on beside frames, weights and settings.
SCORING_CODE = (
    "crossprobe.evaluation",
    "crossprobe.fusion",
    "crossprobe.models",
    "crossprobe.data",
    "crossprobe.training.runtime",
    "crossprobe.pipelines.model",
    "crossprobe.pipelines.reporting.members",
)


@remembered(*SCORING_CODE)
def score_arm(
    frames: FrameStore,
    split: dict[str, Any],
    checkpoint: Checkpoint,
    scoring: SiteScoring,
    runtime: RuntimeSettings,
    folders: Folders,
    arm_name: str,
) -> pd.DataFrame:
    """Scores one arm on the labelled test patients of one site, if there are any and the arm was trained."""
    from crossprobe.evaluation.score_site import score_site
    from crossprobe.evaluation.segmentation import no_scores
    from crossprobe.fusion.ensemble import PLAIN, Ensemble
    from crossprobe.fusion.predictor import Predictor
    from crossprobe.training.runtime import resolve

    if checkpoint.left_out:
        return no_scores()
    predictor = Predictor.from_checkpoints([checkpoint], resolve(for_scoring(runtime)))
    rows = frames.rows(split["parts"]["test"], labelled=True)
    return score_site(
        Ensemble(predictor, [1.0], {arm_name: PLAIN}), frames, rows, scoring, f"score {arm_name}"
    )
