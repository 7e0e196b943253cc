"""From the starting parameters of an estimator to the parameters that EM starts from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from .._em import attempted
from .._progressive import fitted_on_sample, sample_size
from .._sampling import bounded_sample
from .._seeding import (
    GivenResponsibilities,
    RandomResponsibilities,
    cluster_candidates,
    kmeans_candidates,
    kmeans_parallel,
    kmeans_plusplus,
    params_from_centers,
    params_from_responsibilities,
    random_rows,
)
from .._shards import split_rows
from ..families import GaussianParams
from ._hierarchy import check_hierarchy, is_hierarchical, is_one_start, params_from_hierarchy

__all__ = ["METHODS", "Start", "starts_of"]

SEEDING_ROWS = 100_000  # centres are looked for in a random sample of about this size

CENTERS = {
    "k-means||": kmeans_parallel,
    "kmeans": kmeans_parallel,
    "k-means++": kmeans_plusplus,
    "random_from_data": random_rows,
}
METHODS = {*CENTERS, "hierarchical", "random"}


@dataclass(frozen=True)
class Start:
    """Checked starting values: a method's name or responsibilities, and given parameters."""

    method: str | GivenResponsibilities
    weights: np.ndarray | None
    means: np.ndarray | None
    factors: np.ndarray | None

    @property
    def is_free(self) -> bool:
        """Whether nothing of the start is given but how to find it."""
        given = (self.weights, self.means, self.factors)
        return isinstance(self.method, str) and all(value is None for value in given)

    @classmethod
    def checked(cls, estimator, family, shards) -> Start:
        """Starting values of an estimator, checked before any row is read.

        Raises
        ------
        ValueError
            If a shape, a weight, a label or a precision is wrong.
        """
        K, d = estimator.n_components, shards.n_features
        method = estimator.init_params
        check_hierarchy(method, K)
        if not isinstance(method, str):
            method = GivenResponsibilities(_given(method, shards, K), K)
        weights, means, precisions = (
            None if value is None else np.array(value, dtype=np.float64)
            for value in (estimator.weights_init, estimator.means_init, estimator.precisions_init)
        )
        _check_shape("weights_init", weights, (K,))
        if weights is not None and not (np.all(weights >= 0) and np.isclose(weights.sum(), 1.0)):
            raise ValueError(f"weights_init must be at least 0 and sum to 1, got {weights}.")
        _check_shape("means_init", means, (K, d))
        shape = family.of_covariance(np.eye(d)).shape
        _check_shape("precisions_init", precisions, (K, *shape) if family.per_component else shape)
        factors = None if precisions is None else family.factors_of_precisions(precisions)
        return cls(method, weights, means, factors)


def starts_of(
    map_reduce, shards, family, start: Start, seeds: list[int], subsample, say, watch=None
) -> list:
    """Parameters to start EM on all rows from, or the error of a start that degenerates, a seed.

    Where it pays, and nothing of the start is given, they come from EM on a sample, which
    ``watch.on_sample(total)`` may call off; `total` is the weight of all rows.
    """
    if is_one_start(start.method, family.moments):
        seeds = seeds[:1]
    size = sample_size(subsample, family.moments, family.n_components)
    if size is not None and start.is_free:
        sample = bounded_sample(map_reduce, shards, family.moments, size, seeds[0])
        if sample is not shards:
            say(f"EM on a sample of {sample.n_rows} rows")
            begin = partial(several_starts, map_reduce, start)
            on_sample = None if watch is None else watch.on_sample(family.moments.weight)
            found = fitted_on_sample(map_reduce, sample, family, begin, seeds, on_sample)
            if found is not None:
                return found
    return _starts(map_reduce, shards, family, start, seeds)


