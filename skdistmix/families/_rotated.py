"""Kernels of components whose covariances become diagonal in the same coordinates.

With y = R'(x - center), every component has uncorrelated features: R are the axes that all
covariances share, or whitens all of them where they are proportional. So log-densities cost
O(d^2 + K d) a row instead of O(K d^2). Statistics are those of other components with matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._kernels import FeatureKernel, TriangularKernel, _split
from ._statistics import scratch

__all__ = ["RotatedFeatureKernel", "RotatedTriangularKernel"]


@dataclass(frozen=True)
class RotatedFeatureKernel(FeatureKernel):
    """Log-densities by features [y, 1, y^2], statistics by products of all features.

    Attributes
    ----------
    rotation : ndarray of shape (n_features, n_features)
    rotated_theta : ndarray of shape (n_components, 2 * n_features + 1)
        Coefficients of these features.
    """

    rotation: np.ndarray | None = None
    rotated_theta: np.ndarray | None = None

    @classmethod
    def of(cls, plain: FeatureKernel, means, rotation, roots, log_norm):
        """From the kernel of the same components and their inverse deviations along y, (K, d)."""
        y = (means - plain.center) @ rotation
        precisions = roots**2
        constant = log_norm - 0.5 * (precisions * y**2).sum(axis=1)
        theta = np.column_stack([precisions * y, constant, -0.5 * precisions])
        return cls(plain.products, plain.center, plain.theta, plain.peak, None, rotation, theta)

    @property
    def n_spare(self) -> int:
        return self.rotated_theta.shape[1]

    @property
    def density_theta(self) -> np.ndarray:
        return self.rotated_theta

    def _density_features(self, phi, spare):
        d = len(self.center)
        y, one, squares = spare[:d], spare[d], spare[d + 1 :]
        np.matmul(self.rotation.T, _split(phi[:d], self.width), out=_split(y, self.width))
        one[:] = 1.0
        np.multiply(y, y, out=squares)
        return spare


@dataclass(frozen=True)
class RotatedTriangularKernel(TriangularKernel):
    """The safe kernel, with one change of coordinates for all components.

    Attributes
    ----------
    center : ndarray of shape (n_features,)
    rotation : ndarray of shape (n_features, n_features)
    roots : ndarray of shape (n_components, n_features)
        Inverse deviations along y.
    """

    center: np.ndarray
    rotation: np.ndarray
    roots: np.ndarray

    def _log_joint(self, X, out):
        Z, y, centred = scratch(*[X.shape[::-1]] * 3)  # (n_features, n_rows)
        np.subtract(X.T, self.center[:, None], out=Z)
        np.matmul(self.rotation.T, Z, out=y)
        for k, mean in enumerate((self.means - self.center) @ self.rotation):
            np.subtract(y, mean[:, None], out=centred)
            centred *= self.roots[k][:, None]
            np.multiply(centred, centred, out=centred)
            np.sum(centred, axis=0, out=out[k])
        out *= -0.5
        out += self.log_norm[:, None]
        return out
