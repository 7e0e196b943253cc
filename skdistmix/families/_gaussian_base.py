"""What Gaussian components of every covariance type share.

The M-steps are the maximum-likelihood ones (McLachlan and Peel 2000, section 3.2), computed from
sums about anchors: with n_k, s_k = sum of (x - a_k) and S_k = sum of (x - a_k)(x - a_k)', the mean
is a_k + s_k / n_k and the covariance S_k / n_k - (s_k / n_k)(s_k / n_k)'. With a prior they
maximise the posterior density (Fraley and Raftery 2007, section 3).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import solve_triangular

from ._barycentres import BARYCENTRES
from ._base import LOG_OF_ZERO, Family, Moments
from ._components import COSTS, GaussianComponents
from ._coordinates import coordinate_change, coordinates, params_of_coordinates
from ._gaussian_contract import GaussianContract
from ._implied import beside, implied_moments, implied_statistics
from ._information import Information, gaussian_information
from ._kernels import FeatureKernel, TriangularKernel
from ._many import em_of_many
from ._prior import ConjugatePrior, CovariancePenalty, PriorRows
from ._scores import ScoreKernel
from ._shapes import decomposition
from ._statistics import AnchoredSums, GaussianStatistics

__all__ = ["GaussianBase", "GaussianParams"]

MAX_CANCELLATION = 1e6  # terms of a sum against the sum, up to which raw products keep 10 digits
MAX_DIGITS_LOST = 1e8  # the same for second moments, which then keep 8 digits
EMPTY = 10 * np.finfo(float).eps  # share of all weight below which a component has no rows
LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class GaussianParams:
    """Parameters of a Gaussian mixture.

    Attributes
    ----------
    weights : ndarray of shape (n_components,)
    means : ndarray of shape (n_components, n_features)
    covariances, precisions_cholesky : ndarray
        (n_components, n_features, n_features), but (n_features, n_features) if tied,
        (n_components, n_features) if diagonal, (n_components,) if spherical. A precision is
        U U' with U upper triangular; diagonal and spherical ones are square roots.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    precisions_cholesky: np.ndarray


