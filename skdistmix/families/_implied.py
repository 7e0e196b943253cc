"""What the parameters of a Gaussian mixture say of rows that are not at hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ._base import Moments
from ._components import GaussianComponents
from ._factors import nearest_covariances
from ._statistics import GaussianStatistics

__all__ = ["beside", "implied_moments", "implied_statistics"]


def implied_moments(family, params, full: bool) -> Moments:
    """See ``GaussianBase.implied_moments``."""
    spread = np.broadcast_to(family._variances(params), params.means.shape)
    if full:
        spread = family._component_covariances(params)
    return GaussianComponents(params.weights, params.means, spread).moments(1.0)


def implied_statistics(family, params, total: float) -> GaussianStatistics:
    """See ``GaussianBase.implied_statistics``."""
    weights = params.weights / params.weights.sum()
    params = _without_prior(family, params, total * weights)
    first, covariances = np.zeros_like(params.means), family._component_covariances(params)
    second = weights.reshape(-1, *(1,) * (covariances.ndim - 1)) * covariances
    return GaussianStatistics(1.0, 0.0, weights, first, second, params.means)


def _without_prior(family, params, counts):
    """Means and covariances of the rows themselves, before prior and regularisation."""
    means, covariances = params.means, params.covariances
    covariances = covariances - family._regularised(np.zeros_like(covariances))
    if family.prior_rows is not None:
        prior = family.prior_rows
        share = np.where(counts > 0, counts / (counts + prior.shrinkage + (counts == 0)), 1.0)
        means = prior.mean + (means - prior.mean) / share[:, None]
        drawn = family._outer(means - prior.mean, prior.shrinkage * share * (counts > 0))
        divisor = family.divisor(counts if family.per_component else counts.sum())
        scatter = covariances * beside(divisor + prior.count, covariances)
        covariances = (scatter - drawn - prior.scatter) / beside(divisor, covariances)
    covariances = nearest_covariances(covariances, family.has_matrices)
    return replace(params, means=means, covariances=covariances)


def beside(divisor, covariances) -> np.ndarray:
    """Divisors of covariances in a shape that broadcasts against them; one where there are none."""
    divisor = np.where(divisor > 0, divisor, 1.0)
    return divisor.reshape(divisor.shape + (1,) * (np.ndim(covariances) - divisor.ndim))
