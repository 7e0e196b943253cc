"""Gaussian components that are nearest to many, in the mean, for several divergences.

Every function takes pooled components and a plan of shape (n_pooled, n_components), the mass that
each of them sends to each target, and gives the targets as parameters of a family: one covariance
a target, one for all, variances, or one variance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ._components import GaussianComponents, symmetric_root
from ._statistics import GaussianStatistics

__all__ = ["BARYCENTRES"]

TOL, MAX_ITER = 1e-10, 200  # relative change of covariances at which fixed points end


def moment_matched(family, components: GaussianComponents, plan, previous=None):
    """Nearest in the Kullback-Leibler divergence: the M-step, with components in place of rows."""
    return family.m_step(_statistics(components, plan, between=True), previous)


def parameter_average(family, components: GaussianComponents, plan, previous=None):
    """Averages of means and covariances, without the scatter between the means."""
    return family.m_step(_statistics(components, plan, between=False), previous)


def wasserstein_barycentre(family, components: GaussianComponents, plan, previous=None):
    """Nearest in the squared 2-Wasserstein distance.

    The fixed point of Alvarez-Esteban et al. (2016), every step of which comes nearer; in closed
    form where features are uncorrelated.
    """
    start = moment_matched(family, components, plan, previous)
    if not components.are_matrices:
        roots = _shares(family, plan).T @ components.roots
        return _with(family, start, start.means, [family.of_covariance(r) ** 2 for r in roots])
    covariances = []
    for share, used, S in _groups(family, plan, start if previous is None else previous):
        sources = components.covariances[used]
        for _ in range(MAX_ITER):
            root = symmetric_root(S)
            mean = np.tensordot(share, symmetric_root(root @ sources @ root), 1)
            half = np.linalg.solve(root, mean)  # S <- S^-1/2 mean^2 S^-1/2
            S, before = half @ half.T, S
            if np.abs(S - before).max() <= TOL * np.abs(S).max():
                break
        covariances.append(S)
    return _with(family, start, start.means, covariances)


def cauchy_schwarz_barycentre(family, components: GaussianComponents, plan, previous=None):
    """Nearest in the Cauchy-Schwarz divergence, a stationary point.

    Every step minimises a function that lies above the divergence and touches it: the
    log-determinants are replaced by their tangents, and d'(A + S)^-1 d by the value at the
    best way of dividing d between A and S. What is left is a quadratic equation for S.
    """
    params = moment_matched(family, components, plan, previous)
    if previous is not None:
        params = replace(previous, weights=params.weights)
    for _ in range(MAX_ITER):
        before = params
        params = _cauchy_schwarz_step(family, components, plan, params)
        change = np.abs(params.covariances - before.covariances).max()
        if change <= TOL * np.abs(params.covariances).max():
            break
    return params


#: Barycentres by the name of the divergence.
BARYCENTRES = {
    "kl": moment_matched,
    "w2": wasserstein_barycentre,
    "cauchy-schwarz": cauchy_schwarz_barycentre,
    "average": parameter_average,
}


def _cauchy_schwarz_step(family, components, plan, params):
    targets = family.components(params)
    d, matrices = components.n_features, components.are_matrices
    means = np.empty_like(params.means)
    linear = np.zeros((len(targets), d, d) if matrices else (len(targets), d))
    square = np.zeros_like(linear)
    for k, S in enumerate(targets.covariances):
        used = np.flatnonzero(plan[:, k])
        q, mu = plan[used, k], components.means[used]
        if matrices:
            inverse = np.linalg.inv(components.covariances[used] + S)
            linear[k] = np.tensordot(q, inverse, 1)
            means[k] = np.linalg.solve(linear[k], np.einsum("i,ijk,ik->j", q, inverse, mu))
            drawn = np.einsum("jk,ikl,il->ij", S, inverse, mu - means[k])
            square[k] = (drawn * q[:, None]).T @ drawn
        else:
            inverse = 1.0 / (components.covariances[used] + S)
            linear[k] = q @ inverse
            means[k] = (q @ (inverse * mu)) / linear[k]
            square[k] = q @ (S * inverse * (mu - means[k])) ** 2
    mass = plan.sum(axis=0)
    if family.per_component:
        linear, square = (_over(sums, mass) for sums in (linear, square))
    else:
        linear, square = linear.sum(axis=0)[None], square.sum(axis=0)[None]
        linear, square = linear / mass.sum(), square / mass.sum()
    covariances = [_quadratic_root(family, a, u) for a, u in zip(linear, square, strict=True)]
    return _with(family, params, means, covariances)


def _quadratic_root(family, a, u):
    """The positive S with S a S - S / 2 - u = 0, of the family's form."""
    if a.ndim == 2:
        root = symmetric_root(a)
        inside = np.eye(len(a)) / 16 + root @ u @ root
        half = np.linalg.solve(root, np.eye(len(a)) / 4 + symmetric_root(inside))
        S = np.linalg.solve(root, half.T)
        return 0.5 * (S + S.T)
    a, u = family.of_covariance(a), family.of_covariance(u)
    return (0.5 + np.sqrt(0.25 + 4 * a * u)) / (2 * a)


def _statistics(components: GaussianComponents, plan, between: bool) -> GaussianStatistics:
    """Statistics that the components would give if responsibilities were the plan."""
    counts = plan.sum(axis=0)
    means = (plan.T @ components.means) / np.where(counts > 0, counts, 1.0)[:, None]
    covariances = components.covariances
    second = np.tensordot(plan.T, covariances, 1)
    for k in range(len(counts) if between else 0):
        offset = components.means - means[k]
        weighted = offset * plan[:, k, None]
        second[k] += weighted.T @ offset if covariances.ndim == 3 else (weighted * offset).sum(0)
    total = float(counts.sum())
    return GaussianStatistics(total, 0.0, counts, np.zeros_like(means), second, means)


def _shares(family, plan: np.ndarray) -> np.ndarray:
    """Shares of the pooled components in each covariance, shape (n_pooled, n_covariances)."""
    if not family.per_component:
        plan = plan.sum(axis=1, keepdims=True)
    mass = plan.sum(axis=0)
    return plan / np.where(mass > 0, mass, 1.0)


def _groups(family, plan, params) -> Iterator[tuple]:
    """For each covariance: shares of the components that it is of, these, and where to start."""
    starts = params.covariances if family.per_component else params.covariances[None]
    for share, S in zip(_shares(family, plan).T, starts, strict=True):
        used = np.flatnonzero(share)
        yield share[used], used, S


def _over(sums: np.ndarray, mass: np.ndarray) -> np.ndarray:
    return sums / mass.reshape(-1, *(1,) * (sums.ndim - 1))


def _with(family, params, means, covariances: list):
    covariances = np.stack(covariances) if family.per_component else covariances[0]
    return family.params(params.weights, means, covariances)
