"""A test of the number of components: the bootstrap of the likelihood ratio."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from .._compute import Workers
from .._shards import cut_rows
from .._validation import described, validated_shards
from ..families import DegenerateComponentError
from ..families._base import TooFewRowsError
from ..mixture import DistributedGMM
from ._ratio import NullResamples, Ratio, ratio_of

__all__ = ["bootstrap_likelihood_ratio"]

STARTS = ("weights_init", "means_init", "precisions_init")
BATCH = 4  # resamples a worker, between two looks at whether to go on
UNFINISHED = 0.03  # share of resamples that may be unfinished without a warning


@validate_params(
    {
        "min_components": [Interval(Integral, 1, None, closed="left")],
        "max_components": [Interval(Integral, 2, None, closed="left")],
        "n_resamples": [Interval(Integral, 1, None, closed="left")],
        "level": [Interval(Real, 0.0, 1.0, closed="neither")],
        "early_stopping": ["boolean"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=True,
)
def bootstrap_likelihood_ratio(
    estimator,
    X,
    *,
    min_components=1,
    max_components=10,
    n_resamples=199,
    level=0.05,
    early_stopping=True,
    sample_weight=None,
    n_jobs=None,
    random_state=None,
    verbose=0,
):
    """Test G components against G + 1, for one G after the other until a test does not reject.

    The statistic is twice the difference of the maximised log-likelihoods. Its distribution is not
    chi-squared, because under G components the additional one can be anywhere; so it is compared
    with the statistics of data sets of as many rows, drawn from the fitted mixture of G components
    (McLachlan 1987). These are fitted by the very procedure that the data are.

    Parameters
    ----------
    estimator : DistributedGMM
        The mixture; its number of components, workers and random state are set here. It is not
        fitted. EM goes on to ``tol="likelihood"`` and for at least 2,000 iterations, whatever the
        estimator says, by squared extrapolation if it names no `acceleration`.
    X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
        As for :meth:`DistributedGMM.fit`.
    min_components : int, default=1
        The first G.
    max_components : int, default=10
        Largest number of components that is fitted: the last G is one less.
    n_resamples : int, default=199
        Data sets that are drawn in each test, at most. No p-value is below
        ``1 / (n_resamples + 1)``.
    level : float, default=0.05
        A test rejects G if its p-value is at most this.
    early_stopping : bool, default=True
        Whether a test ends when it can no longer reject, as of Besag and Clifford (1991). That
        changes no decision, and saves most of the resamples of a test that does not reject.
    sample_weight : array-like of shape (n_samples,), list of arrays, path, str, optional
        Frequencies of the rows, as for :meth:`DistributedGMM.fit`; a resample has as many rows as
        they sum to.
    n_jobs : int, optional
        Number of workers, as in :class:`DistributedGMM`. The result does not depend on it.
    random_state : int, RandomState instance or None, default=None
        Seed of starts and resamples.
    verbose : int, default=0
        1 prints tests and their progress.

    Returns
    -------
    result : Bunch
        With the attributes

        n_components : int
            The first G that is not rejected. If all are, `max_components`.
        is_conclusive : bool
            Whether it was not rejected; otherwise more components may be needed.
        tested : ndarray of int
            The G that were tested.
        statistics, p_values : ndarray of float
            Of each test.
        null_statistics : list of ndarray
            Those of the resamples of each test, in the order in which they were drawn.
        n_failed : ndarray of int
            Resamples to which a mixture could not be fitted, because in every start a covariance
            collapsed. They count as larger than any statistic, in favour of G.
        n_unfinished : ndarray of int
            Resamples in whose fits EM did not converge; they count as they are.

    Raises
    ------
    TypeError
        If the estimator is no :class:`DistributedGMM`.
    ValueError
        If parameters are out of range, `n_resamples` is too small for the level to be reached,
        there are fewer rows than `max_components`, the estimator has starting values of its own, or
        the first two mixtures cannot be fitted.

    Warns
    -----
    ConvergenceWarning
        If EM did not converge on the data or on more than 3 % of the resamples.
    UserWarning
        If a later mixture cannot be fitted to the data, at which the tests end.

    See Also
    --------
    neg_bic : A criterion, at the price of one fit for each G.

    Notes
    -----
    The p-value is (1 + m) / (1 + n), of n resamples of which m have statistics not below that of
    the data.

    A mixture is fitted from the starts of the estimator (`n_init` of them), and one of G + 1
    components from splits of that of G as well; that of G then has another start from a merger of
    that of G + 1. They race for 20 iterations, and the best two go on. As the larger mixture holds
    the smaller one, no statistic is below 0. Optima on a handful of rows, of which full covariances
    find many in few rows, do not make the test wrong, as resamples have them too, but weak: think
    of ``covariance_penalty="auto"``, a `prior`, or fewer parameters.

    Rows of resamples are drawn block by block. Where a resample has more than 4 million numbers
    it is not held but drawn anew in each pass over it, and its rows are shared among the workers.

    References
    ----------
    McLachlan, G. J. (1987). On bootstrapping the likelihood ratio test statistic for the number of
    components in a normal mixture. Applied Statistics 36, 318-324.

    Besag, J. and Clifford, P. (1991). Sequential Monte Carlo p-values. Biometrika 78, 301-304.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistmix import DistributedGMM
    >>> from skdistmix.model_selection import bootstrap_likelihood_ratio
    >>> rng = np.random.default_rng(0)
    >>> shards = [rng.normal(center, 1.0, size=(60, 1)) for center in (-3, 3)]
    >>> test = bootstrap_likelihood_ratio(
    ...     DistributedGMM(covariance_type="tied"), shards, n_resamples=19, random_state=0
    ... )
    >>> test.n_components
    2
    >>> float(test.p_values[0])  # of 1 against 2 components
    0.05
    """
    model, shards = _checked(estimator, X, min_components, max_components)
    shards = shards.with_weights(sample_weight)
    n_rows = max(round(shards.total_weight), 1)
    # p-values that reject; so many exceedances are too many
    enough = int(np.count_nonzero((1 + np.arange(n_resamples + 1)) / (1 + n_resamples) <= level))
    if enough == 0:
        least = int(np.ceil(1 / level - 1e-9)) - 1
        raise ValueError(
            f"With n_resamples={n_resamples} no p-value is below {1 / (1 + n_resamples):.3g}, and "
            f"no test can reject at level={level}: use at least {least}."
        )
    seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
    tests: list[_Test] = []
    for K in range(min_components, max_components):
        first_start = int(np.random.default_rng([seed, K]).integers(2**31 - 1))
        try:
            null = ratio_of(model, shards, K, first_start, n_jobs)
        except (DegenerateComponentError, TooFewRowsError) as error:
            if not tests:
                raise
            warnings.warn(
                f"The tests end at {K} components, because {K + 1} cannot be fitted: {error}",
                UserWarning,
                stacklevel=3,  # the caller, as a decorator wraps this function
            )
            break
        _say(verbose, f"{K} against {K + 1} components: statistic {null.statistic:.4g}")
        resamples = NullResamples(model, null, n_rows, seed)
        most = enough if early_stopping else n_resamples
        tests.append(_Test(null, _drawn(resamples, n_resamples, most, n_jobs, verbose)))
        _say(verbose, f"  p = {tests[-1].p_value:.3g}")
        if tests[-1].p_value > level:
            break
    _warn_of_unfinished(tests)
    return _result(tests, level)


@dataclass(frozen=True)
class _Test:
    """The ratio of the data and those of resamples."""

    null: Ratio
    ratios: list[Ratio]

    @property
    def n_components(self) -> int:
        return self.null.family.n_components

    @property
    def statistics(self) -> np.ndarray:
        return np.array([one.statistic for one in self.ratios])

    @property
    def p_value(self) -> float:
        above = np.count_nonzero(self.statistics >= self.null.statistic)
        return float((1 + above) / (1 + len(self.ratios)))

    @property
    def n_unfinished(self) -> int:
        return sum(not one.converged for one in self.ratios)


def _checked(estimator, X, min_components: int, max_components: int):
    """A clone of the estimator, and the rows; all that can be wrong before rows are read."""
    if not isinstance(estimator, DistributedGMM):
        raise TypeError(
            "estimator must be a DistributedGMM, whose rows can be drawn and fitted anew, got "
            f"{described(estimator)}. Transform X before the test rather than in a Pipeline."
        )
    if max_components <= min_components:
        raise ValueError(
            f"max_components={max_components} must be above min_components={min_components}: a "
            "test is about one number of components against the next."
        )
    given = [name for name in STARTS if getattr(estimator, name) is not None]
    if not isinstance(estimator.init_params, str):
        given.append("init_params")
    if given:
        raise ValueError(
            f"{', '.join(given)} of the estimator are for one number of components and one data "
            "set, and the test fits many: leave them out."
        )
    estimator._refuse_noise("The test", "give an estimator with noise=None")
    if estimator.weights == "equal":
        raise ValueError(
            "estimator has weights='equal', with which a mixture is no special case of one with a "
            "component more, as the test needs: use weights='free'."
        )
    if estimator.device is not None:
        raise ValueError(
            f"estimator has device={estimator.device!r}, but resamples are drawn and fitted by "
            "NumPy: use device=None."
        )
    model = clone(estimator)
    model._validate_params()
    shards = validated_shards(model, X, reset=True, n_shards=model.n_shards, min_rows=2).on_host()
    if shards.n_rows < max_components:
        raise TooFewRowsError(
            f"max_components={max_components} is more than the {shards.n_rows} rows of X."
        )
    return model, shards


def _drawn(
    resamples: NullResamples, n_resamples: int, most: int, n_jobs, verbose: int
) -> list[Ratio]:
    """Ratios of resamples; the last is the one that makes `most` exceedances, if there are more."""
    ratios: list[Ratio] = []
    observed, above = resamples.null.statistic, 0
    with Workers(n_jobs) as workers:
        size = BATCH * workers.n_workers if resamples.are_held else 1
        while len(ratios) < n_resamples:
            numbers = range(len(ratios) + 1, min(len(ratios) + size, n_resamples) + 1)
            for one in _batch(resamples, list(numbers), workers, n_jobs):
                ratios.append(one)
                above += one.statistic >= observed
                if above == most:  # as if they were drawn one by one: the rest is not looked at
                    return ratios
            _say(verbose, f"  {len(ratios)} resamples, {above} of them with as large a statistic")
    return ratios


def _batch(resamples: NullResamples, numbers: list[int], workers: Workers, n_jobs) -> list[Ratio]:
    """One resample a worker, or all workers on the rows of one."""
    if not resamples.are_held:
        return [resamples.ratio(number, n_jobs) for number in numbers]
    nothing = cut_rows(np.zeros((1, 1)), 1)
    return workers.map_shards(resamples, nothing, numbers, [0] * len(numbers))


def _result(tests: list[_Test], level: float) -> Bunch:
    last = tests[-1]
    rejected = last.p_value <= level
    return Bunch(
        n_components=last.n_components + int(rejected),
        is_conclusive=not rejected,
        tested=np.array([test.n_components for test in tests]),
        statistics=np.array([test.null.statistic for test in tests]),
        p_values=np.array([test.p_value for test in tests]),
        null_statistics=[test.statistics for test in tests],
        n_failed=np.array([np.count_nonzero(np.isinf(test.statistics)) for test in tests]),
        n_unfinished=np.array([test.n_unfinished for test in tests]),
    )


def _warn_of_unfinished(tests: list[_Test]) -> None:
    where = [f"{test.n_components} components" for test in tests if not test.null.converged]
    many = [t for t in tests if t.n_unfinished > UNFINISHED * len(t.ratios)]
    if where or many:
        what = f"on the data (test of {', '.join(where)})" if where else "on some resamples"
        warnings.warn(
            f"EM did not converge {what}, so statistics are uncertain: set max_iter of the "
            "estimator higher, or use fewer components, a covariance_penalty or a prior.",
            ConvergenceWarning,
            stacklevel=4,  # the caller of the test, which a decorator wraps
        )


def _say(verbose: int, text: str) -> None:
    if verbose:
        print(text)
