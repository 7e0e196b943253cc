"""The contract of a family, and the first-pass summary of the data that families start from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._arrays import to_host
from ._array_api import moment_sums

__all__ = [
    "LOG_OF_ZERO",
    "DegenerateComponentError",
    "Family",
    "Moments",
    "TooFewRowsError",
    "logsumexp0",
]


LOG_OF_ZERO = -1e300  # an infinity would meet zeros in products, and infinities in differences


class DegenerateComponentError(ValueError):
    """A component has no density: its covariance is not positive definite."""


class TooFewRowsError(ValueError):
    """There are fewer rows, or fewer different ones, than components."""


def logsumexp0(a: np.ndarray) -> np.ndarray:
    """``log(sum(exp(a), axis=0))`` for a of shape (n_components, n_rows), safe for large values."""
    top = a.max(axis=0)
    top = np.where(np.isfinite(top), top, 0.0)
    return top + np.log(np.exp(a - top).sum(axis=0))


@dataclass(frozen=True)
class Moments:
    """Summary of rows that adds over shards: the model with one component, and what to check.

    Each is computed about its own mean and merged by the update of Chan, Golub and LeVeque (1983),
    so it is accurate wherever the data lie.

    Attributes
    ----------
    weight : float
        Sum of weights.
    n_rows : int
        Rows of positive weight.
    mean : ndarray of shape (n_features,)
    scatter : ndarray of shape (n_features, n_features) or (n_features,)
        Weighted sum of (x - mean)(x - mean)', or its diagonal only.
    low, high : ndarray of shape (n_features,)
        Smallest and largest value of each column.
    distinct : ndarray of shape (m, n_features)
        Some distinct rows, at most `limit`.
    limit : int
    """

    weight: float
    n_rows: int
    mean: np.ndarray
    scatter: np.ndarray
    low: np.ndarray
    high: np.ndarray
    distinct: np.ndarray
    limit: int

    @classmethod
    def of_rows(cls, X, weight, full: bool, limit: int) -> Moments:
        """Moments of a block; `full` asks for the whole scatter matrix."""
        if not isinstance(X, np.ndarray):
            total, mean, scatter, low, high = moment_sums(X, weight, full)
            distinct = _distinct_rows(X, limit)
            return cls(total, X.shape[0], mean, scatter, low, high, distinct, limit)
        Z = np.array(X.T, dtype=np.float64, order="C")  # (n_features, n_rows)
        low, high = Z.min(axis=1), Z.max(axis=1)
        total = float(len(X) if weight is None else weight.sum())
        mean = _mean(Z, weight, total)
        Z -= mean[:, None]
        rest = _mean(Z, weight, total)  # what rounding left of a mean far from zero
        Z -= rest[:, None]
        weighted = Z if weight is None else Z * weight
        scatter = Z @ weighted.T if full else np.einsum("ji,ji->j", Z, weighted)
        distinct = _distinct_rows(X, limit)
        return cls(total, len(X), mean + rest, scatter, low, high, distinct, limit)

    def __add__(self, other: Moments) -> Moments:
        weight = self.weight + other.weight
        delta, share = other.mean - self.mean, other.weight / weight
        between = np.outer(delta, delta) if self.scatter.ndim == 2 else delta**2
        distinct = self.distinct
        if len(distinct) < self.limit:
            distinct = _distinct_rows(np.concatenate([distinct, other.distinct]), self.limit)
        return Moments(
            weight,
            self.n_rows + other.n_rows,
            self.mean + delta * share,
            # no product of weights: tiny and huge ones would leave the range of numbers
            self.scatter + other.scatter + between * (self.weight * share),
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            distinct,
            self.limit,
        )

    def without_rows(self) -> Moments:
        """The same sums, keeping no row."""
        return replace(self, distinct=self.distinct[:0], limit=0)

    @property
    def covariance(self) -> np.ndarray:
        """Weighted covariance (divisor: sum of weights), shaped like `scatter`; exact zero for
        constant columns."""
        constant = self.low == self.high
        covariance = self.scatter / self.weight
        covariance[constant] = 0.0
        if covariance.ndim == 2:
            covariance[:, constant] = 0.0
        return covariance

    @property
    def variance(self) -> np.ndarray:
        """Weighted variance of each column, shape (n_features,)."""
        covariance = self.covariance
        return np.diag(covariance) if covariance.ndim == 2 else covariance


def _mean(Z: np.ndarray, weight: np.ndarray | None, total: float) -> np.ndarray:
    return Z.mean(axis=1) if weight is None else Z @ weight / total


def _distinct_rows(X: np.ndarray, limit: int) -> np.ndarray:
    """At most `limit` distinct rows; the whole block is sorted only if its head has too few."""
    head = np.unique(to_host(X[: min(4 * limit, X.shape[0]), :]), axis=0)
    if len(head) < limit < X.shape[0]:
        head = np.unique(to_host(X), axis=0)
    return head[:limit]


class Family(ABC):
    """What one component of a mixture is.

    A family is a small frozen object; parameters and statistics are frozen values of arrays.
    Every params value has an attribute ``weights`` of shape (n_components,). A statistics value
    supports ``+`` and has the attributes ``weight`` (sum of row weights) and ``log_likelihood``
    (weighted sum of log densities under the parameters it was collected with).

    The kernel of some parameters is what travels to the data; see :meth:`kernel`.
    """

    #: Number of components.
    n_components: int
    #: Whether EM with this family (and no regularisation) never lowers the likelihood.
    monotone: bool = True

    @abstractmethod
    def prepare(self, moments: Moments) -> Family:
        """This family, knowing the data's first-pass summary."""

    @abstractmethod
    def statistics(self, X, weight, resp, anchors) -> Any:
        """Statistics of a block from given responsibilities of shape (n_components, n_rows).

        `anchors` of shape (n_components, n_features) are points near the components about which
        sums may be taken.
        """

    @abstractmethod
    def kernel(self, params, anchors=None) -> Any:
        """An object with ``block_rows``, ``statistics(blocks)`` and ``log_joint(X)``.

        ``log_joint(X)`` is log(weight) + log-density, shape (n_components, n_rows). With `anchors`
        the statistics are taken about these points, whatever it costs.
        """

    def kernel_for_other_rows(self, params) -> Any:
        """A kernel for rows, or weights, that the family was not prepared with."""
        return self.kernel(params)

    def em_of_many(self, X, weights, points, like) -> tuple | None:
        """A step of EM from many points at once; None where it must be done one by one.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features)
        weights : ndarray of shape (n_points, n_rows) or (1, n_rows)
            Row weights for each point, or for all.
        points : ndarray of shape (n_points, n_coordinates)
        like : object
            Parameters whose shapes those of all points have.

        Returns
        -------
        images : ndarray of shape (n_points, n_coordinates)
        objectives : ndarray of shape (n_points,)
            Total log-likelihood and log-prior at the points.
        """
        return None

    @abstractmethod
    def m_step(self, stats, previous=None) -> Any:
        """The parameters that maximise the expected log-likelihood of the statistics."""

    def log_prior(self, params) -> float:
        """What the objective of EM has beside the total log-likelihood: a penalty, a prior."""
        return 0.0

    #: Whether the family has `expected`, `coordinates` and `params_of_coordinates`.
    has_coordinates: bool = False

    def expected(self, stats, params) -> float:
        """Expected complete log-likelihood of parameters, given statistics under any others.

        What an M-step raises; accelerated EM compares steps by it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no expected log-likelihood.")

    def coordinates(self, params) -> np.ndarray | None:
        """Parameters as a vector of a space without boundaries; None at its rim."""
        return None

    def params_of_coordinates(self, vector, like) -> Any:
        """The parameters of a vector, in the shapes of the parameters `like`.

        `vector` may have further axes in front, which the arrays of the result then have.
        """
        raise NotImplementedError(f"{type(self).__name__} has no coordinates.")

    def coordinate_change(self, params, change: dict) -> np.ndarray:
        """Derivative of the coordinates where the arrays of the parameters change by others."""
        raise NotImplementedError(f"{type(self).__name__} has no coordinates.")

    #: Names of the divergences between components that `distance` and `barycentre` know. A family
    #: without any cannot be reduced or aggregated.
    costs: tuple = ()

    def components(self, params) -> Any:
        """The components of a mixture as values that stand alone.

        They have ``weights`` and ``means``, a length, ``pick(index)``, ``scaled(factor)``,
        ``replaced(i, one)``, ``merged(i, j)``, ``merge_costs(i, j)``, ``sample(counts, rng)``,
        ``moments(weight)``, ``is_finite``, and the class method ``join(parts)``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no components that stand alone.")

    def components_kernel(self, components) -> Any:
        """A kernel, as :meth:`kernel` gives it, of components that stand alone."""
        raise NotImplementedError(f"{type(self).__name__} has no components that stand alone.")

    def distance(self, a, b, cost: str) -> np.ndarray:
        """Divergences of components `a` from components `b`, shape (len(a), len(b))."""
        raise NotImplementedError(f"{type(self).__name__} has no divergence {cost!r}.")

    def barycentre(self, components, plan, cost: str, previous=None) -> Any:
        """Parameters whose component k is nearest to components of masses ``plan[:, k]``."""
        raise NotImplementedError(f"{type(self).__name__} has no barycentre for {cost!r}.")

    def log_overlaps(self, a, b) -> np.ndarray:
        """Logarithms of the integrals of a_i b_j over all x, shape (len(a), len(b))."""
        raise NotImplementedError(f"{type(self).__name__} has no overlaps.")

    def better_anchors(self, stats, params) -> np.ndarray | None:
        """Anchors with which statistics should be collected again, None when they are accurate."""
        return None

    def score_kernel(self, params) -> Any:
        """A kernel for standard errors, with ``block_rows`` and ``sums(blocks)``.

        The sums are what :meth:`information` needs; they have an attribute ``weight`` and support
        ``+``.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no scores, and so its mixtures no standard errors."
        )

    def information(self, params, sums) -> Any:
        """What the sums of a score kernel say of the free parameters: an ``Information``."""
        raise NotImplementedError(f"{type(self).__name__} has no scores.")

    @abstractmethod
    def centers(self, stats) -> np.ndarray:
        """Component centres of shape (n_components, n_features) that statistics imply."""

    @abstractmethod
    def n_parameters(self) -> int:
        """Number of free parameters of the mixture, mixing weights included."""

    @abstractmethod
    def sample(self, params, counts, rng) -> np.ndarray:
        """Draw ``counts[k]`` rows from each component, stacked in the order of components."""

    def probabilities(self, params) -> np.ndarray:
        """Of a row to be drawn from each of the components that `sample` counts."""
        return params.weights / params.weights.sum()

    @abstractmethod
    def permute(self, params, order) -> Any:
        """The same parameters with components in the given order."""
