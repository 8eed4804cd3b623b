"""Out of memory: smaller pieces, said each time, then the same result; and an end that says what to do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import nn

from crossprobe.errors import CrossprobeError, OutOfMemory
from crossprobe.training.loop import train
from crossprobe.training.memory import (
    fewest_pieces_that_fit,
    is_out_of_memory,
    more_pieces,
    optimiser_bytes,
    pieces_for,
)
from crossprobe.training.pieces import Pieces
from crossprobe.training.ranks import Ranks, alone
from crossprobe.training.runtime import Runtime
from crossprobe.training.sampler import Batch, ShuffledSampler
from crossprobe.training.settings import RuntimeSettings, TrainingSettings

SAMPLES = 24
ON_GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
ON_CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
    "allocate 8000000000000 bytes. Error code 12 (Cannot allocate memory)"
)


class Hungry:
    """A linear fit that holds at most so many samples at once."""

    figure = "error"

    def __init__(self, settings: TrainingSettings, room: int, error: Exception = ON_GPU) -> None:
        torch.manual_seed(3)
        self.x, self.y = torch.randn(SAMPLES, 4), torch.randn(SAMPLES)
        self.module = nn.Linear(4, 1)
        self.sampler = ShuffledSampler(SAMPLES, settings.batch_size, settings.seed)
        self.room, self.error, self.sizes = room, error, []

    def loss(self, batch: Batch):
        self.sizes.append(len(batch.rows))
        if len(batch.rows) > self.room:
            raise self.error
        return (self.module(self.x[batch.rows]).squeeze(1) - self.y[batch.rows]).square().mean(), {}

    def validate(self, size):
        return {"error": float((self.module(self.x).squeeze(1) - self.y).square().mean())}


def settings(**changes) -> TrainingSettings:
    given = {"steps": 10, "batch_size": 8, "validate_every": 5, "save_every": 2,
             "optimiser": {"name": "sgd", "learning_rate": 0.05}}  # fmt: skip
    return TrainingSettings.model_validate(given | changes)


def runtime(ranks: Ranks | None = None, **changes) -> Runtime:
    return Runtime(torch.device("cpu"), False, False, RuntimeSettings(**changes), ranks or Ranks())


@pytest.mark.parametrize("error", [ON_GPU, ON_CPU], ids=["gpu", "cpu"])
def test_a_step_is_tried_again_in_smaller_pieces_and_stays_so(tmp_path, caplog, error):
    roomy, tight = Hungry(settings(), 8), Hungry(settings(), 2, error)
    expected = train(roomy, settings(), SAMPLES, tmp_path / "roomy", "a").weights
    found = train(tight, settings(), SAMPLES, tmp_path / "tight", "a", "line").weights
    assert tight.sizes == [8, 4] + [2] * 40
    assert all(torch.allclose(expected[name], found[name], atol=1e-6) for name in expected)
    messages = [record.message for record in caplog.records if "out of memory" in record.message]
    assert messages == [
        "line: out of memory at step 0 with micro-batches of 8; trying again with 4, for the rest of the run",
        "line: out of memory at step 0 with micro-batches of 4; trying again with 2, for the rest of the run",
    ]


def test_a_resumed_run_stays_with_the_smaller_pieces(tmp_path):
    tight = Hungry(settings(), 4)
    honest = tight.loss

    def cut(batch):
        if batch.step == 5:
            raise KeyboardInterrupt
        return honest(batch)

    tight.loss = cut
    with pytest.raises(KeyboardInterrupt):
        train(tight, settings(), SAMPLES, tmp_path, "a")
    again = Hungry(settings(), 4)
    train(again, settings(), SAMPLES, tmp_path, "a")
    assert again.sizes == [4] * 12


def test_a_single_sample_that_does_not_fit(tmp_path):
    hungry = Hungry(settings(), 0)
    with pytest.raises(OutOfMemory, match="line: out of memory at step 0 with micro-batches of 1, which"):
        train(hungry, settings(), SAMPLES, tmp_path, "a", "line")
    assert hungry.sizes == [8, 4, 2, 1]


class Watched(Hungry):
    """Validates as many samples at once as it is told, if it has room for them."""

    def __init__(self, settings, room: int) -> None:
        super().__init__(settings, 8)
        self.validation_room, self.validated = room, []

    def validate(self, size):
        self.validated.append(size)
        if size > self.validation_room:
            raise self.error
        return super().validate(size)


@pytest.mark.parametrize(
    ("changes", "asked", "sizes"),
    [({}, None, [8, 8]), ({"accumulate": 4}, None, [2, 2]), ({}, 4, [4, 4])],
    ids=["whole", "accumulate", "micro_batch"],
)
def test_validation_takes_pieces_as_large_as_training_does(tmp_path, changes, asked, sizes):
    task = Watched(settings(), 8)
    train(task, settings(**changes), SAMPLES, tmp_path, "a", runtime=runtime(micro_batch=asked))
    assert task.validated == sizes


class InParts(Hungry):
    """Its samples see each other, but it can hold fewer of them in memory."""

    whole_batch = True
    at_once = None

    def __init__(self, settings, room: int) -> None:
        super().__init__(settings, room)
        self.asked = []

    def loss(self, batch: Batch):
        self.asked.append((len(batch.rows), self.at_once))
        if self.at_once > self.room:
            raise self.error
        return self.module(self.x[batch.rows]).square().mean(), {}


@pytest.mark.parametrize("whole_batch", [False, True])
def test_validation_is_tried_again_with_fewer_at_once(tmp_path, caplog, whole_batch):
    task = Watched(settings(), 2)
    task.whole_batch = whole_batch
    train(task, settings(), SAMPLES, tmp_path, "a", "line")
    assert task.validated == [8, 4, 2, 2]
    assert task.sizes == [8] * 10
    messages = [record.message for record in caplog.records if "out of memory" in record.message]
    assert messages[0] == (
        "line: out of memory in validation with 8 at once; trying again with 4, for the rest of the run"
    )


def test_a_single_sample_that_cannot_be_validated(tmp_path):
    with pytest.raises(OutOfMemory, match="line: out of memory in validation with 1 at once: use runtime"):
        train(Watched(settings(), 0), settings(), SAMPLES, tmp_path, "a", "line")


def test_an_update_that_does_not_fit_says_so(tmp_path, monkeypatch):
    def step(optimiser, closure=None):
        raise ON_GPU

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    task = Hungry(settings(), 8)
    with pytest.raises(
        OutOfMemory, match="out of memory in the update of step 0, which smaller micro-batches"
    ):
        train(task, settings(), SAMPLES, tmp_path, "a", "line")
    assert task.sizes == [8]


def test_samples_that_see_each_other_are_not_cut(tmp_path):
    task = Hungry(settings(), 4)
    task.whole_batch = True
    with pytest.raises(OutOfMemory, match=r"cannot be cut: use runtime\.precision bf16"):
        train(task, settings(), SAMPLES, tmp_path, "a")
    with pytest.raises(CrossprobeError, match=r"see each other.*set accumulate to 1"):
        train(task, settings(accumulate=2), SAMPLES, tmp_path, "a")
    with pytest.raises(CrossprobeError, match=r"leave runtime\.micro_batch empty"):
        train(task, settings(), SAMPLES, tmp_path, "a", runtime=runtime(micro_batch=4))


def test_samples_that_see_each_other_come_whole_and_are_computed_in_parts(tmp_path, caplog):
    task = InParts(settings(), 4)
    train(task, settings(), SAMPLES, tmp_path, "a", "line")
    # The first step is tried twice; the batch of the task stays whole.
    assert task.asked == [(8, 8), *10 * [(8, 4)]]
    assert "line: out of memory at step 0 with micro-batches of 8; trying again with 4" in caplog.text
    again = InParts(settings(), 8)
    train(again, settings(accumulate=4), SAMPLES, tmp_path / "more", "a")
    assert set(again.asked) == {(8, 2)}


def test_other_errors_pass_through(tmp_path):
    broken = Hungry(settings(), 0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(broken, settings(), SAMPLES, tmp_path, "a")
    assert broken.sizes == [8]


@pytest.mark.parametrize(("asked", "size"), [(None, 8), (8, 8), (5, 4), (3, 2), (1, 1), ("auto", 8)])
def test_a_micro_batch_that_was_asked_for(tmp_path, asked, size):
    task = Hungry(settings(), 8)
    train(task, settings(), SAMPLES, tmp_path, "a", runtime=runtime(micro_batch=asked))
    assert set(task.sizes) == {size}
    assert len(task.sizes) == 10 * 8 // size


def test_among_processes_a_note_makes_the_next_start_smaller(tmp_path):
    task, two = Hungry(settings(), 8), runtime(Ranks(1, 2))
    pieces = Pieces(task, settings(), two, tmp_path, "line")
    assert [len(piece.rows) for piece in pieces.of(0)] == [4]
    with pytest.raises(OutOfMemory, match="with micro-batches of 4; the next start takes 2"):
        pieces.cut(0, ON_GPU)
    again = Pieces(task, settings(), two, tmp_path, "line")
    whole = task.sampler.batch(0).rows
    assert torch.equal(torch.cat([piece.rows for piece in again.of(0)]), whole[[2, 3, 6, 7]])


@pytest.mark.parametrize(("processes", "sizes"), [(1, [2] * 4), (2, [2, 2]), (4, [2]), (8, [1])])
def test_what_fitted_one_process_fits_any_number(tmp_path, processes, sizes):
    pieces = Pieces(Hungry(settings(), 8), settings(), runtime(Ranks(0, processes)), tmp_path, "line")
    pieces.limit(2)
    assert [len(piece.rows) for piece in pieces.of(0)] == sizes
    whole = Hungry(settings(), 8)
    whole.whole_batch = True
    untouched = Pieces(whole, settings(), runtime(Ranks(0, processes)), tmp_path, "line")
    untouched.limit(2)
    assert untouched.count == 1


def test_a_batch_that_cannot_be_dealt(tmp_path):
    with pytest.raises(CrossprobeError, match="batch_size 8 is not a multiple of 3 processes"):
        Pieces(Hungry(settings(), 8), settings(), runtime(Ranks(0, 3)), tmp_path, "line")


@examples(deadline=None)
@given(st.integers(1, 200), st.integers(0, 200))
def test_the_largest_micro_batch_is_found_by_trial(samples, room):
    tried = []

    def attempt(count: int) -> None:
        tried.append(count)
        if samples // count > room:
            raise ON_GPU

    found = fewest_pieces_that_fit(samples, 1, attempt)
    assert samples % found == 0
    fitting = [size for size in range(1, samples + 1) if samples % size == 0 and size <= room]
    assert samples // found == (max(fitting) if fitting else 1)
    assert tried == sorted(set(tried))


def test_processes_agree_on_what_fits_all_of_them():
    rooms, together, failures, tried = (8, 2), Barrier(2), [0, 0], ([], [])

    def find(process: int) -> int:
        def attempt(count: int) -> None:
            tried[process].append(count)
            if 8 // count > rooms[process]:
                raise ON_GPU

        def agree(failed: int) -> int:
            failures[process] = failed
            together.wait(timeout=20)
            largest = max(failures)
            together.wait(timeout=20)
            return largest

        return fewest_pieces_that_fit(8, 1, attempt, agree)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(find, (0, 1))) == [4, 4]
    assert tried == ([1, 2, 4], [1, 2, 4])


def test_a_trial_exchanges_nothing():
    # There is no other process here: an exchange would raise.
    both, values = Ranks(0, 2), torch.ones(3, requires_grad=True)
    with alone():
        assert both.sum(values) is values
        assert both.gather(values) is values
    with pytest.raises(ValueError, match="process group"):
        both.sum(values)


def test_a_trial_that_fails_otherwise():
    def attempt(count: int) -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        fewest_pieces_that_fit(8, 1, attempt)


@examples(deadline=None)
@given(st.integers(1, 300), st.data())
def test_pieces_divide_the_batch(samples, data):
    divisors = [count for count in range(1, samples + 1) if samples % count == 0]
    least = data.draw(st.sampled_from(divisors))
    most = data.draw(st.none() | st.integers(1, samples))
    count = pieces_for(samples, least, most)
    assert samples % count == 0
    assert count >= least
    assert most is None or samples // count <= most
    assert not [
        other for other in divisors if least <= other < count and samples // other <= (most or samples)
    ]
    more = more_pieces(samples, count)
    assert more is None if count > samples // 2 else more in divisors and more >= 2 * count


def test_what_running_out_of_memory_looks_like():
    assert is_out_of_memory(ON_GPU)
    assert is_out_of_memory(ON_CPU)
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
    assert not is_out_of_memory(ValueError("DefaultCPUAllocator: can't allocate memory"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_what_an_optimiser_keeps(name):
    module = nn.Linear(100, 50)
    rule = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    optimiser = rule(module.parameters(), lr=0.1, **({"momentum": 0.9} if name == "sgd" else {}))
    module(torch.randn(3, 100)).sum().backward()
    optimiser.step()
    kept = sum(
        value.numel() * value.element_size()
        for state in optimiser.state.values()
        for value in state.values()
        if value.dim()
    )
    assert optimiser_bytes(module, name) == kept


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_auto_finds_a_micro_batch_on_a_gpu(tmp_path):
    class Large(Hungry):
        def __init__(self, given, device):
            super().__init__(given, SAMPLES)
            self.device = device
            self.module.to(device)
            self.free = torch.cuda.mem_get_info(device)[0]

        def loss(self, batch):
            self.sizes.append(len(batch.rows))
            # Three samples fill the card; in many tensors, as activations do. One as large as the card would
            # not fit again where a library had taken its workspace from the middle of what the first left.
            ballast = [
                torch.empty(
                    len(batch.rows), int(self.free * 0.3) // 64, dtype=torch.uint8, device=self.device
                )
                for _ in range(64)
            ]
            x, y = (values[batch.rows].to(self.device) for values in (self.x, self.y))
            return (self.module(x).squeeze(1) - y).square().mean() + 0 * ballast[0][0], {}

        def validate(self, size):
            return {"error": 0.0}

    device = torch.device("cuda")
    task = Large(settings(), device)
    machine = Runtime(device, False, False, RuntimeSettings(micro_batch="auto"))
    train(task, settings(), SAMPLES, tmp_path, "a", runtime=machine)
    assert task.sizes[:3] == [8, 4, 2]
    assert set(task.sizes[3:]) == {2}
