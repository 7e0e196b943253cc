"""The kernels' arithmetic on blocks of arrays of other libraries than NumPy.

Functions of namespaces of the array API: no work arrays are written to, since some libraries
cannot, and nothing waits for the device before the last block of a task. Rows lie along the last
axis, as in the NumPy kernels. Parameters come from NumPy, and sums go back to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np

from .._arrays import beside, device_of, namespace_of, to_host

__all__ = [
    "VALUES",
    "feature_log_joint",
    "feature_sums",
    "log_sums",
    "moment_sums",
    "peeked",
    "triangular_log_joint",
    "triangular_sums",
]


def peeked(blocks: Iterable) -> tuple[Iterable, bool]:
    """The same blocks, and whether they hold arrays of another library than NumPy."""
    blocks = iter(blocks)
    first = next(blocks, None)
    if first is None:
        return (), False
    return chain([first], blocks), not isinstance(first.X, np.ndarray)


def _columns(xp, X):
    """Rows as columns, contiguous in memory: (n_features, n_rows) in float64."""
    # A transposed view would hand its strides on to every result.
    flat = xp.reshape(xp.matrix_transpose(xp.astype(X, xp.float64, copy=False)), (-1,))
    return xp.reshape(flat, (X.shape[1], X.shape[0]))


def _normalised(xp, log_joint):
    """Densities relative to the largest of each row, their sum, and the log-density of each row."""
    top = xp.max(log_joint, axis=0)  # (n_rows,)
    densities = xp.exp(log_joint - top)  # (n_components, n_rows)
    total = xp.sum(densities, axis=0)
    return densities, total, xp.log(total) + top


# --------------------------------------------------------------------------- features


def _features(xp, kernel, X):
    """phi of shape (p, n_rows), as FeatureKernel orders it."""
    z = _columns(xp, X) - beside(X, kernel.center[:, None])
    d, one = z.shape[0], xp.ones((1, X.shape[0]), dtype=xp.float64, device=device_of(X))
    if kernel.products == "outer":
        lead, n_pairs = d // 2, d * (d + 1) // 2
        again = xp.concat([z[d - lead :, :], z], axis=0)
        parts = []
        for shift in range(lead + 1):
            n = min(d, n_pairs - shift * d)
            parts.append(z[:n, :] * again[lead - shift : lead - shift + n, :])
    elif kernel.products == "square":
        parts = [z * z]
    else:
        whitening = kernel.whitening
        y = z if whitening is None else xp.matmul(beside(X, whitening.T), z)
        parts = [xp.sum(y * y, axis=0, keepdims=True)]
    return xp.concat([z, one, *parts], axis=0)


def feature_log_joint(kernel, X):
    """``FeatureKernel.log_joint`` of an array of another library."""
    xp = namespace_of(X)
    return xp.matmul(beside(X, kernel.theta), _features(xp, kernel, X))


def feature_sums(kernel, blocks: Iterable) -> tuple[np.ndarray, float, float]:
    """Sums of resp @ phi' of shape (n_components, p), of weights, and the log-likelihood."""
    sums, total, weight, theta = 0.0, 0.0, 0.0, None
    for block in blocks:
        xp = namespace_of(block.X)
        theta = beside(block.X, kernel.theta) if theta is None else theta
        phi = _features(xp, kernel, block.X)
        densities, density, norm = _normalised(xp, xp.matmul(theta, phi))
        w = 1.0 if block.weight is None else beside(block.X, block.weight)
        resp = densities * (w / density)
        sums = xp.matmul(resp, xp.matrix_transpose(phi)) + sums
        total = xp.sum(norm * w) + total
        weight += norm.shape[0] if block.weight is None else block.weight.sum()
    return to_host(sums), float(weight), float(total)


# --------------------------------------------------------------------------- triangular


def triangular_log_joint(kernel, X):
    """``TriangularKernel.log_joint`` of an array of another library."""
    xp = namespace_of(X)
    return _triangular(xp, _columns(xp, X), _parameters(kernel, X), kernel.factors.ndim == 3)


def _parameters(kernel, X) -> tuple:
    """Means, transposed factors and norms on X's device, shaped to meet (n_features, n_rows)."""
    full = kernel.factors.ndim == 3
    factors = np.swapaxes(kernel.factors, 1, 2) if full else kernel.factors[:, :, None]
    values = (kernel.means[:, :, None], factors, kernel.log_norm[:, None])
    return tuple(beside(X, value) for value in values)


