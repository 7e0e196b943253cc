"""Many parameter sets of one family on the same rows, each with row weights of its own.

Resamples of the same rows differ in their weights and, a little, in their parameters. All of them
together are one feature kernel with as many components as they have in all: the features of a block
are computed once, and the log-densities of all sets are one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._base import logsumexp0
from ._kernels import LOWEST_EXP, FeatureKernel, _split
from ._statistics import GaussianStatistics

__all__ = ["ManyKernel"]

LOWEST_DENSITY = np.exp(-650.0)  # relative to the peak; below, densities leave the range of exp


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

    def log_joint(self, X: np.ndarray) -> np.ndarray:
        """log(weight) + log-density, shape (n_sets, n_components, n_rows)."""
        return self._by_set(self.kernel.log_joint(X))

    def statistics(self, X: np.ndarray, weights: np.ndarray) -> list[GaussianStatistics]:
        """Statistics of each set.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features)
        weights : ndarray of shape (n_sets, n_rows) or (1, n_rows)
            Row weights of each set, or of all.
        """
        kernel, R = self.kernel, self.n_sets
        theta, d = kernel.theta.copy(), len(kernel.center)
        theta[:, d] -= kernel.peak
        sums, total, weight = np.zeros_like(theta), np.zeros(R), np.zeros(R)
        for first in range(0, len(X), kernel.block_rows):
            rows = slice(first, first + kernel.block_rows)
            block = X[rows]
            phi, resp, _, _ = kernel._features(block)
            w = np.zeros((len(weights), phi.shape[1]))
            w[:, : len(block)] = weights[:, rows]
            np.matmul(theta, _split(phi, kernel.width), out=_split(resp, kernel.width))
            np.maximum(resp, LOWEST_EXP, out=resp)
            np.exp(resp, out=resp)
            sets = self._by_set(resp)
            density = sets.sum(axis=1)  # (n_sets, m)
            if density.min() < LOWEST_DENSITY:
                total += self._rescue(theta, phi, sets, density, w)
            total += np.einsum("rm,rm->r", np.broadcast_to(w, density.shape), np.log(density))
            np.divide(w, density, out=density)
            sets *= density[:, None]
            kernel._add_products(sums, resp, phi)
            weight += w.sum(axis=1)
        total += kernel.peak * weight
        each = zip(self._by_set(sums), weight, total, strict=True)
        return [kernel._unpacked(*one) for one in each]

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
