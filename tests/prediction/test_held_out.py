"""Steadiness is measured on masks that hold something; finding nothing is told apart from being steady."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crossprobe.prediction import held_out
from crossprobe.prediction.held_out import steadiness


class Store:
    """Eight frames of two patients, their number in every pixel."""

    manifest = pd.DataFrame({"patient": list("aaaabbbb"), "video": list("vvwwxxxx")})

    def images(self, rows):
        return np.repeat(rows.astype(np.uint8), 64).reshape(-1, 8, 8)


def measured(monkeypatch, answer):
    monkeypatch.setattr(held_out, "perturb", lambda images, variant: images)
    monkeypatch.setattr(held_out, "undo", lambda maps, variant: maps)
    monkeypatch.setattr(held_out, "probabilities", lambda ensemble, images: answer(images))
    return steadiness(None, Store(), np.arange(8), 0.5).set_index("patient")


def test_a_model_that_finds_nothing_has_no_steadiness(monkeypatch):
    table = measured(monkeypatch, lambda images: np.zeros(images.shape))
    assert table["value"].isna().all()
    assert (table["found"] == 0).all()


def test_empty_frames_do_not_make_a_patient_steadier(monkeypatch):
    calls = []

    def answer(images):
        """Finds the left half of odd frames; in changed frames, half of that."""
        calls.append(images)
        maps = np.zeros(images.shape)
        maps[images[:, 0, 0] % 2 == 1, :, : 4 if len(calls) == 1 else 2] = 1
        return maps

    table = measured(monkeypatch, answer)
    assert table["value"].to_numpy() == pytest.approx([2 * 16 / 48] * 2)
    assert table["found"].to_numpy() == pytest.approx([0.5, 0.5])
