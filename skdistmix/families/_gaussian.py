"""Gaussian components with full, tied, diagonal or spherical covariances."""

from __future__ import annotations

import numpy as np

from ._factors import (
    add_to_diagonal,
    diagonal_of,
    factor_of_precision,
    inverse_roots,
    precision_factor,
    roots_of_precisions,
)
from ._gaussian_base import GaussianBase
from ._kernels import pairs

__all__ = [
    "DiagonalGaussian",
    "FullGaussian",
    "SphericalGaussian",
    "TiedGaussian",
]

MAX_OUTER_FEATURES = 30  # beyond, d**2 / 2 products a row cost more than whitening does


class FullGaussian(GaussianBase):
    """Every component has its own covariance matrix."""

    name = sklearn_name = "full"

    def _scatter(self, stats, counts, shift):
        scatter = stats.second - self._outer(shift, counts)
        return 0.5 * (scatter + scatter.transpose(0, 2, 1))

    def _outer(self, vectors, weights):
        return weights[:, None, None] * vectors[:, :, None] * vectors[:, None, :]

    def scatter_of(self, scatter):
        return scatter

    def unconstrained(self, n_components):
        return FullGaussian(n_components)

    def _regularised(self, covariances):
        return add_to_diagonal(covariances, self.reg_covar)

    def _log_determinants(self, params):
        return -2.0 * np.log(np.diagonal(params.precisions_cholesky, axis1=1, axis2=2)).sum()

    def conjugate_count(self, dof, has_mean):
        return dof + len(self.moments.mean) + 1 + has_mean

    def factors_of(self, covariances):
        return np.stack([precision_factor(c, k) for k, c in enumerate(covariances)])

    def of_covariance(self, covariance):
        return add_to_diagonal(covariance, self.reg_covar)

    def _variances(self, params):
        return np.diagonal(params.covariances, axis1=1, axis2=2)

    def precisions(self, params):
        U = params.precisions_cholesky
        return U @ U.transpose(0, 2, 1)

    def factors_of_precisions(self, precisions):
        return np.stack([factor_of_precision(p, k) for k, p in enumerate(precisions)])

    def _component_factors(self, params):
        return params.precisions_cholesky

    def _features_are_accurate(self, params):
        d = params.means.shape[1]
        return d <= MAX_OUTER_FEATURES and super()._features_are_accurate(params)

    def _cancellation(self, params, about):
        precisions = np.abs(self.precisions(params))
        terms = np.einsum("ki,kij,kj->k", about, precisions, about)
        return float(terms.max()) / about.shape[1]

    def _natural(self, params, means):
        precisions = self.precisions(params)
        i, j = pairs(means.shape[1])
        quadratic = np.where(i == j, -0.5, -1.0) * precisions[:, i, j]
        return "outer", np.einsum("kij,kj->ki", precisions, means), quadratic, None

    def _n_covariance_parameters(self, n_components, n_features):
        return n_components * n_features * (n_features + 1) // 2


class TiedGaussian(GaussianBase):
    """All components share one covariance matrix."""

    name = sklearn_name = "tied"
    per_component = independent = False

    def _scatter(self, stats, counts, shift):
        # The scatter about any anchors is the total one less that between means and anchors. The
        # feature kernel takes sums about the overall mean, where the total is known beforehand.
        if stats.second is not None:
            total = stats.second.sum(axis=0)
        elif np.isclose(stats.weight, self.moments.weight):
            total = self.moments.scatter
        else:
            raise ValueError("The family was prepared for other rows than these statistics are of.")
        pooled = total - self._outer(shift, counts)
        return 0.5 * (pooled + pooled.T)

    def _outer(self, vectors, weights):
        return (vectors * weights[:, None]).T @ vectors

    def scatter_of(self, scatter):
        return scatter

    def unconstrained(self, n_components):
        return FullGaussian(n_components)

    def kernel_for_other_rows(self, params):
        return self.kernel(params, params.means)  # the fast kernel takes the total scatter as known

    def _regularised(self, covariances):
        return add_to_diagonal(covariances, self.reg_covar)

    def _log_determinants(self, params):
        return -2.0 * np.log(np.diag(params.precisions_cholesky)).sum()

    def conjugate_count(self, dof, has_mean):
        return dof + len(self.moments.mean) + 1 + self.n_components * has_mean

    def factors_of(self, covariances):
        return precision_factor(covariances, None)

    def of_covariance(self, covariance):
        return add_to_diagonal(covariance, self.reg_covar)

    def _variances(self, params):
        return np.diag(params.covariances)[None]

    def precisions(self, params):
        return params.precisions_cholesky @ params.precisions_cholesky.T

    def factors_of_precisions(self, precisions):
        return factor_of_precision(precisions, None)

    def _component_factors(self, params):
        factor = params.precisions_cholesky
        return np.broadcast_to(factor, (len(params.means), *factor.shape))

    def _cancellation(self, params, about):
        terms = np.einsum("ki,ij,kj->k", about, np.abs(self.precisions(params)), about)
        return float(terms.max()) / about.shape[1]

    def _natural(self, params, means):
        quadratic = np.full(self.n_components, -0.5)
        return "norm", means @ self.precisions(params), quadratic, params.precisions_cholesky

    def _n_covariance_parameters(self, n_components, n_features):
        return n_features * (n_features + 1) // 2


