"""Single precision to the last bit, half precision by short cuts that change nothing that matters."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from crossprobe.fusion.predictor import Branch, Predictor
from crossprobe.fusion.recorded_graphs import RecordedGraphs
from crossprobe.models.config import TransUNetConfig
from crossprobe.models.input_scaling import InputScaling
from crossprobe.models.transunet import TransUNet
from crossprobe.training.runtime import Runtime
from crossprobe.training.settings import InferenceSettings, RuntimeSettings

PROCESSOR = torch.device("cpu")


@pytest.fixture(scope="module")
def branches() -> list[Branch]:
    torch.manual_seed(0)
    config = TransUNetConfig.mini(image_size=64)
    return [Branch(TransUNet(config).eval(), InputScaling(mean=mean, std=0.2)) for mean in (0.2, 0.4)]


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)


def half_precision(device, **inference) -> Runtime:
    settings = RuntimeSettings(inference=InferenceSettings(**inference))
    return Runtime(device, bf16=True, channels_last=True, settings=settings)


def by_hand(branches, images):
    batch = torch.from_numpy(images).unsqueeze(1).float() / 255
    with torch.inference_mode():
        return torch.stack([one.module((batch - one.scaling.mean) / one.scaling.std) for one in branches])


def test_single_precision_is_the_module_bit_for_bit(branches, images):
    found = Predictor(branches, Runtime(PROCESSOR, bf16=False, channels_last=False)).logits(images)
    assert torch.equal(found, by_hand(branches, images))


@pytest.mark.parametrize("bf16", [False, True])
def test_a_mirrored_branch_answers_with_the_mean_over_frame_and_mirror_image(branches, images, bf16):
    runtime = half_precision(PROCESSOR) if bf16 else Runtime(PROCESSOR, bf16=False, channels_last=False)
    one, other = branches
    found = Predictor([dataclasses.replace(one, mirrored=True), other], runtime).logits(images)
    plain = Predictor(branches, runtime)
    there, back = plain.logits(images), plain.logits(images[:, :, ::-1].copy()).flip(-1)
    # Half precision rounds otherwise where memory is laid out otherwise.
    near = {"rtol": 0, "atol": 0.02 * float(there.std()) if bf16 else 0}
    torch.testing.assert_close(found[0], (there[0] + back[0]) / 2, **near)
    assert torch.equal(found[1], there[1])
    assert (there[0] - back[0]).abs().max() > 10 * near["atol"]


def test_half_precision_is_as_near_as_autocast(branches, images):
    exact = by_hand(branches, images)
    folded, usual = (
        Predictor(branches, half_precision(PROCESSOR, folded=folded)).logits(images)
        for folded in (True, False)
    )
    assert folded.dtype == torch.float32
    assert folded.shape == exact.shape
    assert 0 < (folded - exact).square().mean() < 1.5 * (usual - exact).square().mean()


def test_the_inference_form_is_made_once_and_only_where_needed(branches, images):
    half = Predictor(branches, half_precision(PROCESSOR))
    assert "_run" not in vars(half)
    half.logits(images)
    made = vars(half)["_run"]
    half.logits(images[:1])
    assert vars(half)["_run"] is made


@pytest.mark.parametrize(
    ("device", "bf16", "asked", "recorded"),
    [
        ("cuda", True, "auto", True), ("cuda", False, "auto", False), ("cuda", False, True, True),
        ("cuda", True, False, False), ("cpu", True, True, False), ("cpu", True, "auto", False),
    ],
)  # fmt: skip
def test_graphs_are_recorded_where_asked_for(branches, monkeypatch, device, bf16, asked, recorded):
    monkeypatch.setattr(Predictor, "_inference_form", lambda self: lambda images: images)
    settings = RuntimeSettings(inference=InferenceSettings(cuda_graphs=asked, recorded_batch_sizes=2))
    predictor = Predictor(branches, Runtime(torch.device(device), bf16, False, settings))
    assert isinstance(predictor._run, RecordedGraphs) == recorded


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_recorded_graphs_replay_the_branches(branches, images):
    device = torch.device("cuda")
    there = [Branch(one.module.to(device), one.scaling) for one in branches]
    plain = Predictor(there, half_precision(device, cuda_graphs=False))
    recorded = Predictor(there, half_precision(device, recorded_batch_sizes=1))
    first, again = recorded.logits(images), recorded.logits(images[::-1].copy())
    torch.testing.assert_close(first, plain.logits(images), rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(first, again.flip(1), rtol=2e-2, atol=2e-2)
    assert isinstance(vars(recorded)["_run"], RecordedGraphs)
    torch.testing.assert_close(recorded.logits(images[:1]), first[:, :1], rtol=2e-2, atol=2e-2)
    for one in branches:
        one.module.to("cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_graphs_in_single_precision_replay_the_modules(branches, images):
    device = torch.device("cuda")
    there = [Branch(one.module.to(device), one.scaling) for one in branches]
    settings = RuntimeSettings(tf32=False, inference=InferenceSettings(cuda_graphs=True))
    plain = Predictor(there, Runtime(device, bf16=False, channels_last=True))
    recorded = Predictor(there, Runtime(device, bf16=False, channels_last=True, settings=settings))
    torch.testing.assert_close(recorded.logits(images), plain.logits(images), rtol=1e-4, atol=1e-4)
    for one in branches:
        one.module.to("cpu")
