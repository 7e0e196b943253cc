"""A step of EM for many parameter sets on the same rows, each with row weights of its own.

Resamples of the same rows differ in their weights and, a little, in their parameters. All of them
together are one feature kernel with as many components as they have in all: the features of a block
are computed once, and the log-densities of all sets are one matrix product. M-steps of components
that do not depend on each other are those of one mixture with all the components.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ._base import DegenerateComponentError, logsumexp0
from ._kernels import LOWEST_EXP, FeatureKernel, _split
from ._statistics import GaussianStatistics

__all__ = ["ManyKernel", "em_of_many", "kernel_of_many"]

LOWEST_DENSITY = np.exp(-650.0)  # relative to the peak; below, densities leave the range of exp


def em_of_many(family, X, weights, points, like) -> tuple | None:
    """See ``Family.em_of_many``, of Gaussian families."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # of points that are far away
            params = family.params_of_coordinates(points, like)
            kernel = kernel_of_many(family, params)
        if kernel is None:
            return None
        stats, log_likelihoods = kernel.statistics(X, weights)
        images = _m_steps(family, stats, params)
    except (DegenerateComponentError, np.linalg.LinAlgError):
        return None
    if images is None:
        return None
    if family.prior_rows is not None:
        each = (_picked(params, r) for r in range(len(points)))
        log_likelihoods += [family.log_prior(one) for one in each]
    coordinates = family.coordinates(images)
    return None if coordinates is None else (coordinates, log_likelihoods)


def kernel_of_many(family, params) -> ManyKernel | None:
    """The feature kernel of the components of all sets, None where it is not accurate.

    The arrays of `params` have an axis of sets in front.
    """
    R, K = params.weights.shape
    factors = params.precisions_cholesky
    free = family if family.per_component else family.unconstrained(K)
    if not family.per_component:
        factors = np.broadcast_to(factors[:, None], (R, K, *factors.shape[1:]))
    free = replace(free, n_components=R * K, moments=family.moments)
    joined = replace(
        params,
        weights=params.weights.reshape(R * K),
        means=params.means.reshape(R * K, -1),
        precisions_cholesky=factors.reshape(R * K, *factors.shape[2:]),
    )
    if not free._features_are_accurate(joined):
        return None
    return ManyKernel(free._feature_kernel(joined), R)


def _m_steps(family, stats: GaussianStatistics, params):
    """Parameters of all sets; None if a component lost its rows or needs better anchors."""
    R, K = params.weights.shape
    if family.independent:
        joined = family.m_step(stats)
        if family.lost(stats).any() or family.better_anchors(stats, joined) is not None:
            return None
        weights = joined.weights.reshape(R, K)
        split = {
            name: getattr(joined, name).reshape(R, K, *getattr(joined, name).shape[1:])
            for name in ("means", "covariances", "precisions_cholesky")
        }
        return type(joined)(weights / weights.sum(axis=1, keepdims=True), **split)
    found = []
    for r in range(R):
        own = slice(r * K, (r + 1) * K)
        one = replace(
            stats, counts=stats.counts[own], first=stats.first[own], second=stats.second[own],
            anchors=stats.anchors[own],
        )  # fmt: skip
        found.append(family.m_step(one, _picked(params, r)))
        if family.lost(one).any() or family.better_anchors(one, found[-1]) is not None:
            return None
    arrays = ("weights", "means", "covariances", "precisions_cholesky")
    return type(found[0])(*(np.stack([getattr(one, name) for one in found]) for name in arrays))


def _picked(params, r: int):
    arrays = ("weights", "means", "covariances", "precisions_cholesky")
    return type(params)(*(getattr(params, name)[r] for name in arrays))


@dataclass(frozen=True)
class ManyKernel:
    """E-step and statistics of several parameter sets on the same rows.

    Attributes
    ----------
    kernel : FeatureKernel
        Of the components of all sets, one set after the other.
    n_sets : int
    """

    kernel: FeatureKernel
    n_sets: int

    def statistics(
        self, X: np.ndarray, weights: np.ndarray
    ) -> tuple[GaussianStatistics, np.ndarray]:
        """Statistics of the components of all sets, and the log-likelihood of each set.

        The `weight` of the statistics is the mean one of a set.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features)
        weights : ndarray of shape (n_sets, n_rows) or (1, n_rows)
            Row weights of each set, or of all.
        """
        kernel, R = self.kernel, self.n_sets
        theta, d = kernel.theta.copy(), len(kernel.center)
        theta[:, d] -= kernel.peak
        sums, total, weight = np.zeros_like(theta), np.zeros(R), np.zeros(len(weights))
        for first in range(0, len(X), kernel.block_rows):
            rows = slice(first, first + kernel.block_rows)
            block = X[rows]
            phi, _, resp, _, _ = kernel._features(block)
            w = np.zeros((len(weights), phi.shape[1]))
            w[:, : len(block)] = weights[:, rows]
            np.matmul(theta, _split(phi, kernel.width), out=_split(resp, kernel.width))
            np.maximum(resp, LOWEST_EXP, out=resp)
            np.exp(resp, out=resp)
            sets = self._by_set(resp)
            density = sets.sum(axis=1)  # (n_sets, m)
            if density.min() < LOWEST_DENSITY:
                total += self._rescue(theta, phi, sets, density, w)
            logs = np.log(density)
            total += logs @ w[0] if len(w) == 1 else np.einsum("rm,rm->r", w, logs)
            np.divide(w, density, out=density)
            sets *= density[:, None]
            kernel._add_products(sums, resp, phi)
            weight += w.sum(axis=1)
        total += kernel.peak * weight
        return kernel._unpacked(sums, weight.mean(), 0.0), total

    def _by_set(self, a: np.ndarray) -> np.ndarray:
        return a.reshape(self.n_sets, len(a) // self.n_sets, -1)

    def _rescue(self, theta, phi, sets, density, w) -> np.ndarray:
        """Redo rows so far from all components of a set that their densities vanished.

        Returns what the logarithms of their new densities lack, summed for each set.
        """
        rows = np.flatnonzero(density.min(axis=0) < LOWEST_DENSITY)
        log_joint = self._by_set(theta @ phi[:, rows]).transpose(1, 0, 2)
        norm = logsumexp0(log_joint)  # (n_sets, n_rescued)
        sets[:, :, rows] = np.exp(np.maximum(log_joint - norm, LOWEST_EXP)).transpose(1, 0, 2)
        density[:, rows] = 1.0
        return np.einsum("rm,rm->r", np.broadcast_to(w[:, rows], norm.shape), norm)
