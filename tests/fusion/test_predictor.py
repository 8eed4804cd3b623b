"""Single precision to the last bit, half precision by short cuts that change nothing that matters."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crossprobe.fusion.inference_settings import InferenceSettings
from crossprobe.fusion.predictor import Branch, Predictor
from crossprobe.fusion.recorded_graphs import RecordedGraphs
from crossprobe.models.config import TransUNetConfig
from crossprobe.models.input_scaling import InputScaling
from crossprobe.models.transunet import TransUNet
from crossprobe.training.runtime import Runtime

PROCESSOR = torch.device("cpu")


@pytest.fixture(scope="module")
def branches() -> list[Branch]:
    torch.manual_seed(0)
    config = TransUNetConfig.mini(image_size=64)
    return [Branch(TransUNet(config).eval(), InputScaling(mean=mean, std=0.2)) for mean in (0.2, 0.4)]


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)


def by_hand(branches, images):
    batch = torch.from_numpy(images).unsqueeze(1).float() / 255
    with torch.inference_mode():
        return torch.stack([one.module((batch - one.scaling.mean) / one.scaling.std) for one in branches])


def test_single_precision_is_the_module_bit_for_bit(branches, images):
    found = Predictor(branches, Runtime(PROCESSOR, bf16=False, channels_last=False)).logits(images)
    assert torch.equal(found, by_hand(branches, images))


def test_half_precision_is_as_near_as_autocast(branches, images):
    exact = by_hand(branches, images)
    runtime = Runtime(PROCESSOR, bf16=True, channels_last=True)
    folded, usual = (
        Predictor(branches, runtime, InferenceSettings(folded=folded)).logits(images)
        for folded in (True, False)
    )
    assert folded.dtype == torch.float32
    assert folded.shape == exact.shape
    assert 0 < (folded - exact).square().mean() < 1.5 * (usual - exact).square().mean()


def test_the_inference_form_is_made_once_and_only_where_needed(branches, images):
    half = Predictor(branches, Runtime(PROCESSOR, bf16=True, channels_last=True))
    assert "_fast" not in vars(half)
    half.logits(images)
    made = vars(half)["_fast"]
    half.logits(images[:1])
    assert vars(half)["_fast"] is made


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_recorded_graphs_replay_the_branches(branches, images):
    device = torch.device("cuda")
    runtime = Runtime(device, bf16=True, channels_last=True)
    there = [Branch(one.module.to(device), one.scaling) for one in branches]
    plain = Predictor(there, runtime, InferenceSettings(cuda_graphs=False))
    recorded = Predictor(there, runtime, InferenceSettings(recorded_batch_sizes=1))
    first, again = recorded.logits(images), recorded.logits(images[::-1].copy())
    torch.testing.assert_close(first, plain.logits(images), rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(first, again.flip(1), rtol=2e-2, atol=2e-2)
    assert isinstance(vars(recorded)["_fast"], RecordedGraphs)
    torch.testing.assert_close(recorded.logits(images[:1]), first[:, :1], rtol=2e-2, atol=2e-2)
    for one in branches:
        one.module.to("cpu")