def _triangular(xp, Z, parameters, full):
    means, factors, log_norm = parameters
    squares = []
    for k in range(means.shape[0]):
        centred, factor = Z - means[k, ...], factors[k, ...]
        y = xp.matmul(factor, centred) if full else factor * centred
        squares.append(xp.sum(y * y, axis=0))
    return log_norm - 0.5 * xp.stack(squares, axis=0)  # (n_components, n_rows)


def triangular_sums(kernel, blocks: Iterable) -> tuple:
    """Weight, log-likelihood, counts, and first and second sums about the anchors."""
    full = kernel.factors.ndim == 3
    weight, total, sums, parameters = 0.0, 0.0, (0.0, 0.0, 0.0), None
    for block in blocks:
        xp = namespace_of(block.X)
        if parameters is None:
            parameters = _parameters(kernel, block.X)
            anchors = beside(block.X, kernel.anchors[:, :, None])
        Z = _columns(xp, block.X)
        densities, density, norm = _normalised(xp, _triangular(xp, Z, parameters, full))
        w = 1.0 if block.weight is None else beside(block.X, block.weight)
        resp = densities * (w / density)
        first, second = [], []
        for k in range(anchors.shape[0]):
            diff = Z - anchors[k, ...]
            weighted = diff * resp[k, ...]
            first.append(xp.sum(weighted, axis=1))
            second.append(
                xp.matmul(weighted, xp.matrix_transpose(diff))
                if full
                else xp.sum(weighted * diff, axis=1)
            )
        parts = (xp.sum(resp, axis=1), xp.stack(first, axis=0), xp.stack(second, axis=0))
        sums = tuple(part + before for part, before in zip(parts, sums))
        total = xp.sum(norm * w) + total
        weight += norm.shape[0] if block.weight is None else block.weight.sum()
    return float(weight), float(total), *map(to_host, sums)


# --------------------------------------------------------------------------- other passes


def moment_sums(X, weight, full: bool) -> tuple:
    """Weight, mean, scatter about it, smallest and largest values; see ``Moments``."""
    xp = namespace_of(X)
    Z = _columns(xp, X)
    w = 1.0 if weight is None else beside(X, weight)
    total = float(X.shape[0] if weight is None else weight.sum())
    low, high = xp.min(Z, axis=1), xp.max(Z, axis=1)
    mean = xp.sum(Z * w, axis=1, keepdims=True) / total
    Z = Z - mean
    rest = xp.sum(Z * w, axis=1, keepdims=True) / total  # what rounding left
    Z = Z - rest
    scatter = xp.matmul(Z, xp.matrix_transpose(Z * w)) if full else xp.sum(Z * Z * w, axis=1)
    mean = xp.reshape(mean + rest, (-1,))
    return total, *map(to_host, (mean, scatter, low, high))


def log_sums(log_joint, weight) -> tuple[float, float, float]:
    """Sums over rows of weights, log-densities, and entropies of the posteriors."""
    xp = namespace_of(log_joint)
    top = xp.max(log_joint, axis=0)
    relative = log_joint - top
    densities = xp.exp(relative)
    density = xp.sum(densities, axis=0)
    log_density = xp.log(density)
    entropy = log_density - xp.sum(densities * relative, axis=0) / density
    norm = log_density + top
    w = 1.0 if weight is None else beside(log_joint, weight)
    total = norm.shape[0] if weight is None else weight.sum()
    return float(total), float(xp.sum(norm * w)), float(xp.sum(entropy * w))


def _labels(log_joint):
    return namespace_of(log_joint).argmax(log_joint, axis=0)


def _posteriors(log_joint):
    xp = namespace_of(log_joint)
    densities, density, _ = _normalised(xp, log_joint)
    return xp.matrix_transpose(densities / density)


def _log_densities(log_joint):
    return _normalised(namespace_of(log_joint), log_joint)[2]


#: What a method gives for rows, of the log-joint matrix of shape (n_components, n_rows).
VALUES = {"predict": _labels, "predict_proba": _posteriors, "score_samples": _log_densities}
