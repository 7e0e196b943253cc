"""DistributedMixture: exact EM for mixtures of any family over shards."""

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
from ..families._base import TooFewRowsError
from ._errors import StandardErrors
from ._family_model import FamilyModel
from ._progress import Progress
from ._results import FitResults
from ._start import METHODS, starts_of
from ._stepwise import StepwiseEM

__all__ = ["OF_ANY_FAMILY", "DistributedMixture"]

FEW_ITERATIONS = 10  # a smaller max_iter asks for these very iterations, not for an optimum

#: What the parameters of all estimators by EM may be.
OF_ANY_FAMILY = {
    "n_components": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0.0, None, closed="left"), StrOptions({"likelihood"})],
    "max_iter": [Interval(Integral, 0, None, closed="left")],
    "n_init": [Interval(Integral, 1, None, closed="left")],
    "subsample": [StrOptions({"auto"}), Interval(Integral, 2, None, closed="left"), None],
    "init_params": [StrOptions(METHODS), "array-like"],
    "acceleration": [StrOptions(set(ACCELERATIONS)), None],
    "learning_decay": [Interval(Real, 0.5, 1.0, closed="right")],
    "average": ["boolean", Interval(Integral, 0, None, closed="left")],
    "warm_start": ["boolean"],
    "n_shards": [Interval(Integral, 1, None, closed="left"), None],
    "n_jobs": [Integral, None],
    "device": "no_validation",  # each library has its own
    "random_state": ["random_state"],
    "verbose": ["verbose"],
    "verbose_interval": [Interval(Integral, 1, None, closed="left")],
}


