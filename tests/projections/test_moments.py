"""Protects the statistics: any chunking, dense or sparse, gives the same sums; sketches are as good as they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from tony.projections.moments import Source, nystrom, probes

ROWS = np.random.default_rng(0).normal(size=(97, 6)) * np.arange(1, 7) + 1.0


@given(cuts=st.lists(st.integers(0, 97), max_size=6))
def test_chunks_do_not_matter(cuts):
    for centred in (False, True):
        whole, pieces = Source(6, centred=centred), Source(6, centred=centred)
        whole.add(ROWS)
        for piece in np.split(ROWS, sorted(cuts)):
            pieces.add(piece)
        for which in ((), (0,), (1,)):
            expected, found = (s.moment(*which).matrix for s in (whole, pieces))
            assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_order_does_not_matter_to_the_sum():
    forwards, backwards = Source(6), Source(6)
    forwards.add(ROWS)
    backwards.add(ROWS[::-1])
    assert backwards.moment().matrix == pytest.approx(forwards.moment().matrix, rel=1e-12)


def test_moments_are_those_of_the_rows():
    plain, centred = Source(6), Source(6, centred=True)
    plain.add(ROWS)
    centred.add(ROWS)
    assert plain.moment().matrix == pytest.approx(ROWS.T @ ROWS / 97)
    assert centred.moment().matrix == pytest.approx(np.cov(ROWS.T, bias=True))
    assert centred.moment().diagonal == pytest.approx(ROWS.var(axis=0))


@pytest.mark.parametrize("far", [1e3, 1e9])
def test_a_mean_far_away_drowns_nothing(far):
    """In float64 what is left of 1e9 squared is 1e2: sums have to begin near the rows."""
    source = Source(6, centred=True)
    source.add(ROWS[:40] + far)
    source.add(ROWS[40:] + far)
    assert source.moment().matrix == pytest.approx(np.cov(ROWS.T, bias=True), rel=1e-5)


def test_folds_are_balanced_and_have_no_period():
    source = Source(1)
    source.add(np.ones((1001, 1)))
    assert abs(source.folds[0].count - source.folds[1].count) == 1
    kept = np.bitwise_count(np.arange(1024, dtype=np.uint64)) & 1
    for period in range(1, 65):
        assert 0.2 < np.mean(kept[period:] == kept[:-period]) < 0.8


@pytest.mark.parametrize("sketched", [False, True])
def test_sparse_rows_are_rows(sketched):
    rows = sparse.random(80, 6, 0.3, format="csr", random_state=0)
    omega = probes(6, 4, np.random.default_rng(0)) if sketched else None
    scale = np.linspace(1, 2, 6) if sketched else None
    for centred in (False, True):
        one, two = Source(6, omega, scale, centred), Source(6, omega, scale, centred)
        one.add(rows)
        two.add(rows.toarray())
        mine, yours = one.moment(), two.moment()
        assert mine.times(np.eye(6)) == pytest.approx(yours.times(np.eye(6)), abs=1e-12)


def test_large_rows_are_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("tony.projections.moments.CHUNK_BYTES", 6 * 8 * 10)
    mapped = np.memmap(tmp_path / "rows", dtype=np.float32, mode="w+", shape=ROWS.shape)
    mapped[:] = ROWS
    source, whole = Source(6), Source(6)
    source.add(mapped)
    monkeypatch.undo()
    whole.add(np.asarray(mapped))
    assert source.moment().matrix == pytest.approx(whole.moment().matrix, rel=1e-12)


def test_half_precision_does_not_overflow():
    source = Source(2)
    source.add(np.full((4, 2), 6e4, dtype=np.float16))
    assert source.moment().matrix == pytest.approx(np.full((2, 2), 6e4**2), rel=1e-2)


def test_nystrom_is_exact_up_to_its_rank_and_never_above_the_matrix():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(40, 5))
    low = root @ root.T
    omega = probes(40, 8, rng)
    factor = nystrom(low @ omega, omega)
    assert factor @ factor.T == pytest.approx(low, abs=1e-5 * np.trace(low))
    whole = low + np.diag(rng.uniform(0.1, 1, 40))
    factor = nystrom(whole @ omega, omega)
    assert np.linalg.eigvalsh(whole - factor @ factor.T).min() > -1e-6 * np.trace(whole)


def test_sketched_moments_keep_trace_and_diagonal():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(300, 50)) * np.geomspace(1, 0.01, 50)
    omega = probes(50, 20, rng)
    sketched, dense = Source(50, omega), Source(50)
    for source in (sketched, dense):
        source.add(rows)
    mine, yours = sketched.moment(), dense.moment()
    assert mine.diagonal == pytest.approx(yours.diagonal)
    assert np.diag(mine.times(np.eye(50))) == pytest.approx(yours.diagonal)
    assert mine.trace_product(mine) == pytest.approx(yours.trace_product(yours), rel=0.02)
    overlap = np.linalg.svd(mine.top(3).T @ yours.top(3))[1]
    assert overlap.min() > 0.99


def test_constant_rows_have_no_spread():
    plain, centred = Source(3), Source(3, centred=True)
    for source in (plain, centred):
        source.add(np.full((10, 3), 2.0))
    assert centred.moment().diagonal == pytest.approx(0)
    assert plain.moment().top(3).shape == (3, 1)
