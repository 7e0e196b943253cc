"""What is known of the parameters of a fitted mixture: estimates, intervals, plausible mixtures.

Two sources answer the same questions, resamples (:class:`Resampled`) and the covariance matrix of
the estimates (:class:`Normal`). Neither knows that anything is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import norm
from sklearn.utils import Bunch

from .._intervals import bounds

__all__ = [
    "Marginals",
    "Normal",
    "Resampled",
    "density_band",
    "marginals_of",
    "place_of",
    "spread_out",
    "values_of",
]

NAMES = ("weights", "means", "covariances")
N_DRAWS = 400  # from the normal distribution of estimates: ends of intervals are off by 5 % of them


@dataclass(frozen=True)
class Marginals:
    """Mixtures, seen on a few of the features.

    Attributes
    ----------
    weights : ndarray of shape (n_mixtures, n_components)
    means : ndarray of shape (n_mixtures, n_components, n_features)
    covariances : ndarray of shape (n_mixtures, n_components, n_features, n_features)
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def __len__(self) -> int:
        return len(self.weights)

    def pick(self, index) -> Marginals:
        """Some of the mixtures."""
        return Marginals(self.weights[index], self.means[index], self.covariances[index])

    def densities(self, x: np.ndarray) -> np.ndarray:
        """Weighted densities of the components of one feature, (n_mixtures, n_components, len(x)).

        Their sums over components are the densities of the mixtures.
        """
        sizes = np.sqrt(self.covariances[:, :, 0, 0])[:, :, None]
        return self.weights[:, :, None] * norm.pdf(x, self.means[:, :, :1], sizes)


def marginals_of(family, mixtures: Sequence, features: list[int]) -> Marginals:
    """Mixtures of all features, seen on some."""
    parts = [family.components(params) for params in mixtures]
    blocks = [_block(part.covariances, features) for part in parts]
    return Marginals(
        np.array([part.weights for part in parts]),
        np.array([part.means[:, features] for part in parts]),
        np.array(blocks),
    )


def spread_out(draws: Sequence[Marginals], n: int) -> Marginals:
    """At most n of the mixtures of all subsets, as many of each."""
    joined = Marginals(*(np.concatenate([getattr(some, name) for some in draws]) for name in NAMES))
    return joined.pick(np.unique(np.linspace(0, len(joined) - 1, n).round().astype(int)))


def values_of(family, arrays) -> Bunch:
    """Weights, means and variances of each component, of arrays shaped like the parameters."""
    components = family.components(arrays)
    variances = components.covariances
    if components.are_matrices:
        variances = np.diagonal(variances, axis1=1, axis2=2)
    values = {"weights": arrays.weights, "means": arrays.means, "variances": variances}
    return Bunch(**{name: np.array(value, dtype=np.float64) for name, value in values.items()})


def density_band(draws: Sequence[Marginals], x: np.ndarray, level: float) -> np.ndarray:
    """Ends of the interval of the density at each of some points, shape (2, len(x))."""
    return bounds([some.densities(x).sum(axis=1) for some in draws], level)


def _block(covariances: np.ndarray, features: list[int], absent: float = 0.0) -> np.ndarray:
    """Covariances of some features, as matrices; `absent` where features are uncorrelated."""
    if covariances.ndim == 3:
        return covariances[:, features][:, :, features]
    n = len(features)
    block = np.full((len(covariances), n, n), absent)
    block[:, np.arange(n), np.arange(n)] = covariances[:, features]
    return block


# --------------------------------------------------------------------------- resamples


