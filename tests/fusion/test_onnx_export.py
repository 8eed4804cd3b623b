"""What another runtime computes from the written file is what torch computes, whatever the batch."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from crossprobe.errors import CrossprobeError
from crossprobe.fusion.confidence import entropy_confidence
from crossprobe.fusion.ensemble import Ensemble, FusedAnswer
from crossprobe.fusion.evidence import FlipEvidenceSettings
from crossprobe.fusion.onnx_export import export_ensemble
from crossprobe.fusion.predictor import Branch, Predictor
from crossprobe.models.config import TransUNetConfig
from crossprobe.models.input_scaling import InputScaling
from crossprobe.models.onnx_export import export_segmenter
from crossprobe.models.transunet import TransUNet
from crossprobe.training.runtime import Runtime

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
CPU = Runtime(torch.device("cpu"), bf16=False, channels_last=False)
# Both compute in single precision, in different orders; logits are of the order of ten.
TOLERANCE = 5e-4


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def branch(seed: int, channels: int, depth: int = 4) -> Branch:
    torch.manual_seed(seed)
    module = TransUNet(TransUNetConfig.mini(image_size=64, channels=channels, depth=depth)).eval()
    with torch.no_grad():
        module.head.weight.mul_(10)
    return Branch(module, InputScaling(mean=0.3, std=0.2))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 64, 64), dtype=np.uint8)


@pytest.mark.slow
def test_a_branch(tmp_path, images):
    one = branch(0, channels=3)
    file = export_segmenter(one.module, one.scaling, tmp_path / "new" / "branch.onnx")
    expected = Predictor([one], CPU).logits(images)[0].numpy()
    running = session(file)
    for part in (slice(0, 1), slice(0, 5)):
        (found,) = running.run(["logits"], {"images": images[part]})
        np.testing.assert_allclose(found, expected[part], atol=TOLERANCE)
    assert np.ptp(expected) > 1


@pytest.mark.slow
def test_two_branches_and_their_fusion(tmp_path, images):
    how = FusedAnswer(confidence="entropy", calibrated=True, flip_evidence=FlipEvidenceSettings())
    mirrored = dataclasses.replace(branch(1, 1, depth=1), mirrored=True)
    predictor = Predictor([mirrored, branch(2, 1, depth=1)], CPU)
    ensemble = Ensemble(predictor, [1.5, 0.7], {"fused": how}, biases=[0.1, -0.2])
    file = export_ensemble(ensemble, "fused", tmp_path / "pair.onnx")
    expected = ensemble.predict(images)["fused"].probability
    running = session(file)
    for part in (slice(2, 3), slice(0, 4)):
        probability, confidence = running.run(["probability", "confidence"], {"images": images[part]})
        np.testing.assert_allclose(probability, expected[part].numpy(), atol=TOLERANCE)
        np.testing.assert_allclose(confidence, entropy_confidence(expected[part]).numpy(), atol=4 * TOLERANCE)
    assert np.ptp(expected.numpy()) > 0.1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pair.onnx"]


def test_an_unknown_answer_is_refused(tmp_path):
    ensemble = Ensemble(Predictor([branch(1, 1)], CPU), [1.0], {"fused": FusedAnswer()})
    with pytest.raises(CrossprobeError, match="no answer 'best': this ensemble has fused"):
        export_ensemble(ensemble, "best", tmp_path / "pair.onnx")
