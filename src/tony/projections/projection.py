"""The estimator: learn what two sources look like, then compress both so that inner products between them survive.

A random projection that knows nothing of the data spends its error evenly. Given the second moments of the two sources
it can be preceded by T on one side and the inverse transpose of T on the other, which leaves every inner product as it
was and makes the projection's error smaller. Ryder, Karnin and Liberty, "Asymmetric Random Projections" (2019), arXiv
1906.09489; the closed forms are in `variance`, the choice of T in `balance` and `selection`.
"""

from __future__ import annotations

import warnings
from copy import deepcopy
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from tony.errors import TonyError
from tony.projections import selection, sketch
from tony.projections.balance import oblivious
from tony.projections.inputs import as_rows, checked_range
from tony.projections.moments import Source, probes, sketching_scale
from tony.projections.prior import regressors
from tony.projections.report import ProjectionWarning, Report, ratio, warn_of_few_rows, warn_of_shift
from tony.projections.selection import METHODS, Judge
from tony.projections.variance import PROJECTIONS, inclusion

DENSE_WIDTH = 1024  # up to here "auto" and "hybrid" gather d x d moments
LARGEST_WIDTH = 8192  # beyond it the methods that need d x d moments refuse
SMALL_WIDTH = 256  # up to here every method gathers them: they cost nothing
NEEDS_MATRIX = ("full", "unbiased-optimal", "truncated")


