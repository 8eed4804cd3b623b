"""A fabricated study with known numbers: nothing here was measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from crossprobe.evaluation.aggregate import breakdown, empty_counts, patient_scores
from crossprobe.evaluation.arms_table import ArmRoles, arms_table
from crossprobe.evaluation.label_free import regret
from crossprobe.evaluation.statistics import Family, StatisticsSettings, comparisons
from crossprobe.reporting.blocks import ReportImage
from crossprobe.reporting.inputs import ReportInputs
from crossprobe.reporting.panels import (
    PredictionPanel,
    ReconstructionPanel,
    WeightPanel,
    fusion_weight_maps,
    prediction_panels,
    reconstruction_panels,
)

STATISTICS = StatisticsSettings(resamples=200)
MEANS = {
    "source_only": (0.850, 0.640),
    "mim": (0.852, 0.690),
    "simclr": (0.846, 0.655),
    "mt_nxent": (0.848, 0.700),
    "fused_average": (0.858, 0.722),
    "fused_entropy": (0.858, 0.722),
    "target_supervised": (0.720, 0.790),
}
FAMILIES = (
    Family(name="primary", against=("source_only",)),
    Family(name="fusion", against=("fused_entropy",), arms=("mim", "mt_nxent", "fused_average")),
)


def fabricated_frames(means: dict[str, tuple[float, float]] = MEANS, n_patients: int = 12) -> pd.DataFrame:
    """Frame scores of two sites: patients differ more than arms do, fusion modes do not differ at all."""
    rows = []
    for index, site in enumerate(("source", "target")):
        for patient in range(n_patients):
            trait = np.random.default_rng([index, patient]).normal(0, 0.05)
            for number, (arm, pair) in enumerate(means.items()):
                twin = 99 if arm.startswith("fused") else number
                own = np.random.default_rng([index, patient, twin])
                for frame in range(3):
                    value = float(np.clip(pair[index] + trait + own.normal(0, 0.03), 0.02, 0.98))
                    identity = {
                        "arm": arm,
                        "site": site,
                        "device": ("Lumify-like", "MicrUs-like")[index],
                        "operator": ("expert", f"novice {patient % 3 + 1}")[index],
                        "view": ("dorsal", "volar", "radial")[patient % 3],
                        "class": ("fracture", "intact")[patient % 2],
                        "patient": f"{site}-{patient:02d}",
                        "video": f"{site}-{patient:02d}-a",
                        "frame": 8 * frame,
                    }
                    empty = frame == 2 and patient == 1 and arm == "simclr"
                    scores = {
                        "dsc": value,
                        "iou": value / (2 - value),
                        "hd95_mm": np.nan if empty else 6 * (1 - value),
                        "assd_mm": np.nan if empty else 2 * (1 - value),
                        "nsd_mm": min(1.0, value + 0.1),
                        "ece": 0.02 * (1 - value),
                        "brier": 0.03 * (1 - value),
                        "empty_prediction": float(empty),
                        "empty_reference": 0.0,
                    }
                    rows += [identity | {"metric": name, "value": score} for name, score in scores.items()]
    return pd.DataFrame(rows)


def fabricated_inputs(frames: pd.DataFrame, **more: object) -> ReportInputs:
    """Tables a pipeline would make from the frame scores, and nothing optional but what is passed."""
    patients = patient_scores(frames)
    arms = list(frames["arm"].drop_duplicates())
    patients = patients.assign(arm=pd.Categorical(patients["arm"], arms, ordered=True)).sort_values("arm")
    patients = patients.assign(arm=patients["arm"].astype(str))
    declared = comparisons(patients, FAMILIES, STATISTICS)
    table = arms_table(patients, ArmRoles(), declared, STATISTICS)
    settings = {"title": "Cross-domain segmentation: fabricated study", "statistics": STATISTICS} | more
    return ReportInputs(patients=patients, arms=table, comparisons=declared, **settings)


def fabricated_scan(seed: int = 0, height: int = 180, width: int = 220) -> tuple[np.ndarray, np.ndarray]:
    """A grey frame with a bright band in speckle, and the band's mask."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    middle = 80 + 14 * np.sin(x / 40 + seed) + 10 * seed
    mask = (np.abs(y - middle) < 6) & (x > 40) & (x < 190)
    speckle = generator.rayleigh(1, (height, width))
    image = np.where(mask, 190, np.where(y > middle, 22, 70)) * speckle / 1.5
    return np.clip(image, 0, 255).astype(np.uint8), mask.astype(np.uint8)