@dataclass(frozen=True)
class GaussianBase(GaussianContract, Family):
    """What all covariance types share.

    Parameters
    ----------
    n_components : int
    reg_covar : float
        Added to the diagonal of covariances.
    prior : ConjugatePrior, CovariancePenalty or None
    moments : Moments or None
        First-pass summary of the data, set by :meth:`prepare`.
    prior_rows : PriorRows or None
        What the prior adds to statistics, set by :meth:`prepare`.
    equal_weights : bool
        Whether all weights are one over the number of components.
    """

    n_components: int
    reg_covar: float = 0.0
    prior: ConjugatePrior | CovariancePenalty | None = None
    moments: Moments | None = None
    prior_rows: PriorRows | None = None
    equal_weights: bool = False

    #: `covariance_type` of the estimators.
    name = ""
    #: That of scikit-learn whose parameters have the same shapes.
    sklearn_name = ""
    #: Whether a ConjugatePrior is defined for these covariances.
    has_conjugate_prior = True
    #: Whether statistics need matrices of second moments.
    full_scatter = True

    #: Whether covariances are matrices.
    has_matrices = True
    #: The quadratic scores of a component, see ScoreKernel.
    quadratics = "outer"

    def prepare(self, moments):
        family = replace(self, moments=moments)
        rows = None if self.prior is None else self.prior.rows(family)
        return replace(family, prior_rows=rows)

    def statistics(self, X, weight, resp, anchors):
        sums = AnchoredSums(anchors, self.full_scatter)
        sums.add(X, weight, resp)
        return sums.statistics()

    def centers(self, stats):
        return stats.anchors + stats.first / _present(stats, absent=1.0)[:, None]

    def m_step(self, stats, previous=None):
        """Parameters from statistics; a component that lost all rows stays where it was.

        Raises
        ------
        DegenerateComponentError
            If a covariance is not positive definite.
        """
        counts, shift, means = self._centred(stats)
        scatter = self._scatter(stats, counts, shift)
        divisor = self.divisor(counts if self.per_component else counts.sum())
        if self.prior_rows is not None:
            means, scatter, divisor = self._with_prior(counts, means, scatter, divisor)
        covariances = self._regularised(scatter / beside(divisor, scatter))
        lost = counts == 0.0
        if lost.any():
            self._keep(lost, means, covariances, previous)
        factors = self.factors_of(covariances)
        return GaussianParams(self.shares(counts), means, covariances, factors)

    def shares(self, counts) -> np.ndarray:
        """Weights of components that stand for so many rows."""
        if self.equal_weights:
            return np.full(len(counts), 1.0 / len(counts))
        return counts / counts.sum()

    def with_weights(self, params, weights) -> GaussianParams:
        """Other weights, as far as they are free."""
        return GaussianParams(
            self.shares(weights), params.means, params.covariances, params.precisions_cholesky
        )

    def adopted(self, params) -> GaussianParams:
        """Parameters from elsewhere as ones of this family."""
        return self.with_weights(params, params.weights)

    def lost(self, stats) -> np.ndarray:
        """Whether components have no rows, shape (n_components,)."""
        return _present(stats, absent=0.0) == 0.0

    def _centred(self, stats) -> tuple:
        """Rows of each component, its mean about the anchor, and its mean."""
        counts = _present(stats, absent=0.0)
        shift = stats.first / np.where(counts == 0.0, 1.0, counts)[:, None]
        return counts, shift, stats.anchors + shift

    def _with_prior(self, counts, means, scatter, divisor) -> tuple:
        prior = self.prior_rows
        if prior.shrinkage > 0:
            share = counts / (counts + prior.shrinkage)
            scatter = scatter + self._outer(means - prior.mean, prior.shrinkage * share)
            means = prior.mean + share[:, None] * (means - prior.mean)
        return means, scatter + prior.scatter, divisor + prior.count

    def _keep(self, lost, means, covariances, previous) -> None:
        """Leave components without rows where they were, as far as no prior says where they are."""
        if self.prior_rows is None or self.prior_rows.shrinkage == 0:
            means[lost] = self.moments.mean if previous is None else previous.means[lost]
        if self.prior_rows is None and self.per_component:
            start = self.of_covariance(self.moments.covariance)
            covariances[lost] = start if previous is None else previous.covariances[lost]

    def log_prior(self, params):
        if self.prior_rows is None:
            return 0.0
        prior, precisions = self.prior_rows, self.precisions(params)
        off = self._outer(params.means - prior.mean, np.full(self.n_components, prior.shrinkage))
        squares = np.sum((prior.scatter + off) * precisions)
        return -0.5 * float(squares + prior.count * self._log_determinants(params))

    def expected(self, stats, params):
        counts, shift, means = self._centred(stats)
        about = self._scatter(stats, counts, shift) + self._outer(means - params.means, counts)
        squares = np.sum(about * self.precisions(params))
        return float(counts @ self._log_norm(params) - 0.5 * squares)

    has_coordinates = True

    def coordinates(self, params):
        return coordinates(self, params)

    def params_of_coordinates(self, vector, like):
        return params_of_coordinates(self, vector, like)

    def coordinate_change(self, params, change):
        return coordinate_change(self, params, change)

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

    def em_of_many(self, X, weights, points, like):
        return em_of_many(self, X, weights, points, like)

    def better_anchors(self, stats, params):
        """The new means, if sums about the old anchors lost too many digits of a covariance."""
        per_row = _present(stats, absent=np.inf)[:, None]
        if stats.second is None:  # sums about the overall mean, with the total scatter known
            squares = self.moments.variance + (stats.first / per_row) ** 2
        elif stats.second.ndim == 3:
            squares = np.diagonal(stats.second, axis1=1, axis2=2) / per_row
        else:
            squares = stats.second.reshape(len(per_row), -1) / per_row
        squares = np.broadcast_to(np.maximum(squares, 0.0), params.means.shape)
        own = np.broadcast_to(self._variances(params), params.means.shape)
        # A component may be flat in itself; other anchors help only against the distance to them.
        lost = self._cancellation(params, np.sqrt(squares))
        inherent = self._cancellation(params, np.sqrt(own))
        return params.means if lost > MAX_DIGITS_LOST * max(1.0, inherent) else None

    def permute(self, params, order):
        picked = [params.weights[order], params.means[order]]
        for values in (params.covariances, params.precisions_cholesky):
            picked.append(values[order] if self.per_component else values)
        return GaussianParams(*picked)

    def sample(self, params, counts, rng):
        drawn = []
        factors = self._component_factors(params)
        for mean, factor, count in zip(params.means, factors, counts, strict=True):
            white = rng.standard_normal((int(count), len(mean)))
            if factor.ndim == 2:  # (x - mean) U is white
                drawn.append(mean + solve_triangular(factor, white.T, trans="T").T)
            else:
                drawn.append(mean + white / factor)
        return np.vstack(drawn)

    def n_parameters(self):
        return self.n_parameters_of(self.moments.mean.size)

    def n_parameters_of(self, n_features: int) -> int:
        """The same before the family knows the data."""
        K = self.n_components
        n_weights = 0 if self.equal_weights else K - 1
        return n_weights + K * n_features + self._n_covariance_parameters(K, n_features)

    def implied_moments(self, params, full: bool = False) -> Moments:
        """The first two moments of the mixture itself, in place of those of some data."""
        return implied_moments(self, params, full)

    def implied_statistics(self, params, total: float = 1.0) -> GaussianStatistics:
        """Statistics of weight one that, scaled by `total`, give back the parameters in an M-step.

        Only nearly so if no rows could have given these parameters under the prior.
        """
        return implied_statistics(self, params, total)

    def params(self, weights, means, covariances) -> GaussianParams:
        """Parameters with the factors that belong to the covariances."""
        return GaussianParams(weights, means, covariances, self.factors_of(covariances))

    def decomposition(self, params) -> tuple:
        """Volumes, shapes and axes of the covariances, see ``_shapes.decomposition``."""
        return decomposition(self._component_covariances(params), self._component_factors(params))

    costs = tuple(COSTS)

    def components(self, params):
        covariances = np.array(self._component_covariances(params))
        return GaussianComponents(params.weights, params.means, covariances)

    def components_kernel(self, components):
        free = self.unconstrained(len(components))
        params = free.params(components.weights, components.means, components.covariances)
        return free.prepare(free.implied_moments(params)).kernel(params)

    def score_kernel(self, params) -> ScoreKernel:
        factors = self._component_factors(params)
        norm, shared = self._log_norm(params), not self.per_component
        return ScoreKernel(params.means, factors, norm, self.quadratics, shared)

    def information(self, params, sums) -> Information:
        return gaussian_information(self.score_kernel(params), params, sums, self.equal_weights)

    @abstractmethod
    def unconstrained(self, n_components: int) -> GaussianBase:
        """The family of components with matrices (or variances) that nothing ties together."""

    def distance(self, a, b, cost):
        return COSTS[cost](a, b)

    def barycentre(self, components, plan, cost, previous=None):
        plain = replace(self, reg_covar=0.0, prior=None, prior_rows=None)
        return BARYCENTRES[cost](plain, components, plan, previous)

    def covariances_of_factors(self, factors) -> np.ndarray:
        """Covariances from precisions_cholesky."""
        if not self.full_scatter:
            return 1.0 / factors**2
        inverse = np.linalg.inv(factors)
        return np.swapaxes(inverse, -1, -2) @ inverse

    # ------------------------------------------------------------- shared arithmetic

    #: Whether each component has a covariance of its own.
    per_component = True
    #: Whether this covariance depends on the component's own rows only.
    independent = True

    def _features_are_accurate(self, params) -> bool:
        offset = np.abs(params.means - self.moments.mean)
        about = np.maximum(offset, np.sqrt(self.moments.variance))
        return self._cancellation(params, about) <= MAX_CANCELLATION

    def _log_norm(self, params) -> np.ndarray:
        """log(weight) + log-density at the mean, shape (n_components,)."""
        factors = self._component_factors(params)
        if factors.ndim == 3:
            factors = np.diagonal(factors, axis1=1, axis2=2)
        log_weights = np.full(len(params.weights), LOG_OF_ZERO)
        np.log(params.weights, out=log_weights, where=params.weights > 0)
        return log_weights + np.log(factors).sum(axis=1) - 0.5 * LOG_2PI * factors.shape[1]

    def _feature_kernel(self, params) -> FeatureKernel:
        center = self.moments.mean
        products, linear, quadratic, whitening = self._natural(params, params.means - center)
        log_norm = self._log_norm(params)
        offset = np.einsum("kj,kj->k", linear, params.means - center)
        theta = np.column_stack([linear, log_norm - 0.5 * offset, quadratic])
        return FeatureKernel(products, center, theta, float(log_norm.max()), whitening)

    @abstractmethod
    def _scatter(self, stats: GaussianStatistics, counts, shift) -> np.ndarray:
        """Scatter about the means that statistics imply, in the shape of the covariances."""

    @abstractmethod
    def _outer(self, vectors, weights) -> np.ndarray:
        """weights[k] vectors[k] vectors[k]', in the shape of the covariances."""

    @abstractmethod
    def scatter_of(self, scatter) -> np.ndarray | float:
        """What one covariance of this type needs of a scatter matrix (or its diagonal)."""

    def divisor(self, rows):
        """What a scatter is divided by to be the covariance of so many rows."""
        return rows

    @abstractmethod
    def _regularised(self, covariances) -> np.ndarray:
        """Covariances with reg_covar added to their diagonals."""

    @abstractmethod
    def _log_determinants(self, params) -> float:
        """Sum of the log-determinants of the different covariances (log-variances if spherical)."""

    @abstractmethod
    def conjugate_count(self, dof: float, has_mean: bool) -> float:
        """What a conjugate prior adds to the divisor of a covariance."""

    @abstractmethod
    def factors_of(self, covariances) -> np.ndarray:
        """precisions_cholesky of covariances."""

    @abstractmethod
    def of_covariance(self, covariance) -> np.ndarray:
        """The covariance of this type nearest to a full covariance (or its diagonal)."""

    @abstractmethod
    def _variances(self, params) -> np.ndarray:
        """Variances of each component, shape (n_components, n_features) or (1, n_features)."""

    @abstractmethod
    def precisions(self, params) -> np.ndarray:
        """Inverses of the covariances, in the same shape."""

    @abstractmethod
    def factors_of_precisions(self, precisions) -> np.ndarray:
        """precisions_cholesky of given precisions."""

    @abstractmethod
    def _component_factors(self, params) -> np.ndarray:
        """Factors shaped (n_components, n_features, n_features) or (n_components, n_features)."""

    def _component_covariances(self, params) -> np.ndarray:
        """Covariances of all components: matrices, or (n_components, n_features) variances."""
        if self.full_scatter:
            K, d = params.means.shape  # of any mixture of this type, not only one of the family's K
            return np.broadcast_to(params.covariances, (K, d, d))
        return np.broadcast_to(self._variances(params), params.means.shape)

    @abstractmethod
    def _cancellation(self, params, about) -> float:
        """Largest size of the terms of x' precision x against the number of features, for rows
        `about` (n_components, n_features) away from where sums are taken."""

    @abstractmethod
    def _natural(self, params, means) -> tuple:
        """(products, precision @ means, quadratic coefficients, whitening) of a feature kernel."""

    @abstractmethod
    def _n_covariance_parameters(self, n_components: int, n_features: int) -> int: ...


def _present(stats, absent: float) -> np.ndarray:
    """Weights of the components, with `absent` for those that have no rows."""
    return np.where(stats.counts > EMPTY * stats.weight, stats.counts, absent)
