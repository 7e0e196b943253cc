"""Landmarks: few rows that stand for many, and which of them are nearest to each row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from sklearn.cluster import kmeans_plusplus
from sklearn.utils.extmath import randomized_svd

from ._sampling import all_rows, bounded_sample
from ._shards import cut_rows

__all__ = ["LandmarkSample", "NearestLandmarks", "nearest_landmarks", "rows_at_once"]

ROWS_A_LANDMARK = 10  # landmarks, bandwidth and clusters come from a sample of so many rows each
FEWEST_SAMPLE_ROWS = 20_000
LANDMARK_ITER = 20  # Lloyd iterations: landmarks have to cover the rows, and no more
REDUCED_FEATURES = 32  # in which landmarks are looked for: they have only to cover the rows
GREEDY_DISTANCES = 2**21  # between rows and landmarks up to which greedy k-means++ is no burden
ROUNDING = 1e-6  # squared distances of rows in [-1, 1] below it are zero in single precision
SPARE = 1  # candidates for the nearest landmarks beyond those that are wanted
BLOCK_DISTANCES = 2**19  # distances held at once
MANY_NEIGHBORS = 12  # above which sorting is faster than searching the smallest again and again


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
        weight /= weight.mean()  # their unit is of no account
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
        if len(self.X) * n_landmarks <= GREEDY_DISTANCES:
            centers, _ = kmeans_plusplus(
                self.reduced, n_landmarks, sample_weight=self.weight, random_state=seed
            )
        else:
            centers = spread_rows(self.reduced, self.weight, n_landmarks, seed)
        labels = None
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
    bits, sign = rows.view(np.uint64), np.uint64(2**63)
    bits = np.where(bits & sign, ~bits, bits | sign).astype(">u8")  # in the order of the values
    as_bytes = bits.view(np.dtype((np.void, bits.itemsize * bits.shape[1]))).ravel()
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
