"""DistributedGMM: exact EM for Gaussian mixtures over shards."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from .._acceleration import ACCELERATIONS, usable_acceleration
from .._compute import Workers
from .._em import EMRun, em_together, first_pass
from .._validation import validated_shards
from ..families import ConjugatePrior
from ..families._base import TooFewRowsError
from ._convert import SklearnConversion
from ._errors import StandardErrors
from ._gaussian_model import GaussianModel
from ._progress import Progress
from ._results import FitResults
from ._start import METHODS, Start, starts_of
from ._stepwise import StepwiseEM

__all__ = ["DistributedGMM"]

FEW_ITERATIONS = 10  # a smaller max_iter asks for these very iterations, not for an optimum


class DistributedGMM(SklearnConversion, StandardErrors, StepwiseEM, FitResults, GaussianModel):
    """Gaussian mixture fitted by exact EM to data in one piece or many.

    Every iteration asks each shard for its sufficient statistics and adds them up, so the fit is
    the one that all rows in one place would give (to rounding), whatever the number of shards and
    workers. Rows never move; responsibilities are never stored. Names and meanings are those of
    :class:`sklearn.mixture.GaussianMixture`, which it can replace by changing the import.

    Parameters
    ----------
    n_components : int, default=1
        Number of components K.
    covariance_type : str, default="full"
        A covariance is a volume (a number) times a matrix of a shape (variances of product one)
        along the axes of an orientation. Each may be equal for all components (E) or vary (V);
        axes may be those of the columns (I). With d columns and o = d (d - 1) / 2:

        ====================  ======  ======  ===========  =========================
        name                  volume  shape   orientation  parameters of covariances
        ====================  ======  ======  ===========  =========================
        "EII"                 equal   sphere  none         1
        "spherical" or "VII"  varies  sphere  none         K
        "EEI"                 equal   equal   columns      d
        "VEI"                 varies  equal   columns      K + d - 1
        "EVI"                 equal   varies  columns      1 + K (d - 1)
        "diag" or "VVI"       varies  varies  columns      K d
        "tied" or "EEE"       equal   equal   equal        d + o
        "VEE"                 varies  equal   equal        K + d - 1 + o
        "EVE"                 equal   varies  equal        1 + K (d - 1) + o
        "VVE"                 varies  varies  equal        K d + o
        "EEV"                 equal   equal   varies       d + K o
        "VEV"                 varies  equal   varies       K + d - 1 + K o
        "EVV"                 equal   varies  varies       1 + K (d - 1) + K o
        "full" or "VVV"       varies  varies  varies       K d + K o
        ====================  ======  ======  ===========  =========================

        For one column also "E" (equal variance) and "V".
    tol : float or "likelihood", default=1e-3
        EM stops when the mean objective of the rows changes by less. With "likelihood" it stops
        when the estimated TOTAL log-likelihood still to gain stays below 0.03, as criteria such as
        BIC need at many rows; set `max_iter` generously, and `acceleration`. The estimate
        extrapolates the last gains: it cannot see past a plateau, and where there are more
        components than the data support it may miss a few units.
    reg_covar : float, default=1e-6
        Added to the diagonal of covariances; where components have parts of these in common, to
        those of their rows, before what is common is found.
    max_iter : int, default=100
        Largest number of EM iterations.
    n_init : int, default=1
        Number of starts; the one with the highest likelihood is kept. They share each reading of
        the rows. A start is given up when in 20 iterations in a row its gains shrank, and another
        start was ahead by 30 times what these gains still promised. One that leads to a covariance
        that is not positive definite is dropped; it is an error if all do.
    init_params : {"k-means||", "kmeans", "k-means++", "hierarchical", "random", \
"random_from_data"}, array-like or list of arrays, default="k-means||"
        How EM starts. "k-means||": scalable k-means++ and Lloyd's algorithm on its candidates
        ("kmeans" is an alias); "k-means++"; "random_from_data": K random rows as centres. These
        look for centres in all rows, or in a random sample of about 100,000 (at least 1,000 a
        component) where there are more than twice as many. "random": random responsibilities. Or
        known labels of shape (n_samples,) or responsibilities of shape (n_samples, n_components),
        as one array or one array a shard.
    subsample : "auto", int or None, default="auto"
        Rows of a random sample that EM runs on before it runs on all rows, so that few iterations
        are left there. On the sample, four starts are tried for each of `n_init`, and the best
        after 20 iterations goes on for at most 100. "auto": about 100,000 rows (more for more than
        100 components, fewer for more than 167 features) where there are five times as many. None,
        or less than twice as many rows as asked for: EM sees all rows at once. There is no sample
        if a start is given, with `warm_start`, or if `max_iter` is below 10. What happens on the
        sample is not counted in `n_iter_` and `max_iter`.
    acceleration : {"squarem", "anderson"}, optional
        Prolong steps of EM once they shrink steadily and slowly, as where components overlap:
        "squarem" (Varadhan and Roland 2008) or "anderson" (Henderson and Varadhan 2019). A
        prolonged step that gains too little costs one more pass, in which the plain step is tried;
        the better is taken, so the objective never falls (a large `reg_covar` apart, with which
        EM itself may fall). Each pass counts as an iteration.
    covariance_penalty : "auto" or float, optional
        Strength a of the penalty of Chen and Tan (2009): the log-likelihood less
        ``a * sum_k (trace(S Sigma_k^-1) + log det Sigma_k)`` is maximised, S being the covariance
        of all rows. No component can collapse, whatever the units of the columns. "auto": one over
        the root of the sum of weights.
    prior : "auto" or ConjugatePrior, optional
        Maximise the posterior density under a conjugate prior of means and covariances; "auto" is
        ``ConjugatePrior()``, the default prior of R's mclust. Only for the four types of
        scikit-learn.
    learning_decay : float, default=0.6
        Of `partial_fit`: in call t statistics are replaced by a share (t + 2) ** -learning_decay.
        Above 0.5 and at most 1.
    average : bool or int, default=False
        Of `partial_fit`: report the parameters of the mean of the running statistics (Polyak and
        Juditsky 1992). A number: of those from this call on.
    weights_init : array-like of shape (n_components,), optional
        Starting weights.
    means_init : array-like of shape (n_components, n_features), optional
        Starting means. What else is not given is computed from the rows nearest to each.
    precisions_init : array-like, optional
        Starting precisions (inverse covariances), shaped like `covariances_`. Where a type is not
        free, the covariances of the type nearest to them, for equal weights, are taken.
    warm_start : bool, default=False
        Whether `fit` starts from the previous solution.
    n_shards : int, optional
        Number of row ranges an array is cut into. None: one. Data in pieces are taken as they are.
    n_jobs : int, optional
        Number of workers. None means all cores this process may use, as threads, outside any
        joblib context (as scikit-learn's OpenMP estimators do), and what the context says inside
        one; -1 means all. Any joblib backend works, as in
        ``with joblib.parallel_config("loky", n_jobs=4): ...``. The result does not depend on it,
        to the last bit.
    device : str or device of an array library, optional
        Where blocks of rows are computed if X holds arrays of a library of the array API, such as
        PyTorch or CuPy: with ``device="cuda"`` a tensor that does not fit on the GPU can stay in
        memory. None: where the array lies. For other forms of X `fit` refuses a device, and methods
        of the fitted model do not need it.
    random_state : int, RandomState instance or None, default=None
        Seed of the start and of `sample`.
    verbose : int, default=0
        1 prints starts and, each `verbose_interval`, the iteration; 2 adds value, change and time.
    verbose_interval : int, default=10
        Iterations between two lines.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
    means_ : ndarray of shape (n_components, n_features)
    covariances_, precisions_, precisions_cholesky_ : ndarray
        (n_features, n_features) if tied, (n_components,) if spherical or EII, (n_components,
        n_features) if diag, EEI, VEI or EVI, else (n_components, n_features, n_features).
    covariance_type_ : str
        Of the fitted model, which predicts whatever parameters are set to later. The name of
        scikit-learn where there are two.
    volumes_ : ndarray of shape (n_components,)
        d-th roots of the determinants of the covariances; computed when asked for, as the next two.
    shapes_ : ndarray of shape (n_components, n_features)
        Variances along the axes over the volume.
    orientations_ : ndarray of shape (n_components, n_features, n_features)
        Axes as columns.
    converged_ : bool
    n_iter_ : int
        EM iterations (M-steps) of the best start.
    lower_bound_ : float
        Mean log-likelihood of the rows under the returned parameters: equals ``score(X)``.
    lower_bounds_ : list of float
        Mean log-likelihood after each iteration; the last is `lower_bound_`.
    objectives_ : list of float
        What EM maximises, one entry a pass over the data, with the start's value in front: the
        mean log-likelihood, and the penalty or log-prior over the sum of weights.
    objective_ : float
        The last of `objectives_`.
    convergence_gap_ : float
        Estimate of the total objective that further iterations would gain, extrapolated from the
        last gains; on a plateau it is too small.
    init_scores_ : ndarray of shape (n_init,)
        Last objective of each start, minus infinity for one that was dropped; one value if all
        starts are the same.
    bic_, aic_, icl_ : float
        Criteria on the training data, smaller is better.
    n_parameters_ : int
        Free parameters, p of the criteria.
    n_samples_seen_ : float
        Sum of the weights of all rows, of all calls for `partial_fit`.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if X had string column names.

    See Also
    --------
    sklearn.mixture.GaussianMixture : The same model on one array in memory.

    Notes
    -----
    One iteration reads the rows once. It runs on centred products of features where these are
    accurate, and on whitened rows about the current means where a component is tight against the
    spread of the data; the choice is made anew in every iteration.

    References
    ----------
    Banfield, J. D. and Raftery, A. E. (1993). Model-based Gaussian and non-Gaussian clustering.
    Biometrics 49, 803-821.

    Celeux, G. and Govaert, G. (1995). Gaussian parsimonious clustering models. Pattern Recognition
    28, 781-793.

    Browne, R. P. and McNicholas, P. D. (2014). Estimating common principal components in high
    dimensions. Advances in Data Analysis and Classification 8, 217-226.

    Dempster, A. P., Laird, N. M. and Rubin, D. B. (1977). Maximum likelihood from incomplete data
    via the EM algorithm. JRSS-B 39, 1-38.

    Chu, C.-T. et al. (2006). Map-reduce for machine learning on multicore. NIPS 19.

    Bahmani, B. et al. (2012). Scalable k-means++. PVLDB 5, 622-633.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistmix import DistributedGMM
    >>> rng = np.random.default_rng(0)
    >>> shards = [rng.normal(center, 1.0, size=(500, 2)) for center in (-4, 0, 4)]
    >>> gmm = DistributedGMM(n_components=3, random_state=0).fit(shards)
    >>> np.sort(gmm.means_[:, 0]).round()
    array([-4.,  0.,  4.])
    >>> [len(labels) for labels in gmm.predict(shards)]
    [500, 500, 500]
    """

    _parameter_constraints: dict = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "covariance_type": [str],  # `_validate_params` looks it up
        "tol": [Interval(Real, 0.0, None, closed="left"), StrOptions({"likelihood"})],
        "reg_covar": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "subsample": [
            StrOptions({"auto"}),
            Interval(Integral, 2, None, closed="left"),
            None,
        ],
        "init_params": [StrOptions(METHODS), "array-like"],
        "acceleration": [StrOptions(set(ACCELERATIONS)), None],
        "covariance_penalty": [
            StrOptions({"auto"}),
            Interval(Real, 0.0, None, closed="neither"),
            None,
        ],
        "prior": [StrOptions({"auto"}), ConjugatePrior, None],
        "learning_decay": [Interval(Real, 0.5, 1.0, closed="right")],
        "average": ["boolean", Interval(Integral, 0, None, closed="left")],
        "weights_init": ["array-like", None],
        "means_init": ["array-like", None],
        "precisions_init": ["array-like", None],
        "warm_start": ["boolean"],
        "n_shards": [Interval(Integral, 1, None, closed="left"), None],
        "n_jobs": [Integral, None],
        "device": "no_validation",  # each library has its own
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_components=1,
        *,
        covariance_type="full",
        tol=1e-3,
        reg_covar=1e-6,
        max_iter=100,
        n_init=1,
        init_params="k-means||",
        subsample="auto",
        acceleration=None,
        covariance_penalty=None,
        prior=None,
        learning_decay=0.6,
        average=False,
        weights_init=None,
        means_init=None,
        precisions_init=None,
        warm_start=False,
        n_shards=None,
        n_jobs=None,
        device=None,
        random_state=None,
        verbose=0,
        verbose_interval=10,
    ):
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.subsample = subsample
        self.acceleration = acceleration
        self.covariance_penalty = covariance_penalty
        self.prior = prior
        self.learning_decay = learning_decay
        self.average = average
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.warm_start = warm_start
        self.n_shards = n_shards
        self.n_jobs = n_jobs
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.verbose_interval = verbose_interval

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Estimate the mixture.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            One array, memmap, zarr array or DataFrame; a list of 2-D arrays, DataFrames, paths,
            futures, delayed values or shards, each one shard; a path, folder or glob of ``.npy``,
            ``.parquet`` or ``.zarr``; a Dask array or DataFrame; or what
            :func:`skdistmix.as_shards` returns. Arrays may be PyTorch tensors, CuPy arrays or the
            like, on any device.
        y : ignored
        sample_weight : array-like of shape (n_samples,), list of arrays, path, str, optional
            Frequency weights: weight 2 counts as two equal rows, weight 0 as none. Also ``.npy``
            files, one a shard; the name of a column of parquet files that is no feature; a Dask
            array or Series with the partitions of X.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If rows contain NaN or infinity (shard and row are named), shards differ in their
            columns, there are fewer distinct rows than components, weights do not fit, or a
            covariance is not positive definite in all starts.
        """
        shards = validated_shards(self, X, reset=True, n_shards=self.n_shards, min_rows=2)
        self._fit_shards(shards.with_weights(sample_weight))
        self._warn_if_not_converged()
        return self

    def _fit_shards(self, shards, quiet=False):
        """`fit` to rows that were not read yet, without its last warning or, if quiet, any."""
        with Workers(self.n_jobs) as workers:
            self._fit_by(workers.map_reduce, shards, quiet)

    def _fit_by(self, map_reduce, shards, quiet=False, watch=None, begin=None):
        """`_fit_shards` by a given `map_reduce`, which a search shares among many fits.

        `watch` may call EM off, see :class:`EMRun`. ``begin(map_reduce, shards, family)`` gives
        the parameters to start from in place of the estimator's own.
        """
        if shards.n_rows < self.n_components:
            raise TooFewRowsError(
                "Expected n_samples >= n_components but got "
                f"n_components = {self.n_components}, n_samples = {shards.n_rows}"
            )
        family = self._family(shards.n_features)
        warm = None
        if self.warm_start and hasattr(self, "weights_"):
            self._check_previous(family, shards.n_features, "warm_start=True")
            warm = self._fitted_params()
        start = Start.checked(self, family, shards)
        rng = check_random_state(self.random_state)
        progress = Progress(self.verbose, self.verbose_interval)
        moments = first_pass(map_reduce, shards, family.full_scatter, self.n_components)
        self._check_moments(moments, shards, stacklevel=0 if quiet else 6)
        family = family.prepare(moments)
        if begin is not None:
            starts = begin(map_reduce, shards.on_host(), family)
        elif warm is not None:
            starts = [warm]
        else:
            seeds = [int(rng.randint(np.iinfo(np.int32).max)) for _ in range(self.n_init)]
            subsample = self.subsample if self.max_iter >= FEW_ITERATIONS else None
            starts = starts_of(
                map_reduce, shards.on_host(), family, start, seeds, subsample, progress.say, watch
            )
        rule, acceleration = (
            (self.tol, self.max_iter),
            usable_acceleration(family, self.acceleration),
        )
        runs = [
            EMRun(family, params, *rule, progress.reporter(f"Start {i}"), acceleration, watch)
            for i, params in enumerate(starts)
        ]
        fits = em_together(map_reduce, shards, runs, give_up=True)
        self._store(family, runs, fits, progress)
        self._weighted_fit = any(shard.weight is not None for shard in shards)

    def fit_predict(self, X, y=None, sample_weight=None):
        """Fit, then give the most probable component of each row.

        Parameters
        ----------
        X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
            As for `fit`.
        y : ignored
        sample_weight : array-like of shape (n_samples,) or list of arrays, optional
            As for `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), or one array a shard
            As `predict`.
        """
        return self.fit(X, sample_weight=sample_weight).predict(X)
