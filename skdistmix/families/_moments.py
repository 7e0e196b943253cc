"""The first-pass summary of the data that families start from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .._arrays import to_host
from ._array_api import moment_sums

__all__ = ["Moments"]


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
