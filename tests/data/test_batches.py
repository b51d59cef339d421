"""Protects: batch i is a pure function of (seed, i), every window comes once an epoch, targets are the next ids."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tony.data.batches import Batches
from tony.data.shards import Shard, pack
from tony.tokens.vocabulary import Tokens

CONTEXT = 40


@pytest.fixture(scope="module")
def shard(tmp_path_factory, vocabulary):
    """100 documents of random ids and random counts; a document's first id is never counted."""
    rng = np.random.default_rng(0)
    documents = []
    for _ in range(100):
        n = int(rng.integers(2, CONTEXT + 1))
        counted = rng.random(n) < 0.5
        counted[0] = False
        documents.append(Tokens(rng.integers(0, vocabulary.size, n), counted))
    return Shard.write(tmp_path_factory.mktemp("shard"), documents, vocabulary)


def make(shard, seed=3, batch_tokens=3 * CONTEXT + 5):
    return Batches(shard, CONTEXT, batch_tokens, seed)


def equal(a, b):
    tensors = all(
        (getattr(a, n).numpy() == getattr(b, n).numpy()).all() for n in ("ids", "places", "targets")
    )
    return tensors and a.lengths == b.lengths


@given(order=st.lists(st.integers(0, 200), min_size=1, max_size=6))
def test_any_order_of_access_gives_the_same_batches(shard, order):
    straight, jumping = make(shard), make(shard)
    for index in range(3):
        straight[index]  # what was read before does not matter
    for index in order:
        assert equal(jumping[index], make(shard)[index])
        assert equal(straight[index], jumping[index])


def test_another_seed_is_another_order(shard):
    assert make(shard, 3).windows(0) != make(shard, 4).windows(0)


def test_every_window_once_an_epoch(shard):
    batches = make(shard)
    n, per_batch = len(batches.packing), batches.windows_per_batch
    assert per_batch == 3 and batches.tokens_per_batch == 3 * CONTEXT
    sequence = [w for index in range(-(-5 * n // per_batch)) for w in batches.windows(index)]
    epochs = [sequence[i * n : (i + 1) * n] for i in range(5)]
    assert all(sorted(epoch) == list(range(n)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5, "each epoch has its own order"


def test_a_batch_larger_than_the_data_repeats_them(shard):
    n = len(make(shard).packing)
    batches = make(shard, batch_tokens=(2 * n + 3) * CONTEXT)
    counts = np.bincount(batches.windows(1), minlength=n)
    assert counts.sum() == 2 * n + 3 and counts.min() >= 1


@pytest.mark.parametrize("index", [0, 7, 31])
def test_places_and_targets_equal_a_naive_loop(shard, index):
    batches = make(shard)
    batch, places, targets = batches[index], [], []
    for row, window in enumerate(batches.windows(index)):
        at = 0
        for position, document in enumerate(batches.packing.window(window)):
            tokens = shard.tokens(int(document))
            assert batch.lengths[row][position] == len(tokens)
            assert batch.ids[row, at : at + len(tokens)].tolist() == tokens.ids.tolist()
            for i in range(1, len(tokens)):
                if tokens.counted[i]:
                    places.append(row * CONTEXT + at + i - 1)
                    targets.append(int(tokens.ids[i]))
            at += len(tokens)
    assert batch.places.tolist() == places and batch.targets.tolist() == targets


@given(batches=st.integers(1, 60), per_batch=st.integers(1, 5))
def test_a_curriculum_goes_once_through_the_shard_however_long_the_run_is(shard, batches, per_batch):
    """Groups in their order, and within a group no window twice before all have come as often."""
    made = Batches(shard, CONTEXT, per_batch * CONTEXT, 3, curriculum=batches)
    made.packing = pack(shard.lengths, CONTEXT, group=30)
    sequence = np.array([w for index in range(batches) for w in made.windows(index)])
    groups = np.searchsorted(made.packing.groups, sequence, side="right") - 1
    assert (np.diff(groups) >= 0).all()
    n, passes = len(made.packing), -(-len(sequence) // len(made.packing))
    for group, (start, end) in enumerate(itertools.pairwise(made.packing.groups)):
        inside = sequence[groups == group]
        expected = len(sequence) * (end - start) / n
        assert abs(len(inside) - expected) <= 1, "each group gives its share"
        assert np.bincount(inside - start, minlength=end - start).max() <= passes


def test_a_curriculum_is_a_pure_function_of_seed_and_index(shard):
    def made(seed):
        return Batches(shard, CONTEXT, 3 * CONTEXT, seed, curriculum=20)

    one = made(3)
    assert [one.windows(i) for i in (9, 2, 9)] == [made(3).windows(i) for i in (9, 2, 9)]
    assert [made(3).windows(i) for i in range(20)] != [made(4).windows(i) for i in range(20)]
