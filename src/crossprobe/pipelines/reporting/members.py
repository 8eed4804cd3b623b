"""The trained arms of a study, rebuilt from what the catalog holds of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crossprobe.pipelines.arms import Arms
from crossprobe.pipelines.fusion.settings import FusedAnswers
from crossprobe.training.settings import RuntimeSettings

if TYPE_CHECKING:
    from crossprobe.fusion.ensemble import Ensemble


@dataclass(frozen=True)
class Members:
    """Which data sets make up which arms.

    Attributes:
        arms: The table of the study.
        names: Fine-tuning arms that are wanted, in order.
    """

    arms: Arms
    names: tuple[str, ...]

    def inputs(self) -> list[str]:
        """Names the checkpoint and the calibration of every arm, in turn."""
        return [f"finetune.{name}.{part}" for name in self.names for part in ("checkpoint", "calibration")]

    def fused(self) -> dict[str, tuple[str, ...]]:
        """Fused arms all of whose branches are wanted."""
        return {
            name: arm.branches
            for name, arm in self.arms.fusion.items()
            if set(arm.branches) <= set(self.names)
        }

    def ensembles(
        self, loaded: Sequence[Any], fusion: FusedAnswers, runtime: RuntimeSettings
    ) -> dict[str, Ensemble]:
        """Rebuilds every arm that was trained; branches are loaded once and shared with the fused arms.

        Args:
            loaded: What `inputs` names, loaded.
            fusion: Ways of fusing.
            runtime: Device and precision.

        Returns:
            Single arms, then fused ones.
        """
        from crossprobe.fusion.ensemble import PLAIN, Ensemble
        from crossprobe.fusion.predictor import Predictor
        from crossprobe.training.runtime import resolve

        machine = resolve(runtime)
        trained = {
            name: (checkpoint, fit)
            for name, checkpoint, fit in zip(self.names, loaded[::2], loaded[1::2], strict=True)
            if not checkpoint.left_out
        }
        checkpoints = [checkpoint for checkpoint, _ in trained.values()]
        branches = dict(zip(trained, Predictor.from_checkpoints(checkpoints, machine).branches, strict=True))
        fits = {name: fit for name, (_, fit) in trained.items()}
        single = {
            name: Ensemble(Predictor([branch], machine), [1.0], {name: PLAIN})
            for name, branch in branches.items()
        }
        fused = {
            name: Ensemble(
                Predictor([branches[member] for member in members], machine),
                [fits[member]["temperature"] for member in members],
                {f"{name}_{answer}": how for answer, how in fusion.answers.items()},
                members,
                [fits[member]["bias"] for member in members],
            )
            for name, members in self.fused().items()
            if set(members) <= set(trained)
        }
        return single | fused
