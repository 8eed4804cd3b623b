"""From predictions by image to figures by arm: patients count alike, intervals are drawn over patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from crossprobe.errors import CrossprobeError
from crossprobe.evaluation.class_metrics import class_metrics, confusion_matrices, referral_curve
from crossprobe.evaluation.comparison_settings import StatisticsSettings

PREFIX = "p:"
IDENTITY = ("site", "device", "patient", "video", "frame")
CHUNK = 250
PLAIN = "plain"
REFERRED = np.linspace(0, 0.9, 19)


def prediction_table(
    arm: str, answer: str, frames: pd.DataFrame, probabilities: np.ndarray, classes: Sequence[str],
    uncertainty: np.ndarray,
) -> pd.DataFrame:  # fmt: skip
    """Puts the answers of one arm beside the images they are of.

    Args:
        arm: Name of the arm.
        answer: Way of answering: `plain`, `calibrated`, `tta`, `mc_dropout`, `average`, `vote`.
        frames: Rows of a manifest.
        probabilities: [N, classes].
        classes: Names of the classes.
        uncertainty: [N], higher is less sure.

    Returns:
        One row an image: `arm, answer, site, device, patient, video, frame, class, predicted, uncertainty`,
        and `p:<class>` for each class.
    """
    table = frames[[*IDENTITY, "class"]].reset_index(drop=True)
    table.insert(0, "arm", arm)
    table.insert(1, "answer", answer)
    table["predicted"] = np.asarray(classes)[probabilities.argmax(1)]
    table["uncertainty"] = uncertainty
    for number, name in enumerate(classes):
        table[PREFIX + name] = probabilities[:, number].astype(float)
    return table


def classes_of(predictions: pd.DataFrame) -> tuple[str, ...]:
    """Reads the classes of a table of predictions from its columns."""
    return tuple(column.removeprefix(PREFIX) for column in predictions.columns if column.startswith(PREFIX))


def image_weights(predictions: pd.DataFrame) -> np.ndarray:
    """Weights under which patients count alike, and the videos in each, and the frames in each video.

    Args:
        predictions: Of one arm, answer and site.

    Returns:
        [N], adding to 1.
    """
    frames = predictions.groupby("video")["frame"].transform("size").to_numpy()
    videos = predictions.groupby("patient")["video"].transform("nunique").to_numpy()
    return 1.0 / (frames * videos * predictions["patient"].nunique())


def resampled_weights(predictions: pd.DataFrame, settings: StatisticsSettings) -> np.ndarray:
    """Draws patients again and again.

    Args:
        predictions: Of one arm, answer and site.
        settings: How often, and the seed. Arms with the same patients get the same draws, so differences of
            arms are paired.

    Returns:
        Counts [resamples, N]: how often each image's patient was drawn.
    """
    codes, patients = pd.factorize(predictions["patient"], sort=True)
    generator = np.random.default_rng(settings.seed)
    counts = generator.multinomial(
        len(patients), np.full(len(patients), 1 / len(patients)), settings.resamples
    )
    return counts[:, codes]


def answers_of(predictions: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Takes a table of predictions apart: probabilities [N, classes], class numbers [N], names."""
    classes = classes_of(predictions)
    numbers = predictions["class"].map({name: number for number, name in enumerate(classes)})
    if numbers.isna().any():
        raise CrossprobeError(
            f"the predictions hold classes that the classifier lacks; it has {list(classes)}"
        )
    return predictions[[PREFIX + name for name in classes]].to_numpy(float), numbers.to_numpy(int), classes


def score_table(
    predictions: pd.DataFrame, baseline: str | None, settings: StatisticsSettings | None = None
) -> pd.DataFrame:
    """Computes every figure of every arm, answer and site, with intervals over patients.

    Args:
        predictions: Tables of `prediction_table`, stacked.
        baseline: Arm that others are compared with, on the same patients; none where None.
        settings: How to draw intervals.

    Returns:
        Table `arm, answer, site, metric, value, low, high, n_patients, n_images, baseline_difference,
        baseline_low, baseline_high`. Differences compare the same way of answering, or the arm's with the
        plain answer of the baseline where it has no such answer. Intervals are percentiles, and NaN below two
        patients.
    """
    settings = settings or StatisticsSettings()
    rows: list[dict[str, object]] = []
    for site, here in predictions.groupby("site", sort=False):
        drawn = {
            key: _drawn(table.sort_values(["video", "frame"]), settings)
            for key, table in here.groupby(["arm", "answer"], sort=False)
        }
        for (arm, answer), (size, values, samples) in drawn.items():
            reference = None
            if baseline is not None and arm != baseline:
                reference = drawn.get((baseline, answer), drawn.get((baseline, PLAIN)))
            for metric, value in values.items():
                row: dict[str, object] = {"arm": arm, "answer": answer, "site": site, "metric": metric}
                low, high = _percentiles(samples[metric], settings)
                row |= {"value": value, "low": low, "high": high}
                row |= {name: size[name] for name in ("n_patients", "n_images")}
                row |= _difference(value, samples[metric], size, reference, metric, settings)
                rows.append(row)
    return pd.DataFrame(rows)


