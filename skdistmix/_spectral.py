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
from scipy.linalg import cho_factor, cho_solve, eigh
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from scipy.spatial.distance import cdist

from ._landmarks import LandmarkSample, NearestLandmarks, nearest_landmarks, rows_at_once
from ._seeding import assign, cluster_candidates, nearest
from ._shards import cut_rows

__all__ = ["LandmarkMap", "SpectralDraw", "first_of_the_smallest", "spectral_draw"]

N_RUNS = 10  # of k-means on the embedding
BRIDGE = 0.01  # weight of a row added between pieces, of the rows of a landmark
SHORT = 1e-9
DENSE_LANDMARKS = 300  # up to which all eigenvalues are computed
FEW_RESTARTS = 30  # of Lanczos iterations, which are cheap where eigenvalues lie apart
SHIFT = 1e-7
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


# --------------------------------------------------------------------------- graph and embedding


def link_weights(squared: np.ndarray, bandwidth: float) -> np.ndarray:
    """Gaussian weights of links, which sum to 1 in each row, however far it is from all."""
    weights = np.exp((squared[:, :1] - squared) / bandwidth)
    return weights / weights.sum(axis=1, keepdims=True)


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
    each edge of the shortest tree that joins all pieces makes it one; the longer, the lighter.
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
    across = length[tree.row[joins], tree.col[joins]]
    return gram + gram_of(middle, weight * (across.min() / across) ** 2)


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
    if size <= max(DENSE_LANDMARKS, 4 * number):
        return eigh(matrix.toarray(), subset_by_index=(size - number, size - 1))
    start = np.random.default_rng(seed).random(size)
    options = {"v0": start, "ncv": max(2 * number + 1, 40)}
    with suppress(ArpackNoConvergence):
        return eigsh(matrix, number, which="LA", maxiter=FEW_RESTARTS, **options)
    # Along curves and sheets the eigenvalues crowd below 1; those of the inverse lie far apart.
    factor = cho_factor((1 + SHIFT) * np.eye(size) - matrix.toarray(), overwrite_a=True)
    inverse = LinearOperator((size, size), lambda x: cho_solve(factor, x), dtype=np.float64)
    values, vectors = eigsh(inverse, number, which="LA", **options)
    return 1 + SHIFT - 1 / values, vectors


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
