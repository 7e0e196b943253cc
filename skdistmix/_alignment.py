"""Matching the components of two mixtures."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment, linprog

__all__ = ["matching", "transport_distance"]


def matching(costs: np.ndarray) -> np.ndarray:
    """For each column the row that it is matched with, at the least total cost (Kuhn 1955).

    Parameters
    ----------
    costs : ndarray of shape (n, n)
        ``costs[i, j]`` of giving component i of one model the place of component j of the other.

    Returns
    -------
    ndarray of shape (n,)
        The order that puts the components of the one model in the places of the other.
    """
    rows, columns = linear_sum_assignment(costs)
    order = np.empty(len(columns), dtype=np.int64)
    order[columns] = rows
    return order


def transport_distance(a, b) -> float:
    """Least cost of moving the masses of one mixture's components to those of another.

    Moving a unit costs the distance of the means plus the Frobenius distance of the square roots
    of the covariances.

    Parameters
    ----------
    a, b : GaussianComponents
        The masses of each sum to one.
    """
    costs = np.linalg.norm(a.means[:, None] - b.means[None], axis=2)
    roots = a.roots[:, None] - b.roots[None]
    costs = costs + np.sqrt((roots.reshape(len(a), len(b), -1) ** 2).sum(axis=2))
    n, m = costs.shape
    sums = np.concatenate([np.kron(np.eye(n), np.ones(m)), np.tile(np.eye(m), n)]).reshape(
        n + m, n * m
    )
    masses = np.concatenate([a.weights / a.weights.sum(), b.weights / b.weights.sum()])
    solution = linprog(costs.ravel(), A_eq=sums[:-1], b_eq=masses[:-1], method="highs")
    return float(solution.fun)
