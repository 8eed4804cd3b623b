"""Every task learns one batch, validates the same way twice, and draws by sample, not by place in a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crossprobe.models.input_scaling import InputScaling
from crossprobe.models.masked_image_model import MaskedImageModel
from crossprobe.models.projection import ContrastiveModel
from crossprobe.models.transunet import TransUNet
from crossprobe.ssl.augment import ContrastiveAugmentSettings
from crossprobe.ssl.frame_sampler import FrameSamplerSettings
from crossprobe.ssl.mim import MimSettings
from crossprobe.ssl.nt_xent import NtXentSettings
from crossprobe.tasks.contrastive import ContrastiveTask
from crossprobe.tasks.masked_image import MaskedImageTask
from crossprobe.tasks.segmentation import SegmentationTask
from crossprobe.training.dice_bce import DiceBceSettings
from crossprobe.training.frame_source import FrameSource
from crossprobe.training.loop import train
from crossprobe.training.sampler import Batch
from crossprobe.training.segmentation_augment import SegmentationAugmentSettings
from crossprobe.training.settings import TrainingSettings

SCALING = InputScaling(mean=0.2, std=0.3)


def settings(**changes) -> TrainingSettings:
    given = {"steps": 25, "batch_size": 6, "validate_every": 25, "save_every": 100,
             "optimiser": {"name": "adamw", "learning_rate": 2e-3}}  # fmt: skip
    return TrainingSettings.model_validate(given | changes)


def sources(store, runtime, labels):
    rows = np.arange(12)
    return [FrameSource(store, part, runtime.device, labels) for part in (rows[:8], rows[8:])]


@pytest.fixture
def make(store, runtime, tiny):
    def segmentation(given, **also):
        training, validation = sources(store, runtime, labels=True)
        augment = also.pop("augment", SegmentationAugmentSettings.none())
        torch.manual_seed(0)
        return SegmentationTask(
            TransUNet(tiny), training, validation, given, augment, DiceBceSettings(), SCALING, runtime, **also
        )

    def masked_image(given, **also):
        training, selection = sources(store, runtime, labels=False)
        masking = MimSettings(mask_patch_px=8, **also)
        torch.manual_seed(0)
        return MaskedImageTask(MaskedImageModel(tiny), training, selection, given, masking, SCALING, runtime)

    def contrastive(given, **also):
        training, selection = sources(store, runtime, labels=False)
        sampling = FrameSamplerSettings(frames_per_video=2)
        torch.manual_seed(0)
        return ContrastiveTask(
            ContrastiveModel(tiny), training, selection, given, ContrastiveAugmentSettings(), sampling,
            NtXentSettings(**{"frame_gap": 3, "temperature": 0.1, **also}), SCALING, runtime,
        )  # fmt: skip

    return {"segmentation": segmentation, "masked_image": masked_image, "contrastive": contrastive}


@pytest.mark.parametrize("name", ["segmentation", "masked_image", "contrastive"])
def test_a_task_learns(make, name, tmp_path):
    given = settings(validate_every=5)
    history = train(make[name](given), given, 8, tmp_path, "a").history
    losses = history.query("part == 'train' and metric == 'loss'")["value"]
    # Fresh views of few, similar frames: the contrastive loss has a floor far above zero.
    share = 0.95 if name == "contrastive" else 0.9
    assert losses.iloc[-3:].mean() < share * losses.iloc[:3].mean()


@pytest.mark.parametrize("name", ["segmentation", "masked_image", "contrastive"])
def test_validation_repeats(make, name):
    task = make[name](settings())
    task.module.eval()
    with torch.no_grad():
        assert task.validate(4) == task.validate(4)


@pytest.mark.parametrize("name", ["segmentation", "masked_image", "contrastive"])
def test_validation_figures_do_not_depend_on_what_goes_through_at_once(make, name):
    task = make[name](settings())
    seen = []
    task.module.eval().register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    with torch.no_grad():
        whole, sizes = task.validate(64), {size: task.validate(size) for size in (3, 1)}
    views = 2 if name == "contrastive" else 1
    assert max(seen[:1]) == views * 4
    assert seen[-1] == views
    for figures in sizes.values():
        assert figures == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize("name", ["segmentation", "masked_image", "contrastive"])
def test_training_frames_have_names(make, name):
    assert make[name](settings()).names(torch.tensor([5, 0])) == ["a/20", "a/0"]


@pytest.mark.parametrize("name", ["segmentation", "masked_image"])
def test_what_a_sample_gets_does_not_depend_on_its_batch(make, name):
    """The mean over single samples equals the loss of the batch, augmentation, masks and all."""
    also = {"augment": SegmentationAugmentSettings()} if name == "segmentation" else {"speckle_share": 0.5}
    task = make[name](settings(), **also)
    task.module.eval()
    rows, epochs = torch.tensor([5, 0, 3]), torch.tensor([2, 2, 2])
    with torch.no_grad():
        whole = task.loss(Batch(rows, epochs))[0]
        single = [task.loss(Batch(rows[i : i + 1], epochs[i : i + 1]))[0] for i in range(3)]
    assert torch.allclose(whole, torch.stack(single).mean(), atol=1e-4)


@pytest.mark.parametrize("name", ["segmentation", "masked_image", "contrastive"])
def test_epochs_draw_anew(make, name):
    also = {"augment": SegmentationAugmentSettings()} if name == "segmentation" else {}
    task = make[name](settings(), **also)
    task.module.eval()
    rows = torch.arange(6)
    with torch.no_grad():
        first, again, later = (
            float(task.loss(Batch(rows, torch.full_like(rows, epoch)))[0]) for epoch in (0, 0, 1)
        )
    assert first == again
    assert first != later


def test_shuffled_labels_are_no_labels(make, tmp_path):
    """The control: masks dealt to the wrong frames teach nothing that holds for other frames."""
    given = settings(steps=60)
    honest = train(make["segmentation"](given), given, 8, tmp_path / "honest", "a").history
    shuffled = train(
        make["segmentation"](given, shuffled_labels=True), given, 8, tmp_path / "shuffled", "b"
    ).history
    dsc = [table.query("metric == 'dsc'")["value"].iloc[-1] for table in (honest, shuffled)]
    assert dsc[0] > dsc[1] + 0.2


def test_masked_pairs_are_counted(make):
    task = make["contrastive"](settings())
    figures = task.loss(task.sampler.batch(0))[1]
    assert figures["negatives_per_anchor"] + figures["masked_pairs_per_anchor"] == pytest.approx(10)
    none = make["contrastive"](settings(), frame_gap=0)
    assert none.loss(none.sampler.batch(0))[1]["masked_pairs_per_anchor"] == 0


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_parts_of_a_contrastive_batch_give_the_gradient_of_the_whole(make, at_once):
    gradients, losses, embedded = [], [], []
    for size in (None, at_once):
        task = make["contrastive"](settings())
        task.at_once = size
        task.module.encoder.register_forward_pre_hook(lambda _, given: embedded.append(len(given[0])))
        loss, _ = task.loss(task.sampler.batch(0))
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append([parameter.grad for parameter in task.module.parameters()])
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    for whole, cut in zip(*gradients, strict=True):
        assert float((whole - cut).norm()) <= 1e-4 * float(whole.norm()) + 1e-9
    # Six frames have twelve views; each part goes through twice, once to embed and once on the way back.
    assert embedded == [12] + 2 * (6 // at_once) * [2 * at_once]


def test_dropout_is_the_same_on_the_way_back(make, tiny):
    task = make["contrastive"](settings())
    task.module = ContrastiveModel(tiny.model_copy(update={"dropout": 0.5}))
    task.at_once, seen = 2, []
    task.module.encoder.register_forward_hook(lambda *given: seen.append(given[2][0].detach()))
    batch = task.sampler.batch(0)
    task.loss(batch)[0].backward()
    there, back = seen[:3], seen[3:]
    assert len(back) == 3
    assert all(any(torch.equal(one, other) for other in back) for one in there)
    task.loss(batch)[0].backward()
    assert not any(torch.equal(one, other) for one in there for other in seen[6:])


def test_the_random_mask_control_masks_as_many(make):
    batch = make["contrastive"](settings()).sampler.batch(0)
    real, control = (make["contrastive"](settings(), control=kind) for kind in ("none", "random_mask"))
    for task in (real, control):
        task.module.eval()
    with torch.no_grad():
        (loss, figures), (other_loss, other) = real.loss(batch), control.loss(batch)
    assert figures["masked_pairs_per_anchor"] == other["masked_pairs_per_anchor"] > 0
    assert float(loss) != float(other_loss)


def test_reconstruction_panels_keep_what_was_seen(make):
    task = make["masked_image"](settings())
    images, seen, rebuilt = task.panels(torch.arange(4))
    hidden = seen == 0
    assert images.shape == seen.shape == rebuilt.shape == (4, 1, 32, 32)
    assert 0.5 < hidden.float().mean() < 0.7
    assert torch.allclose(rebuilt[~hidden], images[~hidden], atol=1e-5)