class DistributedMixture(StandardErrors, StepwiseEM, FitResults, FamilyModel):
    """Mixture of any family of components, fitted by exact EM to data in one piece or many.

    Every iteration asks each shard for its sufficient statistics and adds them up, so the fit is
    the one that all rows in one place would give (to rounding), whatever the number of shards and
    workers. What a component is, the family says: Gaussian ones come with the package, and another
    is a small class (see :class:`~skdistmix.families.Family`).

    Parameters
    ----------
    n_components : int, default=1
        Number of components K.
    family : GaussianFamily, Family or other object with a method `frozen`, optional
        What a component is: :class:`~skdistmix.families.GaussianFamily`, whose parameters can be
        searched over as ``family__covariance_type`` and so on; an instance of a subclass of
        :class:`~skdistmix.families.Family`; or anything whose ``frozen(n_components, n_features)``
        returns such a one. None: ``GaussianFamily()``.
    tol : float or "likelihood", default=1e-3
        EM stops when the mean objective of the rows changes by less. With "likelihood" it stops
        when the estimated TOTAL log-likelihood still to gain stays below 0.03, as criteria such as
        BIC need at many rows; set `max_iter` generously, and `acceleration`. The estimate
        extrapolates the last gains: it cannot see past a plateau, and where there are more
        components than the data support it may miss a few units.
    max_iter : int, default=100
        Largest number of EM iterations.
    n_init : int, default=1
        Number of starts; the one with the highest likelihood is kept. They share each reading of
        the rows. A start is given up when in 20 iterations in a row its gains shrank, and another
        start was ahead by 30 times what these gains still promised. One in which a
        component degenerates (a covariance that is not positive definite) is dropped; it is an
        error if all are.
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
        "squarem" (Varadhan and Roland 2008) or "anderson" (Henderson and Varadhan 2019). For
        families with `coordinates`, as Gaussian ones; others are fitted without, with a warning.
    learning_decay : float, default=0.6
        Of `partial_fit`: in call t statistics are replaced by a share (t + 2) ** -learning_decay.
        Above 0.5 and at most 1.
    average : bool or int, default=False
        Of `partial_fit`: report the parameters of the mean of the running statistics (Polyak and
        Juditsky 1992). A number: of those from this call on.
    params_init : dataclass, optional
        Parameters to start from, such as `params_` of another fit of the family.
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
    params_ : dataclass
        The parameters of the family, which predictions are computed from.
    family_ : Family
        The family as it was fitted.
    means_, covariances_, ... : ndarray
        Each parameter of the family by its name: of Gaussians `means_`, `covariances_`,
        `precisions_` and `precisions_cholesky_`, shaped as those of :class:`DistributedGMM`, which
        alone has `volumes_`, `shapes_` and `orientations_`; elsewhere these three are
        ``family_.decomposition(params_)``.
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
    DistributedGMM : The same for Gaussians, with the parameters and attributes of scikit-learn.
    skdistmix.families.Family : What a family has to say.

    Notes
    -----
    Starts look for centres by Euclidean distances of the rows, whatever the family; labels or
    responsibilities in `init_params`, or `params_init`, where these make no sense.

    What a family cannot do is refused where it is asked for, with the method it lacks: `sample`,
    `standard_errors`, `partial_fit` after `fit`.

    References
    ----------
    Dempster, A. P., Laird, N. M. and Rubin, D. B. (1977). Maximum likelihood from incomplete data
    via the EM algorithm. JRSS-B 39, 1-38.

    Chu, C.-T. et al. (2006). Map-reduce for machine learning on multicore. NIPS 19.

    Bahmani, B. et al. (2012). Scalable k-means++. PVLDB 5, 622-633.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistmix import DistributedMixture
    >>> from skdistmix.families import GaussianFamily
    >>> rng = np.random.default_rng(0)
    >>> shards = [rng.normal(center, 1.0, size=(500, 2)) for center in (-4, 0, 4)]
    >>> mixture = DistributedMixture(3, family=GaussianFamily("tied"), random_state=0)
    >>> np.sort(mixture.fit(shards).means_[:, 0]).round()
    array([-4.,  0.,  4.])
    """

    _parameter_constraints: dict = {
        **OF_ANY_FAMILY,
        "family": "no_validation",  # `_spec` says more of what is wrong
        "params_init": "no_validation",
    }

    def __init__(
        self,
        n_components=1,
        *,
        family=None,
        tol=1e-3,
        max_iter=100,
        n_init=1,
        init_params="k-means||",
        subsample="auto",
        acceleration=None,
        learning_decay=0.6,
        average=False,
        params_init=None,
        warm_start=False,
        n_shards=None,
        n_jobs=None,
        device=None,
        random_state=None,
        verbose=0,
        verbose_interval=10,
    ):
        self.n_components = n_components
        self.family = family
        self.tol = tol
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.subsample = subsample
        self.acceleration = acceleration
        self.learning_decay = learning_decay
        self.average = average
        self.params_init = params_init
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
            columns, there are fewer distinct rows than components, weights do not fit, the family
            refuses the rows, or a component degenerates in all starts.
        TypeError
            If the estimator has a parameter `family`, and it is set to something that is not one.
        FamilyError
            If the family does not do what its contract says.
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
        the parameters to start from in place of the estimator's own. Gives what there is to warn
        of about the rows, or None.
        """
        if shards.n_rows < self.n_components:
            raise TooFewRowsError(
                "Expected n_samples >= n_components but got "
                f"n_components = {self.n_components}, n_samples = {shards.n_rows}"
            )
        family = self._family(shards.n_features)
        shards = self._where_computed(family, shards)
        warm = None
        if self.warm_start and hasattr(self, "weights_"):
            self._check_previous(family, shards.n_features, "warm_start=True")
            warm = family.adopted(self._fitted_params())
        start = self._start(family, shards)
        rng = check_random_state(self.random_state)
        progress = Progress(self.verbose, self.verbose_interval)
        moments = first_pass(map_reduce, shards, family.full_scatter, self.n_components)
        doubt = self._check_moments(family, moments, shards, stacklevel=0 if quiet else 6)
        family = self._prepared(map_reduce, shards, family, moments)
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
        self._check_starts(family, starts)
        acceleration = usable_acceleration(family, self.acceleration)
        runs = [
            EMRun(
                family,
                params,
                self.tol,
                self.max_iter,
                progress.reporter(f"Start {i}"),
                acceleration,
                watch,
            )
            for i, params in enumerate(starts)
        ]
        fits = em_together(map_reduce, shards, runs, give_up=True)
        self._store(family, runs, fits, progress)
        self._weighted_fit = any(shard.weight is not None for shard in shards)
        return doubt
