"""Protects the estimator's promises: the error it predicts is the error it makes, without bias, and never worse held out."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.random_projection import GaussianRandomProjection

from tony.errors import TonyError
from tony.projections import AsymmetricRandomProjection, ProjectionWarning
from tony.projections.selection import METHODS
from tony.projections.variance import PROJECTIONS

WIDTH, K = 20, 6
UNBIASED = [m for m in METHODS if m != "truncated"]


def sources(rows=1500, width=WIDTH, seed=0):
    rng = np.random.default_rng(seed)
    mix = (
        rng.normal(size=(2, width, width))
        * np.stack([np.linspace(0.1, 2, width), np.linspace(2, 0.1, width)])[:, :, None]
    )
    x, w = (rng.normal(size=(rows, width)) @ m for m in mix)
    return x, w


X, W = sources()
SEEN_X, SEEN_W = X[:200], W[:200]
TRUTH = SEEN_X @ SEEN_W.T
PAIRS = [
    (m, p)
    for m in METHODS
    for p in PROJECTIONS
    if p == "gaussian" or m not in ("unbiased-optimal", "truncated")
]


def errors(fitted, draws, x=SEEN_X, w=SEEN_W):
    """Mean squared error of each draw, and the mean estimate over draws."""
    truth, found, total = x @ w.T, [], 0.0
    for seed in range(draws):
        estimate = fitted.redraw(seed).inner_products(x, w)
        found.append(np.square(estimate - truth).mean())
        total = total + estimate / draws
    return np.array(found), total


@pytest.mark.parametrize(("method", "projection"), PAIRS)
def test_predicted_error_is_the_error(method, projection):
    """Within 10% of Monte Carlo over 150 draws (standard error about 3%), on the rows' own moments and as fitted."""
    fitted = AsymmetricRandomProjection(K, method, projection, random_state=0).fit(X, other=W)
    found, _ = errors(fitted, 1 if method == "truncated" else 150)
    assert fitted.expected_error(X=SEEN_X, other=SEEN_W) == pytest.approx(found.mean(), rel=0.10)
    assert fitted.expected_error(X=X, other=W) == pytest.approx(fitted.expected_error(), rel=0.10)


@pytest.mark.parametrize("method", UNBIASED)
def test_estimates_are_unbiased(method):
    """400 draws, 16 inner products: none is further than five standard errors off."""
    fitted = AsymmetricRandomProjection(K, method, random_state=0).fit(X, other=W)
    found = np.stack([fitted.redraw(s).inner_products(X[:4], W[:4]) for s in range(400)])
    off = (found.mean(axis=0) - X[:4] @ W[:4].T) / (found.std(axis=0) / 20 + 1e-12)
    assert np.abs(off).max() < 5


def test_the_same_matrix_on_both_sides_would_be_biased():
    """Broken on purpose: the right side treated as the left one is found out by the test above."""
    fitted = AsymmetricRandomProjection(K, "full", random_state=0).fit(X, other=W)
    found = np.stack(
        [fitted.redraw(s).transform(X[:4]) @ fitted.redraw(s).transform(W[:4]).T for s in range(400)]
    )
    off = (found.mean(axis=0) - X[:4] @ W[:4].T) / (found.std(axis=0) / 20)
    assert np.abs(off).max() > 5


@pytest.mark.parametrize("width", [WIDTH, 300])
@pytest.mark.parametrize("projection", PROJECTIONS)
def test_both_ways_of_applying_agree(width, projection):
    """transform is X @ components_left_.T, dense and sparse rows alike; 300 features go through sketched moments."""
    x, w = sources(400, width)
    x[np.abs(x) < 1.0] = 0.0
    fitted = AsymmetricRandomProjection(K, "low-rank", projection, shrinkage=0.1, random_state=0).fit(
        x, other=w
    )
    for rows in (x[:20], sparse.csr_matrix(x[:20])):
        assert fitted.transform(rows) == pytest.approx(x[:20] @ fitted.components_left_.T, rel=1e-9, abs=1e-9)
    assert fitted.transform_right(w[:9]) == pytest.approx(
        w[:9] @ fitted.components_right_.T, rel=1e-9, abs=1e-9
    )


