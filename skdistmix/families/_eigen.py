"""Gaussian components whose covariances have parts in common: volume, shape or orientation.

A covariance is volume * axes diag(shape) axes', and each of the three is equal (E) for all
components, varies (V) between them, or is that of the identity (I): Banfield and Raftery (1993),
Celeux and Govaert (1995). Four of the fourteen models are the covariance types of scikit-learn; the
others are here. All M-steps follow from the same statistics, and the fit of a model to covariances
of rows is a function of :mod:`._shapes` or :mod:`._orientation`.

References
----------
Banfield, J. D. and Raftery, A. E. (1993). Model-based Gaussian and non-Gaussian clustering.
Biometrics 49, 803-821.

Celeux, G. and Govaert, G. (1995). Gaussian parsimonious clustering models. Pattern Recognition 28,
781-793.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from ._base import DegenerateComponentError
from ._factors import degenerate
from ._gaussian import DiagonalGaussian, FullGaussian, SphericalGaussian
from ._gaussian_base import GaussianParams
from ._implied import beside
from ._orientation import best_axes, shared_axes
from ._rotated import RotatedFeatureKernel, RotatedTriangularKernel
from ._shapes import (
    decomposition,
    equal_determinants,
    equal_volumes,
    geometric_means,
    own_axes,
    proportional,
    same_shape,
)

__all__ = [
    "EEIGaussian",
    "EEVGaussian",
    "EIIGaussian",
    "EVEGaussian",
    "EVIGaussian",
    "EVVGaussian",
    "ParsimoniousGaussian",
    "VEEGaussian",
    "VEIGaussian",
    "VEVGaussian",
    "VVEGaussian",
]

TRACE = 1e-14  # share of the rows with which a component that lost its own still counts
# What rounding may leave of covariances that share their axes or are proportional, relative.
SHARED = 1e-11
MAX_TERMS = 1e10  # of distances in coordinates that are rotated before a mean is subtracted


class ParsimoniousGaussian:
    """What the ten models share, as a mixin of the family with parameters of the same shapes.

    `reg_covar` is added to the covariances of the components' rows before the model is fitted to
    them, so that parameters are those of the model with it too. Where a covariance does not depend
    on other components that is the same as adding it afterwards.
    """

    independent = has_conjugate_prior = False

    @abstractmethod
    def fitted(self, shares, covariances, previous=None) -> np.ndarray:
        """Covariances of the model that maximise the likelihood.

        Parameters
        ----------
        shares : ndarray of shape (n_components,)
            Of the rows; positive.
        covariances : ndarray
            Of the rows of each component, in the shape of the parameters.
        previous : ndarray, optional
            Covariances of an M-step before, near which an iterative solution begins.
        """

    def m_step(self, stats, previous=None):
        counts, shift, means = self._centred(stats)
        scatter, rows = self._scatter(stats, counts, shift), self.divisor(counts)
        if self.prior_rows is not None:
            means, scatter, rows = self._with_prior(counts, means, scatter, rows)
        own = self._regularised(scatter / beside(rows, scatter))
        lost = counts == 0.0
        if lost.any():
            self._keep(lost, means, own, previous)
            rows = np.maximum(rows, TRACE * rows.sum())
        near = None if previous is None else previous.covariances
        covariances = self.fitted(rows / rows.sum(), own, near)
        factors = self.factors_of(covariances)
        return GaussianParams(self.shares(counts), means, covariances, factors)

    def params(self, weights, means, covariances):
        """Parameters of the model nearest to any covariances."""
        return super().params(weights, means, self._in_model(weights, covariances))

    def factors_of_precisions(self, precisions):
        given = super().covariances_of_factors(super().factors_of_precisions(precisions))
        return self.factors_of(self._in_model(np.ones(len(given)), given))

    def params_of_coordinates(self, vector, like):
        """As other families; points that are no parameters of the model are moved to the nearest.

        Coordinates are those of the family without anything in common, where combinations of points
        leave the model.
        """
        free = super().params_of_coordinates(vector, like)
        covariances = np.empty_like(free.covariances)
        for index in np.ndindex(vector.shape[:-1]):
            own = free.covariances[index]
            covariances[index] = self._in_model(free.weights[index], own, near=own)
        shape = like.covariances.shape
        flat = covariances.reshape(-1, *shape[1:])
        factors = self.factors_of(flat).reshape(covariances.shape)
        return GaussianParams(free.weights, free.means, covariances, factors)

    def _in_model(self, weights, covariances, near=None) -> np.ndarray:
        weights = np.maximum(weights, TRACE * weights.sum())
        return self.fitted(weights / weights.sum(), covariances, near)

    def score_kernel(self, params):
        raise NotImplementedError(
            f"Covariances of type {self.name!r} have no scores, and so their mixtures no standard "
            "errors from these: covariance_type 'full', 'tied', 'diag' and 'spherical' have. "
            "BLBMixture gives standard errors of all types by resampling."
        )


# --------------------------------------------------------------------------- uncorrelated features


class EIIGaussian(ParsimoniousGaussian, SphericalGaussian):
    """Spheres of one volume."""

    name = "EII"

    def fitted(self, shares, covariances, previous=None):
        return np.full(len(shares), shares @ covariances)

    def _n_covariance_parameters(self, n_components, n_features):
        return 1


class EEIGaussian(ParsimoniousGaussian, DiagonalGaussian):
    """One set of variances for all components."""

    name = "EEI"

    def fitted(self, shares, covariances, previous=None):
        return np.tile(shares @ covariances, (len(shares), 1))

    def factors_of(self, covariances):
        if not (np.asarray(covariances) > 0).all():
            raise DegenerateComponentError(degenerate(None))
        return super().factors_of(covariances)

    def _n_covariance_parameters(self, n_components, n_features):
        return n_features


class VEIGaussian(ParsimoniousGaussian, DiagonalGaussian):
    """Variances that are proportional."""

    name = "VEI"

    def fitted(self, shares, covariances, previous=None):
        return same_shape(shares, covariances, None if previous is None else previous[0])

    def _n_covariance_parameters(self, n_components, n_features):
        return n_components + n_features - 1


class EVIGaussian(ParsimoniousGaussian, DiagonalGaussian):
    """Variances of one product."""

    name = "EVI"

    def fitted(self, shares, covariances, previous=None):
        return equal_volumes(shares, covariances)

    def _n_covariance_parameters(self, n_components, n_features):
        return 1 + n_components * (n_features - 1)


# --------------------------------------------------------------------------- one set of coordinates


class SharedCoordinates(ParsimoniousGaussian):
    """Covariances that become diagonal in the same coordinates, which makes log-densities cheap."""

    @abstractmethod
    def coordinate_system(self, params) -> tuple | None:
        """Matrix R and the inverse deviations (K, d) of y = R'x; None if rounding is in the way."""

    def kernel(self, params, anchors=None):
        system = self.coordinate_system(params)
        center = self.moments.mean
        about = np.maximum(np.abs(params.means - center), np.sqrt(self.moments.variance))
        if system is None or not self._cancellation(params, about) <= MAX_TERMS:
            return super().kernel(params, anchors)
        log_norm = self._log_norm(params)
        if anchors is None and self._features_are_accurate(params):
            plain = self._feature_kernel(params)
            return RotatedFeatureKernel.of(plain, params.means, *system, log_norm)
        anchors, factors = params.means if anchors is None else anchors, params.precisions_cholesky
        return RotatedTriangularKernel(params.means, factors, log_norm, anchors, center, *system)


