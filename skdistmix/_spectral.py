"""Landmark-based spectral clustering (Chen and Cai 2011): graphs of rows through few landmarks.

A row is linked to its nearest landmarks only, so the graph of n rows is a sparse matrix Z of n rows
and as many columns as there are landmarks. Its leading left singular vectors follow from the small
matrix Z'Z, a sum over rows, and those of rows never seen from the same right singular vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.linalg import eigh
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from scipy.sparse.linalg import ArpackNoConvergence, eigsh
from scipy.spatial.distance import cdist
from sklearn.utils.extmath import randomized_svd

from ._sampling import all_rows, bounded_sample
from ._seeding import assign, cluster_candidates, nearest
from ._shards import cut_rows

__all__ = [
    "LandmarkMap",
    "LandmarkSample",
    "SpectralDraw",
    "first_of_the_smallest",
    "spectral_draw",
]

ROWS_A_LANDMARK = 10  # landmarks, bandwidth and clusters come from a sample of so many rows each
FEWEST_SAMPLE_ROWS = 20_000
LANDMARK_ITER = 20  # Lloyd iterations: landmarks have to cover the rows, and no more
REDUCED_FEATURES = 32  # in which landmarks are looked for: they have only to cover the rows
ROUNDING = 1e-6  # squared distances of rows in [-1, 1] below it are zero in single precision
N_RUNS = 10  # of k-means on the embedding
SPARE = 2  # candidates for the nearest landmarks beyond those that are wanted
BLOCK_DISTANCES = 2**20  # distances held at once
MANY_NEIGHBORS = 12  # above which sorting is faster than searching the smallest again and again
BRIDGE = 0.1  # weight of a row added between pieces, of the rows of a landmark
SHORT = 1e-9
DENSE_LANDMARKS = 300  # up to which all eigenvalues are computed
NO_VARIANCE = 1e-10  # squared singular values below it are zero


@dataclass(frozen=True)
class LandmarkMap:
    """From rows to their places in the spectral embedding.

    Attributes
    ----------
    landmarks : ndarray of shape (n_landmarks, n_features)
    n_neighbors : int
        Landmarks that a row is linked to.
    bandwidth : float
        Squared distance at which the weight of a link falls to 1/e.
    projection : ndarray of shape (n_landmarks, n_components) or None
        Scaled right singular vectors.
    """

    landmarks: np.ndarray
    n_neighbors: int
    bandwidth: float
    projection: np.ndarray | None = None

    @property
    def block_rows(self) -> int:
        """Rows of a block."""
        return rows_at_once(len(self.landmarks))

    def links(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the nearest landmarks and the weights of the links, (n_rows, n_neighbors)."""
        which, squared = nearest_landmarks(X, self.landmarks, self.n_neighbors)
        return which, link_weights(squared, self.bandwidth)

    def embed(self, X: np.ndarray) -> np.ndarray:
        """Rows of the embedding, each of length 1, shape (n_rows, n_components)."""
        return embedded(*self.links(X), self.projection)


