"""What a server answers, without a server."""

from __future__ import annotations

import types

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from crossprobe.errors import PackageRefused
from crossprobe.prediction.package import index_hash
from crossprobe.prediction.picture import decode_picture, encode_picture
from crossprobe.tracking.model_log import HASH, RUNTIME
from crossprobe.tracking.served_model import CrossprobeModel
from small_model import fan, small_package


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = small_package().save(tmp_path_factory.mktemp("served") / "package")
    return loaded(folder, {HASH: index_hash(folder)})


def loaded(folder, config) -> CrossprobeModel:
    served = CrossprobeModel()
    served.load_context(types.SimpleNamespace(artifacts={"package": str(folder)}, model_config=config))
    return served


@pytest.mark.parametrize("config", [None, {}, {HASH: "0" * 64}])
def test_a_package_that_is_not_the_one_logged_is_refused(config, tmp_path):
    folder = small_package().save(tmp_path / "package")
    with pytest.raises(PackageRefused, match="changed after its registration"):
        loaded(folder, config)


def ask(model, frames, **more) -> pd.DataFrame:
    return model.predict(None, pd.DataFrame({"image": [encode_picture(frame) for frame in frames], **more}))


def test_whoever_loads_says_where_and_how_precisely_to_compute(tmp_path, model):
    assert not model.reader.ensemble.predictor.runtime.bf16
    folder = small_package().save(tmp_path / "package")
    runtime = {"device": "cpu", "inference": {"precision": "bf16", "folded": False}}
    predictor = loaded(folder, {HASH: index_hash(folder), RUNTIME: runtime}).reader.ensemble.predictor
    assert predictor.runtime.bf16
    assert predictor.runtime.device.type == "cpu"
    assert not predictor.inference.folded


def test_rows_of_one_clip_share_their_crop_wherever_they_stand(model):
    clip = [fan(number, 200, 260) for number in range(8)]
    still = fan(99, 100, 140)
    together = ask(model, clip, clip="a")
    mixed = ask(model, [still, *clip, still], clip=["", *["a"] * 8, None])
    assert list(mixed["mask"][1:9]) == list(together["mask"])
    assert mixed["mask"][0] == mixed["mask"][9] == ask(model, [still])["mask"][0]
    assert decode_picture(mixed["mask"][0]).shape == (100, 140)


def test_a_row_alone_is_answered_as_among_others(model):
    frames = [fan(number) for number in range(3)]
    together = ask(model, frames)
    assert [ask(model, [frame])["mask"][0] for frame in frames] == list(together["mask"])


def test_areas_where_the_spacing_is_known(model):
    answer = ask(model, [fan(), fan(), fan()], spacing_mm=[0.5, np.nan, -1.0])
    assert answer["area_mm2"][0] == pytest.approx(answer["area_px"][0] * 0.25)
    assert answer["area_mm2"][1:].isna().all()


@pytest.mark.parametrize(
    ("request_table", "words"),
    [
        (pd.DataFrame({"picture": ["x"]}), "`image` is missing"),
        (pd.DataFrame({"image": ["/etc/passwd"]}), "image: "),
        (pd.DataFrame({"image": ["x"] * 513}), "513 frames in one request"),
        (
            pd.DataFrame({"image": [encode_picture(fan()), encode_picture(fan(0, 90, 90))], "clip": "a"}),
            "row 1: frame of 90x90 px in a clip",
        ),
        (pd.DataFrame({"image": [encode_picture(fan()[:10, :10])]}), "smallest side"),
    ],
)
def test_what_cannot_be_answered(model, request_table, words):
    with pytest.raises(MlflowException, match=words):
        model.predict(None, request_table)