def several_starts(map_reduce, start: Start, shards, family, seed: int, number: int) -> list:
    """At most so many different starts of the same method, as `starts_of`, on rows in memory."""
    if is_hierarchical(start.method):  # dear, and so good that no others need be tried beside it
        number = 1
    if CENTERS.get(start.method) is not kmeans_parallel:
        seeds = np.random.RandomState(seed).randint(2**31 - 1, size=number).tolist()
        return _starts(map_reduce, shards, family, start, seeds)
    # The rounds over the rows are the same for all; the clusterings of their candidates differ.
    candidates, counts = kmeans_candidates(map_reduce, shards, family.n_components, seed)
    runs = cluster_candidates(
        map_reduce, candidates, counts, family.n_components, seed, n_runs=number
    )
    distinct = family.moments.distinct
    different = {float(f"{cost:.9e}"): centers for centers, cost in reversed(runs)}
    return [
        attempted(
            params_from_centers, map_reduce, shards, family, _made_distinct(centers, distinct)
        )
        for centers in reversed(different.values())
    ]


def _starts(map_reduce, shards, family, start: Start, seeds: list[int]) -> list:
    return [attempted(starting_params, map_reduce, shards, family, start, seed) for seed in seeds]


def starting_params(map_reduce, shards, family, start: Start, seed: int) -> GaussianParams:
    """Parameters to start EM from; rows are read only for what is not given."""
    K = family.n_components
    given = (start.weights, start.means, start.factors)
    if all(value is not None for value in given):
        return GaussianParams(
            start.weights, start.means, family.covariances_of_factors(start.factors), start.factors
        )
    if not isinstance(start.method, str):
        params = params_from_responsibilities(map_reduce, shards, family, start.method)
    elif start.means is not None:
        params = params_from_centers(map_reduce, shards, family, start.means)
    elif start.method == "random":
        resp_of = RandomResponsibilities(K, seed)
        params = params_from_responsibilities(map_reduce, shards, family, resp_of)
    elif is_hierarchical(start.method):
        params = params_from_hierarchy(map_reduce, shards, family, seed)
    else:
        size = max(SEEDING_ROWS, 1000 * K)
        seeding_rows = bounded_sample(map_reduce, shards, family.moments, size, seed)
        centers = CENTERS[start.method](map_reduce, seeding_rows, K, seed)
        centers = _made_distinct(centers, family.moments.distinct)
        params = params_from_centers(map_reduce, shards, family, centers)
    if start.weights is not None:
        params = replace(params, weights=start.weights)
    if start.means is not None:
        params = replace(params, means=start.means)
    if start.factors is not None:
        params = replace(
            params,
            covariances=family.covariances_of_factors(start.factors),
            precisions_cholesky=start.factors,
        )
    return params


def _made_distinct(centers: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """As many centres as there are rows, equal ones replaced by rows that are none of them yet.

    Rows that occur many times may be drawn twice; the second centre would never own a row.
    """
    if len(centers) == len(rows) == len(np.unique(centers, axis=0)):
        return centers
    candidates = np.concatenate([centers, rows])
    first = np.unique(candidates, axis=0, return_index=True)[1]
    return candidates[np.sort(first)[: len(rows)]]


def _given(values, shards, n_components: int) -> np.ndarray:
    """Labels or responsibilities of all rows as one checked array."""
    parts = split_rows(values, shards, "init_params", ndim=(1, 2))
    values = np.concatenate(parts)
    if values.ndim == 1:
        labels = values.astype(np.int64)
        if not np.array_equal(labels, values) or labels.min() < 0 or labels.max() >= n_components:
            raise ValueError(
                f"Labels in init_params must be whole numbers from 0 to {n_components - 1}, got "
                f"values from {values.min():g} to {values.max():g}."
            )
        missing = np.setdiff1d(np.arange(n_components), labels)
        if len(missing):
            raise ValueError(f"No row has the label(s) {missing[:5].tolist()} in init_params.")
        return labels
    if values.shape[1] != n_components:
        raise ValueError(
            f"Responsibilities in init_params have shape {values.shape}: expected "
            f"({shards.n_rows}, {n_components}), one column a component."
        )
    if not np.all(values >= 0) or not np.allclose(values.sum(axis=1), 1.0):
        raise ValueError(
            "Responsibilities in init_params must be at least 0 and sum to 1 in each row."
        )
    return values


def _check_shape(name: str, value: np.ndarray | None, shape: tuple) -> None:
    if value is not None and value.shape != shape:
        raise ValueError(f"{name} should have the shape {shape}, but got {value.shape}.")
    if value is not None and not np.isfinite(value).all():
        raise ValueError(f"{name} contains NaN or infinity.")
