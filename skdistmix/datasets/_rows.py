"""Rows of Gaussian mixtures."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from ._overlap import check_mixture, single_threaded
from ._population import POPULATION_CONSTRAINTS, make_gaussian_population

__all__ = ["make_gaussian_mixture", "sample_gaussian_mixture"]

N_SAMPLES = [Interval(Integral, 1, None, closed="left")]


@validate_params(
    {
        "n_samples": N_SAMPLES,
        "weights": ["array-like"],
        "means": ["array-like"],
        "covariances": ["array-like"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
@single_threaded
def sample_gaussian_mixture(n_samples, weights, means, covariances, *, random_state=None):
    """Draw independent rows of a Gaussian mixture and the components that they come from.

    Rows are in random order, so samples of one mixture with different random states may be used as
    shards of one data set.

    Parameters
    ----------
    n_samples : int
    weights : array-like of shape (n_components,)
        Positive, with sum 1.
    means : array-like of shape (n_components, n_features)
    covariances : array-like of shape (n_components, n_features, n_features)
        Symmetric and positive definite.
    random_state : int, RandomState instance or None, default=None

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
        Components, from 0.

    Raises
    ------
    ValueError
        If parameters have shapes that do not fit or values that are not finite, weights that are
        not positive or do not sum to 1, or covariances that are not symmetric and positive
        definite.

    See Also
    --------
    make_gaussian_population : A random mixture with a given overlap.

    Examples
    --------
    Four shards of one population:

    >>> from skdistmix.datasets import make_gaussian_population, sample_gaussian_mixture
    >>> population = make_gaussian_population(3, 2, max_overlap=0.01, random_state=0)
    >>> parameters = population.weights, population.means, population.covariances
    >>> shards = [
    ...     sample_gaussian_mixture(1000, *parameters, random_state=shard)[0] for shard in range(4)
    ... ]
    >>> shards[0].shape
    (1000, 2)
    """
    weights, means, _, factors = check_mixture(weights, means, covariances)
    rng = check_random_state(random_state)
    counts = rng.multinomial(n_samples, weights)
    X = rng.standard_normal((n_samples, means.shape[1]))
    stop = 0
    for count, mean, factor in zip(counts, means, factors):
        start, stop = stop, stop + count
        X[start:stop] = X[start:stop] @ factor.T
        X[start:stop] += mean
    order = rng.permutation(n_samples)
    return X.take(order, axis=0), np.repeat(np.arange(len(counts)), counts).take(order)


@validate_params(
    {**POPULATION_CONSTRAINTS, "n_samples": N_SAMPLES, "return_population": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def make_gaussian_mixture(
    n_samples=100,
    n_features=2,
    *,
    n_components=3,
    max_overlap=None,
    average_overlap=None,
    min_weight=None,
    covariance_type="full",
    max_eccentricity=0.9,
    return_population=False,
    random_state=None,
):
    """Draw rows of a random Gaussian mixture whose components overlap to a given degree.

    The mixture is that of :func:`make_gaussian_population` with the same random state and
    parameters, whatever `n_samples` is. To draw several data sets or shards from one mixture, use
    that function and :func:`sample_gaussian_mixture`.

    Parameters
    ----------
    n_samples : int, default=100
    n_features : int, default=2
    n_components : int, default=3
    max_overlap : float, optional
        Largest overlap of a pair of components, the sum of their two probabilities of being
        mistaken for the other, in (0, 1). None: 0.05, unless `average_overlap` is given.
    average_overlap : float, optional
        Mean overlap of all pairs of components, in place of the largest one.
    min_weight : float, optional
        Least weight of a component, at most ``1 / n_components``. None: equal weights.
    covariance_type : {"full", "tied", "diag", "spherical"}, default="full"
    max_eccentricity : float, default=0.9
        Bound in [0, 1) of sqrt(1 - s / l), s and l being the smallest and the largest eigenvalue of
        a covariance.
    return_population : bool, default=False
    random_state : int, RandomState instance or None, default=None

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
        Components that rows come from, from 0.
    population : Bunch
        The mixture, as of :func:`make_gaussian_population`. Only if `return_population` is True.

    Raises
    ------
    ValueError
        If a parameter is out of range, both overlaps are given or one of a single component, or no
        mixture of 100 draws can have the overlap.

    References
    ----------
    Melnykov, V., Chen, W.-C. and Maitra, R. (2012). MixSim: an R package for simulating data to
    study performance of clustering algorithms. Journal of Statistical Software 51(12), 1-25.

    Examples
    --------
    >>> from skdistmix import DistributedGMM
    >>> from skdistmix.datasets import make_gaussian_mixture
    >>> X, y = make_gaussian_mixture(1000, 2, n_components=3, max_overlap=0.01, random_state=0)
    >>> X.shape, y.shape
    ((1000, 2), (1000,))
    >>> gmm = DistributedGMM(3, random_state=0).fit(X)
    >>> from sklearn.metrics import adjusted_rand_score
    >>> adjusted_rand_score(y, gmm.predict(X)) > 0.95
    True
    """
    rng = check_random_state(random_state)
    population = make_gaussian_population(
        n_components,
        n_features,
        max_overlap=max_overlap,
        average_overlap=average_overlap,
        min_weight=min_weight,
        covariance_type=covariance_type,
        max_eccentricity=max_eccentricity,
        random_state=rng,
    )
    X, y = sample_gaussian_mixture(
        n_samples, population.weights, population.means, population.covariances, random_state=rng
    )
    return (X, y, population) if return_population else (X, y)
