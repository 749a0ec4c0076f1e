"""Batches: each frame once, the budget kept, ranks apart, any step reachable."""

import itertools

import numpy as np
import pytest

from gnnpot.errors import ConfigError
from gnnpot.training.sampler import BLOCK, BatchPlan, BatchStream, shuffled

SIZES = np.random.default_rng(0).integers(1, 60, size=101)


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
@pytest.mark.parametrize("epoch", [0, 5])
def test_each_frame_once_within_budget_and_equal_ranks(ranks, epoch):
    plan = BatchPlan(SIZES, budget=100, seed=3, ranks=ranks)
    batches = plan.batches(epoch)
    assert sorted(np.concatenate(batches)) == list(range(len(SIZES)))
    assert all(SIZES[b].sum() <= 100 for b in batches) and all(len(b) for b in batches)
    assert len(batches) % ranks == 0
    streams = [list(BatchStream(plan, epochs=epoch + 1, rank=r)) for r in range(ranks)]
    assert len({len(s) for s in streams}) == 1
    last = BatchStream(plan, epochs=epoch + 1).steps(epoch)
    seen = [set(itertools.chain(*s[-last:])) for s in streams]
    assert set().union(*seen) == set(range(len(SIZES))) and sum(map(len, seen)) == len(SIZES)


def test_deterministic_and_new_each_epoch():
    one, two = BatchPlan(SIZES, 100, seed=1), BatchPlan(SIZES, 100, seed=1)
    for epoch in range(3):
        assert [b.tolist() for b in one.batches(epoch)] == [b.tolist() for b in two.batches(epoch)]
    assert [b.tolist() for b in one.batches(0)] != [b.tolist() for b in one.batches(1)]
    assert [b.tolist() for b in one.batches(0)] != [b.tolist() for b in BatchPlan(SIZES, 100, seed=2).batches(0)]


def test_a_frame_above_the_budget_is_alone():
    batches = BatchPlan(np.array([5, 500, 5, 5]), budget=10).batches()
    assert any(b.tolist() == [1] for b in batches)
    assert all(len(b) == 1 or 1 not in b for b in batches)


def test_without_shuffling_the_order_is_kept():
    batches = BatchPlan(np.ones(10, dtype=int), budget=4, shuffle=False).batches()
    assert [b.tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_any_step_can_be_gone_on_from():
    plan = BatchPlan(SIZES, budget=150, seed=4, ranks=2)
    whole = list(BatchStream(plan, epochs=4, rank=1))
    assert len(whole) == BatchStream(plan, epochs=4).total_steps()
    for start in range(len(whole) + 1):
        assert list(BatchStream(plan, epochs=4, rank=1, start=start)) == whole[start:]


def test_fewer_frames_than_devices_is_refused():
    with pytest.raises(ConfigError, match="can't be shared by 4 devices"):
        BatchPlan(np.ones(3, dtype=int), 10, ranks=4)


def test_large_sets_are_shuffled_block_by_block():
    order = shuffled(10_000, seed=0, epoch=0, block=BLOCK, window=4)
    assert sorted(order) == list(range(10_000))
    first = order[: 4 * BLOCK]
    assert len(np.unique(first // BLOCK)) == 4
    assert not np.array_equal(np.sort(first), first)