class AsymmetricRandomProjection(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Compress two sources of vectors so that inner products between them are kept, unbiased and with least error.

    Parameters
    ----------
    n_components : int or "auto"
        Numbers kept of each vector, at most the number of features. "auto" is an eighth of the features.
    method : {"auto", "oblivious", "diagonal", "low-rank", "full", "hybrid", "unbiased-optimal", "truncated"}
        oblivious projects the vectors as they are; diagonal, low-rank and full balance the sources before, at the price
        of d, d * rank and d * d numbers; hybrid keeps the leading balanced coordinates exactly and projects the rest;
        unbiased-optimal samples balanced coordinates (the least error of any unbiased linear sketch; `projection` is
        not used); truncated keeps the leading ones and drops the rest (least error of all, but biased). auto is the
        hybrid on whichever balancing does best on held-out moments.
    projection : {"gaussian", "sign", "sparse", "countsketch", "orthogonal", "srht"}
        The random matrix. sparse has density 1/sqrt(d); srht is the subsampled randomised Hadamard transform.
    shrinkage : "auto" or float >= 0
        How far the moments are drawn towards those of an oblivious projection. "auto" chooses on held-out moments, so
        that the result is never worse there than oblivious. A number is the floor of the diagonal moments and the ridge
        added to them after scaling, relative to their mean.
    random_state : int, RandomState or None
        Where the random matrix is drawn from.

    Attributes
    ----------
    n_components_ : int
    components_left_, components_right_ : ndarray (n_components_, n_features_in_)
        What rows of the first and of the second source are multiplied by.
    gain_over_oblivious_ : float
        Expected squared error of the same projection without balancing, divided by ours; held out where
        `shrinkage="auto"`.
    report_ : Report
        What was chosen, from how many rows, and the errors that are to be expected.

    Examples
    --------
    >>> import numpy as np
    >>> from tony.projections import AsymmetricRandomProjection
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 32)) * np.linspace(0.1, 4, 32)
    >>> W = rng.normal(size=(500, 32)) * np.linspace(4, 0.1, 32)
    >>> arp = AsymmetricRandomProjection(8, random_state=0).fit(X, other=W)
    >>> arp.transform(X).shape, arp.transform_right(W).shape
    ((500, 8), (500, 8))
    >>> bool(arp.gain_over_oblivious_ > 2)
    True
    """

    def __init__(
        self, n_components="auto", method="auto", projection="gaussian", shrinkage="auto", random_state=None
    ):
        self.n_components = n_components
        self.method = method
        self.projection = projection
        self.shrinkage = shrinkage
        self.random_state = random_state

    def fit(self, X, y=None, *, other=None):
        """Learn the sources and draw the projection.

        Parameters
        ----------
        X : array, sparse matrix, memory-mapped array or torch tensor (n, d)
            Rows of the first source.
        y : array (n,) or (n, outputs), optional
            Targets. Where there is no `other`, the second source is the regressors that X and y make likely (bootstrap
            ridge), and moments are taken around the mean, as a model with an intercept sees them.
        other : like X, (m, d), optional
            Rows of the second source. With neither y nor other, the second source is taken to be like the first.
        """
        for name in ("_left", "_right", "_drawn"):
            self.__dict__.pop(name, None)
        X = self._validated(X, reset=True)
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31))
        right = self._second(X, y, other, rng)
        self._start(rng, X, right, centred=other is None and y is not None)
        self._left.add(X)
        if right is not None:
            self._right.add(right)
        self._draw()
        return self

    def partial_fit(self, X, y=None, *, other=None):
        """Add rows of either or both sources; as `fit`, for data that come in pieces. X may be None after the first call.

        The sums are the same for any chunking. The projection is drawn anew when it is next needed. With y, every call's
        regressors are those of its own rows, of which there should be hundreds; a stream has y from its first call on or
        never.
        """
        first = not hasattr(self, "_left")
        if X is None and first:
            raise TonyError("partial_fit needs rows of X in its first call: X is None")
        if X is None and other is None:
            raise TonyError("partial_fit got no rows: give X, other or both")
        X = None if X is None else self._validated(X, reset=first)
        has_labels = other is None and y is not None
        if first:
            rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31))
        else:
            rng = self._rng
            if has_labels != self._left.centred and (has_labels or other is not None):
                raise TonyError(
                    "partial_fit takes its second source from y in all calls or in none: moments are around the mean with "
                    "labels, and as they are without"
                )
        right = self._second(X, y, other, rng)
        if first:
            self._start(rng, centred=has_labels)
        elif self._is_shared:
            self._left, self._right, self._is_shared = deepcopy(self._left), deepcopy(self._right), False
        if X is not None:
            self._left.add(X)
        if right is not None:
            self._right.add(right)
        if has_labels and not right.shape[0]:
            warnings.warn(
                "the labels of this call say nothing: it has one class, or fewer than three rows; give larger pieces",
                ProjectionWarning,
                stacklevel=2,
            )
        self._drawn = None
        return self

    def transform(self, X):
        """Rows of the first source, (n, d) -> (n, n_components_)."""
        check_is_fitted(self, "_left")
        return self._sides()[0].apply(self._validated(X, reset=False))

    def transform_right(self, Y):
        """Rows of the second source, (n, d) -> (n, n_components_).

        Warns where these rows look so unlike those of the fit that an oblivious projection would do better.
        """
        check_is_fitted(self, "_left")
        Y = self._rows_of_other(Y, "Y")
        right = self._sides()[1]
        warn_of_shift(self._choice, self._way, self._basis, self._exact, self.n_components_, Y)
        return right.apply(Y)

    def inner_products(self, X, Y):
        """Estimates of X @ Y.T from the compressed rows, (n, m); unbiased except for method "truncated"."""
        check_is_fitted(self, "_left")
        left = self._sides()[0].apply(self._validated(X, reset=False))
        return left @ self.transform_right(Y).T

    def expected_error(self, k=None, *, X=None, other=None, relative=False):
        """Mean squared error of an estimated inner product, over rows of both sources and draws, in closed form.

        Parameters
        ----------
        k : int, optional
            Numbers kept, where not `n_components_`.
        X, other : rows, optional
            Sources to expect it on, as they are; without them, those of the fit (held-out folds where
            `shrinkage="auto"`; around the mean where the second source comes from labels).
        relative : bool
            Divide by the mean square of the inner products themselves.
        """
        check_is_fitted(self, "_left")
        self._sides()
        k = self._checked_components(self.n_components_ if k is None else k)
        if (X is None) != (other is None):
            raise TonyError("expected_error needs both X and other, or neither")
        if X is None:
            error, size = self._choice.error(k), self._choice.mean_square
        else:
            a, b = (
                self._moment_of(rows)
                for rows in (self._validated(X, reset=False), self._rows_of_other(other))
            )
            judge = Judge(self._way, self._matrix, self._basis, a, b)
            error, size = judge.error(k, self._choice.exact(k)), a.trace_product(b)
        return ratio(error, size) if relative else error

    def redraw(self, random_state=None, *, n_components=None):
        """A copy with the same moments and balancing but another random matrix and, if wanted, another size."""
        check_is_fitted(self, "_left")
        self._sides()
        copy = type(self)(**self.get_params(deep=False))
        self._is_shared = True
        copy.__dict__.update(self.__dict__)
        if n_components is not None:
            copy.n_components = n_components
            copy.n_components_ = copy._checked_components(n_components)
            copy._report = copy._report_at(copy.n_components_)
        copy._seed = int(check_random_state(random_state).randint(2**31))
        copy._drawn = copy._new_sides()
        return copy

    @property
    def components_left_(self):
        check_is_fitted(self, "_left")
        return self._sides()[0].dense().T

    @property
    def components_right_(self):
        check_is_fitted(self, "_left")
        return self._sides()[1].dense().T

    @property
    def gain_over_oblivious_(self):
        check_is_fitted(self, "_left")
        return self.report_.gain

    @property
    def report_(self):
        check_is_fitted(self, "_left")
        self._sides()
        return self._report

    @property
    def _n_features_out(self):
        return self.n_components_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _validated(self, rows, reset: bool):
        rows = validate_data(
            self, as_rows(rows), accept_sparse="csr", dtype=[np.float64, np.float32], reset=reset
        )
        return checked_range(rows, "X")

    def _rows_of_other(self, rows, name: str = "other"):
        names = getattr(self, "feature_names_in_", None)
        if names is not None and hasattr(rows, "columns") and list(rows.columns) != list(names):
            raise TonyError(
                f"the columns of {name} are not those of X in the same order: give {name}[X.columns]"
            )
        rows = check_array(
            as_rows(rows), accept_sparse="csr", dtype=[np.float64, np.float32], input_name=name
        )
        if rows.shape[1] != self.n_features_in_:
            raise TonyError(
                f"{name} has {rows.shape[1]} features and X has {self.n_features_in_}: inner products need equal widths"
            )
        return checked_range(rows, name)

    def _second(self, X, y, other, rng):
        """Rows of the second source, or None where there is nothing to take them from."""
        if other is not None:
            return self._rows_of_other(other)
        if y is None:
            return None
        if X is None:
            raise TonyError("y came without rows of X: give both")
        return regressors(X, as_rows(y), rng)

    # -- moments ------------------------------------------------------------------------------------------------------

    def _start(self, rng, X=None, right=None, centred: bool = False) -> None:
        """Check the parameters and set up empty sums; X and right, where known, give a scale to the sketches."""
        self._check_parameters()
        # What was fitted stays what it is, whatever `set_params` says later.
        self._asked, self._matrix, self._amount = self.method, self.projection, self.shrinkage
        self._is_shared = False
        width = self.n_features_in_
        self.n_components_ = self._checked_components(self.n_components)
        self._dense = width <= SMALL_WIDTH or self.method in NEEDS_MATRIX
        self._dense |= self.method in ("auto", "hybrid") and width <= DENSE_WIDTH
        self._rng, self._seed, self._drawn = rng, int(rng.integers(2**31)), None
        omega = scale = None
        if not self._dense:
            rank = 8 if self.method in ("oblivious", "diagonal") else max(selection.RANKS)
            omega = probes(width, rank + 32, rng)
            if X is not None and right is not None and right.shape[0]:
                scale = sketching_scale(X, right)
        self._left = Source(width, omega, scale, centred)
        self._right = Source(width, omega, None if scale is None else 1 / scale)

    def _check_parameters(self) -> None:
        if self.method not in METHODS:
            raise TonyError(f"method={self.method!r} is unknown: choose one of {', '.join(METHODS)}")
        if self.projection not in PROJECTIONS:
            raise TonyError(
                f"projection={self.projection!r} is unknown: choose one of {', '.join(PROJECTIONS)}"
            )
        number = isinstance(self.shrinkage, Real) and not isinstance(self.shrinkage, bool)
        if self.shrinkage != "auto" and not (number and 0 <= self.shrinkage < np.inf):
            raise TonyError(f'shrinkage={self.shrinkage!r} must be "auto" or a number of at least 0')
        if self.method in NEEDS_MATRIX and self.n_features_in_ > LARGEST_WIDTH:
            raise TonyError(
                f"method={self.method!r} needs {self.n_features_in_} x {self.n_features_in_} moments, too large above "
                f'{LARGEST_WIDTH} features: use "low-rank", "hybrid" or "diagonal"'
            )

    def _checked_components(self, k) -> int:
        width = self.n_features_in_
        if isinstance(k, str) and k == "auto":
            return max(1, width // 8)
        if not isinstance(k, Integral) or isinstance(k, bool) or k < 1:
            raise TonyError(f'n_components={k!r} must be "auto" or a whole number of at least 1')
        if k > width:
            raise TonyError(
                f"n_components={k} is more than the {width} features: {width} numbers hold every inner product exactly"
            )
        return int(k)

    def _moments(self, *which: int):
        a = self._left.moment(*which)
        return (a, self._right.moment(*which)) if self._right.count else (a, a)

    def _moment_of(self, rows):
        source = Source(self.n_features_in_, self._left.omega)
        source.add(rows)
        return source.moment()

    # -- the projection -----------------------------------------------------------------------------------------------

    def _sides(self):
        if self._drawn is None:
            self._draw()
        return self._drawn

    def _draw(self) -> None:
        """Choose the balancing, fit it on all rows, draw the matrix."""
        self._solve()
        self._drawn = self._new_sides()

    def _solve(self) -> None:
        fewest = min(self._left.count, self._right.count or self._left.count)
        self._way = self._asked
        everything = self._moments()
        folds = [everything]
        if self._amount == "auto" and fewest >= 2:
            folds = [self._moments(0), self._moments(1)]
        settings = list(selection.candidates(self._way, self.n_features_in_, self._dense, self._amount))
        if self._amount == "auto" and fewest < 2:
            plainest_last = self._way in ("unbiased-optimal", "truncated")
            exact = [one for one in settings if one.family == "full"]
            if self.n_components_ == self.n_features_in_ and exact:
                plainest_last, settings = True, exact  # as many numbers as features lose nothing
            settings = settings[-1:] if plainest_last else settings[:1]
        self._choice = selection.choose(settings, folds, self._way, self._matrix, self.n_components_)
        if len(folds) > 1 and self._way in ("unbiased-optimal", "truncated"):
            k = self.n_components_
            if self._choice.error(k) > self._choice.oblivious_error(k):
                self._way = "oblivious"
                plain = list(selection.candidates(self._way, self.n_features_in_, self._dense, self._amount))
                self._choice = selection.choose(plain, folds, self._way, self._matrix, k)
        self._basis = self._choice.candidate.fit(*everything)
        self._fitted = Judge(self._way, self._matrix, self._basis, *everything)
        self._plain = Judge("oblivious", self._matrix, oblivious(self.n_features_in_), *everything)
        self._report = self._report_at(self.n_components_)
        if self._amount == "auto":
            warn_of_few_rows(self._report)

    def _report_at(self, k: int) -> Report:
        rows = self._left.count, self._right.count
        return Report.of(self._choice, self._fitted, self._plain, k, rows)

    def _new_sides(self):
        rng, k = np.random.default_rng(self._seed), self.n_components_
        self._exact = None
        if self._way == "truncated":
            return sketch.truncated(self._basis, k)
        if self._way == "unbiased-optimal":
            return sketch.sampled(self._basis, inclusion(self._basis.spectrum, k)[1], rng)
        self._exact = min(self._choice.exact(k), self._basis.size)
        return sketch.drawn(self._basis, self._exact, self._matrix, k, rng)
