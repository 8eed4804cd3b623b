"""Measures one site on its own: what leaves it are tables of numbers under pseudonyms, never a frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from crossprobe.data.frame_store import FrameStore
from crossprobe.errors import CrossprobeError
from crossprobe.evaluation.domain_settings import DomainDifferenceSettings, FrozenEncoder
from crossprobe.evaluation.frame_texture import LEVELS, frame_texture
from crossprobe.models.checkpoint import load_weights
from crossprobe.models.foreign_weights import read_weights
from crossprobe.models.timm_models import create_timm_model
from crossprobe.progress import track
from crossprobe.training.runtime import Runtime

IDENTITY = ("site", "device", "patient")


class SiteMeasurement(NamedTuple):
    """What a site tells about its frames.

    Attributes:
        texture: A row a frame: `site, device, patient` and the measures of `frame_texture`.
        histograms: A row a patient: identity and `level_0` to `level_255`, shares.
        spectra: A row a patient: identity and `axial_<bin>`, `lateral_<bin>`.
        features: A row a frame: identity and `feature_<i>` of the frozen encoder.
    """

    texture: pd.DataFrame
    histograms: pd.DataFrame
    spectra: pd.DataFrame
    features: pd.DataFrame


def measure_site(
    store: FrameStore, patients: Sequence[str], settings: DomainDifferenceSettings, runtime: Runtime
) -> SiteMeasurement:
    """Measures evenly spread frames of evenly spread patients.

    Args:
        store: The site's frames; labels are not needed.
        patients: Patients that may be looked at.
        settings: How much, and with which encoder.
        runtime: Where to compute.

    Returns:
        The tables.

    Raises:
        CrossprobeError: Fewer than two patients.
    """
    chosen = _spread(sorted(patients), settings.patients)
    if len(chosen) < 2:
        raise CrossprobeError(f"{store.path}: {len(chosen)} patients to compare; two a site are the least")
    rows = np.concatenate([_spread(store.rows([patient]), settings.frames_per_patient) for patient in chosen])
    identity = store.manifest[list(IDENTITY)].iloc[rows].reset_index(drop=True)
    found = [
        frame_texture(frame, settings.texture)
        for frame in track((_content(store, int(row)) for row in rows), "measuring frames", total=len(rows))
    ]
    texture = pd.concat([identity, pd.DataFrame([item.measures for item in found])], axis=1)
    levels = _table([item.histogram for item in found], [f"level_{level}" for level in range(LEVELS)])
    bins = range(settings.texture.frequencies)
    names = [f"{side}_{place}" for side in ("axial", "lateral") for place in bins]
    spectra = _table([np.concatenate([item.axial, item.lateral]) for item in found], names)
    encoder = frozen_encoder(settings.encoder)
    features = encode(encoder, store, rows, settings.encoder.batch_size, runtime)
    table = _table(list(features), [f"feature_{place}" for place in range(features.shape[1])])
    return SiteMeasurement(
        texture, _by_patient(identity, levels), _by_patient(identity, spectra), identity.join(table)
    )


def frozen_encoder(settings: FrozenEncoder) -> torch.nn.Module:
    """Makes the network whose features are compared.

    Args:
        settings: Architecture and weights.

    Returns:
        The network in evaluation mode; it gives pooled features [B, d].

    Raises:
        CrossprobeError: No such architecture or file, weights that cannot be fetched or that fill less than
            nine tenths of it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = create_timm_model(settings.name, pretrained=settings.weights == "timm", num_classes=0)
    if settings.weights not in ("random", "timm"):
        weights = read_weights(Path(settings.weights))
        load_weights(model, weights, minimum_coverage=0.9, allow_unexpected=True)
    return model.eval().requires_grad_(False)


@torch.inference_mode()
def encode(
    encoder: torch.nn.Module, store: FrameStore, rows: np.ndarray, batch_size: int, runtime: Runtime
) -> np.ndarray:
    """Gives the features of frames.

    Args:
        encoder: From `frozen_encoder`.
        store: Frames.
        rows: Which.
        batch_size: Frames at once.
        runtime: Where to compute.

    Returns:
        [n, d] float32.
    """
    module = runtime.prepare(encoder)
    parts = []
    for start in range(0, len(rows), batch_size):
        images = torch.from_numpy(store.images(rows[start : start + batch_size]))
        # Half a range about zero, the same for both sites: their own statistics would hide a difference.
        scaled = (images.to(runtime.device).float() / 255 - 0.5) / 0.25
        parts.append(module(scaled[:, None].expand(-1, 3, -1, -1)).float().cpu().numpy())
    return np.concatenate(parts)


def _content(store: FrameStore, row: int) -> np.ndarray:
    """The frame without the padding that made it square."""
    height, width = store.manifest[["height", "width"]].iloc[row]
    scale = store.size / max(height, width)
    return np.ascontiguousarray(
        store.images(np.array([row]))[0][: max(1, round(height * scale)), : max(1, round(width * scale))]
    )


def _spread(items: Sequence | np.ndarray, count: int) -> list:
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in np.unique(places)]


def _table(values: list[np.ndarray], names: list[str]) -> pd.DataFrame:
    return pd.DataFrame(np.stack(values), columns=names)


def _by_patient(identity: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    return identity.join(values).groupby(list(IDENTITY), as_index=False).mean()
