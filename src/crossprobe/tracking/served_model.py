"""The model as MLflow loads it, in a notebook or behind HTTP: logged as this code, never as a pickle.

A request is a table with a column `image` (base64 of a PNG file) and, if wanted, `clip` (rows of one clip
share the crop, as frames of a video file do) and `spacing_mm`. Paths are not taken.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel

ALONE = ""
LIBRARY, COPY = "crossprobe", Path(__file__).resolve().with_name("code")
HASH, RUNTIME = "package_sha256", "runtime"


class CrossprobeModel(PythonModel):
    """Reads frames out of a request and answers with masks, or with classes where it is a classifier."""

    def load_context(self, context: Any) -> None:
        """Loads and verifies the package.

        Args:
            context: MLflow's, with the artifact `package`; the hash of its index as the model was logged; and
                `runtime`, whose fields are those of the parameters of that name, if whoever loads gives any.

        Raises:
            PackageRefused: The package is not the one that was logged.
        """
        _keep_the_copy_for_machines_without_the_library()
        from crossprobe.prediction.open_reader import open_reader
        from crossprobe.prediction.package import Package
        from crossprobe.training.runtime import resolve
        from crossprobe.training.settings import RuntimeSettings

        config = context.model_config or {}
        expected = config.get(HASH, "not logged by crossprobe")
        package = Package.load(Path(context.artifacts["package"]), expected)
        runtime = RuntimeSettings.model_validate(config.get(RUNTIME, {}))
        asked = runtime.model_copy(update={"precision": runtime.inference.precision})
        self.reader = open_reader(package, resolve(asked))

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Answers a request.

        Args:
            context: MLflow's.
            model_input: Columns `image`, and `clip`, `spacing_mm` where given.
            params: None are known.

        Returns:
            One row a row: `mask` (PNG, 0 and 255, as base64), `confidence_map` (PNG, 0 to 255), `confidence`
            (mean over the predicted area, NaN where nothing is found), `area_px`, `area_mm2` (NaN where the
            spacing is unknown) and `read` (why a person should read the frame, or empty). A classifier gives
            `class`, `p_<class>` for each class, `confidence` (the largest of them) and `read`.

        Raises:
            MlflowException: A row whose image cannot be used, or too many rows. A server passes the text of
                this error on; any other becomes an internal one, with the server's paths in it.
        """
        from crossprobe.errors import CrossprobeError

        try:
            return self._answer(model_input)
        except CrossprobeError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None

    def _answer(self, model_input: pd.DataFrame) -> pd.DataFrame:
        from crossprobe.errors import UnreadableMedia
        from crossprobe.prediction.picture import REQUEST_LIMITS

        if "image" not in model_input:
            raise UnreadableMedia(
                f"the request has columns {list(model_input)}; `image` is missing: base64 text of a PNG file"
            )
        if len(model_input) > REQUEST_LIMITS.frames:
            raise UnreadableMedia(
                f"{len(model_input)} frames in one request, more than {REQUEST_LIMITS.frames}"
            )
        table = model_input.reset_index(drop=True)
        rows: dict[int, dict[str, Any]] = {}
        for places in _clips(table):
            rows |= self._clip(table, places)
        return pd.DataFrame([rows[place] for place in range(len(table))])

    def _clip(self, table: pd.DataFrame, places: list[int]) -> dict[int, dict[str, Any]]:
        from crossprobe.errors import UnreadableMedia
        from crossprobe.prediction.class_reader import ClassReader
        from crossprobe.prediction.class_table import answer_row
        from crossprobe.prediction.picture import (
            confidence_picture,
            decode_picture,
            encode_picture,
            mask_picture,
        )

        def refuse(place: int, reason: str) -> None:
            raise UnreadableMedia(f"row {place}: {reason}")

        frames = ((place, decode_picture(table["image"][place])) for place in places)
        if isinstance(self.reader, ClassReader):
            classified = self.reader.read(frames, batch_size=8, rejected=refuse)
            return {item.frame: answer_row(item.answer) for item in classified}
        answers = {}
        for judged in self.reader.read(frames, batch_size=8, rejected=refuse):
            prediction = judged.prediction
            spacing = float(table["spacing_mm"][prediction.frame]) if "spacing_mm" in table else math.nan
            area = judged.area_mm2(spacing if math.isfinite(spacing) and spacing > 0 else None)
            answers[prediction.frame] = {
                "mask": encode_picture(mask_picture(prediction.mask)),
                "confidence_map": encode_picture(confidence_picture(prediction.confidence)),
                "confidence": math.nan if judged.confidence is None else judged.confidence,
                "area_px": prediction.area_px,
                "area_mm2": math.nan if area is None else area,
                "read": judged.read,
            }
        return answers


def _keep_the_copy_for_machines_without_the_library() -> None:
    """Takes the model's copy off the path again where the library is installed, or in memory already.

    MLflow puts it in front of everything. It is a part of the library: whoever imports another part later, in
    this process or in one that it starts, would look for it there and find nothing.
    """
    elsewhere = [place for place in sys.path if Path(place).resolve() != COPY]
    if len(elsewhere) == len(sys.path):
        return
    sys.path[:] = elsewhere
    found = importlib.util.find_spec(LIBRARY)
    if found is None or Path(str(found.origin)).resolve().is_relative_to(COPY):
        sys.path.append(str(COPY))


def _clips(table: pd.DataFrame) -> list[list[int]]:
    """Rows that belong together; a row that names no clip stands alone."""
    if "clip" not in table:
        return [[place] for place in range(len(table))]
    clips: dict[Any, list[int]] = {}
    for place, name in enumerate(table["clip"]):
        alone = name is None or name == ALONE or (isinstance(name, float) and math.isnan(name))
        clips.setdefault(("row", place) if alone else ("clip", name), []).append(place)
    return list(clips.values())


mlflow.models.set_model(CrossprobeModel())
