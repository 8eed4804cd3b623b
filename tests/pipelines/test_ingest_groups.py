"""The node that ingests remembers groups of near-copies in the ledger, from one run to the next."""

from __future__ import annotations

import cv2
import numpy as np

from crossprobe.data.ledger import LedgerSettings
from crossprobe.pipelines.data_processing.nodes import ingest
from crossprobe.pipelines.data_processing.settings import RawSettings


def speckle(seed: int) -> np.ndarray:
    """A bright picture of smooth noise, uint8 [96, 120]."""
    noise = np.random.default_rng(seed).random((96, 120), dtype=np.float32)
    return np.clip(90 + 700 * (cv2.GaussianBlur(noise, (0, 0), 1.5) - 0.5), 20, 235).astype(np.uint8)


def test_a_late_copy_that_sorts_first_joins_the_patient_of_the_run_before(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSPROBE_SALT", "a salt for tests")
    monkeypatch.delenv("CROSSPROBE_LEDGER_URL", raising=False)
    folder = tmp_path / "images"
    for label in ("benign", "malignant"):
        (folder / label).mkdir(parents=True)
        for number in range(3):
            picture = speckle(10 * number + len(label))
            cv2.imwrite(str(folder / label / f"m{number}.png"), picture)
    raw = RawSettings(kind="image_folder", folder=folder)
    ledger = LedgerSettings(file=tmp_path / "ledger.sqlite", settle_seconds=0)

    def patients() -> dict[str, str]:
        recordings, _ = ingest({"kind": raw.kind, "folder": str(folder)}, raw, "source", ledger)
        return {path.rsplit("/", 1)[1]: name for path, name in recordings[["path", "patient"]].to_numpy()
                if "/benign/" in path}  # fmt: skip

    before = patients()
    copied = cv2.imread(str(folder / "benign/m1.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(folder / "benign/a.png"), np.ascontiguousarray(copied[:, ::-1]))
    after = patients()
    assert after == {**before, "a.png": before["m1.png"]}
    assert len(set(before.values())) == 3
