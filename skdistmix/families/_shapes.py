"""Volumes and shapes of covariances that components have in common.

A covariance is a volume, the d-th root of its determinant, times a matrix of determinant one; of a
diagonal matrix that is its shape. Functions here take shares of the rows, of shape (n_components,),
and the covariances S_k of the components' rows, and give the covariances of a model that maximise
the likelihood: they minimise sum_k share_k (log det C_k + trace(C_k^-1 S_k)).

All follow changes of scale, and nothing leaves the range of numbers: products of d variances enter
by their logarithms.

References
----------
Celeux, G. and Govaert, G. (1995). Gaussian parsimonious clustering models. Pattern Recognition 28,
781-793.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from ._base import DegenerateComponentError
from ._factors import degenerate

__all__ = [
    "decomposition",
    "equal_determinants",
    "equal_volumes",
    "geometric_means",
    "own_axes",
    "proportional",
    "same_shape",
    "unit_determinants",
]

ROUNDS, SETTLED = 1000, 1e-13  # of alternating volumes and shape: change of a volume's logarithm


def geometric_means(variances: np.ndarray) -> np.ndarray:
    """Volumes of diagonal covariances of shape (..., n_features).

    Raises
    ------
    DegenerateComponentError
        If a variance is not positive.
    """
    bad = ~(variances > 0)
    if bad.any():
        first = int(np.argwhere(bad)[0][0]) if variances.ndim > 1 else None
        raise DegenerateComponentError(degenerate(first))
    return np.exp(np.log(variances).mean(axis=-1))


def equal_volumes(shares: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Diagonals of covariances with one volume and a shape each: model EVI."""
    volumes = geometric_means(variances)
    return variances * (shares @ volumes / volumes)[:, None]


def same_shape(shares: np.ndarray, variances: np.ndarray, start=None) -> np.ndarray:
    """Diagonals of covariances with a volume each and one shape: model VEI.

    Volumes and shape are computed from each other in turn; each is the best for the other. They
    begin with the shape of the variances `start`, or of the mean ones.
    """
    shape = _unit(shares @ variances if start is None else start)
    volumes = _positive((variances / shape).mean(axis=1))
    for _ in range(ROUNDS):
        before = volumes
        shape = _unit((shares / volumes) @ variances)
        volumes = _positive((variances / shape).mean(axis=1))
        if np.abs(np.log(volumes / before)).max() < SETTLED:
            break
    return volumes[:, None] * shape


def proportional(shares: np.ndarray, covariances: np.ndarray, start=None) -> np.ndarray:
    """Covariances with a volume each that are one but for it: model VEE.

    As :func:`same_shape`, from the covariance `start` or the mean one.
    """
    K, d, _ = covariances.shape
    flat = covariances.reshape(K, d * d)
    one = _unit_matrix(np.tensordot(shares, covariances, 1) if start is None else start)
    volumes = _positive(flat @ np.linalg.inv(one).ravel() / d)
    for _ in range(ROUNDS):
        before = volumes
        one = _unit_matrix(np.tensordot(shares / volumes, covariances, 1))
        volumes = _positive(flat @ np.linalg.inv(one).ravel() / d)
        if np.abs(np.log(volumes / before)).max() < SETTLED:
            break
    return volumes[:, None, None] * one


def own_axes(covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances along the axes of each covariance, the largest first, and the axes as columns."""
    sizes, axes = np.linalg.eigh(covariances)
    return np.maximum(sizes[:, ::-1], 0.0), axes[:, :, ::-1]


def equal_determinants(shares: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Covariances with one volume that share nothing else: model EVV."""
    volumes, units = unit_determinants(covariances)
    return shares @ volumes * units


def unit_determinants(covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Volumes of covariances, and the covariances divided by them."""
    volumes = np.array([_volume(c, k) for k, c in enumerate(covariances)])
    return volumes, covariances / volumes[:, None, None]


def decomposition(covariances: np.ndarray, factors: np.ndarray, shared=None) -> tuple:
    """Volumes (K,), shapes (K, d) and axes as columns (K, d, d) of covariances.

    Covariance k is ``volume * axes @ diag(shape) @ axes.T``, and shapes have the product one. Axes
    are in the order of falling variances, those of the first component if all have them in common.

    Parameters
    ----------
    covariances : ndarray of shape (K, d, d) or (K, d)
        Matrices, or variances of uncorrelated features, whose axes are left in their order.
    factors : ndarray of shape (K, d, d) or (K, d)
        Triangular roots of the precisions, which have small variances to all digits.
    shared : ndarray of shape (d, d), optional
        Axes that all have in common.
    """
    if covariances.ndim == 2:
        variances, axes = covariances, np.eye(covariances.shape[1])
    elif shared is None:
        variances, axes = np.linalg.eigh(covariances)
        variances, axes = variances[:, ::-1], axes[:, :, ::-1]
    else:
        variances = np.einsum("ij,kil,lj->kj", shared, covariances, shared)
        order = np.argsort(-variances[0])
        variances, axes = variances[:, order], shared[:, order]
    variances = np.maximum(variances, 0.0)  # rounding, of units that are far apart
    diagonals = factors if factors.ndim == 2 else np.diagonal(factors, axis1=1, axis2=2)
    volumes = np.exp(-2.0 * np.log(diagonals).mean(axis=1))
    axes = np.array(np.broadcast_to(axes, (*variances.shape, variances.shape[1])))
    return volumes, variances / volumes[:, None], axes


def _unit(variances: np.ndarray) -> np.ndarray:
    return variances / geometric_means(variances)


def _unit_matrix(covariance: np.ndarray) -> np.ndarray:
    return covariance / _volume(covariance, None)


def _volume(covariance: np.ndarray, component: int | None) -> float:
    lower, failed = lapack.dpotrf(covariance, lower=1, clean=0)
    if failed != 0:
        raise DegenerateComponentError(degenerate(component))
    return float(np.exp(2.0 * np.log(np.diag(lower)).mean()))


def _positive(volumes: np.ndarray) -> np.ndarray:
    bad = np.flatnonzero(~(volumes > 0))
    if len(bad):
        raise DegenerateComponentError(degenerate(int(bad[0])))
    return volumes
