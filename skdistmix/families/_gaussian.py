"""Gaussian components with full, tied, diagonal or spherical covariances.

The M-steps are the maximum-likelihood ones (McLachlan and Peel 2000, section 3.2), computed from
sums about anchors: with n_k, s_k = sum of (x - a_k) and S_k = sum of (x - a_k)(x - a_k)', the mean
is a_k + s_k / n_k and the covariance S_k / n_k - (s_k / n_k)(s_k / n_k)'.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import lapack

from ._base import DegenerateComponentError, Family, Moments
from ._kernels import FeatureKernel, GaussianStatistics, TriangularKernel, anchored_sums

__all__ = [
    "GAUSSIAN_FAMILIES",
    "DiagonalGaussian",
    "FullGaussian",
    "GaussianParams",
    "SphericalGaussian",
    "TiedGaussian",
]

MAX_CANCELLATION = 1e6  # terms of a sum against the sum, up to which raw products keep 10 digits
MAX_OUTER_FEATURES = 30  # beyond, d**2 / 2 products a row cost more than whitening does
EMPTY = 10 * np.finfo(float).eps
LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class GaussianParams:
    """Parameters of a Gaussian mixture.

    Attributes
    ----------
    weights : ndarray of shape (n_components,)
    means : ndarray of shape (n_components, n_features)
    covariances, precisions_cholesky : ndarray
        (n_components, n_features, n_features) if full, (n_features, n_features) if tied,
        (n_components, n_features) if diagonal, (n_components,) if spherical. A precision is
        U U' with U upper triangular; diagonal and spherical ones are square roots.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    precisions_cholesky: np.ndarray


