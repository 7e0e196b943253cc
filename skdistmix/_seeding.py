"""Where EM starts: k-means||, k-means++, random rows, random or given responsibilities.

All of them are weighted and work over shards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.cluster import kmeans_plusplus as local_kmeans_plusplus

from ._em import maximise
from ._sampling import RowRace, uniforms
from ._shards import cut_rows
from ._sweeps import Sweep, run_alone

__all__ = [
    "kmeans_parallel",
    "kmeans_plusplus",
    "lloyd",
    "params_from_centers",
    "params_from_responsibilities",
    "random_rows",
]

OVERSAMPLING = 2.0  # candidates a round, in units of the number of clusters
N_ROUNDS = 5
N_RESTARTS = 4  # of the clustering of candidates, which costs next to nothing
CANDIDATE_ITER = 100  # Lloyd iterations on candidates


# --------------------------------------------------------------------------- k-means


def nearest(X: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centre of each row and the squared distance to it, both of shape (n_rows,)."""
    Z, C, square = _about_centers(X, centers)
    # Row-major here: argmin along the last axis is several times faster than along the first.
    part = Z @ (-2.0 * C.T)  # (n_rows, n_centers)
    part += square
    labels = part.argmin(axis=1)
    squared = part[np.arange(len(labels)), labels] + np.einsum("ij,ij->i", Z, Z)
    return labels, np.maximum(squared, 0.0, out=squared)


