"""Overlap of the components of a Gaussian mixture."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.utils import check_array
from sklearn.utils.parallel import _threadpool_controller_decorator

from ._contour import Pairs, misclassification

__all__ = ["check_mixture", "mixture_overlap", "overlap_matrix", "pairs_of", "single_threaded"]

# Threads of BLAS slow small matrices down, a hundredfold on a busy machine, and change bits.
single_threaded = _threadpool_controller_decorator(limits=1, user_api="blas")


@single_threaded
def mixture_overlap(weights, means, covariances):
    """Probabilities that rows of one component are taken for rows of another.

    Entry (i, j) is the probability that a row of component i has a higher weighted density
    (posterior probability) under component j, when only these two compete. The overlap of a pair
    is the sum of its two entries (Maitra and Melnykov 2010). Nothing is sampled: absolute errors
    are below 1e-9, but for what rounding has done to nearly singular covariances.

    Parameters
    ----------
    weights : array-like of shape (n_components,)
        Positive, with sum 1.
    means : array-like of shape (n_components, n_features)
    covariances : array-like of shape (n_components, n_features, n_features)
        Symmetric and positive definite.

    Returns
    -------
    overlap : ndarray of shape (n_components, n_components)
        The diagonal is 0: no row is mistaken for one of its own component. Two equal components of
        equal weight share their rows, so both their entries are one half.

    Raises
    ------
    ValueError
        If parameters have shapes that do not fit or values that are not finite, weights that are
        not positive or do not sum to 1, or covariances that are not symmetric and positive
        definite.
    ArithmeticError
        If covariances are so near to singular that the overlap cannot be computed.

    See Also
    --------
    make_gaussian_population : A random mixture with a given overlap.

    Notes
    -----
    The log of the ratio of two weighted densities is a sum of squares of normal variables (Maitra
    and Melnykov 2010). Its distribution is found by integrating the moment generating function
    along a contour in the complex plane, which gives both probabilities of a pair at once.

    References
    ----------
    Maitra, R. and Melnykov, V. (2010). Simulating data to study performance of finite mixture
    modeling and clustering algorithms. Journal of Computational and Graphical Statistics 19,
    354-376.

    Examples
    --------
    Two components of variance 1 at the distance 2 err with the probability of a standard normal
    variable below -1; the largest and the mean overlap of pairs follow from the matrix:

    >>> import numpy as np
    >>> from skdistmix.datasets import mixture_overlap
    >>> overlap = mixture_overlap([1 / 3] * 3, [[0.0], [2.0], [5.0]], np.ones((3, 1, 1)))
    >>> overlap.round(4)
    array([[0.    , 0.1587, 0.0062],
           [0.1587, 0.    , 0.0668],
           [0.0062, 0.0668, 0.    ]])
    >>> pairwise = (overlap + overlap.T)[np.triu_indices(3, k=1)]
    >>> round(float(pairwise.max()), 4), round(float(pairwise.mean()), 4)
    (0.3173, 0.1544)
    """
    weights, means, covariances, factors = check_mixture(weights, means, covariances)
    pairs = pairs_of(weights, means, factors)
    return overlap_matrix(misclassification(pairs), len(weights))


def pairs_of(weights, means, factors) -> Pairs:
    """All pairs i < j of components, whose covariances have the Cholesky factors given.

    The singular values of L_j^-1 L_i square to the eigenvalues of S_i^(1/2) S_j^-1 S_i^(1/2), with
    more of their digits than the product would keep.
    """
    n_pairs = len(weights) * (len(weights) - 1) // 2
    log_ratio = np.empty(n_pairs)
    eigenvalues, distances = np.empty((2, n_pairs, means.shape[1]))
    for pair, (i, j) in enumerate(combinations(range(len(weights)), 2)):
        between = np.column_stack([factors[i], means[i] - means[j]])
        between = solve_triangular(factors[j], between, lower=True)
        left, singular, _ = np.linalg.svd(between[:, :-1])
        log_ratio[pair] = np.log(weights[j]) - np.log(weights[i])
        eigenvalues[pair] = singular**2
        distances[pair] = (left.T @ between[:, -1]) ** 2
    return Pairs(log_ratio, eigenvalues, distances)


def overlap_matrix(probabilities, n_components: int) -> np.ndarray:
    """Probabilities of all pairs i < j as a matrix."""
    overlap = np.zeros((n_components, n_components))
    i, j = np.triu_indices(n_components, k=1)
    overlap[i, j], overlap[j, i] = probabilities.T
    return overlap


def check_mixture(weights, means, covariances):
    """Parameters as float arrays, weights with sum 1, and the Cholesky factors of covariances.

    Raises
    ------
    ValueError
        As `mixture_overlap` says.
    """
    weights, means, covariances = (
        check_array(value, dtype=np.float64, ensure_2d=False, allow_nd=True, input_name=name)
        for name, value in (
            ("weights", weights),
            ("means", means),
            ("covariances", covariances),
        )
    )
    if means.ndim != 2:
        raise ValueError(
            f"means has the shape {means.shape}, expected (n_components, n_features): one row a "
            "component, also where there is one feature."
        )
    K, d = means.shape
    for name, value, shape in (("weights", weights, (K,)), ("covariances", covariances, (K, d, d))):
        if value.shape != shape:
            raise ValueError(
                f"{name} has the shape {value.shape}, expected {shape} for means of the shape "
                f"{means.shape}: {K} components in {d} features."
            )
    if weights.min() <= 0:
        raise ValueError(
            f"weights must be positive, got {weights.min():g} for component {weights.argmin()}; "
            "leave components without weight out."
        )
    if abs(weights.sum() - 1.0) > 1e-6:
        raise ValueError(f"weights must sum to 1, got {weights.sum():g}; divide them by their sum.")
    factors = np.stack([_cholesky(covariance, k) for k, covariance in enumerate(covariances)])
    return weights / weights.sum(), means, covariances, factors


def _cholesky(covariance, k: int) -> np.ndarray:
    asymmetry = np.abs(covariance - covariance.T).max()
    if asymmetry > 1e-8 * np.abs(covariance).max():
        raise ValueError(
            f"covariances[{k}] is not symmetric: entries mirrored at the diagonal differ by up to "
            f"{asymmetry:g}. Give (S + S.T) / 2 if that is rounding."
        )
    try:
        return np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        smallest = np.linalg.eigvalsh(covariance).min()
        raise ValueError(
            f"covariances[{k}] is not positive definite: its smallest eigenvalue is {smallest:g}. "
            "Give a covariance matrix, not its inverse or factor, and add a small multiple of the "
            "identity if features are collinear."
        ) from None
