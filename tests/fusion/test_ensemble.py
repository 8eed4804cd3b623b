"""Branches answer together: frame by frame, with their own temperatures, and only if they belong together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crossprobe.errors import CoverageError, CrossprobeError
from crossprobe.fusion.ensemble import Ensemble, FusedAnswer
from crossprobe.fusion.evidence import FlipEvidenceSettings
from crossprobe.fusion.predictor import Branch, Predictor
from crossprobe.models.checkpoint import Checkpoint
from crossprobe.models.config import TransUNetConfig
from crossprobe.models.input_scaling import InputScaling
from crossprobe.models.transunet import TransUNet
from crossprobe.training.runtime import Runtime

CPU = Runtime(torch.device("cpu"), bf16=False, channels_last=False)
ANSWERS = {
    "average": FusedAnswer(),
    "entropy": FusedAnswer(confidence="entropy", calibrated=True),
    "flip": FusedAnswer(confidence="entropy", calibrated=True, flip_evidence=FlipEvidenceSettings()),
}


def checkpoint(seed: int, size: int = 32, form: str = "segmenter") -> Checkpoint:
    torch.manual_seed(seed)
    config = TransUNetConfig.mini(image_size=size)
    module = TransUNet(config)
    with torch.no_grad():
        module.head.weight.mul_(20)
    described = {"form": form, "model": config.model_dump(mode="json"), "scaling": {"mean": 0.3, "std": 0.2}}
    return Checkpoint(module.state_dict(), described)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.from_checkpoints([checkpoint(0), checkpoint(1)], CPU)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)


def test_what_a_frame_gets_does_not_depend_on_its_batch(predictor, images):
    ensemble = Ensemble(predictor, [1.0, 2.0], ANSWERS)
    together = ensemble.predict(images)
    for place in range(3):
        alone = ensemble.predict(images[place : place + 1])
        for name in ANSWERS:
            assert torch.allclose(together[name].probability[place], alone[name].probability[0], atol=1e-5)
            assert torch.allclose(together[name].weights[:, place], alone[name].weights[:, 0], atol=1e-4)


def test_the_average_is_that_of_the_branches(predictor, images):
    fused = Ensemble(predictor, [5.0, 0.2], {"average": FusedAnswer()}).predict(images)["average"]
    expected = torch.sigmoid(predictor.logits(images)).mean(dim=0)
    assert torch.allclose(fused.probability, expected, atol=1e-6)
    assert torch.allclose(fused.weights, torch.full_like(fused.weights, 0.5))


def test_temperatures_change_the_calibrated_answers_only(predictor, images):
    even, odd = (Ensemble(predictor, pair, ANSWERS).predict(images) for pair in ([1.0, 1.0], [1.0, 9.0]))
    assert torch.equal(even["average"].probability, odd["average"].probability)
    assert not torch.allclose(even["entropy"].probability, odd["entropy"].probability, atol=1e-3)


def test_flip_evidence_changes_the_weights(predictor, images):
    fused = Ensemble(predictor, [1.0, 1.0], ANSWERS).predict(images)
    assert not torch.allclose(fused["flip"].weights, fused["entropy"].weights, atol=1e-3)


def test_the_scaling_of_the_checkpoint_is_applied(images):
    plain = checkpoint(0)
    other = Checkpoint(plain.weights, {**plain.config, "scaling": {"mean": 0.0, "std": 1.0}})
    first, second = (Predictor.from_checkpoints([which], CPU).logits(images) for which in (plain, other))
    assert not torch.allclose(first, second, atol=1e-3)


def test_every_branch_needs_a_temperature(predictor):
    with pytest.raises(CrossprobeError, match="2 branches need as many temperatures, got 1"):
        Ensemble(predictor, [1.0], ANSWERS)


def test_an_encoder_is_no_segmenter():
    with pytest.raises(CrossprobeError, match="this one is of form 'mim'"):
        Predictor.from_checkpoints([checkpoint(0, form="mim")], CPU)


def test_weights_of_another_architecture():
    small, large = checkpoint(0), TransUNetConfig.mini(image_size=32, depth=7)
    mixed = Checkpoint(small.weights, {**small.config, "model": large.model_dump(mode="json")})
    with pytest.raises(CoverageError, match="missing"):
        Predictor.from_checkpoints([mixed], CPU)


def test_branches_of_two_sizes():
    branches = [Branch(TransUNet(TransUNetConfig.mini(image_size=size)), InputScaling()) for size in (32, 48)]
    with pytest.raises(CrossprobeError, match=r"one image size, got \[32, 48\]"):
        Predictor(branches, CPU)


def test_a_fitted_bias_is_applied(predictor, images):
    plain, shifted = (
        Ensemble(predictor, [1.0, 1.0], ANSWERS, biases=biases).predict(images) for biases in ((), (3.0, 3.0))
    )
    assert torch.equal(plain["average"].probability, shifted["average"].probability)
    assert float(shifted["entropy"].probability.mean()) > float(plain["entropy"].probability.mean()) + 0.05