@dataclass(frozen=True)
class GaussianFamily(Family):
    """What the four covariance types share.

    Parameters
    ----------
    n_components : int
    reg_covar : float
        Added to the diagonal of covariances.
    moments : Moments or None
        First-pass summary of the data, set by :meth:`prepare`.
    """

    n_components: int
    reg_covar: float = 0.0
    moments: Moments | None = None

    #: "covariance_type" of scikit-learn.
    name = ""
    #: Whether statistics need matrices of second moments.
    full_scatter = True

    def prepare(self, moments):
        return replace(self, moments=moments)

    def statistics(self, X, weight, resp, anchors):
        return anchored_sums(X, weight, resp, anchors, full=self.full_scatter)

    def centers(self, stats):
        counts = np.where(stats.counts > EMPTY, stats.counts, 1.0)
        return stats.anchors + stats.first / counts[:, None]

    def m_step(self, stats, previous=None):
        """Parameters from statistics; a component that lost all rows stays where it was.

        Raises
        ------
        DegenerateComponentError
            If a covariance is not positive definite.
        """
        counts = np.where(stats.counts > EMPTY, stats.counts, 0.0)
        lost = counts == 0.0
        shift = stats.first / np.where(lost, 1.0, counts)[:, None]
        means = stats.anchors + shift
        covariances = self._covariances(stats, counts, shift)
        if lost.any():
            means[lost] = self.moments.mean if previous is None else previous.means[lost]
            if self.per_component:
                start = self.of_covariance(self.moments.covariance)
                covariances[lost] = start if previous is None else previous.covariances[lost]
        factors = self.factors_of(covariances)
        return GaussianParams(counts / counts.sum(), means, covariances, factors)

    def kernel(self, params, anchors=None):
        """The fast kernel where raw products are accurate enough, otherwise the safe one."""
        if anchors is None and self._features_are_accurate(params):
            return self._feature_kernel(params)
        factors = self._component_factors(params)
        return TriangularKernel(
            params.means,
            factors,
            self._log_norm(params),
            params.means if anchors is None else anchors,
        )

    def better_anchors(self, stats, params):
        """The new means, if sums about the old anchors lost too many digits of a covariance."""
        per_row = np.where(stats.counts > EMPTY, stats.counts, np.inf)[:, None]
        about = np.abs(stats.first) / per_row  # distance from anchor to mean
        if stats.second is None:
            about = about + np.sqrt(self.moments.variance)
        elif stats.second.ndim == 1:
            about = about + np.sqrt(stats.second[:, None] / per_row)
        else:
            squares = stats.second
            if squares.ndim == 3:
                squares = np.diagonal(squares, axis1=1, axis2=2)
            about = about + np.sqrt(np.maximum(squares, 0.0) / per_row)
        return params.means if self._cancellation(params, about) > MAX_CANCELLATION else None

    def permute(self, params, order):
        picked = [params.weights[order], params.means[order]]
        for values in (params.covariances, params.precisions_cholesky):
            picked.append(values[order] if self.per_component else values)
        return GaussianParams(*picked)

    def sample(self, params, counts, rng):
        covariances = self.component_covariances(params)
        return np.vstack(
            [
                rng.multivariate_normal(mean, covariance, int(count))
                for mean, covariance, count in zip(params.means, covariances, counts, strict=True)
            ]
        )

    def n_parameters(self):
        K, d = self.n_components, self.moments.mean.size
        return K * d + K - 1 + self._n_covariance_parameters(K, d)

    def implied_moments(self, params) -> Moments:
        """The first two moments of the mixture itself, in place of those of some data."""
        weights = params.weights / params.weights.sum()
        mean = weights @ params.means
        offset = params.means - mean
        variances = np.diagonal(self.component_covariances(params), axis1=1, axis2=2)
        variance = weights @ (variances + offset**2)
        rows = np.empty((0, len(mean)))
        return Moments(1.0, 0, mean, variance, mean - np.inf, mean + np.inf, rows, 0)

    def covariances_of_factors(self, factors) -> np.ndarray:
        """Covariances from precisions_cholesky."""
        if factors.ndim == (2 if self.per_component else 1) or self.name == "spherical":
            return 1.0 / factors**2
        inverse = np.linalg.inv(factors)
        return np.swapaxes(inverse, -1, -2) @ inverse

    # ------------------------------------------------------------- shared arithmetic

    #: Whether each component has a covariance of its own.
    per_component = True

    def _features_are_accurate(self, params) -> bool:
        offset = np.abs(params.means - self.moments.mean)
        about = np.maximum(offset, np.sqrt(self.moments.variance))
        return self._cancellation(params, about) <= MAX_CANCELLATION

    def _log_norm(self, params) -> np.ndarray:
        """log(weight) + log-density at the mean, shape (n_components,)."""
        factors = self._component_factors(params)
        if factors.ndim == 3:
            factors = np.diagonal(factors, axis1=1, axis2=2)
        with np.errstate(divide="ignore"):
            log_weights = np.log(params.weights)
        return log_weights + np.log(factors).sum(axis=1) - 0.5 * LOG_2PI * factors.shape[1]

    def _feature_kernel(self, params) -> FeatureKernel:
        center = self.moments.mean
        products, linear, quadratic, whitening = self._natural(params, params.means - center)
        log_norm = self._log_norm(params)
        offset = np.einsum("kj,kj->k", linear, params.means - center)
        theta = np.column_stack([log_norm - 0.5 * offset, linear, quadratic])
        return FeatureKernel(products, center, theta, float(log_norm.max()), whitening)

    @abstractmethod
    def _covariances(self, stats: GaussianStatistics, counts, shift) -> np.ndarray:
        """Regularised covariances; those of components without rows may be anything finite."""

    @abstractmethod
    def factors_of(self, covariances) -> np.ndarray:
        """precisions_cholesky of covariances."""

    @abstractmethod
    def of_covariance(self, covariance) -> np.ndarray:
        """The covariance of this type nearest to a full covariance (or its diagonal)."""

    @abstractmethod
    def component_covariances(self, params) -> np.ndarray:
        """Covariances as matrices, shape (n_components, n_features, n_features)."""

    @abstractmethod
    def precisions(self, params) -> np.ndarray:
        """Inverses of the covariances, in the same shape."""

    @abstractmethod
    def factors_of_precisions(self, precisions) -> np.ndarray:
        """precisions_cholesky of given precisions."""

    @abstractmethod
    def _component_factors(self, params) -> np.ndarray:
        """Factors shaped (n_components, n_features, n_features) or (n_components, n_features)."""

    @abstractmethod
    def _cancellation(self, params, about) -> float:
        """Largest size of the terms of x' precision x against the number of features, for rows
        `about` (n_components, n_features) away from where sums are taken."""

    @abstractmethod
    def _natural(self, params, means) -> tuple:
        """(products, precision @ means, quadratic coefficients, whitening) of a feature kernel."""

    @abstractmethod
    def _n_covariance_parameters(self, n_components: int, n_features: int) -> int: ...