class VEEGaussian(SharedCoordinates, FullGaussian):
    """Covariances that are proportional."""

    name = "VEE"

    def fitted(self, shares, covariances, previous=None):
        return proportional(shares, covariances, None if previous is None else previous[0])

    def coordinate_system(self, params):
        factors, d = params.precisions_cholesky, params.means.shape[1]
        one = factors[0]
        roots = np.trace(factors, axis1=1, axis2=2) / np.trace(one)
        left = np.abs(factors - roots[:, None, None] * one).max(axis=(1, 2))
        if not (left <= SHARED * np.abs(factors).max(axis=(1, 2))).all():
            return None
        return one, np.repeat(roots[:, None], d, axis=1)

    def decomposition(self, params):
        axes = np.linalg.eigh(params.covariances[0])[1]
        return decomposition(params.covariances, params.precisions_cholesky, axes)

    def _n_covariance_parameters(self, n_components, n_features):
        return n_components - 1 + n_features * (n_features + 1) // 2


class CommonAxes(SharedCoordinates, FullGaussian):
    """Covariances with the same axes."""

    @staticmethod
    @abstractmethod
    def variances_of(shares, along) -> np.ndarray:
        """Variances of the model from those of rows along the axes, (n_components, n_features)."""

    def fitted(self, shares, covariances, previous=None):
        start = None if previous is None else shared_axes(previous)
        axes, variances = best_axes(shares, covariances, self.variances_of, start)
        return _with_axes(variances, axes)

    def coordinate_system(self, params):
        axes = shared_axes(params.covariances)
        turned = axes.T @ params.covariances @ axes
        roots = 1.0 / np.sqrt(np.diagonal(turned, axis1=1, axis2=2))
        left = np.abs(roots[:, :, None] * turned * roots[:, None, :] - np.eye(len(axes)))
        return (axes, roots) if left.max() <= SHARED else None

    def decomposition(self, params):
        axes = shared_axes(params.covariances)
        return decomposition(params.covariances, params.precisions_cholesky, axes)


