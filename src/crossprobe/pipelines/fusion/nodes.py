"""Nodes of the fusion pipeline: several branches answer together, on one site at a time."""

from __future__ import annotations

from typing import Any

import pandas as pd

from crossprobe.data.frame_store import FrameStore
from crossprobe.evaluation.score_settings import SiteScoring
from crossprobe.pipelines.evaluation.nodes import SCORING_CODE
from crossprobe.pipelines.folders import Folders
from crossprobe.pipelines.fusion.settings import FusedAnswers
from crossprobe.pipelines.model import for_scoring
from crossprobe.pipelines.remembered import remembered
from crossprobe.training.settings import RuntimeSettings


@remembered(*SCORING_CODE)
def score_fused(
    frames: FrameStore,
    split: dict[str, Any],
    scoring: SiteScoring,
    fusion: FusedAnswers,
    runtime: RuntimeSettings,
    folders: Folders,
    *branches: Any,
    arm_name: str,
) -> pd.DataFrame:
    """Scores every way of fusing the branches (checkpoint, calibration, checkpoint, calibration, …).

    No row where a branch was not trained.
    """
    from crossprobe.evaluation.score_site import score_site
    from crossprobe.evaluation.segmentation import no_scores
    from crossprobe.fusion.ensemble import Ensemble
    from crossprobe.fusion.predictor import Predictor
    from crossprobe.training.runtime import resolve

    if any(checkpoint.left_out for checkpoint in branches[::2]):
        return no_scores()
    predictor = Predictor.from_checkpoints(branches[::2], resolve(for_scoring(runtime)))
    temperatures = [calibration["temperature"] for calibration in branches[1::2]]
    biases = [calibration["bias"] for calibration in branches[1::2]]
    answers = {f"{arm_name}_{name}": answer for name, answer in fusion.answers.items()}
    rows = frames.rows(split["parts"]["test"], labelled=True)
    ensemble = Ensemble(predictor, temperatures, answers, biases=biases)
    return score_site(ensemble, frames, rows, scoring, f"score {arm_name}")
