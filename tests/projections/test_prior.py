"""Protects the prior on regressors: ridge as scikit-learn has it, classes told from numbers, and what it is for."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from tony.errors import TonyError
from tony.projections import AsymmetricRandomProjection
from tony.projections.prior import regressors, ridge, targets

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(40, 7), (7, 40)])
@pytest.mark.parametrize("scaled", [False, True])
def test_ridge_is_scikit_learns(shape, scaled):
    x, y = RNG.normal(size=shape) * np.arange(1, shape[1] + 1) + 3, RNG.normal(size=(shape[0], 2))
    features = StandardScaler().fit(x) if scaled else StandardScaler(with_std=False).fit(x)
    z = features.transform(x)
    alpha = 0.3 * shape[0] * np.square(z).mean()
    expected = Ridge(alpha).fit(z, y).coef_.T / (features.scale_[:, None] if scaled else 1)
    assert ridge(x, y, [0.3], scaled)[0] == pytest.approx(expected, rel=1e-8, abs=1e-10)
    assert ridge(sparse.csr_matrix(x), y, [0.3], scaled)[0] == pytest.approx(expected, rel=1e-8, abs=1e-10)


def test_constant_features_get_no_weight():
    x = np.hstack([RNG.normal(size=(30, 3)), np.full((30, 1), 5.0)])
    assert ridge(x, x[:, :1], [0.1], True)[0][3] == pytest.approx(0)


@pytest.mark.parametrize(
    ("y", "columns"),
    [
        (np.arange(40) % 2, 1),
        (np.arange(40) % 3, 3),
        (np.array(["a", "b", "c", "d"] * 10), 4),
        (np.arange(40), 1),  # 40 different whole numbers: a regression
        (np.linspace(0, 1, 40), 1),
        (np.stack([np.arange(40.0), np.arange(40.0) % 3], axis=1), 4),
        (np.zeros(40, dtype=int), 0),
    ],
)
def test_classes_are_told_from_numbers(y, columns):
    assert targets(y, 40).shape == (40, columns)


def test_wrong_targets():
    for y in (np.arange(3), np.zeros((40, 1, 1)), np.array([{}] * 40, dtype=object)):
        with pytest.raises((TonyError, ValueError)):
            targets(y, 40)


def test_nothing_to_explain_gives_no_regressors():
    x = RNG.normal(size=(40, 5))
    assert regressors(x, np.ones(40), RNG).shape == (0, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = AsymmetricRandomProjection(2).fit(x, np.ones(40))
    assert np.isfinite(fitted.transform(x)).all()


def test_ten_points_of_accuracy_on_digits_at_eight_numbers():
    """A classifier refitted on projected features, mean of ten draws: what `method="auto"` is for."""
    pixels, label = load_digits(return_X_y=True)
    x, unseen, y, truth = train_test_split(pixels / 16, label, test_size=0.4, random_state=0, stratify=label)

    def accuracy(method):
        first = AsymmetricRandomProjection(8, method, random_state=0).fit(x, y)
        scores = []
        for seed in range(10):
            drawn = first.redraw(seed)
            model = LogisticRegression(max_iter=300).fit(drawn.transform(x), y)
            scores.append(model.score(drawn.transform(unseen), truth))
        return np.mean(scores)

    assert accuracy("auto") > accuracy("oblivious") + 0.10


def test_a_regression_on_projected_features():
    """Diabetes with its squares and products (65 features), k = 8: at most 0.8 of the oblivious error over ten draws."""
    x, y = load_diabetes(return_X_y=True)
    x = StandardScaler().fit_transform(PolynomialFeatures(2, include_bias=False).fit_transform(x))
    seen, unseen, goal, truth = train_test_split(x, y, test_size=0.5, random_state=0)

    def error(method):
        first, found = AsymmetricRandomProjection(8, method, random_state=0).fit(seen, goal), []
        for seed in range(10):
            drawn = first.redraw(seed)
            model = RidgeCV(np.logspace(-3, 3, 7)).fit(drawn.transform(seen), goal)
            found.append(np.square(model.predict(drawn.transform(unseen)) - truth).mean())
        return np.mean(found)

    assert error("auto") < 0.8 * error("oblivious")
