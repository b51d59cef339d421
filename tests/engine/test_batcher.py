"""Protects: what a job gets does not depend on who shares its batch, on chunks, or on what prefixes are known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tony.engine.batcher import Batcher, Job
from tony.engine.prefixes import BLOCK, Prefixes, common
from tony.engine.sampling import GREEDY, Decoding
from tony.errors import TonyError

SIZE = 211
SHAPES = {
    "grouped": {"kv_heads": 2},
    "banded": {"kv_heads": 2, "depth": 3, "window": 5, "banded": (0, 2)},
    "tied, no qk-norm": {"tied": True, "qk_norm": False},
}


@pytest.fixture(scope="module", params=SHAPES)
def model(request, random_model):
    return random_model(SIZE, **SHAPES[request.param])


def ids_of(length, seed=0):
    return np.random.default_rng([length, seed]).integers(3, SIZE, length).tolist()


def finish(batcher, *jobs):
    """(ids, log-probabilities, finish) by (job, sample)."""
    numbers = [batcher.submit(job) for job in jobs]
    out = {}
    while not batcher.is_idle:
        for event in batcher.step():
            out.setdefault((event.job, event.sample), []).append(event)
    return [
        [
            ([e.id for e in out[n, j]], [e.logprob for e in out[n, j]], out[n, j][-1].finish)
            for j in range(job.n)
        ]
        for n, job in zip(numbers, jobs, strict=True)
    ]


def jobs_of_all_kinds():
    warm = Decoding(temperature=0.9, top_p=0.95)
    shared = ids_of(70)
    return [
        Job(ids=ids_of(3), most=9, decoding=GREEDY),
        Job(ids=ids_of(100), most=20, decoding=warm, seed=5),
        Job(ids=shared + ids_of(9), most=4, n=5, decoding=warm, seed=6),
        Job(ids=shared + ids_of(20), most=12, decoding=Decoding(repetition_penalty=1.5, temperature=0)),
        Job(ids=ids_of(1), most=30, n=2, decoding=warm, ends=frozenset(range(3, 30))),
        Job(ids=shared, most=1, decoding=GREEDY),
    ]


def test_together_equals_alone_at_any_chunk_and_number_of_rows(model):
    jobs = jobs_of_all_kinds()
    alone = [finish(Batcher(model, rows=5, prefix_bytes=0), job)[0] for job in jobs]
    for rows, chunk, prefix_bytes in ((1, 256, 1 << 20), (3, 32, 1 << 20), (5, 50, 0), (8, 7, 1 << 20)):
        together = finish(Batcher(model, rows, chunk, prefix_bytes=prefix_bytes), *jobs)
        for mine, theirs in zip(together, alone, strict=True):
            for found, expected in zip(mine, theirs, strict=True):
                assert found[0] == expected[0] and found[2] == expected[2]
                assert found[1] == pytest.approx(expected[1], abs=1e-4)


def test_greedy_ids_and_log_probabilities_are_those_of_the_full_forward_pass(model):
    prompt = ids_of(41)
    ((ids, logprobs, _),) = finish(Batcher(model, chunk=32), Job(ids=prompt, most=20, decoding=GREEDY))[0]
    logits = model(torch.tensor([prompt + ids]))[0, 40:-1].double()
    assert ids == logits.argmax(-1).tolist()
    expected = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]
    assert logprobs == pytest.approx(expected.tolist(), abs=1e-4)


def test_a_job_that_comes_later_joins_the_batch(model):
    """No job waits for the batch before it to end."""
    batcher = Batcher(model, rows=4)
    first = batcher.submit(Job(ids=ids_of(10), most=50, decoding=GREEDY))
    batcher.step()
    second = batcher.submit(Job(ids=ids_of(5), most=3, decoding=GREEDY))
    order = []
    while not batcher.is_idle:
        order += [event.job for event in batcher.step() if event.finish]
    assert order == [second, first]
    assert batcher.counts.steps == 49, "the second job's ids came in the first one's steps"


@pytest.mark.parametrize("length", [5 * BLOCK, 5 * BLOCK + 1, 4 * BLOCK + 30])
def test_a_shared_prefix_is_computed_once_and_changes_nothing(model, length):
    # Tails differ from their first id on: what two of them have in common would be computed once as well.
    shared, tails = ids_of(length), [[3 + seed, *ids_of(3, seed)] for seed in range(30)]
    jobs = [Job(ids=shared + tail, most=2, decoding=GREEDY) for tail in tails]
    batcher, plain = Batcher(model, rows=8), Batcher(model, rows=8, prefix_bytes=0)
    found, expected = finish(batcher, *jobs), finish(plain, *jobs)
    assert batcher.counts.prompt == len(shared) + 30 * 4
    assert batcher.counts.reused == 29 * len(shared)
    assert plain.counts.prompt == 30 * (len(shared) + 4) and plain.counts.reused == 0
    for ((ids, logprobs, _),), ((same, close, _),) in zip(found, expected, strict=True):
        assert ids == same and logprobs == pytest.approx(close, abs=1e-5)


def test_reuse_changes_no_logit_by_more_than_1e_5(model):
    prompt = ids_of(4 * BLOCK + 5)
    batcher = Batcher(model)
    _, fresh = batcher.prefill(Job(ids=prompt, most=1), 1)
    _, reused = batcher.prefill(Job(ids=prompt, most=1), 1)
    assert batcher.counts.reused == 4 * BLOCK + 4
    assert float((fresh - reused).abs().max()) < 1e-5


def test_all_samples_of_a_job_come_from_one_prefill(model):
    batcher = Batcher(model, rows=4, prefix_bytes=0)
    (samples,) = finish(batcher, Job(ids=ids_of(37), most=6, n=11, seed=2))
    assert batcher.counts.prompt == 37 and len({tuple(s[0]) for s in samples}) == 11


def test_deterministic_batches_give_the_same_bits_in_any_company(model):
    jobs = jobs_of_all_kinds()

    def run(*jobs):
        return finish(Batcher(model, rows=6, chunk=32, deterministic=True, room=256), *jobs)

    alone = [run(job)[0] for job in jobs]
    assert run(*jobs) == alone, "bit for bit, log-probabilities too"
    assert run(*jobs[::-1]) == alone[::-1]
    batcher = Batcher(model, rows=6, chunk=32, deterministic=True, room=256)
    finish(batcher, jobs[3])
    assert finish(batcher, jobs[2])[0] == alone[2] and batcher.counts.reused == 64


def test_cancelling_frees_the_row_within_a_step(model):
    batcher = Batcher(model, rows=2)
    numbers = [batcher.submit(Job(ids=ids_of(5), most=100, n=2)) for _ in range(2)]
    batcher.step()
    batcher.cancel(numbers[0], 1)
    events = batcher.step()
    assert {(e.job, e.sample) for e in events} == {(numbers[0], 0), (numbers[1], 0)}
    batcher.cancel(numbers[0])
    batcher.cancel(numbers[1])
    assert batcher.is_idle and batcher.step() == []


def test_what_was_written_is_a_prefix_where_it_is_remembered(model):
    prompt = ids_of(BLOCK)
    batcher = Batcher(model)
    ((written, _, _),) = finish(batcher, Job(ids=prompt, most=BLOCK + 1, decoding=GREEDY, remember=True))[0]
    before = batcher.counts.prompt
    finish(batcher, Job(ids=prompt + written + ids_of(3), most=1))
    assert batcher.counts.prompt - before == 1 + 3


def test_rows_grow_for_a_long_job(model):
    batcher = Batcher(model, rows=2, chunk=32, room=32)
    short, long = Job(ids=ids_of(3), most=40, decoding=GREEDY), Job(ids=ids_of(150), most=50, decoding=GREEDY)
    ((found, close, _),), _ = finish(batcher, short, long)
    ((expected, logprobs, _),) = finish(Batcher(model, rows=2), short)[0]
    assert found == expected and close == pytest.approx(logprobs, abs=1e-4)


def test_rows_of_unlike_lengths_are_read_as_far_as_they_go(model):
    """Every eight rows together; what comes is what comes alone, where there is nothing to skip."""
    jobs = [Job(ids=ids_of(4 + 9 * i), most=6, decoding=GREEDY) for i in range(20)]
    batcher = Batcher(model, rows=20, chunk=4096)
    numbers = [batcher.submit(job) for job in jobs]
    batcher.step()
    view = batcher._slots.view(0, 20)
    view.look(1, torch.zeros(1))
    assert (
        view.reaches == [max(batcher._slots.lengths[i : min(i + 8, 20)]) + 1 for i in (0, 8, 16)]
        and len(numbers) == 20
    )
    together = finish(Batcher(model, rows=20, chunk=4096), *jobs)
    for job, found in zip(jobs, together, strict=True):
        ((ids, logprobs, ending),) = finish(Batcher(model, rows=1), job)[0]
        assert (
            found[0][0] == ids and found[0][1] == pytest.approx(logprobs, abs=1e-4) and found[0][2] == ending
        )


def test_rows_that_have_grown_can_be_cancelled(model):
    """The store that grows within a step is one that torch lets nobody change outside."""
    batcher = Batcher(model, rows=3, room=32, chunk=32)
    long = Job(ids=ids_of(60), most=20, n=3, decoding=GREEDY)
    number = batcher.submit(long)
    for _ in range(4):
        events = batcher.step()
    assert {event.sample for event in events} == {0, 1, 2}
    batcher.cancel(number, 0)  # the last row moves to its place
    while not batcher.is_idle:
        events = batcher.step()
    assert {event.sample for event in events} == {1, 2} and events[0].finish == "length"


def test_bad_jobs_are_refused(model):
    batcher = Batcher(model, rows=2, chunk=32, deterministic=True, room=64)
    for job, words in (
        (Job(ids=[], most=1), "empty"),
        (Job(ids=ids_of(200), most=57), "context is 256"),
        (Job(ids=ids_of(60), most=5), "made for 64"),
        (Job(ids=[1], most=0), "at least one id"),
    ):
        with pytest.raises(TonyError, match=words):
            batcher.submit(job)
    with pytest.raises(TonyError, match="multiple of 32"):
        Batcher(model, chunk=33, deterministic=True)


def test_known_prefixes_stay_within_their_memory():
    prefixes = Prefixes(most_bytes=3 * 2 * 4 * BLOCK)
    part = torch.zeros(1, 1, BLOCK, 1)
    ids = [ids_of(2 * BLOCK, seed) for seed in range(3)]
    for own in ids:
        for number in prefixes.missing(own):
            prefixes.keep(own, number, part.clone(), part.clone())
    assert len(prefixes) == 3 and prefixes.nbytes == prefixes.most_bytes
    assert len(prefixes.find([*ids[2], 0])) == 2, "the newest is whole"
    assert prefixes.find([*ids[0], 0]) == [], "the oldest is gone"
    last = prefixes.find(ids[2])
    assert [len(block.ids) for block in last] == [BLOCK, BLOCK - 1], "the last id is always computed"


@settings(max_examples=100)
@given(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4 * BLOCK), min_size=1, max_size=6),
    st.integers(2, 12),
)
def test_the_longest_known_beginning_is_found(texts, most):
    """Against a comparison with every kept text; keys are the ids themselves, so what is found is known to be right."""
    prefixes, kept = Prefixes(most_bytes=most * BLOCK * 8), []
    for ids in texts:
        longest = max((common(one, ids[:-1]) for one in kept), default=0)
        found = [int(i) for block in prefixes.find(ids) for i in block.keys.flatten()]
        assert found == list(ids[: len(found)]) and len(found) < len(ids)
        if prefixes.nbytes + 4 * BLOCK * 8 <= prefixes.most_bytes:  # nothing was dropped yet
            assert len(found) == longest
        for number in prefixes.missing(ids):
            part = torch.tensor(ids[number * BLOCK : (number + 1) * BLOCK], dtype=torch.float32)
            prefixes.keep(ids, number, part.view(1, 1, -1, 1), part.view(1, 1, -1, 1))
        kept.append(ids)
        assert prefixes.nbytes <= prefixes.most_bytes