@dataclass(frozen=True)
class Resampled:
    """A mixture with the parameters that the truth may have, by resampling.

    Attributes
    ----------
    uncertainty : Uncertainty
        Of a fitted BLBMixture.
    """

    uncertainty: object
    what = "resamples"

    @property
    def family(self):
        """Of the fit."""
        return self.uncertainty.family

    @property
    def params(self):
        """Of the fit."""
        return self.uncertainty.params

    def intervals(self, level: float) -> tuple[Bunch, Bunch]:
        """Lower and upper ends, each with weights, means and variances."""
        ends = self.uncertainty.intervals(level)
        return values_of(self.family, ends.lower), values_of(self.family, ends.upper)

    def draws(self, features: list[int]) -> list[Marginals]:
        """Mixtures that the truth may be, of each subset."""
        return [marginals_of(self.family, some, features) for some in self._reflected]

    def regions(self, features: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Centres and covariance matrices of where the mean of each component may be."""
        means = [some.means for some in self.draws(features)]
        centres = np.mean([one.mean(axis=0) for one in means], axis=0)
        apart = [one - one.mean(axis=0) for one in means]
        return centres, np.mean(
            [np.einsum("rki,rkj->kij", one, one) / (len(one) - 1) for one in apart], axis=0
        )

    @cached_property
    def _reflected(self) -> list[list]:
        return self.uncertainty.reflected


# --------------------------------------------------------------------------- standard errors


@dataclass(frozen=True)
class Normal:
    """A mixture with the covariance matrix of its estimates.

    Estimates from many rows are nearly normal, the means as they are, weights and covariances the
    more so on a scale without boundaries (logits, logarithms); all that is derived stays valid.

    Attributes
    ----------
    family : Family
    params : object
    errors : Bunch
        As from `standard_errors`.
    """

    family: object
    params: object
    errors: Bunch
    what = "draws"

    def intervals(self, level: float) -> tuple[Bunch, Bunch]:
        """Lower and upper ends, each with weights, means and variances."""
        at, errors = values_of(self.family, self.params), values_of(self.family, self.errors)
        z = norm.ppf(0.5 + level / 2)
        lower, upper = Bunch(), Bunch()
        step = z * errors.means
        lower.means, upper.means = at.means - step, at.means + step
        step = np.exp(z * errors.variances / at.variances)
        lower.variances, upper.variances = at.variances / step, at.variances * step
        # One component has the weight 1 without an error.
        rest = np.where(errors.weights > 0, 1.0 - at.weights, 1.0)
        step = np.exp(z * errors.weights / (at.weights * rest))
        rest = 1.0 - at.weights
        lower.weights = at.weights / (at.weights + rest * step)
        upper.weights = at.weights * step / (at.weights * step + rest)
        return lower, upper

    def draws(self, features: list[int]) -> list[Marginals]:
        """Mixtures that the truth may be; the same ones in every call."""
        at = marginals_of(self.family, [self.params], features)
        point, slope = _coordinates(at)
        covariance = slope @ self._covariance(features) @ slope.T
        scale = np.sqrt(np.diag(covariance))  # 0 of what is fixed
        one = np.where(scale > 0, scale, 1.0)
        sizes, axes = np.linalg.eigh(covariance / np.outer(one, one))
        root = scale[:, None] * axes * np.sqrt(np.maximum(sizes, 0.0))
        normal = np.random.default_rng(0).standard_normal((N_DRAWS, len(sizes)))
        return [_of_coordinates(point + normal @ root.T, at)]

    def regions(self, features: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Centres and covariance matrices of where the mean of each component may be."""
        where = self._places.means[:, features].astype(int)
        matrix = self.errors.covariance_matrix
        return self.params.means[:, features], np.array([matrix[np.ix_(i, i)] for i in where])

    @cached_property
    def _places(self) -> Bunch:
        """Where the parameters stand among the free ones, -1 if they do not; their shapes."""
        places = Bunch(**{name: np.full(getattr(self.params, name).shape, -1) for name in NAMES})
        for place, entry in enumerate(self.errors.names):
            name, index = place_of(entry)
            places[name][index] = place
            if name == "covariances" and self.family.has_matrices:
                places[name][(*index[:-2], index[-1], index[-2])] = place
        return places

    def _covariance(self, features: list[int]) -> np.ndarray:
        """Covariance matrix of what stands in `_flat`."""
        places = self._places
        covariances = self.family.components(places).covariances
        flat = _flat(
            places.weights[None],
            places.means[None][:, :, features],
            _block(covariances, features, absent=-1)[None],
        )[0].astype(int)
        select = np.zeros((len(flat), len(self.errors.names)))
        there = np.flatnonzero(flat >= 0)
        select[there, flat[there]] = 1.0
        K = len(places.weights)
        select[K - 1] = -select[: K - 1].sum(axis=0)  # weights sum to one
        return select @ self.errors.covariance_matrix @ select.T


def place_of(entry: str) -> tuple[str, tuple[int, ...]]:
    """Array and index of a free parameter, of its name such as "means[0, 1]"."""
    name, _, index = entry.rstrip("]").partition("[")
    return name, tuple(map(int, index.split(", ")))


def _flat(weights, means, covariances) -> np.ndarray:
    """The numbers of mixtures of one or two features in rows: weights, means, 11, 12, 22."""
    n, i, j = len(weights), *np.triu_indices(means.shape[2])
    return np.hstack([weights, means.reshape(n, -1), covariances[:, :, i, j].reshape(n, -1)])


def _coordinates(one: Marginals) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of a mixture without boundaries, and their derivatives by its numbers.

    Logarithms of weights up to a constant; means; of the covariances the logarithm of the first
    variance, the slope of the second feature on the first, and the logarithm of the rest variance.
    """
    weights, covariances = one.weights[0], one.covariances[0]
    first = covariances[:, 0, 0]
    parts, slopes = [np.log(first)], [[1 / first]]
    if covariances.shape[1] == 2:
        zero, cross = np.zeros_like(first), covariances[:, 0, 1]
        b, rest = cross / first, covariances[:, 1, 1] - cross**2 / first
        parts += [b, np.log(rest)]
        slopes = [
            [1 / first, zero, zero],
            [-b / first, 1 / first, zero],
            [b**2 / rest, -2 * b / rest, 1 / rest],
        ]
    blocks = np.moveaxis(np.array(slopes), 2, 0)  # one matrix a component
    point = np.concatenate([np.log(weights), one.means[0].ravel(), np.stack(parts, axis=1).ravel()])
    start, step = len(weights) + one.means[0].size, blocks.shape[1]
    slope = np.eye(len(point))
    slope[np.arange(len(weights)), np.arange(len(weights))] = 1 / weights
    for k, block in enumerate(blocks):
        at = slice(start + k * step, start + (k + 1) * step)
        slope[at, at] = block
    return point, slope


def _of_coordinates(points: np.ndarray, like: Marginals) -> Marginals:
    """The mixtures of coordinates, one a row."""
    K, f = like.means.shape[1:]
    logs = points[:, :K]
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    means = points[:, K : K + K * f].reshape(-1, K, f)
    parts = points[:, K + K * f :].reshape(len(points), K, -1)
    first = np.exp(parts[:, :, 0])
    covariances = np.empty((len(points), K, f, f))
    covariances[:, :, 0, 0] = first
    if f == 2:
        covariances[:, :, 0, 1] = covariances[:, :, 1, 0] = parts[:, :, 1] * first
        covariances[:, :, 1, 1] = np.exp(parts[:, :, 2]) + parts[:, :, 1] ** 2 * first
    return Marginals(weights / weights.sum(axis=1, keepdims=True), means, covariances)