class FullGaussian(GaussianFamily):
    """Every component has its own covariance matrix."""

    name = "full"

    def _covariances(self, stats, counts, shift):
        n = np.where(counts > 0, counts, 1.0)[:, None, None]
        covariances = stats.second / n - shift[:, :, None] * shift[:, None, :]
        covariances = 0.5 * (covariances + covariances.transpose(0, 2, 1))
        return add_to_diagonal(covariances, self.reg_covar)

    def factors_of(self, covariances):
        return np.stack([_precision_factor(c, k) for k, c in enumerate(covariances)])

    def of_covariance(self, covariance):
        return add_to_diagonal(covariance, self.reg_covar)

    def component_covariances(self, params):
        return params.covariances

    def precisions(self, params):
        U = params.precisions_cholesky
        return U @ U.transpose(0, 2, 1)

    def factors_of_precisions(self, precisions):
        return np.stack([_factor_of_precision(p, k) for k, p in enumerate(precisions)])

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
        i, j = np.triu_indices(means.shape[1])
        quadratic = np.where(i == j, -0.5, -1.0) * precisions[:, i, j]
        return "outer", np.einsum("kij,kj->ki", precisions, means), quadratic, None

    def _n_covariance_parameters(self, n_components, n_features):
        return n_components * n_features * (n_features + 1) // 2


class TiedGaussian(GaussianFamily):
    """All components share one covariance matrix."""

    name = "tied"
    per_component = False

    def _covariances(self, stats, counts, shift):
        # The scatter about any anchors is the total one less that between means and anchors. The
        # feature kernel takes sums about the overall mean, where the total is known beforehand.
        total = self.moments.scatter if stats.second is None else stats.second.sum(axis=0)
        pooled = (total - (shift * counts[:, None]).T @ shift) / counts.sum()
        return add_to_diagonal(0.5 * (pooled + pooled.T), self.reg_covar)

    def factors_of(self, covariances):
        return _precision_factor(covariances, None)

    def of_covariance(self, covariance):
        return add_to_diagonal(covariance, self.reg_covar)

    def component_covariances(self, params):
        return np.broadcast_to(params.covariances, (self.n_components, *params.covariances.shape))

    def precisions(self, params):
        return params.precisions_cholesky @ params.precisions_cholesky.T

    def factors_of_precisions(self, precisions):
        return _factor_of_precision(precisions, None)

    def _component_factors(self, params):
        factor = params.precisions_cholesky
        return np.broadcast_to(factor, (self.n_components, *factor.shape))

    def _cancellation(self, params, about):
        terms = np.einsum("ki,ij,kj->k", about, np.abs(self.precisions(params)), about)
        return float(terms.max()) / about.shape[1]

    def _natural(self, params, means):
        quadratic = np.full(self.n_components, -0.5)
        return "norm", means @ self.precisions(params), quadratic, params.precisions_cholesky

    def _n_covariance_parameters(self, n_components, n_features):
        return n_features * (n_features + 1) // 2