def squared_distance(X: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Squared distance of each row to its nearest centre, shape (n_rows,)."""
    Z, C, square = _about_centers(X, centers)
    part = (-2.0 * C) @ Z.T  # (n_centers, n_rows)
    part += square[:, None]
    squared = part.min(axis=0) + np.einsum("ij,ij->i", Z, Z)
    return np.maximum(squared, 0.0, out=squared)


def _about_centers(X, centers):
    """Rows and centres about the centres' mean, and the squared norms of the centres."""
    origin = centers.mean(axis=0)
    C = centers - origin
    return X - origin, C, np.einsum("kj,kj->k", C, C)


def random_rows(map_reduce: Callable, shards, size: int, seed: int, stage: int = 0) -> np.ndarray:
    """`size` rows drawn without replacement, with probability proportional to weight."""
    return map_reduce(partial(_race, size=size, seed=seed, stage=stage), shards).X


def _race(blocks, size, seed, stage, centers=None):
    winners = None
    for block in blocks:
        chance = np.ones(len(block.X)) if block.weight is None else block.weight
        if centers is not None:
            chance = chance * squared_distance(block.X, centers)
        with np.errstate(divide="ignore"):
            keys = -np.log(uniforms(seed, stage, block.rows)[:, 0]) / chance
        part = RowRace.run(keys, block.X, size)
        winners = part if winners is None else winners + part
    return winners


@dataclass(frozen=True)
class Candidates:
    """Cost of rows, and the rows that k-means|| may still draw.

    Drawing needs the cost of all rows, known only at the end of the pass. The cost of some rows
    is a lower bound, so every partial sum keeps a superset and drops more as it grows.
    """

    cost: float
    scores: np.ndarray  # u / (w d2); a row is drawn if its score is below expected / cost
    X: np.ndarray
    expected: float

    @classmethod
    def of(cls, cost, scores, X, expected) -> Candidates:
        """Keep the rows that the cost so far allows."""
        keep = scores < (expected / cost if cost > 0 else np.inf)
        return cls(cost, scores[keep], X[keep], expected)

    def __add__(self, other: Candidates) -> Candidates:
        return Candidates.of(
            self.cost + other.cost,
            np.concatenate([self.scores, other.scores]),
            np.concatenate([self.X, other.X]),
            self.expected,
        )


def _draw_candidates(blocks, centers, seed, stage, expected):
    total = None
    for block in blocks:
        chance = squared_distance(block.X, centers)
        if block.weight is not None:
            chance *= block.weight
        with np.errstate(divide="ignore"):
            scores = uniforms(seed, stage, block.rows)[:, 0] / chance
        X = np.asarray(block.X, dtype=np.float64)
        part = Candidates.of(float(chance.sum()), scores, X, expected)
        total = part if total is None else total + part
    return total


def kmeans_parallel(map_reduce: Callable, shards, n_clusters: int, seed: int) -> np.ndarray:
    """Centres by k-means|| (Bahmani, Moseley, Vattani, Kumar and Vassilvitskii 2012).

    The candidates of :func:`kmeans_candidates` are clustered by k-means++ and Lloyd's algorithm
    from several starts; the best is returned.

    Returns
    -------
    ndarray of shape (n_clusters, n_features)
    """
    candidates, counts = kmeans_candidates(map_reduce, shards, n_clusters, seed)
    runs = cluster_candidates(map_reduce, candidates, counts, n_clusters, seed, N_RESTARTS)
    return min(runs, key=lambda run: run[1])[0]


def kmeans_candidates(map_reduce: Callable, shards, n_clusters: int, seed: int) -> tuple:
    """Rows that represent all rows, and the weight of the rows nearest to each.

    Five rounds draw about ``2 * n_clusters`` rows each, in proportion to their weighted squared
    distance to the rows drawn before. Small data are all candidates.
    """
    expected = OVERSAMPLING * n_clusters
    if shards.n_rows <= 4 * expected * N_ROUNDS:
        centers = random_rows(map_reduce, shards, shards.n_rows, seed)
    else:
        centers = random_rows(map_reduce, shards, 1, seed)
        stage = 0
        while stage < N_ROUNDS or (len(centers) < n_clusters and stage < 20 * N_ROUNDS):
            stage += 1
            draw = partial(
                _draw_candidates, centers=centers, seed=seed, stage=stage, expected=expected
            )
            drawn = map_reduce(draw, shards)
            if drawn.cost == 0.0:
                break
            centers = np.concatenate([centers, drawn.X])
    counts = assign(map_reduce, shards, centers).counts
    return centers[counts > 0], counts[counts > 0]


def cluster_candidates(
    map_reduce: Callable, candidates, counts, n_clusters: int, seed: int, n_runs: int
) -> list[tuple[np.ndarray, float]]:
    """Centres and their cost by k-means++ and Lloyd's algorithm on weighted rows, a pair a run."""
    if len(candidates) <= n_clusters:
        return [(candidates, 0.0)] * n_runs
    rng = np.random.RandomState(seed % 2**32)
    shards = cut_rows(candidates, 1).with_weights(counts)
    runs = []
    for _ in range(n_runs):
        start, _ = local_kmeans_plusplus(
            candidates, n_clusters, sample_weight=counts, random_state=rng
        )
        runs.append(lloyd(map_reduce, shards, start, CANDIDATE_ITER))
    return runs


def kmeans_plusplus(map_reduce: Callable, shards, n_clusters: int, seed: int) -> np.ndarray:
    """Centres by k-means++ (Arthur and Vassilvitskii 2007): one pass over the data a centre."""
    centers = random_rows(map_reduce, shards, 1, seed)
    for stage in range(1, n_clusters):
        draw = partial(_race, size=1, seed=seed, stage=stage, centers=centers)
        centers = np.concatenate([centers, map_reduce(draw, shards).X])
    return centers


@dataclass(frozen=True)
class ClusterSums:
    """Weights and sums of the rows nearest to each centre, and their squared distances."""

    counts: np.ndarray
    sums: np.ndarray
    cost: float

    def __add__(self, other: ClusterSums) -> ClusterSums:
        return ClusterSums(
            self.counts + other.counts, self.sums + other.sums, self.cost + other.cost
        )


def assign(map_reduce: Callable, shards, centers: np.ndarray) -> ClusterSums:
    """One pass that gives every row to its nearest centre; sums are of x - centre."""
    return map_reduce(partial(_cluster_sums, centers=centers), shards)


def _cluster_sums(blocks, centers):
    total = None
    K = len(centers)
    for block in blocks:
        labels, squared = nearest(block.X, centers)
        w = np.ones(len(labels)) if block.weight is None else block.weight
        diff = (block.X - centers[labels]) * w[:, None]
        sums = np.stack([np.bincount(labels, column, minlength=K) for column in diff.T], axis=1)
        part = ClusterSums(np.bincount(labels, w, minlength=K), sums, float(w @ squared))
        total = part if total is None else total + part
    return total


def lloyd(map_reduce: Callable, shards, centers: np.ndarray, max_iter: int, tol: float = 1e-4):
    """Lloyd's algorithm; a centre that loses all rows stays.

    Parameters
    ----------
    tol : float
        Stop when the cost falls by a smaller share.

    Returns
    -------
    centers : ndarray of shape (n_clusters, n_features)
    cost : float
        Weighted sum of squared distances before the last update.
    """
    cost = np.inf
    for _ in range(max_iter):
        found = assign(map_reduce, shards, centers)
        centers = centers + found.sums / np.maximum(found.counts, 1e-300)[:, None]
        done = cost - found.cost <= tol * found.cost
        cost = found.cost
        if done:
            break
    return centers, cost


# --------------------------------------------------------------------------- first parameters


def params_from_centers(map_reduce: Callable, shards, family, centers: np.ndarray):
    """Parameters of the rows nearest to each centre (one pass)."""
    resp_of = NearestResponsibilities(centers)

    def steps():
        sweep_about = partial(_sweep, family, resp_of)
        stats = yield sweep_about(centers)
        return (yield from maximise(family, sweep_about, stats))

    return run_alone(map_reduce, shards, steps())


def params_from_responsibilities(map_reduce: Callable, shards, family, resp_of: Callable):
    """Parameters from responsibilities (two passes: means, then sums about these means, if any).

    ``resp_of(block)`` gives an array of shape (n_components, n_rows).
    """

    def steps():
        sweep_about = partial(_sweep, family, resp_of)
        overall = np.broadcast_to(family.moments.mean, (family.n_components, shards.n_features))
        stats = yield sweep_about(overall)
        centers = family.centers(stats)
        if centers is not None:
            stats = yield sweep_about(centers)
        return (yield from maximise(family, sweep_about, stats))

    return run_alone(map_reduce, shards, steps())


def _sweep(family, resp_of, anchors) -> Sweep:
    return Sweep(partial(_statistics, family=family, resp_of=resp_of, anchors=anchors))


def _statistics(blocks, family, resp_of, anchors):
    total = None
    for block in blocks:
        # a family's own squares of short floats would lose half of their digits
        X = block.X if family.takes_foreign else np.asarray(block.X, dtype=np.float64)
        part = family.statistics(X, block.weight, resp_of(block), anchors)
        total = part if total is None else total + part
    return total


def one_hot(labels: np.ndarray, n_components: int) -> np.ndarray:
    """Responsibilities of hard labels, shape (n_components, n_rows)."""
    return (np.arange(n_components)[:, None] == labels).astype(np.float64)


@dataclass(frozen=True)
class NearestResponsibilities:
    """Hard labels: the nearest centre."""

    centers: np.ndarray

    def __call__(self, block) -> np.ndarray:
        return one_hot(nearest(block.X, self.centers)[0], len(self.centers))


@dataclass(frozen=True)
class RandomResponsibilities:
    """Uniform random responsibilities, normalised in each row."""

    n_components: int
    seed: int

    def __call__(self, block) -> np.ndarray:
        resp = uniforms(self.seed, 0, block.rows, self.n_components)
        return np.ascontiguousarray((resp / resp.sum(axis=1, keepdims=True)).T)


@dataclass(frozen=True)
class GivenResponsibilities:
    """Labels of shape (n_rows,) or responsibilities of shape (n_rows, n_components)."""

    values: np.ndarray
    n_components: int

    def __call__(self, block) -> np.ndarray:
        rows = block.rows
        picked = (
            self.values[rows.start : rows.stop] if isinstance(rows, range) else self.values[rows]
        )
        if picked.ndim == 1:
            return one_hot(picked, self.n_components)
        return np.ascontiguousarray(picked.T, dtype=np.float64)
