"""Batches: each frame once, the budget kept, ranks apart, any step reachable."""

import itertools
import math

import numpy as np
import pytest

from gnnpot.errors import ConfigError
from gnnpot.training.sampler import BatchPlan, BatchStream, SamplingWeight, mixed, shuffled

SIZES = np.random.default_rng(0).integers(1, 60, size=101)
ONE = (SamplingWeight(np.zeros(101, dtype=int)),)
#: sources of 60, 30 and 11 frames, in blocks of 7
THREE = tuple(SamplingWeight(np.arange(n) // 7, weight) for n, weight in ((60, 1.0), (30, 0.4), (11, 2.5)))


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
@pytest.mark.parametrize("epoch", [0, 5])
def test_each_frame_once_within_budget_and_equal_ranks(ranks, epoch):
    plan = BatchPlan(SIZES, budget=100, seed=3, ranks=ranks, sampling_weights=ONE)
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
    one, two = BatchPlan(SIZES, 100, seed=1, sampling_weights=ONE), BatchPlan(SIZES, 100, seed=1, sampling_weights=ONE)
    for epoch in range(3):
        assert [b.tolist() for b in one.batches(epoch)] == [b.tolist() for b in two.batches(epoch)]
    assert [b.tolist() for b in one.batches(0)] != [b.tolist() for b in one.batches(1)]
    other = BatchPlan(SIZES, 100, seed=2, sampling_weights=ONE)
    assert [b.tolist() for b in one.batches(0)] != [b.tolist() for b in other.batches(0)]


def test_a_frame_above_the_budget_is_alone():
    batches = BatchPlan(
        np.array([5, 500, 5, 5]), budget=10, sampling_weights=(SamplingWeight(np.zeros(4, dtype=int)),)
    ).batches()
    assert any(b.tolist() == [1] for b in batches)
    assert all(len(b) == 1 or 1 not in b for b in batches)


@pytest.mark.parametrize(("frames", "ranks"), [(3, 2), (5, 3), (11, 4)])
def test_no_batch_is_empty_where_batches_of_one_frame_cant_be_shared_evenly(frames, ranks):
    sizes = np.arange(frames, 0, -1)
    batches = BatchPlan(sizes, budget=1, ranks=ranks).batches()
    assert len(batches) % ranks == 0 and all(len(b) for b in batches)
    assert sorted(np.concatenate(batches)) == list(range(frames))
    # the largest frame is still alone
    assert any(b.tolist() == [0] for b in batches)


def test_without_shares_the_order_is_kept():
    batches = BatchPlan(np.ones(10, dtype=int), budget=4).batches()
    assert [b.tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize("shares", [ONE, THREE])
def test_any_step_can_be_gone_on_from(shares):
    plan = BatchPlan(SIZES, budget=150, seed=4, ranks=2, sampling_weights=shares)
    whole = list(BatchStream(plan, epochs=4, rank=1))
    assert len(whole) == BatchStream(plan, epochs=4).total_steps()
    for start in range(len(whole) + 1):
        assert list(BatchStream(plan, epochs=4, rank=1, start=start)) == whole[start:]


def test_epochs_without_limit():
    plan = BatchPlan(SIZES, budget=150, seed=4, sampling_weights=THREE)
    endless, four = BatchStream(plan, epochs=None), BatchStream(plan, epochs=4)
    steps = four.total_steps()
    assert endless.total_steps() == math.inf and endless.total_steps(7) == 7 == four.total_steps(7)
    assert list(itertools.islice(endless, int(steps))) == list(four)
    assert endless.position(int(steps)) == (4, 0) == four.position(int(steps))
    assert four.mean_steps() == steps / 4


def test_fewer_frames_than_devices_is_refused():
    with pytest.raises(ConfigError, match="can't be shared by 4 devices"):
        BatchPlan(np.ones(3, dtype=int), 10, ranks=4)


def test_large_sets_are_shuffled_block_by_block():
    # blocks of uneven length, as of a store of which some frames are held out
    blocks = np.sort(np.random.default_rng(0).integers(0, 80, size=10_000))
    order = shuffled(blocks, (0, 0), window=4)
    assert sorted(order) == list(range(10_000))
    read = blocks[order]
    changes = [len(np.unique(read[k : k + 250])) for k in range(0, 10_000, 250)]
    assert max(changes) <= 8 and min(changes) >= 4
    first = order[: np.isin(blocks, np.unique(read[:200])).sum()]
    assert len(np.unique(blocks[first])) == 4 and not np.array_equal(np.sort(first), first)


def test_sources_are_taken_by_their_weights():
    bounds = [(0, 60), (60, 90), (90, 101)]
    taken = np.zeros((10, 101), dtype=int)
    for epoch in range(10):
        np.add.at(taken[epoch], mixed(THREE, seed=0, epoch=epoch), 1)
    for (start, end), share in zip(bounds, THREE, strict=True):
        per_epoch = taken[:, start:end].sum(axis=1)
        assert np.abs(per_epoch - share.weight * len(share)).max() <= 0.5
        # no frame comes again before all others have come
        assert np.ptp(np.cumsum(taken[:, start:end], axis=0), axis=1).max() <= 1
    assert (taken[:, :60] == 1).all()


def test_every_batch_holds_the_sources_in_proportion():
    shares = tuple(SamplingWeight(np.arange(n) // 7, weight) for n, weight in ((600, 1.0), (2000, 0.1)))
    plan = BatchPlan(np.ones(2600, dtype=int), budget=40, sampling_weights=shares)
    others = [int((batch >= 600).sum()) for batch in plan.batches(epoch=2)]
    assert sum(others) == 200 and len(others) == 20
    assert min(others) >= 8 and max(others) <= 12


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_mixed_sources_are_the_same_over_any_number_of_ranks(ranks):
    """Ranks with a part of the budget each see together what one sees with all of it."""
    ones = np.ones(101, dtype=int)
    whole = BatchStream(BatchPlan(ones, budget=8, seed=5, sampling_weights=THREE), epochs=3)
    parts = [BatchStream(BatchPlan(ones, 8 // ranks, 5, ranks, THREE), epochs=3, rank=r) for r in range(ranks)]
    for one, some in zip(list(whole)[:12], zip(*parts, strict=True), strict=False):
        assert sorted(one) == sorted(itertools.chain(*some))
