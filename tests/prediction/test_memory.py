"""Ten times the videos take no more memory: neither to decode, nor to score, nor to stream."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

FRAMES, HEIGHT, WIDTH = 24, 480, 640
# Nine more videos held would be 66 MB as decoded, and far more as maps of their predictions.
ALLOWED_MB = 40
WORKER = """
import json, resource, sys
from pathlib import Path
import numpy as np, pandas as pd, torch
from crossprobe.data.frame_settings import FrameSettings
from crossprobe.data.frame_store import FrameStore
from crossprobe.data.frames import build_frame_store
from crossprobe.data.video import read_frames
from crossprobe.evaluation.score_settings import SiteScoring
from crossprobe.evaluation.score_site import score_site
from crossprobe.fusion.ensemble import Ensemble, FusedAnswer
from crossprobe.fusion.predictor import Branch, Predictor
from crossprobe.models.config import TransUNetConfig
from crossprobe.models.input_scaling import InputScaling
from crossprobe.models.transunet import TransUNet
from crossprobe.prediction.stream import StreamSettings, predict_stream
from crossprobe.training.runtime import Runtime

folder, videos = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
module = TransUNet(TransUNetConfig.mini(image_size=32, depth=1)).eval()
cpu = Runtime(torch.device("cpu"), bf16=False, channels_last=False)
ensemble = Ensemble(Predictor([Branch(module, InputScaling())], cpu), [1.0], {"fused": FusedAnswer()})
same = {"site": "x", "device": "d", "operator": "o", "view": "v", "class": "c", "spacing_mm": np.nan,
        "path": str(folder / "clip.avi"), "masks": str(folder / "masks"), "truths": None}
table = pd.DataFrame([{**same, "patient": f"p{n}", "video": f"v{n:02d}"} for n in range(videos)])
peaks = {}

def seen(name):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peaks[name] = peak / (2**20 if sys.platform == "darwin" else 2**10)

store, _ = build_frame_store(table, FrameSettings(size=32), folder / f"store{videos}", "x", workers=1)
seen("decode")
opened = FrameStore.open(store, labels=True)
labelled = np.flatnonzero(opened.manifest["labelled"])
scores = score_site(ensemble, opened, labelled, SiteScoring(batch_size=4))
seen("score")
count = 0
for _ in range(videos):
    for one in predict_stream(ensemble, "fused", read_frames(folder / "clip.avi"), StreamSettings()):
        count += 1
seen("stream")
print(json.dumps({"peaks": peaks, "scored": len(scores), "streamed": count}))
"""


def run(folder: Path, videos: int) -> dict:
    command = [sys.executable, "-c", WORKER, str(folder), str(videos)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_peak_memory_does_not_grow_with_the_number_of_videos(tmp_path):
    generator = np.random.default_rng(0)
    writer = cv2.VideoWriter(
        str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (WIDTH, HEIGHT)
    )
    (tmp_path / "masks").mkdir()
    for number in range(FRAMES):
        noise = cv2.GaussianBlur(generator.random((HEIGHT, WIDTH), dtype=np.float32), (0, 0), 1.5)
        frame = np.clip(90 + 700 * (noise - 0.5), 20, 235).astype(np.uint8)
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
        if number % 12 == 0:
            disc = cv2.circle(np.zeros_like(frame), (WIDTH // 2, HEIGHT // 2), 90, 255, -1)
            cv2.imwrite(str(tmp_path / "masks" / f"{number:06d}.png"), disc)
    writer.release()
    one, ten = run(tmp_path, 1), run(tmp_path, 10)
    assert ten["streamed"] == 10 * one["streamed"] == 10 * FRAMES
    assert ten["scored"] == 10 * one["scored"] > 0
    for stage, peak in one["peaks"].items():
        assert ten["peaks"][stage] < peak + ALLOWED_MB, f"{stage}: {one['peaks']} against {ten['peaks']}"
