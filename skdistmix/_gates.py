"""Gates: shares of experts that are the same for all rows, or depend on them.

* :class:`ConstantGate`, the weights of stacking; with Bayes' rule they give the posterior.
* :class:`SoftmaxGate` (Jacobs, Jordan, Nowlan and Hinton 1991), a multinomial logistic regression,
  on side information or as an approximation of Bayes' rule on the rows themselves.
* :class:`GaussianGate` (Xu, Jordan and Hinton 1994), a Gaussian for each expert's region.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from ._experts import Experts
from ._seeding import params_from_responsibilities
from .families import CovariancePenalty, FullGaussian, Moments
from .families._base import LOG_OF_ZERO, logsumexp0

__all__ = [
    "ConstantGate",
    "GaussianGate",
    "SoftmaxGate",
    "column_moments",
    "fit_gaussian_gate",
    "fit_softmax_gate",
]

MAX_ITER, GRADIENT_TOL = 200, 1e-6


@dataclass(frozen=True)
class ConstantGate:
    """The same shares for all rows; attribute ``weights`` of shape (n_experts,)."""

    weights: np.ndarray

    def log_shares(self, X) -> np.ndarray:
        """Shape (n_experts, 1)."""
        log = np.full(len(self.weights), LOG_OF_ZERO)
        np.log(self.weights, out=log, where=self.weights > 0)
        return log[:, None]


@dataclass(frozen=True)
class SoftmaxGate:
    """Multinomial logistic shares.

    Attributes
    ----------
    intercept : ndarray of shape (n_experts,)
    coef : ndarray of shape (n_experts, n_columns)
    center, scale : ndarray of shape (n_columns,)
        Columns are taken from their means, in units of their standard deviations.
    """

    intercept: np.ndarray
    coef: np.ndarray
    center: np.ndarray
    scale: np.ndarray

    def log_shares(self, X) -> np.ndarray:
        """Shape (n_experts, n_rows)."""
        linear = self.coef @ ((X - self.center) / self.scale).T + self.intercept[:, None]
        return linear - logsumexp0(linear)


@dataclass(frozen=True)
class GaussianGate:
    """Shares proportional to a_m N(x; c_m, C_m); ``kernel`` is that of this mixture.

    Attributes: ``params``, with weights, means and covariances, and their ``kernel``.
    """

    kernel: object
    params: object

    def log_shares(self, X) -> np.ndarray:
        """Shape (n_experts, n_rows)."""
        log_joint = self.kernel.log_joint(X)
        return log_joint - logsumexp0(log_joint)


@dataclass(frozen=True)
class GateSums:
    """Sums over rows: weights, log-likelihood of the gate, and its gradient."""

    weight: float
    value: float
    gradient: np.ndarray

    def __add__(self, other: GateSums) -> GateSums:
        return GateSums(
            self.weight + other.weight, self.value + other.value, self.gradient + other.gradient
        )


def fit_softmax_gate(
    map_reduce: Callable, shards, experts: Experts, prior: ConstantGate, center, scale,
    n_features: int, on_context: bool,
) -> SoftmaxGate:  # fmt: skip
    """A softmax gate by maximum likelihood with a slight ridge.

    On side information u beside x: the log-likelihood of sum_m g_m(u) f_m(x), with the gradient of
    EM's M-step. On x: the cross-entropy against the experts' posterior by Bayes' rule.

    The ridge is that of one row against all: an expert that owns a value of u alone has no finite
    maximum without.
    """
    n, scale = len(experts.first), np.where(scale > 0, scale, 1.0)

    def gate_of(vector):
        table = vector.reshape(n, -1)
        return SoftmaxGate(table[:, 0], table[:, 1:], center, scale)

    def objective(vector):
        function = partial(
            _gate_sums, gate=gate_of(vector), experts=experts, prior=prior,
            n_features=n_features, on_context=on_context,
        )  # fmt: skip
        sums = map_reduce(function, shards, experts.kernel.block_rows)
        slopes = vector.reshape(n, -1).copy()
        slopes[:, 0] = 0.0
        value = sums.value - 0.5 * np.sum(slopes**2)
        gradient = sums.gradient - slopes
        return -value / sums.weight, -gradient.ravel() / sums.weight

    start = np.column_stack([prior.log_shares(None), np.zeros((n, len(scale)))])
    start[:, 0] = np.maximum(start[:, 0], -30.0)
    options = {"maxiter": MAX_ITER, "gtol": GRADIENT_TOL, "ftol": 1e-12}
    found = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    if found.nit >= MAX_ITER:
        warnings.warn(
            f"The gate did not converge in {MAX_ITER} iterations: its largest slope is still "
            f"{np.abs(found.jac).max():.2g} a row.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return gate_of(found.x)


def _gate_sums(blocks, gate, experts, prior, n_features, on_context):
    total = None
    for block in blocks:
        Z = np.asarray(block.X, dtype=np.float64)
        X, V = Z[:, :n_features], Z[:, n_features:] if on_context else Z
        log_f = experts.log_densities(experts.kernel.log_joint(X))
        log_g = gate.log_shares(V)
        w = np.ones(len(Z)) if block.weight is None else block.weight
        joint = log_f + (log_g if on_context else prior.log_shares(X))
        norm = logsumexp0(joint)
        wanted = np.exp(joint - norm)
        value = w @ (norm if on_context else (wanted * log_g).sum(axis=0))
        error = (wanted - np.exp(log_g)) * w
        slopes = error @ ((V - gate.center) / gate.scale)
        gradient = np.column_stack([error.sum(axis=1), slopes])
        part = GateSums(float(w.sum()), float(value), gradient)
        total = part if total is None else total + part
    return total


def fit_gaussian_gate(
    map_reduce: Callable, shards, experts: Experts, prior: ConstantGate, moments: Moments
) -> GaussianGate:
    """A Gaussian for the rows that Bayes' rule gives to each expert, in closed form."""
    # The penalty keeps the region of an expert that owns few rows from collapsing.
    family = FullGaussian(len(experts.first), prior=CovariancePenalty()).prepare(moments)
    posterior = ExpertPosterior(experts, prior)
    params = params_from_responsibilities(map_reduce, shards, family, posterior)
    return GaussianGate(family.kernel(params), params)


def column_moments(map_reduce: Callable, shards, first: int) -> Moments:
    """Moments of the columns of shards from one on."""
    return map_reduce(partial(_column_moments, first=first), shards)


def _column_moments(blocks, first):
    total = None
    for block in blocks:
        part = Moments.of_rows(block.X[:, first:], block.weight, False, 0)
        total = part if total is None else total + part
    return total


@dataclass(frozen=True)
class ExpertPosterior:
    """Responsibilities of the experts for the rows of a block, by Bayes' rule."""

    experts: Experts
    prior: ConstantGate

    def __call__(self, block) -> np.ndarray:
        """Shape (n_experts, n_rows)."""
        X = np.asarray(block.X, dtype=np.float64)
        log_f = self.experts.log_densities(self.experts.kernel.log_joint(X))
        joint = log_f + self.prior.log_shares(X)
        return np.exp(joint - logsumexp0(joint))