class DiagonalGaussian(GaussianFamily):
    """Every component has its own variances, features are uncorrelated within components."""

    name = "diag"
    full_scatter = False

    def _covariances(self, stats, counts, shift):
        n = np.where(counts > 0, counts, 1.0)[:, None]
        return stats.second / n - shift**2 + self.reg_covar

    def factors_of(self, covariances):
        return _inverse_roots(covariances)

    def of_covariance(self, covariance):
        return diagonal_of(covariance) + self.reg_covar

    def component_covariances(self, params):
        return params.covariances[:, :, None] * np.eye(params.means.shape[1])

    def precisions(self, params):
        return params.precisions_cholesky**2

    def factors_of_precisions(self, precisions):
        return _roots(precisions)

    def _component_factors(self, params):
        return params.precisions_cholesky

    def _cancellation(self, params, about):
        return float((about**2 * self.precisions(params)).max())

    def _natural(self, params, means):
        precisions = self.precisions(params)
        return "square", precisions * means, -0.5 * precisions, None

    def _n_covariance_parameters(self, n_components, n_features):
        return n_components * n_features


class SphericalGaussian(GaussianFamily):
    """Every component has one variance for all features."""

    name = "spherical"
    full_scatter = False

    def _covariances(self, stats, counts, shift):
        n, d = np.where(counts > 0, counts, 1.0), shift.shape[1]
        trace = stats.second if stats.second.ndim == 1 else stats.second.sum(axis=1)
        return (trace / n - (shift**2).sum(axis=1)) / d + self.reg_covar

    def factors_of(self, covariances):
        return _inverse_roots(covariances)

    def of_covariance(self, covariance):
        return diagonal_of(covariance).mean() + self.reg_covar

    def component_covariances(self, params):
        return params.covariances[:, None, None] * np.eye(params.means.shape[1])

    def precisions(self, params):
        return params.precisions_cholesky**2

    def factors_of_precisions(self, precisions):
        return _roots(precisions)

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


#: The families by scikit-learn's ``covariance_type``.
GAUSSIAN_FAMILIES = {
    family.name: family
    for family in (FullGaussian, TiedGaussian, DiagonalGaussian, SphericalGaussian)
}


# --------------------------------------------------------------------------- matrices


def add_to_diagonal(matrices: np.ndarray, value: float) -> np.ndarray:
    """Copies of square matrices (last two axes) with `value` added to the diagonal."""
    return matrices + value * np.eye(matrices.shape[-1])


def diagonal_of(covariance: np.ndarray) -> np.ndarray:
    """Variances of a covariance matrix, or of its diagonal."""
    return np.diag(covariance) if covariance.ndim == 2 else covariance


def _precision_factor(covariance: np.ndarray, component: int | None) -> np.ndarray:
    """Upper triangular U with U U' the inverse of a covariance."""
    lower, failed = lapack.dpotrf(covariance, lower=1, clean=1)
    if failed == 0 and np.isfinite(lower).all():
        inverse, failed = lapack.dtrtri(lower, lower=1)
    if failed != 0 or not np.isfinite(lower).all():
        raise DegenerateComponentError(_degenerate(component))
    return np.ascontiguousarray(inverse.T)


def _factor_of_precision(precision: np.ndarray, component: int | None) -> np.ndarray:
    """Upper triangular U with U U' = precision."""
    # Reversing rows and columns turns the lower factor of the reversed matrix into an upper one.
    lower, failed = lapack.dpotrf(precision[::-1, ::-1], lower=1, clean=1)
    if failed != 0:
        which = "The shared precision" if component is None else f"Precision {component}"
        raise DegenerateComponentError(f"{which} in precisions_init is not positive definite.")
    return np.ascontiguousarray(lower[::-1, ::-1])


def _inverse_roots(variances: np.ndarray) -> np.ndarray:
    bad = ~(variances > 0)
    if bad.any():
        raise DegenerateComponentError(_degenerate(int(np.argwhere(bad)[0][0])))
    return 1.0 / np.sqrt(variances)


def _roots(precisions: np.ndarray) -> np.ndarray:
    if not (precisions > 0).all():
        raise DegenerateComponentError("Values of precisions_init must all be above zero.")
    return np.sqrt(precisions)


def _degenerate(component: int | None) -> str:
    which = (
        "The shared covariance" if component is None else f"The covariance of component {component}"
    )
    return (
        f"{which} is not positive definite: its rows lie in fewer dimensions than there are "
        "features, or are a single point. Try fewer components, a larger reg_covar, or drop "
        "constant and duplicate columns."
    )
