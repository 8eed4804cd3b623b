"""Frames reach the device as they are in the store: resident, gathered, or fetched one batch ahead."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import shared_runs

from crossprobe.training import frame_source
from crossprobe.training.frame_source import FrameSource
from crossprobe.training.prefetch import Prefetcher

CPU = torch.device("cpu")


@pytest.fixture
def store(tmp_path):
    return shared_runs.write_store(tmp_path / "store")


def test_a_request_is_gathered_by_another_thread_and_taken_once():
    array, threads = np.arange(20).reshape(10, 2), []

    def gather(rows):
        threads.append(threading.current_thread())
        return array[rows]

    ahead = Prefetcher(gather, CPU)
    rows = np.array([3, 1])
    ahead.request(rows)
    assert torch.equal(ahead.take(rows), torch.tensor([[6, 7], [2, 3]]))
    assert threads[0] is not threading.current_thread()
    assert torch.equal(ahead.take(rows), torch.tensor([[6, 7], [2, 3]]))
    assert threads[1] is threading.current_thread()


def test_rows_that_were_not_requested_are_gathered_on_the_spot():
    array = np.arange(10)
    ahead = Prefetcher(lambda rows: array[rows], CPU)
    ahead.request(np.array([1, 2]))
    assert ahead.take(np.array([2, 1])).tolist() == [2, 1]
    # The request is forgotten, not served late.
    assert ahead.take(np.array([1, 2])).tolist() == [1, 2]


def test_an_error_of_the_store_reaches_who_asks():
    def gather(rows):
        raise OSError("the disk is gone")

    ahead = Prefetcher(gather, CPU)
    ahead.request(np.array([1]))
    with pytest.raises(OSError, match="the disk is gone"):
        ahead.take(np.array([1]))


def test_a_cpu_reads_the_store(store):
    rows = np.array([5, 2, 9])
    source = FrameSource(store, rows, CPU, labels=True)
    source.prefetch(torch.tensor([0]))
    positions = torch.tensor([2, 0])
    assert np.array_equal(source.images(positions)[:, 0].mul(255).round().numpy(), store.images(rows[[2, 0]]))
    assert np.array_equal(source.masks(positions)[:, 0].numpy(), store.masks(rows[[2, 0]]))
    assert len(source) == 3


def test_frames_reach_a_device_a_few_at_a_time(store, monkeypatch):
    monkeypatch.setattr(frame_source, "COPIED_AT_ONCE", 4)
    rows, read = np.array([5, 2, 9, 1, 7, 3, 0, 8, 6]), []

    def images(some):
        read.append(len(some))
        return store.images(some)

    frames = frame_source.resident(images, rows, store.size, CPU)
    assert read == [4, 4, 1]
    assert np.array_equal(frames.numpy(), store.images(rows))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("share", [0.3, 0.0], ids=["resident", "double buffer"])
def test_a_gpu_gets_the_same_frames(store, monkeypatch, share):
    monkeypatch.setattr(frame_source, "MEMORY_SHARE", share)
    device, rows = torch.device("cuda"), np.arange(24)
    source = FrameSource(store, rows, device, labels=True)
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randperm(24, generator=generator)[:8] for _ in range(20)]
    busy = torch.randn(2048, 2048, device=device)
    for positions, upcoming in zip(batches, [*batches[1:], batches[0]], strict=True):
        images, masks = source.images(positions), source.masks(positions)
        source.prefetch(upcoming)
        busy = busy @ busy
        assert np.array_equal(images[:, 0].mul(255).round().cpu().numpy(), store.images(positions.numpy()))
        assert np.array_equal(masks[:, 0].cpu().numpy(), store.masks(positions.numpy()))
