"""A branch that changes its mind under a flip is trusted less, where it does."""

from __future__ import annotations

import pytest
import torch

from crossprobe.fusion.confidence import foreground, fuse
from crossprobe.fusion.evidence import FlipEvidenceSettings, flip_evidence


def test_agreement_is_full_evidence_and_disagreement_less():
    steady = torch.rand(2, 3, 1, 16, 16)
    chosen = FlipEvidenceSettings()
    assert torch.equal(flip_evidence(steady, steady, chosen), torch.ones_like(steady))
    wavering = steady.clone()
    wavering[1, 0] = 1 - wavering[1, 0]
    found = flip_evidence(steady, wavering, chosen)
    assert (found[0] == 1).all()
    assert (found[1, 0] < 1).any()
    assert (found[1, 1:] == 1).all()
    assert (found > 0).all()


def test_variance_of_two_by_hand():
    first, second = torch.full((1, 1, 1, 4, 4), 0.9), torch.full((1, 1, 1, 4, 4), 0.5)
    found = flip_evidence(first, second, FlipEvidenceSettings(floor=0.02, window_px=3))
    torch.testing.assert_close(found, torch.full_like(first, 0.02 / (0.04 + 0.02)))


def test_disagreement_spreads_over_the_window_only():
    first = torch.zeros(1, 1, 1, 9, 9)
    second = first.clone()
    second[..., 4, 4] = 1.0
    found = flip_evidence(first, second, FlipEvidenceSettings(window_px=3))
    assert ((found < 1).nonzero()[:, -2:].amin(0) == torch.tensor([3, 3])).all()
    assert (found < 1).sum() == 9


def test_it_can_overrule_the_surer_branch():
    probabilities = torch.tensor([0.9, 0.25]).view(2, 1, 1, 1, 1)
    flipped_back = torch.tensor([0.1, 0.25]).view(2, 1, 1, 1, 1)
    evidence = flip_evidence(probabilities, flipped_back, FlipEvidenceSettings(window_px=1))
    assert foreground(fuse(probabilities, "entropy").probability).item()
    assert not foreground(fuse(probabilities, "entropy", evidence).probability).item()


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="alike"):
        flip_evidence(torch.rand(2, 1, 1, 4, 4), torch.rand(1, 1, 1, 4, 4), FlipEvidenceSettings())
    with pytest.raises(ValueError, match="odd"):
        FlipEvidenceSettings(window_px=4)