def fabricated_images() -> dict[str, list[ReportImage]]:
    """Every kind of picture a report can show."""
    panels, weights, rebuilt = [], [], []
    for seed in range(3):
        image, mask = fabricated_scan(seed)
        moved = {
            arm: np.roll(mask, shift, axis=0)
            for shift, arm in enumerate(("source_only", "mim", "mt_nxent"), 2)
        }
        moved["fused_entropy"] = np.roll(mask, 1, axis=0)
        scores = {arm: 0.6 + 0.03 * index for index, arm in enumerate(moved)}
        panels.append(PredictionPanel(f"target-0{seed}, dorsal, frame 8", image, moved, mask, scores))
        weight = np.clip(0.5 + 0.4 * np.sin(np.indices(mask.shape)[1] / 30 + seed), 0, 1)
        by_branch = {"mim": weight, "mt_nxent": 1 - weight}
        weights.append(WeightPanel(f"target-0{seed}", image, by_branch, moved["fused_entropy"], mask))
        kept = np.kron(np.random.default_rng(seed).random((9, 11)) > 0.6, np.ones((20, 20)))
        rebuilt.append(
            ReconstructionPanel(f"target-0{seed}", image, (image * kept).astype(np.uint8), image // 2 + 30)
        )
    return {
        "panels": [
            ReportImage(prediction_panels(panels), "Target test frames: median, worst and best by DSC.")
        ],
        "weights": [ReportImage(fusion_weight_maps(weights), "Which branch fusion listens to.")],
        "reconstruction": [ReportImage(reconstruction_panels(rebuilt), "Sixty per cent of patches removed.")],
    }


def fabricated_histories() -> pd.DataFrame:
    rows = []
    for stage, arms, metric in (
        ("pretraining", ("mim",), "loss"),
        ("pretraining", ("simclr", "mt_nxent"), "loss"),
        ("finetuning", ("source_only", "mim", "simclr", "mt_nxent"), "loss"),
        ("finetuning", ("source_only", "mim", "simclr", "mt_nxent"), "dsc"),
    ):
        for number, arm in enumerate(arms):
            noise = np.random.default_rng(number)
            for part in ("train", "validation") if metric == "loss" else ("validation",):
                for step in range(0, 400, 20):
                    fall = np.exp(-step / (90 + 30 * number)) + noise.normal(0, 0.015)
                    value = fall if metric == "loss" else 0.85 * (1 - fall)
                    row = {"stage": stage, "arm": arm, "step": step, "part": part, "metric": metric}
                    rows.append(row | {"value": value})
    return pd.DataFrame(rows)


def fabricated_label_free() -> pd.DataFrame:
    arms = ["mim", "fused_entropy", "mt_nxent", "source_only", "simclr"]
    return pd.DataFrame(
        {
            "arm": arms,
            "consensus": [0.81, 0.84, 0.79, 0.70, 0.72],
            "consistency": [0.90, 0.89, 0.88, 0.80, 0.84],
            "entropy": [0.21, 0.24, 0.26, 0.35, 0.31],
            "area_jump": [0.11, 0.12, 0.13, 0.20, 0.19],
            "area": 0.05,
            "mean_rank": [1.25, 1.75, 3.0, 5.0, 4.0],
            "chosen": [True, False, False, False, False],
            "n_patients": 8,
            "n_frames": 240,
        }
    )


def whole_study() -> ReportInputs:
    """Inputs with every optional part."""
    frames = fabricated_frames()
    candidates = fabricated_label_free()
    reasons = (
        ["frozen frame"] * 34 + ["blank frame"] * 12 + ["no decodable frame"] * 2 + ["mask without a frame"]
    )
    rejected = {"site": ["source", "target"] * 24 + ["target"], "stage": "frames", "reason": reasons}
    bins = np.arange(15)
    reliability = pd.concat(
        pd.DataFrame(
            {"arm": arm, "site": "target", "bin": bins, "pixels": 100, "stated": (bins + 0.5) / 15}
        ).assign(observed=lambda rows, power=power: rows["stated"] ** power)
        for arm, power in (("mim", 1.1), ("source_only", 1.8), ("fused_entropy", 1.0))
    )
    speed = [
        {
            "arm": arm,
            "device": "Example CPU, 2 threads",
            "parameters": count,
            "gflop": gflop,
            "latency_ms_p50": 21.5 * count / 1e6,
            "latency_ms_p95": 24.1 * count / 1e6,
            "frames_per_second": 52.0 / (count / 1e6),
            "peak_memory_mb": 812.0,
            "memory_of": "process",
        }
        for arm, count, gflop in (("mim", 1_210_000, 0.91), ("fused_entropy", 2_420_000, 1.82))
    ]
    sizes = {
        "site": ["source"] * 3 + ["target"] * 3,
        "part": ["train", "val", "test", "train", "selection", "test"],
        "patients": [60, 12, 12, 70, 8, 12],
        "videos": [300, 60, 60, 280, 32, 48],
        "frames": [7200, 1440, 1440, 6720, 768, 1152],
        "labelled_frames": [7200, 1440, 1440, 0, 0, 144],
    }
    facts = {
        "data": {"manifest, source": "sha256:6f1c52d09a7be4", "split, source": "sha256:91be03c4417a22"},
        "run": {"seed": 0, "device": "cpu, 2 threads", "crossprobe": "0.1.0", "torch": "2.13.0"},
    }
    target = frames.query("site == 'target' and metric == 'dsc'").groupby("arm")["value"].mean().to_dict()
    return fabricated_inputs(
        frames,
        subtitle="Source: Lumify-like probe, labelled. Target: MicrUs-like probe, unlabelled.",
        breakdown=breakdown(frames),
        empty_counts=empty_counts(frames),
        label_free=candidates,
        regret=regret(candidates, target),
        histories=fabricated_histories(),
        reliability=reliability,
        speed=pd.DataFrame(speed),
        rejections=pd.DataFrame(rejected).assign(item=[f"clip-{index:03d}" for index in range(49)]),
        cohort=pd.DataFrame(sizes),
        facts=facts,
        parameters={
            "mim": {"mask_ratio": 0.6, "patch_px": 16},
            "finetune": {"steps": 400, "learning_rate": 2e-4},
        },
        images=fabricated_images(),
    )


@pytest.fixture(scope="session")
def study() -> ReportInputs:
    return whole_study()


@pytest.fixture(scope="session")
def frames() -> pd.DataFrame:
    return fabricated_frames()


@pytest.fixture
def make_inputs() -> Callable[..., ReportInputs]:
    return fabricated_inputs


@pytest.fixture
def make_frames() -> Callable[..., pd.DataFrame]:
    return fabricated_frames
