"""Two processes that share every batch are one process: the same losses, negatives and gradients."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import shared_runs

from crossprobe.training.ranks import Ranks

# All with plain sgd and a small rate. Sums taken in another order differ by 1e-7, and at larger rates the
# training of a fresh model multiplies any such difference by ten a step, in one process as in two.
CHANGES = {"dice_of_each": {"accumulate": 2}}
STEPS = 20

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Histories of one process and of two, by job, and what the exchanges gave."""
    folder = tmp_path_factory.mktemp("two")
    shared_runs.write_store(folder / "store")
    (folder / "shared").mkdir()
    context = multiprocessing.get_context("spawn")
    arguments = (str(folder / "store"), str(folder / "shared"), CHANGES)
    workers = [context.Process(target=shared_runs.one_of_two, args=(rank, *arguments)) for rank in (0, 1)]
    for worker in workers:
        worker.start()
    before = torch.get_num_threads()
    alone = shared_runs.run_all(folder / "store", folder / "alone", Ranks(), CHANGES)
    torch.set_num_threads(before)
    for worker in workers:
        worker.join(timeout=240)
    assert [worker.exitcode for worker in workers] == [0, 0]
    shared = {name: pd.read_parquet(folder / "shared" / f"{name}.parquet") for name in alone}
    return alone, shared, torch.load(folder / "shared" / "exchanges.pt")


def series(history: pd.DataFrame, part: str, metric: str) -> np.ndarray:
    return history.query("part == @part and metric == @metric")["value"].to_numpy()


@pytest.mark.parametrize("name", ["mim", "mt_nxent", "random_mask", "dice_of_each", "dice_of_batch"])
def test_losses_agree(runs, name):
    alone, shared = (series(histories[name], "train", "loss") for histories in runs[:2])
    assert len(alone) == STEPS
    assert alone.std() > 1e-4
    assert np.abs(alone - shared).max() < 1e-5
    norms = [series(histories[name], "train", "gradient_norm") for histories in runs[:2]]
    assert norms[0][0] == pytest.approx(norms[1][0], rel=1e-4)
    assert np.allclose(*norms, rtol=0.02)


@pytest.mark.parametrize("name", ["mim", "mt_nxent", "random_mask", "dice_of_each", "dice_of_batch"])
def test_validation_is_reduced(runs, name):
    for metric in set(runs[0][name].query("part == 'validation'")["metric"]):
        alone, shared = (series(histories[name], "validation", metric) for histories in runs[:2])
        assert len(alone) == STEPS // 5
        # A pixel on the edge may fall either way.
        assert np.abs(alone - shared).max() < (1e-2 if metric == "dsc" else 1e-5), metric


@pytest.mark.parametrize("name", ["mt_nxent", "random_mask"])
def test_negatives_come_from_all_processes(runs, name):
    for metric in ("negatives_per_anchor", "masked_pairs_per_anchor"):
        alone, shared = (series(histories[name], "train", metric) for histories in runs[:2])
        assert np.array_equal(alone, shared)
    negatives, masked = (
        series(runs[1][name], "train", metric)
        for metric in ("negatives_per_anchor", "masked_pairs_per_anchor")
    )
    assert np.allclose(negatives + masked, 14)
    assert masked.max() > 0


@pytest.mark.parametrize("name", ["gather", "sum", "norm"])
def test_gradients_pass_through_exchanges(runs, name):
    expected, found = shared_runs.exchanges(Ranks())[name], runs[2][name]
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6)
    for key in set(expected) - {"loss"}:
        assert torch.allclose(found[key].double(), expected[key].double(), atol=1e-6), key
