"""From the starting parameters of an estimator to the parameters that EM starts from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from .._em import attempted
from .._noise import better_start, places
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
from ..families import DegenerateComponentError, FamilyError, GaussianParams, NoiseFamily
from ..families._checks import check_params
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
    """Checked starting values: a method's name or responsibilities, and given parameters.

    Of Gaussians some of the parameters may be given, of any family all (`params`).
    """

    method: str | GivenResponsibilities
    weights: np.ndarray | None = None
    means: np.ndarray | None = None
    factors: np.ndarray | None = None
    params: object | None = None

    @property
    def is_free(self) -> bool:
        """Whether nothing of the start is given but how to find it."""
        given = (self.weights, self.means, self.factors, self.params)
        return isinstance(self.method, str) and all(value is None for value in given)

    @property
    def is_one(self) -> bool:
        """Whether the start is the same for all seeds."""
        given = (self.means, self.params)
        return not isinstance(self.method, str) or any(value is not None for value in given)

    @classmethod
    def of_any_family(cls, estimator, family, shards) -> Start:
        """Starting values of an estimator that knows nothing of the family's parameters.

        Raises
        ------
        ValueError
            If a shape, a label or the parameters are wrong.
        """
        params = estimator.params_init
        if params is not None:
            _check_given_params(family, params)
        return cls(_method(estimator, shards), params=params)

    @classmethod
    def checked(cls, estimator, family, shards) -> Start:
        """Starting values of an estimator of Gaussians, checked before any row is read.

        Raises
        ------
        ValueError
            If a shape, a weight, a label or a precision is wrong.
        """
        K, d = estimator.n_components, shards.n_features
        has_noise = isinstance(family, NoiseFamily)
        method = _method(estimator, shards, has_noise)
        weights, means, precisions = (
            None if value is None else np.array(value, dtype=np.float64)
            for value in (estimator.weights_init, estimator.means_init, estimator.precisions_init)
        )
        _check_shape("weights_init", weights, (K,))
        _check_weights(weights, has_noise)
        if weights is not None and family.equal_weights and not np.allclose(weights, weights[0]):
            raise ValueError(
                f"weights_init={weights} are not equal, but weights='equal' holds them so: leave "
                "weights_init out, or set weights='free'."
            )
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
    if start.is_one or is_one_start(start.method, family.moments):
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
    found = places(map_reduce, shards, family, seed)
    return [one for place in found for one in _clusterings(map_reduce, *place, seed, number)]


def _clusterings(map_reduce, shards, family, seed: int, number: int) -> list:
    """At most so many starts by k-means||, the best first."""
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


def starting_params(map_reduce, shards, family, start: Start, seed: int):
    """Parameters to start EM from; rows are read only for what is not given."""
    if start.params is not None:
        _try_given_params(family, start.params)
        return family.adopted(start.params)
    given = (start.weights, start.means, start.factors)
    if all(value is not None for value in given):
        covariances = family.covariances_of_factors(start.factors)
        return family.adopted(
            GaussianParams(start.weights, start.means, covariances, start.factors)
        )
    if not isinstance(start.method, str) or start.method == "random":
        return _found_params(map_reduce, start, seed, shards, family)
    begin = partial(_found_params, map_reduce, start, seed)
    return better_start(map_reduce, places(map_reduce, shards, family, seed), begin)


def _found_params(map_reduce, start: Start, seed: int, shards, family):
    """What is given of the parameters, the rest by the method of the start."""
    K = family.n_components
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
        params = family.with_weights(params, start.weights)
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


def _method(estimator, shards, has_noise: bool = False) -> str | GivenResponsibilities:
    method, K = estimator.init_params, estimator.n_components
    check_hierarchy(method, K)
    if isinstance(method, str):
        return method
    return GivenResponsibilities(*_given(method, shards, K, has_noise))


def _check_given_params(family, params) -> None:
    try:
        check_params(family, params)
    except FamilyError as error:
        raise _wrong_params(family, f"of {type(family).__name__}", error) from error


def _try_given_params(family, params) -> None:
    """Shapes are known to the family only: it tells by the density of a row."""
    row = family.moments.distinct[:1]
    try:
        if isinstance(params, GaussianParams):  # one column would be taken for several
            _check_shape("means", params.means, (family.n_components, row.shape[1]))
        family.kernel(params).log_joint(row)
    except DegenerateComponentError:
        raise
    except Exception as error:  # whatever a family does with what it does not know
        what = f"of {type(family).__name__} in {row.shape[1]} column(s)"
        raise _wrong_params(family, what, error) from error


def _wrong_params(family, what: str, error) -> ValueError:
    return ValueError(
        f"params_init are no parameters of {family.n_components} component(s) {what}: give params_ "
        f"of a fitted mixture of this family. ({type(error).__name__}: {error})"
    )


def _given(values, shards, n_components: int, has_noise: bool) -> tuple[np.ndarray, int]:
    """Labels or responsibilities of all rows as one checked array, and their number.

    With noise they are one more than components, unless responsibilities leave it out.
    """
    parts = split_rows(values, shards, "init_params", ndim=(1, 2))
    values = np.concatenate(parts)
    if values.ndim == 1:
        labels = values.astype(np.int64)
        least = -1 if has_noise else 0
        whole = np.array_equal(labels, values)
        if not whole or labels.min() < least or labels.max() >= n_components:
            first = "-1 (noise)" if has_noise else "0"
            hint = (
                "" if has_noise or values.min() != -1 else " Only with noise are there rows of -1."
            )
            raise ValueError(
                f"Labels in init_params must be whole numbers from {first} to {n_components - 1}, "
                f"got values from {values.min():g} to {values.max():g}.{hint}"
            )
        missing = np.setdiff1d(np.arange(n_components), labels)
        if len(missing):
            raise ValueError(f"No row has the label(s) {missing[:5].tolist()} in init_params.")
        return np.where(labels < 0, n_components, labels), n_components + has_noise
    if values.shape[1] not in (n_components, n_components + has_noise):
        more = f", or {n_components + 1} with that of noise as the last" if has_noise else ""
        raise ValueError(
            f"Responsibilities in init_params have shape {values.shape}: expected "
            f"({shards.n_rows}, {n_components}), one column a component{more}."
        )
    if not np.all(values >= 0) or not np.allclose(values.sum(axis=1), 1.0):
        raise ValueError(
            "Responsibilities in init_params must be at least 0 and sum to 1 in each row."
        )
    return values, values.shape[1]


def _check_weights(weights: np.ndarray | None, has_noise: bool) -> None:
    if weights is None:
        return
    total = weights.sum()
    if np.all(weights >= 0) and (np.isclose(total, 1.0) or (has_noise and 0 < total < 1)):
        return
    most = "at most 1, the rest being the weight of noise" if has_noise else "1"
    raise ValueError(f"weights_init must be at least 0 and sum to {most}, got {weights}.")


def _check_shape(name: str, value: np.ndarray | None, shape: tuple) -> None:
    if value is not None and value.shape != shape:
        raise ValueError(f"{name} should have the shape {shape}, but got {value.shape}.")
    if value is not None and not np.isfinite(value).all():
        raise ValueError(f"{name} contains NaN or infinity.")