class DiagonalGaussian(GaussianBase):
    """Every component has its own variances, features are uncorrelated within components."""

    name = sklearn_name = "diag"
    full_scatter = has_matrices = False
    quadratics = "square"

    def _scatter(self, stats, counts, shift):
        return stats.second - self._outer(shift, counts)

    def _outer(self, vectors, weights):
        return weights[:, None] * vectors**2

    def scatter_of(self, scatter):
        return diagonal_of(scatter)

    def unconstrained(self, n_components):
        return DiagonalGaussian(n_components)

    def _regularised(self, covariances):
        return covariances + self.reg_covar

    def _log_determinants(self, params):
        return -2.0 * np.log(params.precisions_cholesky).sum()

    def conjugate_count(self, dof, has_mean):
        return dof + 2 + has_mean

    def factors_of(self, covariances):
        return inverse_roots(covariances)

    def of_covariance(self, covariance):
        return diagonal_of(covariance) + self.reg_covar

    def _variances(self, params):
        return params.covariances

    def precisions(self, params):
        return params.precisions_cholesky**2

    def factors_of_precisions(self, precisions):
        return roots_of_precisions(precisions)

    def _component_factors(self, params):
        return params.precisions_cholesky

    def _cancellation(self, params, about):
        return float((about**2 * self.precisions(params)).max())

    def _natural(self, params, means):
        precisions = self.precisions(params)
        return "square", precisions * means, -0.5 * precisions, None

    def _n_covariance_parameters(self, n_components, n_features):
        return n_components * n_features


class SphericalGaussian(GaussianBase):
    """Every component has one variance for all features."""

    name = sklearn_name = "spherical"
    full_scatter = has_matrices = False
    quadratics = "norm"

    def _scatter(self, stats, counts, shift):
        trace = stats.second if stats.second.ndim == 1 else stats.second.sum(axis=1)
        return trace - self._outer(shift, counts)

    def _outer(self, vectors, weights):
        return weights * (vectors**2).sum(axis=1)

    def scatter_of(self, scatter):
        return diagonal_of(scatter).sum()

    def divisor(self, rows):
        return rows * len(self.moments.mean)

    def unconstrained(self, n_components):
        return DiagonalGaussian(n_components)

    def _regularised(self, covariances):
        return covariances + self.reg_covar

    def _log_determinants(self, params):
        return -2.0 * np.log(params.precisions_cholesky).sum()

    def conjugate_count(self, dof, has_mean):
        return dof + 2 + len(self.moments.mean) * has_mean

    def factors_of(self, covariances):
        return inverse_roots(covariances)

    def of_covariance(self, covariance):
        return diagonal_of(covariance).mean() + self.reg_covar

    def _variances(self, params):
        return np.repeat(params.covariances[:, None], params.means.shape[1], axis=1)

    def precisions(self, params):
        return params.precisions_cholesky**2

    def factors_of_precisions(self, precisions):
        return roots_of_precisions(precisions)

    def _component_factors(self, params):
        K, d = params.means.shape
        return np.broadcast_to(params.precisions_cholesky[:, None], (K, d))

    def _cancellation(self, params, about):
        return float(((about**2).mean(axis=1) * self.precisions(params)).max())

    def _natural(self, params, means):
        precisions = self.precisions(params)
        return "norm", precisions[:, None] * means, -0.5 * precisions, None

    def _n_covariance_parameters(self, n_components, n_features):
        return n_components
