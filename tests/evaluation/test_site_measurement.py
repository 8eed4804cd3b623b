from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

from crossprobe.data.array_file import FrameArrayWriter
from crossprobe.data.frame_store import FORMAT, FrameStore
from crossprobe.errors import CoverageError, CrossprobeError
from crossprobe.evaluation.domain_settings import DomainDifferenceSettings, FrozenEncoder
from crossprobe.evaluation.site_measurement import frozen_encoder, measure_site
from crossprobe.training.runtime import Runtime

CPU = Runtime(torch.device("cpu"), bf16=False, channels_last=False)
SMALL = DomainDifferenceSettings(frames_per_patient=2, encoder=FrozenEncoder(name="resnet10t"))


@pytest.fixture
def store(tmp_path: Path) -> FrameStore:
    """Three patients, five frames each, wider than high: the lower half of each square is padding."""
    generator = np.random.default_rng(0)
    rows = []
    for patient in range(3):
        name = f"v_{patient}"
        (tmp_path / "videos" / name).mkdir(parents=True)
        with (
            FrameArrayWriter(tmp_path / "videos" / name / "images.npy", 32) as images,
            FrameArrayWriter(tmp_path / "videos" / name / "masks.npy", 32) as masks,
        ):
            for frame in range(5):
                image = np.zeros((32, 32), np.uint8)
                image[:16] = generator.integers(40, 200, (16, 32))
                images.append(image)
                masks.append_zeros()
                rows.append({
                    "site": "source", "device": "d", "operator": "o", "patient": f"p_{patient}", "view": "v",
                    "video": name, "path": "x", "spacing_mm": None, "class": "c", "frame": frame,
                    "height": 100, "width": 200, "crop_top": 0, "crop_left": 0, "mask_path": None,
                    "truth_path": None, "labelled": False, "content": f"{patient}_{frame}",
                })  # fmt: skip
    pd.DataFrame(rows).astype({"spacing_mm": float}).to_parquet(tmp_path / "manifest.parquet")
    description = {"format": FORMAT, "size": 32, "fingerprint": "f" * 64, "rows": len(rows)}
    (tmp_path / "store.json").write_text(json.dumps(description))
    return FrameStore.open(tmp_path, labels=False)


def test_numbers_leave_the_site_and_no_frame_does(store):
    found = measure_site(store, ["p_0", "p_2"], SMALL, CPU)
    assert len(found.texture) == len(found.features) == 4
    assert len(found.histograms) == len(found.spectra) == 2
    assert set(found.texture["patient"]) == {"p_0", "p_2"}
    for table in found:
        assert {"path", "video", "class", "frame"}.isdisjoint(table.columns)
    levels = found.histograms.filter(like="level_").to_numpy()
    assert levels.sum(axis=1) == pytest.approx([1, 1])
    assert not levels[:, 0].any(), "padding is no part of a frame"
    assert found.features.filter(like="feature_").notna().all(axis=None)


def test_both_sites_look_through_the_same_random_eyes(store):
    first, again = (measure_site(store, ["p_0", "p_1"], SMALL, CPU).features for _ in range(2))
    assert first.equals(again)
    other = SMALL.model_copy(update={"encoder": FrozenEncoder(name="resnet10t", seed=1)})
    assert not first.equals(measure_site(store, ["p_0", "p_1"], other, CPU).features)


def test_the_encoder_leaves_the_random_numbers_of_others_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    frozen_encoder(FrozenEncoder(name="resnet10t"))
    assert torch.equal(torch.rand(3), expected)


def test_given_weights_are_loaded_and_counted(tmp_path):
    model = frozen_encoder(FrozenEncoder(name="resnet10t", seed=3))
    file = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(dict(model.state_dict()), file)
    loaded = frozen_encoder(FrozenEncoder(name="resnet10t", weights=str(file)))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    safetensors.torch.save_file({"strange": torch.zeros(2)}, file)
    with pytest.raises(CoverageError):
        frozen_encoder(FrozenEncoder(name="resnet10t", weights=str(file)))


def test_an_unknown_architecture_is_named():
    with pytest.raises(CrossprobeError, match="timm knows no model 'resnett'"):
        frozen_encoder(FrozenEncoder(name="resnett"))


def test_one_patient_is_too_few(store):
    with pytest.raises(CrossprobeError, match="1 patients to compare"):
        measure_site(store, ["p_0"], SMALL, CPU)
