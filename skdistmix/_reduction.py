"""Many mixtures to one with fewer components: minimum composite transportation divergence.

The components of all mixtures are pooled. A mixture of K components is looked for whose masses
are free, so that the best plan sends every pooled component to its cheapest target; then each
target becomes the barycentre of what it was sent. This is k-means in the space of distributions
(Zhang and Chen 2022), and no step raises the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ._seeding import cluster_candidates, nearest
from .families import Family

__all__ = ["Reduction", "reduce_components", "starts_for"]

MAX_ITER = 200  # the assignments repeat after a few
# Greedy merging looks at all pairs of components, each of which takes the determinant of a matrix.
MAX_GREEDY, MAX_GREEDY_WORK = 500, 1.5e9
MAX_DESCENTS = 25  # starts that are followed to their end, the most promising ones
EQUAL = 1e-12
N_DRAWS = 5_000  # that k-means clusters for a start


@dataclass(frozen=True)
class Reduction:
    """A mixture with fewer components.

    Attributes
    ----------
    params : object
        Parameters of the family.
    targets : ndarray of shape (n_pooled,)
        The component that each pooled one was sent to.
    cost : float
        Composite transportation divergence: mean cost of the pooled components.
    n_iter : int
    """

    params: object
    targets: np.ndarray
    cost: float
    n_iter: int


def reduce_components(
    family: Family, pooled, starts: Iterable, cost: str = "kl", max_descents: int = MAX_DESCENTS
) -> Reduction:
    """The reduction of least cost among those that several starts lead to.

    Parameters
    ----------
    family : Family
        Of the reduced mixture, with its number of components.
    pooled : components
        With masses that sum to one.
    starts : iterable of params
    cost : str
        One of ``family.costs``.
    max_descents : int
        How many starts are followed; of more, those whose first plans cost least.
    """
    starts = list(starts)
    if len(starts) > max_descents:
        first = [_plan_cost(family, pooled, params, cost) for params in starts]
        starts = [starts[i] for i in np.sort(np.argsort(first, kind="stable")[:max_descents])]
    found = [descend(family, pooled, params, cost) for params in starts]
    # Starts often lead to the same mixture; rounding must not choose how it is numbered.
    least = min(reduction.cost for reduction in found)
    enough = least * (1 + 1e-9) + _rounding(pooled, cost)
    return next(reduction for reduction in found if reduction.cost <= enough)


def descend(family: Family, pooled, params, cost: str) -> Reduction:
    """Alternate the cheapest plan and barycentres until the plan repeats."""
    targets, n_iter, nothing = None, 0, _rounding(pooled, cost)
    while n_iter < MAX_ITER:
        n_iter += 1
        costs = family.distance(pooled, family.components(params), cost)
        before, (targets, value) = targets, _cheapest(pooled.weights, costs, nothing)
        if before is not None and np.array_equal(before, targets):
            break
        params = family.barycentre(pooled, _plan(pooled, targets, len(costs.T)), cost, params)
    return Reduction(params, targets, value, n_iter)


def starts_for(map_reduce: Callable, family: Family, pooled, local, cost: str, rng) -> list:
    """Where to start a reduction: local mixtures, clustered draws, and greedy merging.

    Parameters
    ----------
    map_reduce : callable
        For k-means on the draws; see ``Workers``.
    local : iterable of params
        Local mixtures with as many components as the family.
    rng : numpy.random.RandomState
    """
    K = family.n_components
    starts = list(local)
    n, d = len(pooled), pooled.n_features
    if n <= MAX_GREEDY and n**2 * d**3 <= MAX_GREEDY_WORK:
        groups = greedy_groups(pooled, K)
        starts.append(family.barycentre(pooled, _plan(pooled, groups, K), cost))
    plan = _plan_of_draws(map_reduce, family, pooled, K, rng)
    if plan is not None:
        starts.append(family.barycentre(pooled, plan, cost))
    return starts


def greedy_groups(components, n_groups: int) -> np.ndarray:
    """Groups left when the pair whose merging loses least is merged again and again.

    Runnalls (2007), with his bound of the loss. Returns labels of shape (n_components,).
    """
    n = len(components)
    labels, alive = np.arange(n), np.arange(n)
    costs = np.full((n, n), np.inf)
    for i in range(n - 1):  # a row at a time: all pairs of matrices at once would not fit
        rest = np.arange(i + 1, n)
        costs[i, rest] = components.merge_costs(np.full(len(rest), i), rest)
    while len(alive) > n_groups:
        i, j = np.unravel_index(np.argmin(costs), costs.shape)
        components = components.replaced(i, components.merged([i], [j]))
        labels[labels == j] = i
        alive = alive[alive != j]
        costs[j, :] = costs[:, j] = np.inf
        others = alive[alive != i]
        new = components.merge_costs(np.full(len(others), i), others)
        costs[np.minimum(i, others), np.maximum(i, others)] = new
    return np.searchsorted(alive, labels)


def _plan_of_draws(map_reduce, family: Family, pooled, n_components: int, rng) -> np.ndarray | None:
    """The plan by which draws of the pooled components fall into clusters; None if one is empty."""
    masses = pooled.weights / pooled.weights.sum()
    counts = np.maximum(np.round(masses * N_DRAWS).astype(int), 1)
    X = pooled.sample(counts, rng)
    seed = int(rng.randint(2**31 - 1))
    scale = np.maximum(X.std(axis=0), np.finfo(float).tiny)
    weight = np.repeat(masses / counts, counts)
    runs = cluster_candidates(map_reduce, X / scale, weight, n_components, seed, n_runs=1)
    labels, _ = nearest(X / scale, runs[0][0])
    source = np.repeat(np.arange(len(counts)), counts)
    plan = np.zeros((len(counts), n_components))
    np.add.at(plan, (source, labels), weight)
    return plan if (plan.sum(axis=0) > 0).all() else None


def _rounding(pooled, cost: str) -> float:
    """A cost between components that are equal but for rounding; squared distances have units."""
    return EQUAL * (pooled.moments(1.0).variance.sum() if cost == "w2" else pooled.n_features)


def _plan(pooled, targets: np.ndarray, n_components: int) -> np.ndarray:
    plan = np.zeros((len(targets), n_components))
    plan[np.arange(len(targets)), targets] = pooled.weights
    return plan


def _plan_cost(family: Family, pooled, params, cost: str) -> float:
    costs = family.distance(pooled, family.components(params), cost)
    return float(pooled.weights @ costs.min(axis=1))


def _cheapest(weights: np.ndarray, costs: np.ndarray, nothing: float) -> tuple[np.ndarray, float]:
    """Target of each pooled component and the cost of all; no target stays empty.

    An empty target takes the component that costs most where it is: there its cost is nothing.
    """
    targets = costs.argmin(axis=1)
    paid = weights * costs[np.arange(len(targets)), targets]
    counts = np.bincount(targets, minlength=costs.shape[1])
    for k in np.flatnonzero(counts == 0):
        movable = np.where(counts[targets] > 1, paid, -1.0)  # nobody leaves an empty place behind
        worst = int(np.argmax(movable))
        if not movable[worst] > nothing * weights[worst]:
            n_different = len(np.unique(targets))
            raise ValueError(
                f"The local models have only {n_different} different component(s) between them, "
                f"too few for n_components={costs.shape[1]}: ask for fewer, or for more components "
                "in the local models."
            )
        counts[[k, targets[worst]]] += (1, -1)
        targets[worst], paid[worst] = k, 0.0
    return targets, float(paid.sum())
