"""The subsets of a bag of little bootstraps: how large, and whether shards will do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import chi2

from ._sampling import bounded_sample
from ._shards import Shards
from .families._information import SingularInformationError

__all__ = [
    "FEWEST_PER_PARAMETER",
    "LARGEST_ERROR",
    "USELESS_ERROR",
    "largest_error",
    "least_rows",
    "odd_shards",
    "overlap_rows",
    "sampled_information",
    "smallest_exponent",
    "subset_rows",
]

ROWS_PER_PARAMETER, FEWEST_PER_PARAMETER = 80, 10  # of a component, in its share of a subset
# Standard errors of weights and means in a subset, in units of the component: so large that errors
# from subsets are 3 % too large, and so large that they are no use.
LARGEST_ERROR, USELESS_ERROR = 0.08, 0.3
INFORMATION_ROWS, INFORMATION_PARAMETERS = 50_000, 500  # that tell how large errors are
SUSPICIOUS = 1e-3  # probability that random pieces are said to be none


def least_rows(
    n_parameters: int, n_components: int, smallest_weight: float, per_parameter=ROWS_PER_PARAMETER
) -> int:
    """Rows of a subset in which the smallest component has so many for each of its parameters.

    Standard errors from subsets are too large by the order of one over these rows. Where components
    overlapped (three, with means 3 standard deviations apart, in 20,000 rows of d = 2 or 5) that
    was 15 % for 10 rows a parameter, 3 to 4 % for 20 to 70 and 1 % for 50 to 140. With 40 intervals
    of nominal 95 % covered the means in 96.7 % of data sets, with 80 in 95.5 %.
    """
    own = n_parameters / n_components
    return int(np.ceil(per_parameter * own / max(smallest_weight, 1e-12)))


def sampled_information(map_reduce: Callable, shards: Shards, family, params, seed: int):
    """The information that all rows have of the parameters, by a random sample of them.

    None where it has no inverse, for a family without scores, and where it takes too long.
    """
    if family.n_parameters() > INFORMATION_PARAMETERS:
        return None
    try:
        kernel = family.score_kernel(params)
    except NotImplementedError:  # a family without scores
        return None
    moments = family.moments
    rows = bounded_sample(map_reduce, shards, moments, INFORMATION_ROWS, seed)
    sums = map_reduce(kernel.sums, rows, kernel.block_rows)
    if not sums.weight > family.n_parameters():
        return None
    information = replace(family.information(params, sums), weight=moments.weight)
    try:
        information.inverse  # noqa: B018 - it is kept
    except SingularInformationError:
        return None
    return information


def largest_error(family, params, information) -> float:
    """Largest standard error of a weight or a mean, in units of its component.

    It tells how much components overlap. In a subset a mixture must behave as in all rows; there
    this error is larger by the square root of the ratio of rows. Three components of two columns,
    3 standard deviations apart: with 0.13 in a subset standard errors from subsets were 4 to 7 %
    too large (500 data sets), in five columns with 0.065 1 to 2 %. Two groups in one column: with
    0.3 (2 standard deviations apart) they were right to 10 %, with 1.06 (1.5 apart) 0.2 to 0.6 of
    the true ones, because subsets had their optimum elsewhere.
    """
    sizes = np.sqrt(np.diag(information.covariance(False)))
    errors = information.arrays_of(sizes, like=params)
    components = family.components(params)
    each = components.covariances
    variances = np.diagonal(each, axis1=1, axis2=2) if each.ndim == 3 else each
    of_means = errors["means"] / np.sqrt(variances)
    return float(max((errors["weights"] / components.weights).max(), of_means.max()))


def overlap_rows(n_rows: int, error: float, largest: float) -> int:
    """Rows of a subset with an error as large as that, from that of all rows."""
    return int(np.ceil(n_rows * (error / largest) ** 2))


def subset_rows(n_rows: int, exponent: float, least: int) -> int:
    """Rows of a subset: a power of all rows, but at least so many."""
    return max(int(np.ceil(n_rows**exponent)), least)


def smallest_exponent(n_rows: int, least: int) -> float:
    """The smallest exponent, of two digits, that gives so many rows."""
    return float(np.ceil(100 * np.log(least) / np.log(n_rows)) / 100)


@dataclass(frozen=True)
class FeatureSums:
    """Sums of rows and their squares, and of the products of these."""

    weight: float
    first: np.ndarray  # (2 * n_features,)
    second: np.ndarray  # (2 * n_features, 2 * n_features)


@dataclass(frozen=True)
class SumFeatures:
    """Sums over one shard, in units in which all rows together are centred and scaled."""

    center: np.ndarray
    scale: np.ndarray

    def __call__(self, shard: Shards, _) -> FeatureSums:
        p = 2 * len(self.center)
        weight, first, second = 0.0, np.zeros(p), np.zeros((p, p))
        for block in shard[0].blocks(0, shard.n_rows, 8192):
            z = (np.asarray(block.X, dtype=np.float64) - self.center) / self.scale
            phi = np.column_stack([z, z**2])
            w = np.ones(len(phi)) if block.weight is None else block.weight
            weight, first = weight + w.sum(), first + w @ phi
            second = second + (phi * w[:, None]).T @ phi
        return FeatureSums(float(weight), first, second)


def odd_shards(map_shards: Callable, shards: Shards, moments) -> np.ndarray:
    """Indices of shards whose means or variances are not those of random pieces of all rows.

    Hotelling's statistic of the mean of (z, z^2) in a shard against all rows is about chi-squared
    for random pieces. Shards are named if a value as large had a probability of 1/1000 among all.
    """
    scale = np.sqrt(moments.variance)
    function = SumFeatures(moments.mean, np.where(scale > 0, scale, 1.0))
    sums = map_shards(function, shards, [None] * len(shards))
    weight = sum(s.weight for s in sums)
    mean = sum(s.first for s in sums) / weight
    covariance = sum(s.second for s in sums) / weight - np.outer(mean, mean)
    inverse = np.linalg.pinv(covariance, rcond=1e-10, hermitian=True)
    rank = np.linalg.matrix_rank(covariance, tol=1e-10 * np.abs(covariance).max(), hermitian=True)
    statistics = []
    for one in sums:
        rest = 1.0 - one.weight / weight
        off = one.first / max(one.weight, 1e-300) - mean
        usable = one.weight > 0 and rest > 0
        statistics.append(one.weight * (off @ inverse @ off) / rest if usable else 0.0)
    return np.flatnonzero(chi2.sf(statistics, rank) < SUSPICIOUS / len(shards))