def rows_at_once(n_landmarks: int) -> int:
    return max(64, BLOCK_DISTANCES // n_landmarks)


# --------------------------------------------------------------------------- nearest landmarks


def nearest_landmarks(X, landmarks, n_neighbors: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest landmarks of each row and the squared distances, nearest first.

    Products of matrices find candidates; differences give their distances, so that these are the
    same in any block and accurate wherever the data lie.
    """
    origin = landmarks.mean(axis=0)
    C = landmarks - origin
    part = (X - origin) @ (-2.0 * C.T)
    part += np.einsum("kj,kj->k", C, C)  # (n_rows, n_landmarks)
    which = smallest(part, min(n_neighbors + SPARE, len(landmarks)))
    which.sort(axis=1)  # among equal distances the landmark of lower index
    squared = np.empty(which.shape)
    for j, column in enumerate(which.T):
        difference = X - landmarks[column]
        squared[:, j] = np.einsum("ij,ij->i", difference, difference)
    order = squared.argsort(axis=1, kind="stable")[:, :n_neighbors]
    return np.take_along_axis(which, order, 1), np.take_along_axis(squared, order, 1)


def smallest(values: np.ndarray, number: int) -> np.ndarray:
    """Columns of the smallest values of each row, (n_rows, number); overwrites the values."""
    if number >= values.shape[1]:
        return np.tile(np.arange(values.shape[1]), (len(values), 1))
    if number > MANY_NEIGHBORS:
        return np.argpartition(values, number - 1, axis=1)[:, :number]
    rows = np.arange(len(values))
    which = np.empty((len(values), number), dtype=np.intp)
    for j in range(number):
        which[:, j] = values.argmin(axis=1)
        values[rows, which[:, j]] = np.inf
    return which


def link_weights(squared: np.ndarray, bandwidth: float) -> np.ndarray:
    """Gaussian weights of links, which sum to 1 in each row, however far it is from all."""
    weights = np.exp((squared[:, :1] - squared) / bandwidth)
    return weights / weights.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class NearestLandmarks:
    """Nearest landmarks of blocks: indices and squared distances side by side."""

    landmarks: np.ndarray
    n_neighbors: int

    def __call__(self, block) -> np.ndarray:
        which, squared = nearest_landmarks(block.X, self.landmarks, self.n_neighbors)
        return np.concatenate([which, squared], axis=1)


# --------------------------------------------------------------------------- landmarks


@dataclass(frozen=True)
class LandmarkSample:
    """Distinct rows in memory that landmarks, bandwidth and clusters come from.

    Attributes
    ----------
    X : ndarray of shape (n_sample, n_features)
    weight : ndarray of shape (n_sample,)
    reduced : ndarray of shape (n_sample, at most REDUCED_FEATURES)
        The rows about their mean, in single precision, in the directions in which they vary most.
    distinct : ndarray of shape (m, n_features)
        Rows that have landmarks of their own where landmarks are very few.
    complete : bool
        Whether these are all rows.
    """

    X: np.ndarray
    weight: np.ndarray
    reduced: np.ndarray
    distinct: np.ndarray
    complete: bool

    @classmethod
    def of(cls, map_reduce: Callable, shards, moments, n_landmarks: int, seed: int):
        """A random sample for so many landmarks, or all rows if they are few."""
        size = max(FEWEST_SAMPLE_ROWS, ROWS_A_LANDMARK * n_landmarks)
        drawn = bounded_sample(map_reduce, shards, moments, size, seed)
        rows = all_rows(map_reduce, drawn)
        X, weight = distinct_rows(rows.X, rows.weight)
        reduced = reduced_rows(X - np.average(X, axis=0, weights=weight), seed)
        return cls(X, weight, reduced, moments.distinct, drawn is shards)

    def landmarks(self, map_rows: Callable, n_landmarks: int, seed: int) -> np.ndarray:
        """Centres of Lloyd's algorithm; fewer than asked for where rows repeat.

        Returns
        -------
        ndarray of shape (n_centers, n_features)
            Distinct, in no order.
        """
        shards = cut_rows(self.reduced, 1)
        centers, labels = spread_rows(self.reduced, self.weight, n_landmarks, seed), None
        for _ in range(LANDMARK_ITER):
            before = labels
            labels = map_rows(NearestOf(centers), shards, 2 * rows_at_once(len(centers)))[0]
            if before is not None and np.array_equal(before, labels):
                break
            # a centre that lost its rows is given up
            labels = np.unique(labels, return_inverse=True)[1]
            means = means_of(labels, self.weight)
            centers = (means @ self.reduced.astype(np.float64)).astype(np.float32)
        centers = means_of(labels, self.weight) @ self.X
        if len(centers) < len(self.distinct):
            centers = np.concatenate([centers, self.distinct])
        return np.unique(centers, axis=0)


def distinct_rows(X: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each row once, with the weight of all that equal it, in an order of their values alone.

    So what is drawn from few rows depends neither on their order nor on how often they are written.
    """
    rows = np.ascontiguousarray(X + 0.0)  # which has no -0.0: rows are compared as bytes
    as_bytes = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
    _, first, which = np.unique(as_bytes, return_index=True, return_inverse=True)
    return rows[first], np.bincount(which.ravel(), weight)


def reduced_rows(Z: np.ndarray, seed: int) -> np.ndarray:
    """Centred rows in single precision in the directions in which they vary most."""
    if min(Z.shape) > REDUCED_FEATURES:
        U, S, _ = randomized_svd(Z, REDUCED_FEATURES, n_iter=2, random_state=seed % 2**32)
        Z = U * S
    return (Z / (np.abs(Z).max() or 1.0)).astype(np.float32)


def spread_rows(X: np.ndarray, weight: np.ndarray, size: int, seed: int) -> np.ndarray:
    """At most `size` distinct rows, drawn in proportion to their squared distance to earlier ones.

    Like k-means++, but in rounds that draw an eighth of what is there already, all at once.
    """
    rng = np.random.default_rng(seed)
    square = np.einsum("ij,ij->i", X, X)
    squared = np.full(len(X), np.inf, dtype=X.dtype)
    drawn = new = rng.choice(len(X), 1, p=weight / weight.sum())
    while True:
        toward, block = -2 * X[new].T, rows_at_once(len(new))
        for a in range(0, len(X), block):
            part = X[a : a + block] @ toward
            part += square[new]
            np.minimum(
                squared[a : a + block],
                part.min(axis=1) + square[a : a + block],
                out=squared[a : a + block],
            )
        squared[new] = 0
        chance = weight * (squared > ROUNDING) * squared
        wanted = min(size - len(drawn), max(1, len(drawn) // 8), np.count_nonzero(chance))
        if wanted == 0:
            return X[drawn]
        with np.errstate(divide="ignore"):
            keys = -np.log(rng.random(len(X))) / chance
        new = np.argpartition(keys, wanted - 1)[:wanted]
        drawn = np.concatenate([drawn, new])


def means_of(labels: np.ndarray, weight: np.ndarray) -> csr_array:
    """The matrix that takes rows to the means of those of equal label."""
    total = np.bincount(labels, weight)
    shape = (len(total), len(labels))
    return csr_array((weight / total[labels], (labels, np.arange(len(labels)))), shape)


@dataclass(frozen=True)
class NearestOf:
    """The nearest of some centres, in the precision of these."""

    centers: np.ndarray

    def __call__(self, block) -> np.ndarray:
        part = block.X @ (-2 * self.centers.T)
        part += np.einsum("kj,kj->k", self.centers, self.centers)
        return part.argmin(axis=1)


# --------------------------------------------------------------------------- graph and embedding


def graph(which: np.ndarray, weights: np.ndarray, n_landmarks: int) -> csr_array:
    """Z, the links of rows to landmarks, shape (n_rows, n_landmarks)."""
    n_rows, n_neighbors = which.shape
    starts = np.arange(0, n_rows * n_neighbors + 1, n_neighbors)
    return csr_array((weights.ravel(), which.ravel(), starts), (n_rows, n_landmarks))


def gram_of(Z: csr_array, weight) -> csr_array:
    """Z'WZ, shape (n_landmarks, n_landmarks)."""
    left = Z if weight is None else Z.multiply(np.reshape(weight, (-1, 1))).tocsr()
    return csr_array(left.T @ Z)


def gram_sums(blocks, landmark_map: LandmarkMap):
    """Z'WZ of some blocks."""
    total = None
    for block in blocks:
        Z = graph(*landmark_map.links(block.X), len(landmark_map.landmarks))
        part = gram_of(Z, block.weight)
        total = part if total is None else total + part
    return total


def embedded(which, weights, projection) -> np.ndarray:
    """Rows times the projection, scaled to length 1."""
    Y = np.zeros((len(which), projection.shape[1]))
    for j in range(which.shape[1]):
        Y += weights[:, j, None] * projection[which[:, j]]
    length = np.sqrt(np.einsum("ij,ij->i", Y, Y))
    Y /= np.maximum(length, np.finfo(float).tiny)[:, None]
    return Y


def right_vectors(gram: csr_array, landmarks, n_components: int, seed: int):
    """Projection to the leading left singular vectors, and the squared singular values.

    Rows of Z sum to 1, so the sums of rows of the Gram matrix are the degrees of the landmarks.
    """
    degree = gram.sum(axis=1)
    gram = bridged(gram, landmarks, n_components, BRIDGE * degree.sum() / len(degree))
    degree = gram.sum(axis=1)
    scale = 1.0 / np.sqrt(degree)
    normalised = csr_array(gram.multiply(scale[:, None]).multiply(scale[None, :]))
    values, vectors = leading_eigenpairs(normalised, n_components, seed)
    values = np.clip(values, 0.0, 1.0)
    inverse = np.where(values > NO_VARIANCE, 1.0, 0.0) / np.sqrt(np.maximum(values, NO_VARIANCE))
    return scale[:, None] * vectors * inverse * np.sqrt(degree.sum()), values


def bridged(gram: csr_array, landmarks, n_components: int, weight: float) -> csr_array:
    """The Gram matrix with rows added between pieces of the graph, if it has too many.

    A graph of more pieces than clusters has no unique leading vectors. One row in the middle of
    each edge of the shortest tree that joins all pieces makes it one.
    """
    n_pieces, piece = connected_components(gram, directed=False)
    if n_pieces <= n_components:
        return gram
    length = cdist(landmarks, landmarks)
    length[piece[:, None] == piece] = SHORT * length.max()  # zero would be no edge
    tree = minimum_spanning_tree(length).tocoo()
    joins = piece[tree.row] != piece[tree.col]
    ends = np.stack([tree.row[joins], tree.col[joins]], axis=1)
    middle = graph(ends, np.full(ends.shape, 0.5), len(landmarks))
    return gram + gram_of(middle, np.full(len(ends), weight))


def leading_eigenpairs(matrix: csr_array, number: int, seed: int):
    """The largest eigenvalues, in falling order, and their vectors, of a symmetric matrix.

    Each piece of the graph is solved for itself: iterations from one start may overlook an
    eigenvalue that several pieces share, and 1 belongs to every piece.
    """
    n_pieces, piece = connected_components(matrix, directed=False)
    values, vectors = [], []
    for k in range(n_pieces):
        members = np.flatnonzero(piece == k)
        own = matrix[members][:, members]
        some, parts = _eigenpairs(own, min(number, len(members)), seed)
        whole = np.zeros((matrix.shape[0], len(some)))
        whole[members] = parts
        values.append(some)
        vectors.append(whole)
    values, vectors = np.concatenate(values), np.concatenate(vectors, axis=1)
    first = np.argsort(-values, kind="stable")[:number]
    vectors = vectors[:, first]
    largest = np.abs(vectors).argmax(axis=0)
    return values[first], vectors * np.sign(vectors[largest, np.arange(len(first))])


def _eigenpairs(matrix, number, seed):
    size = matrix.shape[0]
    if size > max(DENSE_LANDMARKS, 4 * number):
        start = np.random.default_rng(seed).random(size)
        with suppress(ArpackNoConvergence):  # all eigenvalues together then
            return eigsh(matrix, number, which="LA", v0=start, ncv=max(2 * number + 1, 40))
    return eigh(matrix.toarray(), subset_by_index=(size - number, size - 1))


# --------------------------------------------------------------------------- one draw, the best


@dataclass(frozen=True)
class SpectralDraw:
    """Clusters that one random draw of landmarks leads to.

    Attributes
    ----------
    landmark_map : LandmarkMap
    centers : ndarray of shape (n_clusters, n_components)
        Of the clusters, in the embedding.
    inertia : float
        Mean squared distance of the rows of the embedding to the nearest centre.
    eigenvalues : ndarray of shape (n_components,)
        Squared singular values of the graph, in falling order; the first is 1.
    """

    landmark_map: LandmarkMap
    centers: np.ndarray
    inertia: float
    eigenvalues: np.ndarray

    def labels(self, X: np.ndarray) -> np.ndarray:
        """The cluster of each row."""
        return nearest(self.landmark_map.embed(X), self.centers)[0]


def spectral_draw(
    map_reduce: Callable, map_rows: Callable, shards, sample: LandmarkSample, n_clusters: int,
    n_landmarks: int, n_neighbors: int, seed: int,
) -> SpectralDraw:  # fmt: skip
    """Cluster rows through one random draw of landmarks."""
    landmarks = sample.landmarks(map_rows, n_landmarks, seed)
    n_neighbors = min(n_neighbors, len(landmarks))
    function, here = NearestLandmarks(landmarks, n_neighbors), cut_rows(sample.X, 1)
    found = map_rows(function, here, rows_at_once(len(landmarks)))[0]
    linked, which = np.unique(found[:, :n_neighbors].astype(np.intp), return_inverse=True)
    landmarks, which = landmarks[linked], which.reshape(len(found), n_neighbors)
    squared = found[:, n_neighbors:]
    bandwidth = float(np.average(squared[:, -1], weights=sample.weight)) or 1.0
    weights = link_weights(squared, bandwidth)
    landmark_map = LandmarkMap(landmarks, n_neighbors, bandwidth)
    if sample.complete:
        gram = gram_of(graph(which, weights, len(landmarks)), sample.weight)
    else:
        function = partial(gram_sums, landmark_map=landmark_map)
        gram = map_reduce(function, shards, landmark_map.block_rows)
    projection, eigenvalues = right_vectors(gram, landmarks, n_clusters, seed)
    Y = embedded(which, weights, projection)
    runs = cluster_candidates(map_reduce, Y, sample.weight, n_clusters, seed, N_RUNS)
    centers = runs[first_of_the_smallest([cost for _, cost in runs])][0]
    weighted = cut_rows(Y, 1).with_weights(sample.weight)
    inertia = assign(map_reduce, weighted, centers).cost / sample.weight.sum()
    landmark_map = replace(landmark_map, projection=projection)
    return SpectralDraw(landmark_map, centers, float(inertia), eigenvalues)


def first_of_the_smallest(costs) -> int:
    """Index of the first cost that rounding cannot tell from the smallest."""
    costs = np.asarray(costs)
    return int(np.argmax(costs <= costs.min() * (1 + 1e-9) + 1e-12))
