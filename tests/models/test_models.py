"""Every model at every size through one tester: shapes, gradients, memory formats, precision, checkpoints."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from crossprobe.errors import CrossprobeError
from crossprobe.models.checkpoint import Checkpoint, load_weights
from crossprobe.models.masked_image_model import MaskedImageModel, pixel_mask
from crossprobe.models.projection import ContrastiveModel, ProjectionConfig
from crossprobe.models.registry import model_config
from crossprobe.models.transunet import TransUNet, TransUNetConfig

FORMS: dict[str, Callable[[TransUNetConfig], nn.Module]] = {
    "segmentation": TransUNet,
    "masked_image": MaskedImageModel,
    "contrastive": lambda config: ContrastiveModel(config, ProjectionConfig(output_width=16)),
}
MINI = [pytest.param("mini", side, channels) for side, channels in ((96, 1), (112, 3))]
FULL = [pytest.param("r50_vit_b16", 64, 3, marks=pytest.mark.slow)]


def _images(config: TransUNetConfig, count: int = 2) -> Tensor:
    return torch.rand(count, config.channels, config.image_size, config.image_size)


def _run(model: nn.Module, images: Tensor) -> Tensor:
    if isinstance(model, MaskedImageModel):
        mask = torch.zeros(len(images), model.config.grid, model.config.grid)
        mask[:, ::2] = 1
        return model(images, mask)
    return model(images)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("preset", "side", "channels"), MINI + FULL)
def test_forward_and_backward(form: str, preset: str, side: int, channels: int):
    config = model_config(preset, image_size=side, channels=channels, classes=2)
    model = FORMS[form](config).train()
    output = _run(model, _images(config))
    outputs = {"segmentation": 2, "masked_image": channels}
    assert output.shape == ((2, outputs[form], side, side) if form in outputs else (2, 16))
    output.square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize(("preset", "side", "channels"), MINI + FULL)
def test_features_have_the_documented_shapes(preset: str, side: int, channels: int):
    config = model_config(preset, image_size=side, channels=channels)
    tokens, skips = TransUNet(config).eval().encode(_images(config))
    assert tokens.shape == (2, (side // 16) ** 2, config.width)
    expected = [
        (2, width, side // step, side // step)
        for width, step in zip(config.skip_widths, (8, 4, 2), strict=True)
    ]
    assert [tuple(skip.shape) for skip in skips] == expected


@pytest.mark.parametrize("form", FORMS)
def test_channels_last_changes_nothing(form: str):
    config = TransUNetConfig.mini(96)
    model, images = FORMS[form](config).eval(), _images(config)
    with torch.no_grad():
        plain = _run(model, images)
        turned = _run(
            model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
        )
    torch.testing.assert_close(turned, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_bf16_autocast_stays_close(form: str):
    config = TransUNetConfig.mini(96)
    model, images = FORMS[form](config).eval(), _images(config)
    with torch.no_grad():
        single = _run(model, images)
        with torch.autocast("cpu", torch.bfloat16):
            half = _run(model, images)
    assert half.dtype == torch.bfloat16
    error = (half.float() - single).square().mean().sqrt() / single.std()
    assert 0 < error < 0.1  # eight bits of mantissa through some thirty layers of random weights


@pytest.mark.parametrize("form", FORMS)
def test_evaluation_is_deterministic_and_survives_a_checkpoint(form: str, tmp_path):
    config = TransUNetConfig.mini(96, dropout=0.2, attention_dropout=0.1)
    model, images = FORMS[form](config), _images(config)
    assert not torch.equal(_run(model, images), _run(model, images)), "dropout must act in training"
    model.eval()
    first = _run(model, images)
    torch.testing.assert_close(_run(model, images), first, rtol=0, atol=0)
    alone = _run(model, images[:1])
    torch.testing.assert_close(alone, first[:1], atol=1e-5, rtol=1e-5)

    Checkpoint(model.state_dict(), config.model_dump(mode="json")).save(tmp_path)
    read = Checkpoint.load(tmp_path)
    again = FORMS[form](TransUNetConfig.model_validate(read.config)).eval()
    load_weights(again, read.weights)
    torch.testing.assert_close(_run(again, images), first, rtol=0, atol=0)


def test_encoder_moves_between_all_forms():
    config = TransUNetConfig.mini(96)
    target = TransUNet(config)
    for form in FORMS.values():
        source = form(config)
        report = load_weights(target.encoder, source.state_dict(), prefix="encoder.")
        assert report.coverage == 1.0
        for name, value in source.encoder.state_dict().items():
            assert torch.equal(target.encoder.state_dict()[name], value), name


def test_one_batch_can_be_learnt_by_heart():
    config = TransUNetConfig.mini(64)
    model = TransUNet(config).train()
    images = torch.rand(4, 1, 64, 64) * 0.5
    truth = torch.zeros_like(images)
    for index in range(4):  # a bright line two pixels thick, as a bone surface is
        row = 12 + 10 * index
        truth[index, :, row : row + 2, 8:56] = 1
    images = images + 0.3 * truth
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(40):
        loss = nn.functional.binary_cross_entropy_with_logits(model(images), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    predicted = model(images) > 0
    overlap = 2 * (predicted & truth.bool()).sum() / (predicted.sum() + truth.sum())
    assert overlap > 0.95


def test_grey_images_feed_a_model_of_three_channels():
    model = TransUNet(TransUNetConfig.mini(64, channels=3)).eval()
    grey = torch.rand(1, 1, 64, 64)
    torch.testing.assert_close(model(grey), model(grey.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (1, 1, 64, 80), (1, 1, 96, 96)])
def test_images_that_do_not_fit_are_refused(shape):
    with pytest.raises(CrossprobeError, match=r"\(1, 64, 64\).*resize"):
        TransUNet(TransUNetConfig.mini(64))(torch.rand(shape))


def test_hidden_cells_do_not_reach_the_reconstruction():
    config = TransUNetConfig.mini(64)
    model = MaskedImageModel(config).eval()
    mask = (torch.rand(2, 4, 4) < 0.6).float()
    images = torch.rand(2, 1, 64, 64)
    other = torch.where(pixel_mask(mask, 64) > 0, torch.rand(2, 1, 64, 64), images)
    torch.testing.assert_close(model(images, mask), model(other, mask), rtol=0, atol=0)
    torch.testing.assert_close(model(images, mask.bool()), model(images, pixel_mask(mask, 64)))
    torch.testing.assert_close(model(images * (1 - pixel_mask(mask, 64))), model(images, mask))


def test_one_frame_costs_what_the_study_says():
    with torch.device("meta"):
        config = TransUNetConfig.r50_vit_b16()
        model, images = TransUNet(config).eval(), _images(config, 1)
    with FlopCounterMode(display=False) as counter:
        model(images)
    assert counter.get_total_flops() / 1e9 == pytest.approx(58.34, abs=0.005)


@pytest.mark.parametrize("form", ["segmentation", "contrastive"])
def test_export_takes_any_batch_size(form: str):
    config = TransUNetConfig.mini(64)
    model = FORMS[form](config).eval()
    sizes = {"images": {0: torch.export.Dim("batch")}}
    exported = torch.export.export(model, (_images(config),), dynamic_shapes=sizes).module()
    images = _images(config, 5)
    torch.testing.assert_close(exported(images), model(images))


def test_a_mask_that_does_not_fit_is_refused():
    with pytest.raises(CrossprobeError, match="divisor of 64"):
        pixel_mask(torch.ones(2, 5, 5), 64)