_Drawn = tuple[dict[str, object], dict[str, float], dict[str, np.ndarray]]


def _drawn(table: pd.DataFrame, settings: StatisticsSettings) -> _Drawn:
    """Sizes, figures and their bootstrap samples of one arm on one site."""
    probabilities, labels, classes = answers_of(table)
    weights = image_weights(table)
    values = class_metrics(probabilities, labels, weights[None], classes)
    patients = table["patient"].nunique()
    size: dict[str, object] = {"n_patients": patients, "n_images": len(table)}
    size["patients"] = frozenset(table["patient"])
    samples: dict[str, np.ndarray] = {name: np.full(1, np.nan) for name in values}
    if patients > 1:
        counts = resampled_weights(table, settings)
        parts = [
            class_metrics(probabilities, labels, counts[start : start + CHUNK] * weights, classes)
            for start in range(0, len(counts), CHUNK)
        ]
        samples = {name: np.concatenate([part[name] for part in parts]) for name in values}
    return size, {name: float(value[0]) for name, value in values.items()}, samples


def _percentiles(samples: np.ndarray, settings: StatisticsSettings) -> tuple[float, float]:
    known = samples[np.isfinite(samples)]
    if len(known) < 2:
        return float("nan"), float("nan")
    tail = 100 * (1 - settings.confidence) / 2
    low, high = np.percentile(known, [tail, 100 - tail])
    return float(low), float(high)


def _difference(
    value: float,
    samples: np.ndarray,
    size: dict[str, object],
    reference: _Drawn | None,
    metric: str,
    settings: StatisticsSettings,
) -> dict[str, float]:
    names = ("baseline_difference", "baseline_low", "baseline_high")
    if reference is None or metric not in reference[1] or reference[0]["patients"] != size["patients"]:
        return dict.fromkeys(names, float("nan"))
    low, high = _percentiles(samples - reference[2][metric], settings)
    return dict(zip(names, (value - reference[1][metric], low, high), strict=True))


def patient_metrics(predictions: pd.DataFrame) -> pd.DataFrame:
    """Averages what exists for single images to patients: the unit of paired tests.

    Args:
        predictions: Tables of `prediction_table`, stacked.

    Returns:
        Long table `arm, answer, site, device, patient, metric, value` with the metrics `accuracy` and
        `brier`.
    """
    probabilities, labels, classes = answers_of(predictions)
    truth = np.eye(len(classes))[labels]
    table = predictions.assign(
        accuracy=(predictions["class"] == predictions["predicted"]).astype(float),
        brier=((probabilities - truth) ** 2).sum(1),
    )
    keys = ["arm", "answer", "site", "device", "patient"]
    long = table.melt([*keys, "video"], ["accuracy", "brier"], var_name="metric")
    videos = long.groupby([*keys, "video", "metric"], sort=False)["value"].mean().reset_index()
    return videos.groupby([*keys, "metric"], sort=False)["value"].mean().reset_index()


def confusion_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Counts images by true and predicted class.

    Args:
        predictions: Tables of `prediction_table`, stacked.

    Returns:
        Table `arm, answer, site, class, predicted, images`.
    """
    rows = []
    for (arm, answer, site), table in predictions.groupby(["arm", "answer", "site"], sort=False):
        probabilities, labels, classes = answers_of(table)
        counts = confusion_matrices(probabilities.argmax(1), labels, np.ones((1, len(labels))), len(classes))[
            0
        ]
        rows += [
            {"arm": arm, "answer": answer, "site": site, "class": true, "predicted": guess, "images": int(n)}
            for true, line in zip(classes, counts, strict=True)
            for guess, n in zip(classes, line, strict=True)
        ]
    return pd.DataFrame(rows)


def referral_table(predictions: pd.DataFrame, shares: np.ndarray = REFERRED) -> pd.DataFrame:
    """Draws the referral curve of every arm: accuracy when the least sure images go to an expert.

    Args:
        predictions: Tables of `prediction_table`, stacked.
        shares: Shares referred.

    Returns:
        Table `arm, answer, site, referred, accuracy`.
    """
    parts = []
    for (arm, answer, site), table in predictions.groupby(["arm", "answer", "site"], sort=False):
        right = (table["class"] == table["predicted"]).to_numpy()
        curve = referral_curve(table["uncertainty"].to_numpy(), right, image_weights(table), shares)
        parts.append(
            pd.DataFrame({"arm": arm, "answer": answer, "site": site, "referred": shares, "accuracy": curve})
        )
    return pd.concat(parts, ignore_index=True)
