"""BLBMixture: a mixture, and how sure one can be of it."""

from __future__ import annotations

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import _fit_context, clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._bootstrap import FEWEST_ROWS, Resampling
from .._compute import Workers
from .._em import score_pass
from .._intervals import fewest_draws
from .._row_values import any_dask, seen_shards
from .._shards import is_sharded
from .._validation import validated_shards
from ._base import BaseMixture
from ._distributed_gmm import DistributedGMM
from ._resampling import Plan, resample
from ._sites import restored
from ._uncertainty import Uncertainty

__all__ = ["BLBMixture"]

OF_THE_POINT = (
    "weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_", "covariance_type_",
    "converged_", "n_iter_", "lower_bound_", "convergence_gap_", "bic_", "aic_", "icl_",
    "n_parameters_", "n_samples_seen_",
)  # fmt: skip
FAILURES = 0.03  # share of resamples that may fail without a warning


class BLBMixture(BaseMixture):
    """A Gaussian mixture with standard errors and intervals, by resampling.

    The mixture itself is one exact fit to all rows. How far it may be from the truth is learnt from
    resamples: with the bag of little bootstraps from resamples of small random subsets, each of
    which has the weight of all rows but only a few thousand different ones, so that it costs a
    fraction of a fit to all rows. Every resample is fitted until the change still to come is below
    0.02 standard errors in all parameters: EM that is stopped early stays near its start and makes
    errors look several times smaller than they are.

    Parameters
    ----------
    estimator : DistributedGMM, optional
        The mixture. Its `tol` is set to "likelihood" here, and `n_jobs` and `random_state` are set
        too. None: ``DistributedGMM(max_iter=1000, acceleration="squarem")``.
    method : {"blb", "bootstrap", "weighted", "parametric"}, default="blb"
        "blb": the bag of little bootstraps (Kleiner et al. 2014). "bootstrap": resamples of all
        rows (Efron 1979). "weighted": continuous weights of all rows, which never lose a row
        (Newton and Raftery 1994). "parametric": as many rows drawn from the fitted mixture, which
        takes its components for Gaussian. These three hold so many rows in memory, and parameters
        about subsets do not concern them.
    subset_exponent : float, default=0.7
        Subsets have about ``n_rows ** subset_exponent`` rows, or so many that the smallest
        component has 80 for each of its parameters if that is more: with fewer, errors are too
        large. Where components overlap, so many that they can still be told apart. Where that is
        all rows, ``method="bootstrap"`` is used, with a warning.
    subset_size : int, optional
        Rows of a subset, in place of that rule. Neither concerns ``subsets="shards"``.
    subsets : {"rows", "shards"}, default="rows"
        Random rows of all shards, which are sent to where resamples are fitted; or whole shards,
        whose rows stay where they are, if shards are random pieces of the rows (a warning names
        those that do not look so).
    n_subsets : int or "auto", default="auto"
        "auto": until the standard errors settle, from six to ten. Of shards at most as many as
        there are.
    n_resamples : int or "auto", default="auto"
        Resamples of a subset. "auto": until averages of standard errors over the first subsets
        settle, 40 at least, 200 where there is one subset only, and as many as `confidence_level`
        needs (up to 1000). An interval of 95 % needs 39 and one of 99 % 199: of fewer, ends are the
        outermost, and too near.
    confidence_level : float, default=0.95
        Of `confidence_intervals_`.
    n_jobs : int, optional
        Number of workers, as in :class:`DistributedGMM`. The result does not depend on it.
    random_state : int, RandomState instance or None, default=None
        Seed of the fit, of subsets and resamples, and of `sample`.

    Attributes
    ----------
    estimator_ : DistributedGMM
        The fit to all rows. What it may still have been from the optimum when its likelihood had
        settled (a quarter of a standard error, towards its start) is made good: that counts as its
        last iteration.
    weights_, means_, covariances_, precisions_, precisions_cholesky_ : ndarray
        Its parameters; also `covariance_type_`, `converged_`, `n_iter_`, `lower_bound_`,
        `convergence_gap_`, `bic_`, `aic_`, `icl_`, `n_parameters_` and `n_samples_seen_`.
    standard_errors_ : Bunch
        Arrays `weights`, `means` and `covariances`, shaped like the parameters: standard deviations
        over resamples, averaged over subsets.
    bias_ : Bunch
        The same for the mean over resamples less the fit of their subset. It is not subtracted
        from the parameters; intervals allow for it.
    confidence_intervals_ : Bunch
        `lower` and `upper`, each a Bunch like these.
    alignment_failures_ : int
        Resamples that are left out: EM did not converge, or a component was lost or took the place
        of another. A subset of which this is true counts with all its resamples.
    method_ : str
        What was done: `method`, or "bootstrap" if subsets would have been all rows.
    subset_size_ : int
        Rows of a subset, about; of the smallest shard with ``subsets="shards"``.
    n_subsets_ : int
    n_resamples_ : ndarray of shape (n_subsets,)
        Resamples of each subset, failures included.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if X had string column names.

    See Also
    --------
    DistributedGMM : The mixture itself.

    Notes
    -----
    Row weights are frequencies: weight 2 counts as two equal rows, and errors are those of as many
    rows as the weights sum to. A penalty, prior or `reg_covar` acts on a resample as on all rows.

    Intervals are centred: the fit to all rows less quantiles of how resamples deviate from their
    subset, averaged over subsets. Deviations are taken on a scale without boundaries (logarithms of
    the weights, which for one weight against the others is the logit; means; Cholesky factors of
    the precisions with logarithms of the diagonal), so that ends of intervals of weights and
    variances are valid.

    A resample starts at the fit of its subset. Its components are matched with those of the subset,
    and those of the subset with those of the fit, by Kullback-Leibler divergences; where that moves
    a component, the resample cannot be averaged and is counted as a failure. Many failures mean
    that components overlap so much, or are so small, that errors of single parameters say little:
    look at label-free functions of the mixture, see :meth:`confidence_interval`.

    References
    ----------
    Kleiner, A., Talwalkar, A., Sarkar, P. and Jordan, M. I. (2014). A scalable bootstrap for
    massive data. JRSS-B 76, 795-816.

    Efron, B. (1979). Bootstrap methods: another look at the jackknife. Annals of Statistics 7,
    1-26.

    Newton, M. A. and Raftery, A. E. (1994). Approximate Bayesian inference with the weighted
    likelihood bootstrap. JRSS-B 56, 3-48.

    O'Hagan, A., Murphy, T. B., Scrucca, L. and Gormley, I. C. (2019). Investigation of parameter
    uncertainty in clustering using a Gaussian mixture model via jackknife, bootstrap and weighted
    likelihood bootstrap. Computational Statistics 34, 1779-1813.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistmix import BLBMixture, DistributedGMM
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(rng.choice([-3, 3], size=(20_000, 1), p=[0.3, 0.7]), 1.0)
    >>> model = BLBMixture(DistributedGMM(2), random_state=0).fit(X)
    >>> model.standard_errors_.means.shape
    (2, 1)
    >>> low, high = model.confidence_interval(lambda gmm: np.ptp(gmm.means_))
    >>> bool(low < 6 < high)
    True
    """

    _parameter_constraints: dict = {
        "estimator": [DistributedGMM, None],
        "method": [StrOptions({"blb", "bootstrap", "weighted", "parametric"})],
        "subset_exponent": [Interval(Real, 0.0, 1.0, closed="neither")],
        "subset_size": [Interval(Integral, 2, None, closed="left"), None],
        "subsets": [StrOptions({"rows", "shards"})],
        "n_subsets": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "n_resamples": [Interval(Integral, 2, None, closed="left"), StrOptions({"auto"})],
        "confidence_level": [Interval(Real, 0.0, 1.0, closed="neither")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        method="blb",
        subset_exponent=0.7,
        subset_size=None,
        subsets="rows",
        n_subsets="auto",
        n_resamples="auto",
        confidence_level=0.95,
        n_jobs=None,
        random_state=None,
    ):
        self.estimator = estimator
        self.method = method
        self.subset_exponent = subset_exponent
        self.subset_size = subset_size
        self.subsets = subsets
        self.n_subsets = n_subsets
        self.n_resamples = n_resamples
        self.confidence_level = confidence_level
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Fit the mixture to all rows, then to resamples.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for :meth:`DistributedGMM.fit`.
        y : ignored
        sample_weight : array-like of shape (n_samples,), list of arrays, path, str, optional
            Frequencies of the rows, as for :meth:`DistributedGMM.fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the fit to all rows did not converge, weights sum to less than two rows a component,
            `subset_size` is too small, or hardly a resample could be fitted.
        """
        shards = validated_shards(self, X, reset=True, min_rows=2).with_weights(sample_weight)
        rng = check_random_state(self.random_state)
        point_seed, seed = (int(s) for s in rng.randint(np.iinfo(np.int32).max, size=2))
        model = self._template()
        plan = Plan.checked(self, model, shards)
        model.set_params(tol="likelihood", n_jobs=self.n_jobs, random_state=point_seed)
        model._fit_shards(shards)
        if not model.converged_:
            raise ValueError(
                "The fit to all rows did not converge, and errors of what is no optimum mean "
                f"nothing: set max_iter of the estimator above {model.max_iter}, or "
                "acceleration='squarem', or fit fewer components. Estimated total log-likelihood "
                f"still to gain: {model.convergence_gap_:.3g}."
            )
        family = model._family(shards.n_features).prepare(model._moments)
        _check_weight(model._moments.weight, family.n_components)
        scheme = {"weighted": "dirichlet", "parametric": "parametric"}.get(self.method)
        resampling = Resampling(
            family, model._fitted_params(), model._moments.weight, scheme or "multinomial", seed
        )
        with Workers(self.n_jobs) as workers:
            outcome = resample(workers, shards, plan, resampling)
            score = score_pass(workers.map_reduce, shards, family.kernel(outcome.params))
        model._set_exact(family, outcome.params, score)
        self._set_point(model)
        self.method_, self.subset_size_ = outcome.method, outcome.subset_size
        self.n_subsets_ = len(outcome.found)
        self.n_resamples_ = np.array([one.n_run for one in outcome.found])
        self.alignment_failures_ = sum(one.n_failed for one in outcome.found)
        usable = [one for one in outcome.found if len(one.points) > 1]
        self._warn_of_failures(usable)
        self._uncertainty = Uncertainty(family, outcome.params, usable)
        self.standard_errors_ = self._uncertainty.standard_errors()
        self.bias_ = self._uncertainty.biases()
        self.confidence_intervals_ = self._uncertainty.intervals(self.confidence_level)
        return self

    def confidence_interval(self, statistic, confidence_level=None):
        """Interval for anything that can be computed from a fitted mixture.

        Parameters
        ----------
        statistic : callable
            Takes a :class:`DistributedGMM` with the parameters of a resample, without attributes of
            a fit such as `bic_`, and returns a number or an array, always of one shape. It need not
            know of labels: a density at some points, a distance of two means, `score` of some rows.
        confidence_level : float, optional
            None: that of the estimator.

        Returns
        -------
        lower, upper : float or ndarray

        Examples
        --------
        >>> import numpy as np
        >>> from skdistmix import BLBMixture
        >>> X = np.random.default_rng(0).normal(size=(20_000, 2))
        >>> model = BLBMixture(random_state=0).fit(X)
        >>> low, high = model.confidence_interval(lambda gmm: gmm.score_samples([[0.0, 0.0]]))
        >>> bool(low[0] < -np.log(2 * np.pi) < high[0])
        True
        """
        level = self._level(confidence_level)
        names = self._names()
        lower, upper = self._uncertainty.interval(
            lambda params: statistic(restored(self.estimator_, params, **names)), level
        )
        return (lower, upper) if np.ndim(lower) else (float(lower), float(upper))

    def predict_proba_interval(self, X, confidence_level=None):
        """Intervals for the posterior probabilities of the components, for each row.

        They say how sure the probabilities are, which is not how sure a label is.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob or Shards
            As for `fit`.
        confidence_level : float, optional
            None: that of the estimator.

        Returns
        -------
        lower, upper : ndarray of shape (n_samples, n_components), or lists of them, one a shard
        """
        level = self._level(confidence_level)
        if any_dask(X):
            raise ValueError(
                "Intervals of probabilities are not computed lazily: give partitions one by one, "
                "for example X.partitions[0].compute()."
            )
        shards = seen_shards(self, X)
        names = tuple(getattr(self, "feature_names_in_", ())) or None
        function = self._uncertainty.probability_bounds(level, self.n_features_in_, names)
        with Workers(self.n_jobs) as workers:
            ends = workers.map_rows(function, shards, function.block_rows, check=True)
        shape = (0, len(self.weights_), 2)
        ends = [np.empty(shape) if one is None else one for one in ends]
        lower, upper = [one[..., 0] for one in ends], [one[..., 1] for one in ends]
        return (lower, upper) if is_sharded(X) else (lower[0], upper[0])

    # ------------------------------------------------------------------ steps

    def _family_and_params(self):
        return self.estimator_._family_and_params()

    def _template(self):
        """The estimator of the fit to all rows."""
        if self.estimator is not None:
            estimator = clone(self.estimator)
            estimator._refuse_noise("BLBMixture", "give an estimator with noise=None")
            return estimator
        return DistributedGMM(max_iter=1000, acceleration="squarem")

    def _set_point(self, model):
        self.estimator_ = model
        for name, value in self._names().items():
            setattr(model, name, value)
        for name in OF_THE_POINT:
            setattr(self, name, getattr(model, name))

    def _names(self) -> dict:
        names = ("n_features_in_", "feature_names_in_")
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    def _level(self, confidence_level) -> float:
        check_is_fitted(self)
        if confidence_level is None:
            return self.confidence_level
        if not (isinstance(confidence_level, Real) and 0.0 < confidence_level < 1.0):
            raise ValueError(
                f"confidence_level must be a number between 0 and 1, got {confidence_level!r}."
            )
        needed, there = fewest_draws(confidence_level), self._uncertainty.n_draws
        if there < needed:
            warnings.warn(
                f"An interval of {confidence_level:.6g} needs {needed} resamples of a subset and "
                f"there are {there}: its ends are the outermost, and too near. Fit with this "
                f"confidence_level, or n_resamples={needed} or more.",
                UserWarning,
                stacklevel=3,
            )
        return confidence_level

    def _warn_of_failures(self, usable):
        n_run, n_failed = int(self.n_resamples_.sum()), self.alignment_failures_
        if not usable:
            raise ValueError(
                f"{n_failed} of {n_run} resamples failed: EM did not converge, or a component was "
                "lost or took the place of another. Use fewer components, a covariance_penalty or "
                "prior of the estimator, or larger subsets (subset_exponent)."
            )
        if n_failed > FAILURES * n_run:
            warnings.warn(
                f"{n_failed} of {n_run} resamples are left out, because EM did not converge, or a "
                "component was lost or took the place of another (alignment_failures_). Errors of "
                "single parameters are too small then: use fewer components or larger subsets "
                "(subset_exponent), or look at functions of the mixture that need no labels "
                "(confidence_interval).",
                UserWarning,
                stacklevel=4,  # the caller of fit, which a decorator wraps
            )


def _check_weight(weight: float, n_components: int) -> None:
    """Refuse resamples of so few rows that only reg_covar holds their covariances."""
    if weight < FEWEST_ROWS * n_components:
        raise ValueError(
            f"The rows and their weights stand for {weight:.6g} rows, which are too few to be "
            f"resampled for {n_components} component(s): weights are frequencies, whose sum is the "
            "number of rows. Weights that were scaled to sum to one may be multiplied by that "
            "number."
        )
