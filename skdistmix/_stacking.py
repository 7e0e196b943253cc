"""Weights of mixtures by what they say of rows that they were not fitted to (stacking).

Smyth and Wolpert (1999): the density sum_m a_m f_m with the weights a that maximise the
log-likelihood of out-of-fold densities. A local model has seen no row of another shard; its own
rows are scored by two models, each fitted to one half of the shard and asked about the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls

from ._experts import Experts
from ._sampling import uniforms
from ._shards import Shard, Shards
from .families._base import logsumexp0

__all__ = ["OutOfFold", "half_of", "stacking_weights"]

TOL, MAX_ITER = 1e-6, 100  # the mean log-density can still gain so much
LEAST = 1e-9  # weight while weights are looked for
FOLD_STAGE = 2**32 + 1  # of random numbers, see _sampling


def half_of(shard: Shards, seed: int, half: int) -> Shards:
    """One of two random halves of a single shard."""
    (whole,) = shard
    weights = HalfWeights(
        whole.n_rows, 1, f"half {half} of {whole.name}", None,
        given=whole.weight, seed=seed, half=half,
    )  # fmt: skip
    return Shards([replace(whole, weight=weights)])


@dataclass(frozen=True)
class HalfWeights(Shard):
    """The weights of rows, set to zero for those of the other half."""

    given: np.ndarray | Shard | None = field(kw_only=True)
    seed: int = field(kw_only=True)
    half: int = field(kw_only=True)

    def read(self, start, stop):
        mine = (_halves(self.seed, range(start, stop)) == self.half).astype(np.float64)
        if self.given is not None:
            given = self.given
            part = given.read(start, stop) if isinstance(given, Shard) else given[start:stop]
            mine *= np.asarray(part, dtype=np.float64).reshape(-1)
        return mine


def _halves(seed: int, rows) -> np.ndarray:
    """The half, 0 or 1, that each row of a shard belongs to."""
    return (uniforms(seed, FOLD_STAGE, rows)[:, 0] < 0.5).astype(np.int64)


@dataclass(frozen=True)
class OutOfFold:
    """Log-densities of rows under models that were fitted without them.

    Attributes
    ----------
    experts : Experts
        One a shard.
    halves : list of tuple
        For each shard the kernels of the models fitted to its two halves.
    seeds : list of int
        By which the shards were halved.
    offsets : ndarray of shape (n_shards + 1,)
        Global index of each shard's first row.
    """

    experts: Experts
    halves: list
    seeds: list
    offsets: np.ndarray

    def __call__(self, block) -> np.ndarray:
        """Shape (n_experts, n_rows)."""
        X = np.asarray(block.X, dtype=np.float64)
        scores = self.experts.log_densities(self.experts.kernel.log_joint(X))
        rows = np.asarray(block.rows)
        shards = np.searchsorted(self.offsets, rows, side="right") - 1
        for m in np.unique(shards):
            mine = np.flatnonzero(shards == m)
            half = _halves(self.seeds[m], rows[mine] - self.offsets[m])
            for h in (0, 1):
                asked = mine[half == h]
                if len(asked):
                    scores[m, asked] = logsumexp0(self.halves[m][1 - h].log_joint(X[asked]))
        return scores


@dataclass(frozen=True)
class StackingSums:
    """Sums over rows: weights, log-density, and its first and second derivatives."""

    weight: float
    value: float
    gradient: np.ndarray  # (n_experts,)
    hessian: np.ndarray  # (n_experts, n_experts), with the sign turned

    def __add__(self, other: StackingSums) -> StackingSums:
        return StackingSums(
            self.weight + other.weight,
            self.value + other.value,
            self.gradient + other.gradient,
            self.hessian + other.hessian,
        )


def stacking_weights(map_reduce: Callable, shards: Shards, scores: OutOfFold) -> np.ndarray:
    """Weights on the simplex that maximise the mean log-density.

    The problem is concave. Newton's steps on the simplex (Kim, Carbonetto, Stephens and Anitescu
    2020) need a few passes; where one gains nothing, a step of EM is made instead.
    """
    visit = partial(_visit, map_reduce, shards, scores)
    n = len(scores.experts.first)
    weights, n_passes = np.full(n, 1.0 / n), 1
    sums = visit(weights)
    while n_passes < MAX_ITER:
        gradient, hessian = sums.gradient / sums.weight, sums.hessian / sums.weight
        if gradient.max() - 1.0 <= TOL:  # bounds what is still to gain
            break
        proposed = _newton(gradient, hessian)
        there, n_passes = visit(proposed), n_passes + 1
        if not there.value > sums.value:
            proposed = weights * gradient
            there, n_passes = visit(proposed), n_passes + 1
        weights, sums = proposed, there
    weights = np.where(weights > 2 * LEAST, weights, 0.0)
    return weights / weights.sum()


def _newton(gradient: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """Maximiser of the quadratic model over non-negative weights, scaled to the simplex.

    With a the present weights, hessian @ a is the gradient, so that a drops out of the model.
    """
    ridge = 1e-10 * np.trace(hessian) * np.eye(len(hessian))
    factor = cholesky(hessian + ridge)
    aim = solve_triangular(factor, 2.0 * gradient - 1.0, trans="T")
    weights, _ = nnls(factor, aim, maxiter=100 * len(gradient))
    # A weight of zero would leave rows that only this expert explains without any density.
    weights = np.maximum(weights / weights.sum(), LEAST)
    return weights / weights.sum()


def _visit(map_reduce, shards, scores, weights) -> StackingSums:
    function = partial(_sums, scores=scores, weights=weights)
    return map_reduce(function, shards, scores.experts.kernel.block_rows)


def _sums(blocks, scores, weights):
    total = None
    for block in blocks:
        log_density = scores(block)
        top = log_density.max(axis=0)
        density = np.exp(log_density - top)
        mixed = np.maximum(weights @ density, np.finfo(float).tiny)
        w = np.ones(len(mixed)) if block.weight is None else block.weight
        ratio = density / mixed
        value = float(w @ (np.log(mixed) + top))
        part = StackingSums(float(w.sum()), value, ratio @ w, (ratio * w) @ ratio.T)
        total = part if total is None else total + part
    return total