@pytest.mark.parametrize("method", ["diagonal", "low-rank", "oblivious"])
def test_prediction_from_sketched_moments(method):
    """Above 256 features moments are sketched; the error is still within 10% of Monte Carlo (60 draws)."""
    x, w = sources(900, 300)
    fitted = AsymmetricRandomProjection(40, method, "sign", random_state=0).fit(x, other=w)
    found, _ = errors(fitted, 60, x[:150], w[:150])
    assert fitted.expected_error(X=x[:150], other=w[:150]) == pytest.approx(found.mean(), rel=0.10)


@pytest.mark.parametrize("method", ["auto", "hybrid", "unbiased-optimal", "truncated"])
def test_nothing_is_lost_at_full_width(method):
    fitted = AsymmetricRandomProjection(WIDTH, method, random_state=0).fit(X, other=W)
    assert fitted.inner_products(SEEN_X, SEEN_W) == pytest.approx(TRUTH, abs=1e-6 * np.abs(TRUTH).max())
    assert fitted.expected_error() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rows", [2, 12, 200])
@pytest.mark.parametrize("alike", [False, True])
def test_never_worse_than_oblivious_on_held_out_moments(method, rows, alike):
    x, w = sources(rows, seed=rows)
    if alike:  # heavy tails in no direction: there is nothing to learn, and much to learn wrongly
        x, w = np.exp(np.random.default_rng(rows).normal(size=(2, rows, 8)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProjectionWarning)
        fitted = AsymmetricRandomProjection(K, method, "orthogonal", random_state=0).fit(x, other=w)
    assert fitted.gain_over_oblivious_ >= 1.0
    assert fitted.transform(x).shape == (rows, K)


@pytest.mark.parametrize(("width", "k"), [(2, 1), (4, 2), (4, 3)])
def test_sampling_of_few_coordinates_is_predicted(width, k):
    """Where the basis is not that of the rows, joint probabilities matter; Hajek's formula was up to 29% off."""
    rng = np.random.default_rng(width)
    left, right = rng.normal(size=(2, width, width))
    x = rng.normal(size=(300, width)) @ (left * np.geomspace(1, 100, width))
    w = rng.normal(size=(300, width)) @ (right * np.geomspace(50, 1, width))
    fitted = AsymmetricRandomProjection(k, "unbiased-optimal", shrinkage=1.0, random_state=0).fit(x, other=w)
    found, _ = errors(fitted, 1500, x, w)
    assert fitted.expected_error(X=x, other=w) == pytest.approx(found.mean(), rel=0.1)


def test_more_numbers_than_the_rank_lose_nothing_and_say_so():
    low = np.random.default_rng(0).normal(size=(30, 3)) @ np.random.default_rng(1).normal(size=(3, WIDTH))
    for method in ("auto", "full", "hybrid", "unbiased-optimal", "truncated"):
        fitted = AsymmetricRandomProjection(6, method, random_state=0).fit(low, other=low[::-1])
        assert fitted.expected_error() >= 0
        assert fitted.report_.error >= 0 and fitted.gain_over_oblivious_ >= 1


def test_a_mean_far_away_changes_no_expectation():
    """With labels moments are around the mean: adding 1e8 to every feature is nothing to them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6))
    near, far = (AsymmetricRandomProjection(3, "full", random_state=0).fit(x + c, x[:, 0]) for c in (0, 1e8))
    assert far.expected_error() == pytest.approx(near.expected_error(), rel=1e-3)
    wide = rng.normal(size=(200, 320)) + 1000
    for method in ("low-rank", "diagonal"):
        assert np.isfinite(
            AsymmetricRandomProjection(5, method).fit(wide, wide[:, 0] > 1000).expected_error()
        )


def test_errors_of_given_rows_are_those_of_the_rows_as_they_are():
    """Also after a fit to labels, which is around the mean: `inner_products` subtracts nothing."""
    x, w = X + 3, W[:300]
    fitted = AsymmetricRandomProjection(K, "full", random_state=0).fit(x, X[:, 0] > 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProjectionWarning)  # they have shifted, and are asked about for that
        found, _ = errors(fitted, 150, x[:200], w)
    assert fitted.expected_error(X=x[:200], other=w) == pytest.approx(found.mean(), rel=0.15)


def test_a_redraw_is_a_copy():
    first = AsymmetricRandomProjection(K, random_state=0).fit(X, other=W)
    second = first.redraw(1, n_components=9)
    expected = AsymmetricRandomProjection(K, random_state=0).fit(X, other=W)
    second.partial_fit(100 * X)
    first.partial_fit(X[:50])
    expected.partial_fit(X[:50])
    assert first.transform(X) == pytest.approx(expected.transform(X))
    assert first.report_.n_components == K


def test_the_report_of_a_redraw_is_at_its_own_size():
    first = AsymmetricRandomProjection(4, "hybrid", random_state=0).fit(X, other=W)
    second = first.redraw(1, n_components=9)
    assert second.report_.n_components == 9
    assert second.report_.error == pytest.approx(second.expected_error())
    assert second.gain_over_oblivious_ > first.gain_over_oblivious_


def test_parameters_set_after_the_fit_wait_for_the_next():
    fitted = AsymmetricRandomProjection(4, "full", random_state=0).fit(X, other=W)
    expected = fitted.redraw(3).transform(X)
    for changed in ({"method": "truncated"}, {"method": "unbiased-optimal"}, {"projection": "nonsense"}):
        fitted.set_params(**changed)
        assert fitted.redraw(3).transform(X) == pytest.approx(expected)


def test_estimates_are_arrays_whatever_transform_gives():
    fitted = AsymmetricRandomProjection(3).fit(X, other=W).set_output(transform="pandas")
    assert type(fitted.inner_products(X, W)) is np.ndarray


def test_one_row_and_as_many_numbers_as_features():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ProjectionWarning)
        fitted = AsymmetricRandomProjection(WIDTH, random_state=0).fit(X[:1], other=W)
    assert fitted.inner_products(SEEN_X, SEEN_W) == pytest.approx(TRUTH, abs=1e-5 * np.abs(TRUTH).max())


@pytest.mark.parametrize("method", ["full", "hybrid", "unbiased-optimal"])
def test_a_shift_is_noticed_by_every_unbiased_method(method):
    x, w = X * np.geomspace(10, 0.1, WIDTH), W * np.geomspace(0.1, 10, WIDTH)
    fitted = AsymmetricRandomProjection(4, method, random_state=0).fit(x, other=w)
    fitted.transform_right(w)
    with pytest.warns(ProjectionWarning, match="has shifted"):
        fitted.transform_right(x)


def test_labels_come_with_every_piece_or_with_none():
    labels = X[:, 0] > 0
    stream = AsymmetricRandomProjection(K, random_state=0).partial_fit(X[:700], labels[:700])
    stream.partial_fit(X[700:], labels[700:])
    assert stream.report_.rows_right == 800
    with pytest.raises(TonyError, match="in all calls or in none"):
        stream.partial_fit(X, other=W)
    with pytest.raises(TonyError, match="in all calls or in none"):
        AsymmetricRandomProjection(K).partial_fit(X).partial_fit(X, labels)
    with pytest.warns(ProjectionWarning, match="labels of this call say nothing"):
        stream.partial_fit(X[:2], labels[:2])


def test_a_refused_first_piece_leaves_nothing_behind():
    stream = AsymmetricRandomProjection(4, random_state=0)
    with pytest.raises(TonyError):
        stream.partial_fit(X, other=W[:, :3])
    stream.partial_fit(X[:, :10], other=W[:, :10])
    assert stream.report_.rows_left == len(X)


def test_digits_and_class_weights_against_scikit_learn():
    """The reference figures: full at least x3 below GaussianRandomProjection, hybrid x10 (k = 16) and x20 (k = 32)."""
    pixels, label = load_digits(return_X_y=True)
    pixels, rng, weights = pixels / 16, np.random.default_rng(0), []
    for _ in range(400):
        picked = rng.integers(0, len(pixels), 150)
        x, goal = pixels[picked], np.where(label[picked] == rng.integers(10), 1.0, -1.0)
        weights.append(np.linalg.solve(x.T @ x + np.eye(64), x.T @ goal))
    weights = np.array(weights)
    x, w = pixels[1::4], weights[1::2]
    for k, method, least in ((16, "full", 3), (16, "hybrid", 10), (32, "hybrid", 20)):
        plain = []
        for seed in range(50):
            theirs = GaussianRandomProjection(k, random_state=seed).fit(pixels)
            plain.append(np.square(theirs.transform(x) @ theirs.transform(w).T - x @ w.T).mean())
        ours, _ = errors(AsymmetricRandomProjection(k, method).fit(pixels[::2], other=weights[::2]), 50, x, w)
        assert np.mean(plain) / ours.mean() > least


def test_streams_of_any_chunks_give_what_fit_gives():
    whole = AsymmetricRandomProjection(K, random_state=3).fit(X, other=W)
    pieces = AsymmetricRandomProjection(K, random_state=3)
    for start in range(0, len(X), 311):
        pieces.partial_fit(X[start : start + 311], other=W[start : start + 311])
    assert pieces.expected_error() == pytest.approx(whole.expected_error(), rel=1e-9)
    assert pieces.transform(SEEN_X) == pytest.approx(whole.transform(SEEN_X), rel=1e-6, abs=1e-9)
    apart = AsymmetricRandomProjection(K, random_state=3).partial_fit(X).partial_fit(None, other=W)
    assert apart.expected_error() == pytest.approx(whole.expected_error(), rel=1e-9)


def test_memory_mapped_rows(tmp_path):
    mapped = np.memmap(tmp_path / "rows.f32", dtype=np.float32, mode="w+", shape=X.shape)
    mapped[:] = X
    fitted = AsymmetricRandomProjection(K, random_state=0).fit(mapped, other=W)
    whole = AsymmetricRandomProjection(K, random_state=0).fit(X, other=W)
    assert fitted.transform(mapped).dtype == np.float32
    assert fitted.expected_error() == pytest.approx(whole.expected_error(), rel=1e-4)


def test_torch_tensors_are_rows():
    torch = pytest.importorskip("torch")
    expected = AsymmetricRandomProjection(K, random_state=0).fit(X, other=W)
    fitted = AsymmetricRandomProjection(K, random_state=0).fit(torch.tensor(X), other=torch.tensor(W))
    assert fitted.transform(torch.tensor(SEEN_X)) == pytest.approx(expected.transform(SEEN_X))
    assert fitted.transform(torch.tensor(SEEN_X, dtype=torch.bfloat16)).dtype == np.float32


def test_without_a_second_source_it_is_taken_to_be_like_the_first():
    """No gain from balancing then; what is kept exactly still helps."""
    assert AsymmetricRandomProjection(K, "full").fit(X).gain_over_oblivious_ == pytest.approx(1, rel=1e-6)
    assert AsymmetricRandomProjection(K, "hybrid").fit(X).gain_over_oblivious_ > 1.5


def test_a_shifted_second_source_is_warned_of():
    fitted = AsymmetricRandomProjection(K, "full", random_state=0).fit(X, other=W)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.transform_right(W)
    with pytest.warns(ProjectionWarning, match="has shifted"):
        fitted.transform_right(X)
    nothing = AsymmetricRandomProjection(K, "oblivious").fit(X, other=W)
    assert fitted.expected_error(X=X, other=X) > nothing.expected_error(X=X, other=X)


def test_too_few_rows_are_warned_of():
    x, w = sources(4000, 60)
    with pytest.warns(ProjectionWarning, match="few to learn from"):
        AsymmetricRandomProjection(K, "full", shrinkage="auto").fit(x[:1], other=w)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AsymmetricRandomProjection(K, "full").fit(x, other=w)


def test_redraws_share_the_moments_and_change_the_matrix():
    fitted = AsymmetricRandomProjection(K, random_state=0).fit(X, other=W)
    again = fitted.redraw(7, n_components=9)
    assert again.transform(SEEN_X).shape == (200, 9) and fitted.transform(SEEN_X).shape == (200, K)
    assert again.transform(SEEN_X) == pytest.approx(fitted.redraw(7, n_components=9).transform(SEEN_X))
    assert again.expected_error() == pytest.approx(fitted.expected_error(9))


def test_report_reads_as_text():
    text = str(AsymmetricRandomProjection(K, random_state=0).fit(X, other=W).report_)
    assert "1500 rows of the first source" in text and "gain over oblivious: x" in text


def test_relative_error_divides_by_the_mean_square():
    fitted = AsymmetricRandomProjection(K, random_state=0).fit(X, other=W)
    share = fitted.expected_error(X=SEEN_X, other=SEEN_W, relative=True)
    assert share == pytest.approx(fitted.expected_error(X=SEEN_X, other=SEEN_W) / np.square(TRUTH).mean())
