"""Protects the estimator protocol: scikit-learn's own checks, pipelines, searches, pandas, clones and pickles."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from tony.projections import AsymmetricRandomProjection

X, W = np.random.default_rng(0).normal(size=(2, 60, 16)) * np.linspace(1, 4, 16)


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(
    [AsymmetricRandomProjection(method=m) for m in ("auto", "low-rank", "unbiased-optimal", "truncated")]
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_pipeline_passes_the_second_source():
    pipeline = make_pipeline(AsymmetricRandomProjection(4, random_state=0))
    found = pipeline.fit(X, asymmetricrandomprojection__other=W).transform(X)
    assert found == pytest.approx(AsymmetricRandomProjection(4, random_state=0).fit(X, other=W).transform(X))


def test_grid_search_over_method_and_size():
    pixels, label = load_digits(return_X_y=True)
    pipeline = make_pipeline(AsymmetricRandomProjection(8, random_state=0), LogisticRegression(max_iter=300))
    grid = {
        "asymmetricrandomprojection__method": ["oblivious", "hybrid"],
        "asymmetricrandomprojection__n_components": [4, 8],
    }
    search = GridSearchCV(pipeline, grid, cv=2).fit(pixels[:500] / 16, label[:500])
    assert search.best_params_ == {
        "asymmetricrandomprojection__method": "hybrid",
        "asymmetricrandomprojection__n_components": 8,
    }


def test_clone_and_pickle():
    fitted = AsymmetricRandomProjection(4, "hybrid", "srht", 0.1, random_state=1).fit(X, other=W)
    assert clone(fitted).get_params() == fitted.get_params()
    assert not hasattr(clone(fitted), "n_components_")
    assert pickle.loads(pickle.dumps(fitted)).transform(X) == pytest.approx(fitted.transform(X))


def test_names_and_pandas_output():
    fitted = AsymmetricRandomProjection(3, random_state=0).fit(X, other=W)
    names = [f"asymmetricrandomprojection{i}" for i in range(3)]
    assert list(fitted.get_feature_names_out()) == names
    pandas = pytest.importorskip("pandas")
    frame = fitted.set_output(transform="pandas").transform(X)
    assert isinstance(frame, pandas.DataFrame) and list(frame.columns) == names


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_precision_is_kept(kind):
    fitted = AsymmetricRandomProjection(3, "hybrid", "srht", random_state=0).fit(X.astype(kind), other=W)
    assert fitted.transform(X.astype(kind)).dtype == kind


def test_the_same_seed_gives_the_same_projection():
    def found(seed):
        return AsymmetricRandomProjection(4, random_state=seed).fit(X, other=W).transform(X)

    assert np.array_equal(found(5), found(5)) and not np.array_equal(found(5), found(6))


def test_import_needs_no_torch():
    import subprocess
    import sys

    code = "import tony.projections, sys; sys.exit('torch' in sys.modules)"
    with warnings.catch_warnings():
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
