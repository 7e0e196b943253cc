"""Gaussian mixtures as points of a space without boundaries.

Any vector gives valid parameters: weights by their logarithms up to a constant (if they are free),
means in units of the data's spread, precision factors by the logarithms of their diagonals. So
steps between parameters may be prolonged freely.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

__all__ = ["coordinate_change", "coordinates", "params_of_coordinates"]


def coordinates(family, params) -> np.ndarray | None:
    """A vector for the parameters; None if a weight is zero.

    Parameters
    ----------
    family : GaussianBase
        Knows the first-pass summary of the data.
    params : GaussianParams
        Arrays may have further axes in front, as the result then has.
    """
    if not (params.weights > 0).all():
        return None
    scale, factors = _scale(family), params.precisions_cholesky
    lead = params.weights.shape[:-1]
    means = (params.means - family.moments.mean) / scale
    if family.has_matrices:
        i, j, diagonal = _upper(len(scale))
        parts = (factors * scale[:, None])[..., i, j]
        parts[..., diagonal] = np.log(parts[..., diagonal])
    else:
        parts = np.log(factors)
    means, parts = means.reshape(*lead, -1), parts.reshape(*lead, -1)
    logs = [] if family.equal_weights else [np.log(params.weights)]
    return np.concatenate([*logs, means, parts], axis=-1)


def params_of_coordinates(family, vector: np.ndarray, like):
    """The parameters of a vector, in the shapes of the parameters `like`.

    `vector` may have further axes in front, which the arrays of the result then have.
    """
    scale, (K, d), lead = _scale(family), like.means.shape, vector.shape[:-1]
    n_weights = 0 if family.equal_weights else K
    weights = np.ones((*lead, K))
    if n_weights:
        logs = vector[..., :K]
        weights = np.exp(logs - logs.max(axis=-1, keepdims=True))
    means, parts = np.split(vector[..., n_weights:], [K * d], axis=-1)
    means = means.reshape(*lead, K, d) * scale + family.moments.mean
    shape = like.precisions_cholesky.shape
    if family.has_matrices:
        i, j, diagonal = _upper(d)
        parts = parts.reshape(*lead, *shape[:-2], len(i)).copy()
        parts[..., diagonal] = np.exp(parts[..., diagonal])
        factors = np.zeros((*lead, *shape))
        factors[..., i, j] = parts
        factors /= scale[:, None]
    else:
        factors = np.exp(parts).reshape(*lead, *shape)
    covariances = family.covariances_of_factors(factors)
    return replace(
        like,
        weights=weights / weights.sum(axis=-1, keepdims=True),
        means=means,
        covariances=covariances,
        precisions_cholesky=factors,
    )


def coordinate_change(family, params, change: dict) -> np.ndarray:
    """Derivative of the coordinates where parameters change in a direction.

    Parameters
    ----------
    family : GaussianBase
    params : GaussianParams
    change : dict of str to ndarray
        Derivatives of the weights, which sum to zero, the means and the covariances, shaped like
        these.
    """
    scale, factors = _scale(family), params.precisions_cholesky
    if family.has_matrices:
        # With precision U U' and S = U' dC U it changes to U (I - S) U', and U to U (I + T) with
        # the upper triangular T of which T + T' = -S.
        i, j, diagonal = _upper(len(scale))
        inner = np.swapaxes(factors, -1, -2) @ change["covariances"] @ factors
        moved = -np.triu(inner)
        moved[..., i[diagonal], j[diagonal]] /= 2
        parts = ((factors @ moved) * scale[:, None])[..., i, j]
        parts[..., diagonal] = moved[..., i[diagonal], j[diagonal]]
    else:
        parts = -0.5 * change["covariances"] / params.covariances
    logs = [] if family.equal_weights else [change["weights"] / params.weights]
    return np.concatenate([*logs, (change["means"] / scale).ravel(), parts.ravel()])


def _scale(family) -> np.ndarray:
    spread = np.sqrt(family.moments.variance)
    return np.where(spread > 0, spread, 1.0)


@lru_cache(maxsize=32)
def _upper(d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of an upper triangle, and which of them are on the diagonal."""
    i, j = np.triu_indices(d)
    return i, j, i == j
