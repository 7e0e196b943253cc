"""Random Gaussian mixtures whose components overlap as much as is asked for."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from scipy.optimize import brentq
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from ._contour import Pairs, misclassification
from ._overlap import overlap_matrix, pairs_of, single_threaded

__all__ = ["POPULATION_CONSTRAINTS", "make_gaussian_population"]

DEFAULT_OVERLAP = 0.05
MAX_DRAWS = 100
COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
POPULATION_CONSTRAINTS = {
    "n_components": [Interval(Integral, 1, None, closed="left")],
    "n_features": [Interval(Integral, 1, None, closed="left")],
    "max_overlap": [Interval(Real, 0, 1, closed="neither"), None],
    "average_overlap": [Interval(Real, 0, 1, closed="neither"), None],
    "min_weight": [Interval(Real, 0, 1, closed="right"), None],
    "covariance_type": [StrOptions(set(COVARIANCE_TYPES))],
    "max_eccentricity": [Interval(Real, 0, 1, closed="left")],
    "random_state": ["random_state"],
}


@validate_params(POPULATION_CONSTRAINTS, prefer_skip_nested_validation=True)
@single_threaded
def make_gaussian_population(
    n_components=3,
    n_features=2,
    *,
    max_overlap=None,
    average_overlap=None,
    min_weight=None,
    covariance_type="full",
    max_eccentricity=0.9,
    random_state=None,
):
    """Draw a Gaussian mixture whose components overlap to a given degree.

    Means are uniform in the unit cube and covariances are Wishart matrices with ``n_features + 1``
    degrees of freedom, all multiplied by the one factor that gives the wanted overlap. Where no
    factor does, a new mixture is drawn. This is the method of MixSim (Melnykov, Chen and Maitra
    2012).

    The overlap of two components is the probability that a row of the first has a higher weighted
    density under the second, plus the same of the second; see :func:`mixture_overlap`.

    Parameters
    ----------
    n_components : int, default=3
    n_features : int, default=2
    max_overlap : float, optional
        Largest overlap of a pair of components, in (0, 1). Well separated components have 0.001,
        poorly separated ones 0.1 and more. None: 0.05, unless `average_overlap` is given.
    average_overlap : float, optional
        Mean overlap of all pairs of components, in place of the largest one.
    min_weight : float, optional
        Least weight of a component, at most ``1 / n_components``; what is left is shared out by a
        uniform (Dirichlet) draw. None: equal weights.
    covariance_type : {"full", "tied", "diag", "spherical"}, default="full"
        "tied": one draw for all components. "diag": the eigenvalues of a draw in random order as
        variances of the features. "spherical": one variance a component, uniform in (0, 1] before
        the common factor.
    max_eccentricity : float, default=0.9
        Bound in [0, 1) of sqrt(1 - s / l), s and l being the smallest and the largest eigenvalue of
        a covariance. Where it is exceeded, the eigenvalues are drawn towards the largest one.
    random_state : int, RandomState instance or None, default=None

    Returns
    -------
    population : Bunch
        weights : ndarray of shape (n_components,)

        means : ndarray of shape (n_components, n_features)

        covariances : ndarray of shape (n_components, n_features, n_features), of all types

        overlap : ndarray of shape (n_components, n_components), as of :func:`mixture_overlap`

        max_overlap, average_overlap : float, those reached

    Raises
    ------
    ValueError
        If a parameter is out of range, both overlaps are given or one of a single component, or no
        mixture of 100 draws can have the overlap.

    See Also
    --------
    sample_gaussian_mixture : Rows of a population.
    make_gaussian_mixture : Population and rows in one step.

    References
    ----------
    Maitra, R. and Melnykov, V. (2010). Simulating data to study performance of finite mixture
    modeling and clustering algorithms. Journal of Computational and Graphical Statistics 19,
    354-376.

    Melnykov, V., Chen, W.-C. and Maitra, R. (2012). MixSim: an R package for simulating data to
    study performance of clustering algorithms. Journal of Statistical Software 51(12), 1-25.

    Examples
    --------
    >>> from skdistmix.datasets import make_gaussian_population, mixture_overlap
    >>> population = make_gaussian_population(4, 3, max_overlap=0.1, random_state=0)
    >>> population.covariances.shape
    (4, 3, 3)
    >>> overlap = mixture_overlap(population.weights, population.means, population.covariances)
    >>> round(float((overlap + overlap.T).max()), 6)
    0.1
    """
    name, wanted = _wanted(max_overlap, average_overlap, n_components)
    if min_weight is not None and min_weight > 1 / n_components:
        raise ValueError(
            f"min_weight={min_weight} leaves too little for n_components={n_components}: their "
            f"weights sum to 1, so give at most 1 / n_components = {1 / n_components:g}."
        )
    rng = check_random_state(random_state)
    reachable = 0.0
    for _ in range(MAX_DRAWS):
        weights = _draw_weights(rng, n_components, min_weight)
        means = rng.uniform(size=(n_components, n_features))
        covariances = _draw_covariances(
            rng, n_components, n_features, covariance_type, max_eccentricity
        )
        pairs = pairs_of(weights, means, np.linalg.cholesky(covariances))
        if len(pairs) == 0:
            return _bunch(weights, means, covariances, pairs)
        most = _size(name, pairs.separated(0.0))
        if most > wanted:
            separation = _separation(name, wanted, pairs)
            return _bunch(weights, means, covariances / separation**2, pairs.separated(separation))
        reachable = max(reachable, most)
    raise ValueError(
        f"{name}={wanted:g} was not reached by {MAX_DRAWS} random mixtures of n_components="
        f"{n_components} and n_features={n_features}: the most that any of them has, when "
        f"covariances are so wide that means no longer matter, is {reachable:.3g}. Ask for less, "
        'or make components more alike: covariance_type="tied", a lower max_eccentricity or fewer '
        "features."
    )


def _wanted(max_overlap, average_overlap, n_components: int):
    """Which overlap is wanted, as the name of its parameter, and its value."""
    if max_overlap is not None and average_overlap is not None:
        raise ValueError(
            f"max_overlap={max_overlap} and average_overlap={average_overlap} cannot be had "
            "together, since one factor is all that can be chosen: give one of them."
        )
    if n_components == 1 and (max_overlap is not None or average_overlap is not None):
        raise ValueError(
            "n_components=1 has no pair of components that could overlap: leave max_overlap and "
            "average_overlap out or ask for two components and more."
        )
    if average_overlap is not None:
        return "average_overlap", average_overlap
    return "max_overlap", DEFAULT_OVERLAP if max_overlap is None else max_overlap


def _size(name: str, pairs: Pairs) -> float:
    """The largest or the mean overlap of pairs; 0 where there is none."""
    overlaps = misclassification(pairs).sum(axis=1)
    if len(overlaps) == 0:
        return 0.0
    return float(overlaps.max() if name == "max_overlap" else overlaps.mean())


def _separation(name: str, wanted: float, pairs: Pairs) -> float:
    """Factor of the means at which the overlap is as wanted, which at factor 0 is larger."""

    def excess(separation):
        return _size(name, pairs.separated(separation)) - wanted

    apart = 1.0
    while excess(apart) > 0:
        apart *= 2.0
    return brentq(excess, 0.0, apart, xtol=1e-12, rtol=1e-12)


def _bunch(weights, means, covariances, pairs: Pairs) -> Bunch:
    return Bunch(
        weights=weights,
        means=means,
        covariances=covariances,
        overlap=overlap_matrix(misclassification(pairs), len(weights)),
        max_overlap=_size("max_overlap", pairs),
        average_overlap=_size("average_overlap", pairs),
    )


def _draw_weights(rng, n_components: int, min_weight) -> np.ndarray:
    if min_weight is None:
        return np.full(n_components, 1.0 / n_components)
    left = max(1.0 - n_components * min_weight, 0.0)
    return min_weight + left * rng.dirichlet(np.ones(n_components))


def _draw_covariances(
    rng, n_components: int, n_features: int, covariance_type: str, max_eccentricity: float
) -> np.ndarray:
    """Covariances before they are scaled, (n_components, n_features, n_features)."""
    shape = (n_components, n_features, n_features)
    if covariance_type == "spherical":
        variances = 1.0 - rng.uniform(size=(n_components, 1, 1))  # 0 is not among them
        return variances * np.eye(n_features)
    n_draws = 1 if covariance_type == "tied" else n_components
    roots = rng.standard_normal((n_draws, n_features, n_features + 1))
    values, vectors = np.linalg.eigh(roots @ roots.transpose(0, 2, 1))
    values = _less_eccentric(values, max_eccentricity)
    if covariance_type == "diag":
        return np.stack([np.diag(rng.permutation(variances)) for variances in values])
    covariances = (vectors * values[:, None, :]) @ vectors.transpose(0, 2, 1)
    covariances = (covariances + covariances.transpose(0, 2, 1)) / 2  # symmetric to the last bit
    return np.broadcast_to(covariances, shape).copy()


def _less_eccentric(values, max_eccentricity: float) -> np.ndarray:
    """Eigenvalues in ascending order, (n_draws, n_features), drawn to the largest as needed."""
    largest = values[:, -1:]
    spread = largest - values[:, :1]
    # the range allowed over the range there is
    shrinkage = np.minimum(max_eccentricity**2 * largest / np.where(spread > 0, spread, 1.0), 1.0)
    return largest - shrinkage * (largest - values)