class EVEGaussian(CommonAxes):
    """Covariances with the same axes and volume."""

    name = "EVE"
    variances_of = staticmethod(equal_volumes)

    def _n_covariance_parameters(self, n_components, n_features):
        d = n_features
        return 1 + n_components * (d - 1) + d * (d - 1) // 2


class VVEGaussian(CommonAxes):
    """Covariances with the same axes only."""

    name = "VVE"

    @staticmethod
    def variances_of(shares, along):
        geometric_means(along)  # refuses what is not positive
        return along

    def _n_covariance_parameters(self, n_components, n_features):
        return n_components * n_features + n_features * (n_features - 1) // 2


# --------------------------------------------------------------------------- axes of their own


class EEVGaussian(ParsimoniousGaussian, FullGaussian):
    """Covariances of one volume and shape, with axes of their own."""

    name = "EEV"

    def fitted(self, shares, covariances, previous=None):
        variances, axes = own_axes(covariances)
        return _with_axes(np.tile(shares @ variances, (len(shares), 1)), axes)

    def _n_covariance_parameters(self, n_components, n_features):
        return n_features + n_components * (n_features * (n_features - 1) // 2)


class VEVGaussian(ParsimoniousGaussian, FullGaussian):
    """Covariances of one shape, with volumes and axes of their own."""

    name = "VEV"

    def fitted(self, shares, covariances, previous=None):
        variances, axes = own_axes(covariances)
        return _with_axes(same_shape(shares, variances), axes)

    def _n_covariance_parameters(self, n_components, n_features):
        K, d = n_components, n_features
        return K + d - 1 + K * (d * (d - 1) // 2)


class EVVGaussian(ParsimoniousGaussian, FullGaussian):
    """Covariances of one volume that share nothing else."""

    name = "EVV"

    def fitted(self, shares, covariances, previous=None):
        return equal_determinants(shares, covariances)

    def _n_covariance_parameters(self, n_components, n_features):
        K, d = n_components, n_features
        return 1 + K * (d - 1) + K * (d * (d - 1) // 2)


def _with_axes(variances, axes) -> np.ndarray:
    """Matrices with given variances along given axes, exactly symmetric."""
    matrices = (axes * variances[:, None, :]) @ np.swapaxes(axes, -1, -2)
    return 0.5 * (matrices + matrices.transpose(0, 2, 1))
