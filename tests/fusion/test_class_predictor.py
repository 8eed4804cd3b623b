"""A classifier comes back from its checkpoint alone and answers as it did; temperatures and votes by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from crossprobe.errors import CrossprobeError
from crossprobe.evaluation.grad_cam import grad_cam
from crossprobe.fusion.class_predictor import ClassifierPredictor, average_and_vote
from crossprobe.fusion.class_temperature import fit_class_temperature
from crossprobe.models.checkpoint import Checkpoint
from crossprobe.models.classifier import Classifier
from crossprobe.models.classifier_config import ClassifierConfig
from crossprobe.training.runtime import Runtime

RUNTIME = Runtime(torch.device("cpu"), bf16=False, channels_last=False)
CLASSES = ("a", "b", "c")


def checkpoint(**changes) -> Checkpoint:
    torch.manual_seed(0)
    config = ClassifierConfig(
        **({"backbone": "small_cnn", "classes": CLASSES, "image_size": 16, "dropout": 0.5} | changes)
    )
    module = Classifier(config)
    return Checkpoint(
        module.state_dict(),
        {"form": "classifier", "model": config.model_dump(mode="json"), "scaling": {"mean": 0.3, "std": 0.2}},
    )


def images(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (count, 16, 16), dtype=np.uint8)


def test_a_checkpoint_is_all_it_takes(tmp_path):
    saved = checkpoint()
    saved.save(tmp_path / "c")
    first = ClassifierPredictor.from_checkpoint(saved, RUNTIME)
    second = ClassifierPredictor.from_checkpoint(Checkpoint.load(tmp_path / "c"), RUNTIME)
    assert second.classes == CLASSES
    assert torch.equal(first.logits(images()), second.logits(images()))


def test_probabilities_are_the_softmax_of_calibrated_logits():
    predictor = ClassifierPredictor.from_checkpoint(checkpoint(), RUNTIME, temperature=2.0)
    expected = (predictor.logits(images()) / 2).softmax(1)
    assert torch.allclose(predictor.probabilities(images()), expected)


def test_another_form_is_refused():
    with pytest.raises(
        CrossprobeError, match="a classifier's checkpoint is needed, this one is of form 'segm"
    ):
        ClassifierPredictor.from_checkpoint(Checkpoint({}, {"form": "segmenter"}), RUNTIME)


def test_dropout_disagrees_repeats_and_leaves_no_trace():
    predictor = ClassifierPredictor.from_checkpoint(checkpoint(), RUNTIME)
    before = predictor.logits(images())
    state = torch.get_rng_state()
    first = predictor.dropout_probabilities(images(), 8, seed=3)
    assert first.shape == (8, 5, 3)
    assert float(first.std(0).max()) > 0
    assert torch.equal(first, predictor.dropout_probabilities(images(), 8, seed=3))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(predictor.logits(images()), before)


def test_without_dropout_all_passes_agree():
    predictor = ClassifierPredictor.from_checkpoint(checkpoint(dropout=0.0), RUNTIME)
    passes = predictor.dropout_probabilities(images(), 3)
    assert torch.allclose(passes, predictor.probabilities(images()).expand(3, -1, -1), atol=1e-6)


def test_augmented_answers_do_not_know_left_from_right():
    predictor = ClassifierPredictor.from_checkpoint(checkpoint(), RUNTIME)
    mirrored = np.ascontiguousarray(images()[:, :, ::-1])
    first, second = (predictor.augmented_probabilities(batch) for batch in (images(), mirrored))
    assert torch.allclose(first, second, atol=1e-6)
    assert torch.allclose(first.sum(1), torch.ones(5), atol=1e-5)


def test_a_tie_of_votes_goes_to_the_mean():
    sure, unsure = np.array([[0.9, 0.1, 0.0]]), np.array([[0.3, 0.6, 0.1]])
    mean, vote = average_and_vote([sure, unsure])
    assert mean[0] == pytest.approx([0.6, 0.35, 0.05])
    assert vote.argmax() == 0
    assert vote.sum() == pytest.approx(1)
    assert average_and_vote([sure, unsure, unsure])[1].argmax() == 1


@pytest.mark.parametrize("wanted", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_comes_out(wanted):
    generator = np.random.default_rng(1)
    honest = generator.normal(0, 2, (20_000, 3))
    shares = np.exp(log_softmax(honest, axis=1))
    labels = (shares.cumsum(1) > generator.random((len(shares), 1))).argmax(1)
    fit = fit_class_temperature(honest * wanted, labels)
    assert fit.temperature == pytest.approx(wanted, rel=0.05)
    assert fit.nll_after <= fit.nll_before
    assert not fit.at_bound


def test_a_separable_validation_set_determines_no_temperature():
    fit = fit_class_temperature(np.array([[2.0, -2.0], [-2.0, 2.0]]), np.array([0, 1]))
    assert fit.at_bound
    with pytest.raises(CrossprobeError, match="as many labels as logits"):
        fit_class_temperature(np.zeros((0, 2)), np.zeros(0, int))


def test_the_map_lies_on_what_speaks_for_the_class():
    """A network by hand: class b is the brightness, so its map peaks on the bright square."""
    saved = checkpoint(
        classes=("a", "b"), small_cnn={"filters": (1, 1), "kernel_px": 1, "hidden": 2}, dropout=0
    )
    weights = {name: torch.zeros_like(value) for name, value in saved.weights.items()}
    for name in ("backbone.blocks.0.weight", "backbone.blocks.3.weight", "neck.0.weight"):
        weights[name] += 1
    weights["head.weight"] = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    config = dict(saved.config) | {"scaling": {"mean": 0.0, "std": 1.0}}
    predictor = ClassifierPredictor.from_checkpoint(Checkpoint(weights, config), RUNTIME)
    image = np.zeros((1, 16, 16), np.uint8)
    image[0, 4:8, 8:12] = 250
    found = grad_cam(predictor, image, np.array([1]))[0]
    assert found.shape == (16, 16)
    assert found.min() >= 0
    assert found.max() == pytest.approx(1)
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert 4 <= row < 8
    assert 8 <= column < 12
    assert grad_cam(predictor, image, np.array([0]))[0].max() == 0
