"""MixtureSearch: a grid of mixtures fitted in shared sweeps and ranked by a criterion."""

from __future__ import annotations

import warnings
from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, _fit_context, clone
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.utils import check_random_state, get_tags
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._compute import Workers
from .._validation import validated_shards
from ._cells import Grid
from ._contest import PENALTIES
from ._grid import assembled, checked_grid, mixture_of, split_pipeline
from ._table import criterion_table, results_of

__all__ = ["MixtureSearch"]


def _best_has(method):
    """Whether the best estimator, or before `fit` the estimator, has a method, and is kept."""

    def check(search):
        if not search.refit:
            raise AttributeError(
                f"This {type(search).__name__} has refit=False and keeps no model, so no {method}: "
                "set refit=True."
            )
        getattr(getattr(search, "best_estimator_", search.estimator), method)
        return True

    return check


class MixtureSearch(MetaEstimatorMixin, BaseEstimator):
    """Grid search for mixtures: all models share each reading of the rows.

    A criterion is computed from the data that a model is fitted to, so nothing is split: the models
    of the grid are fitted to all rows, side by side. A block of rows that was read updates every
    model that still runs, so a grid reads the data as often as its slowest model alone.

    Parameters
    ----------
    estimator : estimator or Pipeline
        A :class:`~skdistmix.DistributedGMM`, or a Pipeline whose last step is one. The steps before
        are fitted once, without weights. With ``tol="likelihood"`` and a generous `max_iter` EM
        goes on until criteria can be compared; `n_init` is the number of starts of each model.
    param_grid : dict or list of dict
        Names of parameters and lists of values, as for GridSearchCV; of a Pipeline those of the
        last step, ``step__name``. Values of `init_params` may be labels or responsibilities, which
        belong to one `n_components`: give a list of dicts.
    criterion : {"bic", "icl", "aic"} or callable, default="bic"
        The smaller the better. A function is called with the fitted mixture and returns a number,
        as ``lambda gmm: gmm.bic_`` would; `lower_bound_`, `n_parameters_` and `n_samples_seen_`
        are what criteria are made of.
    strategy : {"fast", "exact"}, default="fast"
        "exact": every model is fitted as it would be alone. "fast": a heuristic with mostly the
        same result or a better one, in less time. A model that cannot win any more, by what its
        last gains promise, is stopped; and those with a component more or less than the best, or
        with as many and another covariance type, start from it once more, unless their start is
        given. Criteria that are functions give no way to tell who cannot win, so then no model is
        stopped.
    refit : bool, default=True
        Whether to keep the best fitted model as `best_estimator_`. Nothing is fitted again.
    n_jobs : int, optional
        Number of workers, as for the estimator. None: what the estimator says. Results do not
        depend on it.
    random_state : int, RandomState instance or None, default=None
        Seed of every model. None: that of the estimator, or one drawn for all.
    verbose : int, default=0
        1 prints how many models go on every 10 sweeps, 2 at each sweep.

    Attributes
    ----------
    best_estimator_ : estimator or Pipeline
        The fitted model with the smallest criterion; only with ``refit=True``.
    best_params_ : dict
    best_index_ : int
        Its place in the arrays of `cv_results_`.
    best_score_ : float
        Minus its criterion.
    cv_results_ : dict of arrays of shape (n_models,)
        As of GridSearchCV: `params`, a masked array ``param_<name>`` for each parameter,
        `mean_test_score` (minus the criterion: the larger the better) and `rank_test_score` (from
        1). Besides: `criterion`; `bic`, `icl` and `aic`; `log_likelihood` (the total);
        `n_parameters`, `n_iter`, `converged`; `stopped`, whether the model was called off, so that
        its criterion is larger than it need be; `error`, why a model could not be fitted (its
        numbers are then NaN), else an empty string.
    criterion_table_ : DataFrame or dict of arrays
        The same with a row a model, if pandas is installed; else as a dict.
    n_features_in_ : int
        With ``refit=True``.
    feature_names_in_ : ndarray of str
        With ``refit=True``, and only if X had string column names.

    See Also
    --------
    FullData : The same for any estimator, by GridSearchCV and one fit after the other.
    skdistmix.inspection.CriterionDisplay : Draws the criterion against the number of components.

    Notes
    -----
    "fast" extrapolates the gain that a model may still make by Aitken's rule from its last eight
    passes, and allows ten times that; in its first 40 passes also what one component costs. On a
    sample (see `subsample` of the estimator) it allows for what chance can do as well. The rule
    cannot see past a long plateau.

    References
    ----------
    Schwarz, G. (1978). Estimating the dimension of a model. Annals of Statistics 6, 461-464.

    Boehning, D., Dietz, E., Schaub, R., Schlattmann, P. and Lindsay, B. G. (1994). The distribution
    of the likelihood ratio for mixtures of densities from the one-parameter exponential family.
    Annals of the Institute of Statistical Mathematics 46, 373-388.

    Ueda, N., Nakano, R., Ghahramani, Z. and Hinton, G. E. (2000). SMEM algorithm for mixture
    models. Neural Computation 12, 2109-2128.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistmix import DistributedGMM
    >>> from skdistmix.model_selection import MixtureSearch
    >>> rng = np.random.default_rng(0)
    >>> shards = [rng.normal(center, 1.0, size=(400, 2)) for center in (-5, 0, 5)]
    >>> search = MixtureSearch(
    ...     DistributedGMM(tol="likelihood", max_iter=2000, random_state=0),
    ...     {"n_components": [1, 2, 3, 4], "covariance_type": ["full", "tied", "EII"]},
    ... ).fit(shards)
    >>> search.best_params_ == {"covariance_type": "EII", "n_components": 3}
    True
    >>> [len(labels) for labels in search.predict(shards)]
    [400, 400, 400]
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit"])],
        "param_grid": [dict, list],
        "criterion": [StrOptions(set(PENALTIES)), callable],
        "strategy": [StrOptions({"fast", "exact"})],
        "refit": ["boolean"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        estimator,
        param_grid,
        *,
        criterion="bic",
        strategy="fast",
        refit=True,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.estimator = estimator
        self.param_grid = param_grid
        self.criterion = criterion
        self.strategy = strategy
        self.refit = refit
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, sample_weight=None):
        """Fit all models and choose one.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for the estimator.
        y : ignored
        sample_weight : array-like of shape (n_samples,), list of arrays, path, str, optional
            Weights of the rows, as for the estimator; n of the criteria is their sum.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If the estimator cannot share sweeps, or has no such criterion.
        ValueError
            If the grid is empty, names parameters that the mixture does not have, that make no
            other model, or that belong to earlier steps of the Pipeline; if rows cannot be used; if
            no model could be fitted.
        """
        mixture = mixture_of(self.estimator)
        cells, own = checked_grid(self.estimator, self.param_grid)
        if not callable(self.criterion) and not hasattr(mixture, self.criterion):
            raise TypeError(
                f"{type(mixture).__name__} has no method {self.criterion}: give a function of the "
                "fitted mixture as criterion."
            )
        steps, X = split_pipeline(self.estimator, X)
        plain = clone(mixture).set_params(verbose=0, random_state=self._seed(mixture))
        n_shards = getattr(mixture, "n_shards", None)
        shards = validated_shards(plain, X, reset=True, n_shards=n_shards, min_rows=2)
        grid = Grid(plain, own, shards.with_weights(sample_weight), self.criterion)
        n_jobs = mixture.n_jobs if self.n_jobs is None else self.n_jobs
        with Workers(n_jobs) as workers:
            grid.fit(workers.map_reduce, self.strategy == "fast", self.verbose)
        self._store(grid, cells, mixture, steps)
        return self

    def _seed(self, mixture):
        """The same seed for all models, so that they share random samples of the rows."""
        given = mixture.random_state if self.random_state is None else self.random_state
        if given is mixture.random_state and given is not None:
            return given
        if isinstance(given, Integral):
            return given
        return int(check_random_state(given).randint(np.iinfo(np.int32).max))

    def _store(self, grid: Grid, cells, mixture, steps) -> None:
        failed = [i for i, error in enumerate(grid.errors) if error]
        if len(failed) == len(cells):
            reasons = "\n".join(f"  {cells[i]}: {grid.errors[i]}" for i in _first_of_each(grid))
            raise ValueError(f"None of the {len(cells)} models could be fitted:\n{reasons}")
        for name in ("best_estimator_", "feature_names_in_"):  # of an earlier fit
            vars(self).pop(name, None)
        models = [one and one.model for one in grid.fitted]
        self.cv_results_ = results_of(cells, models, grid.criteria, grid.stopped, grid.errors)
        self.best_index_ = best = int(np.nanargmin(grid.criteria))
        self.best_params_, self.best_score_ = cells[best], -float(grid.criteria[best])
        if self.refit:
            model = models[best].set_params(verbose=mixture.verbose)
            self.best_estimator_ = assembled(self.estimator, steps, model)
            if hasattr(self.best_estimator_, "feature_names_in_"):
                self.feature_names_in_ = self.best_estimator_.feature_names_in_
        doubt = grid.fitted[best].doubt
        if doubt is not None:
            warnings.warn(doubt, UserWarning, stacklevel=4)
        if failed:
            warnings.warn(
                f"{len(failed)} of {len(cells)} models could not be fitted; see "
                f"cv_results_['error']. The first is {cells[failed[0]]}: {grid.errors[failed[0]]}",
                FitFailedWarning,
                stacklevel=4,
            )
        unsure = grid.unsure(best)
        if unsure:
            warnings.warn(
                f"The order of the models may be wrong: {len(unsure)} of {len(cells)}, such as "
                f"{cells[unsure[0]]}, stopped with more to gain than would decide. Use "
                "tol='likelihood', or a smaller tol, and a larger max_iter.",
                ConvergenceWarning,
                stacklevel=4,
            )

    @property
    def criterion_table_(self):
        """Parameters and results, a row a model: a DataFrame if pandas is there, else a dict."""
        check_is_fitted(self)
        return criterion_table(self.cv_results_)

    @property
    def n_features_in_(self):
        """Number of features seen in `fit`."""
        if not hasattr(self, "best_estimator_"):
            raise AttributeError(f"This {type(self).__name__} is not fitted with refit=True.")
        return self.best_estimator_.n_features_in_

    @available_if(_best_has("predict"))
    def predict(self, X):
        """Most probable component of each row, by the best model.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), or one array a shard
            As of the estimator, and so of all methods that follow.
        """
        return self._best().predict(X)

    @available_if(_best_has("predict_proba"))
    def predict_proba(self, X):
        """Posterior probabilities of the components for each row, by the best model.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.

        Returns
        -------
        resp : ndarray of shape (n_samples, n_components), or one array a shard
        """
        return self._best().predict_proba(X)

    @available_if(_best_has("score_samples"))
    def score_samples(self, X):
        """Log-density of each row, by the best model.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.

        Returns
        -------
        log_density : ndarray of shape (n_samples,), or one array a shard
        """
        return self._best().score_samples(X)

    @available_if(_best_has("score"))
    def score(self, X, y=None, sample_weight=None):
        """Mean log-density of the rows, by the best model: not the criterion.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.
        y : ignored
        sample_weight : array-like of shape (n_samples,) or list of arrays, optional
            Weights of the rows.

        Returns
        -------
        float
        """
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        return self._best().score(X, **weights)

    def _best(self):
        check_is_fitted(self)
        if not hasattr(self, "best_estimator_"):
            raise AttributeError(
                f"This {type(self).__name__} was fitted with refit=False and kept no model: set "
                "refit=True."
            )
        return self.best_estimator_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.estimator_type, tags.input_tags = inner.estimator_type, inner.input_tags
        return tags


def _first_of_each(grid: Grid) -> list[int]:
    """The first cell of each different reason."""
    return sorted({error: i for i, error in reversed(list(enumerate(grid.errors)))}.values())
