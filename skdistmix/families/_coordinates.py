"""Gaussian mixtures as points of a space without boundaries.

Any vector gives valid parameters: weights by their logarithms up to a constant, means in units of
the data's spread, precision factors by the logarithms of their diagonals. So steps between
parameters may be prolonged freely.
"""

from __future__ import annotations

import numpy as np

__all__ = ["coordinates", "params_of_coordinates"]


def coordinates(family, params) -> np.ndarray | None:
    """A vector for the parameters; None if a weight is zero.

    Parameters
    ----------
    family : GaussianFamily
        Knows the first-pass summary of the data.
    params : GaussianParams
    """
    if not (params.weights > 0).all():
        return None
    scale, factors = _scale(family), params.precisions_cholesky
    means = (params.means - family.moments.mean) / scale
    if family.has_matrices:
        i, j = _upper(len(scale))
        parts = (factors * scale[:, None])[..., i, j]
        parts[..., i == j] = np.log(parts[..., i == j])
    else:
        parts = np.log(factors)
    return np.concatenate([np.log(params.weights), means.ravel(), parts.ravel()])


def params_of_coordinates(family, vector: np.ndarray, like):
    """The parameters of a vector, in the shapes of the parameters `like`."""
    scale, (K, d) = _scale(family), like.means.shape
    weights = np.exp(vector[:K] - vector[:K].max())
    means = vector[K : K + K * d].reshape(K, d) * scale + family.moments.mean
    parts = vector[K + K * d :]
    if family.has_matrices:
        i, j = _upper(d)
        parts = parts.reshape(*like.precisions_cholesky.shape[:-2], len(i)).copy()
        parts[..., i == j] = np.exp(parts[..., i == j])
        factors = np.zeros(like.precisions_cholesky.shape)
        factors[..., i, j] = parts
        factors /= scale[:, None]
    else:
        factors = np.exp(parts).reshape(like.precisions_cholesky.shape)
    covariances = family.covariances_of_factors(factors)
    return type(like)(weights / weights.sum(), means, covariances, factors)


def _scale(family) -> np.ndarray:
    spread = np.sqrt(family.moments.variance)
    return np.where(spread > 0, spread, 1.0)


def _upper(d: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(d)
