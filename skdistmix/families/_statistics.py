"""Sums that the M-step of Gaussian mixtures needs, and how they are taken about anchors."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, fields, replace

import numpy as np

__all__ = ["AnchoredSums", "GaussianStatistics", "scratch"]

NEGLIGIBLE = 1e-16  # responsibilities below do not change a sum of float64


@dataclass(frozen=True)
class GaussianStatistics:
    """Sums over rows, weighted by responsibilities; adding two gives those of all rows.

    Attributes
    ----------
    weight : float
        Sum of row weights.
    log_likelihood : float
    counts : ndarray of shape (n_components,)
    first : ndarray of shape (n_components, n_features)
        Sums of x - anchor.
    second : ndarray of shape (n_components, n_features, n_features), (n_components, n_features), \
(n_components,) or None
        Sums of (x - anchor)(x - anchor)', their diagonals, their traces, or nothing.
    anchors : ndarray of shape (n_components, n_features)
        The same in all values that are added.
    """

    weight: float
    log_likelihood: float
    counts: np.ndarray
    first: np.ndarray
    second: np.ndarray | None
    anchors: np.ndarray

    def __add__(self, other: GaussianStatistics) -> GaussianStatistics:
        sums = (getattr(self, f.name) for f in fields(self)[:-1])
        others = (getattr(other, f.name) for f in fields(other)[:-1])
        added = (None if a is None else a + b for a, b in zip(sums, others, strict=True))
        return GaussianStatistics(*added, self.anchors)

    def scaled(self, factor: float) -> GaussianStatistics:
        """The statistics of rows whose weights are all multiplied by a factor."""
        sums = (getattr(self, f.name) for f in fields(self)[:-1])
        return GaussianStatistics(*(None if a is None else a * factor for a in sums), self.anchors)

    def about(self, anchors: np.ndarray) -> GaussianStatistics:
        """The same sums about other points; accurate if these are near the present anchors."""
        move, n = self.anchors - anchors, self.counts[:, None]  # x - b = (x - a) + (a - b)
        second = self.second
        if second is not None and second.ndim == 3:
            cross = self.first[:, :, None] * move[:, None, :]
            square = n[:, :, None] * move[:, :, None] * move[:, None, :]
            second = second + cross + cross.transpose(0, 2, 1) + square
        elif second is not None:
            added = 2 * self.first * move + n * move**2
            second = second + (added if second.ndim == 2 else added.sum(axis=1))
        return replace(self, first=self.first + n * move, second=second, anchors=anchors)


class AnchoredSums:
    """Adds up statistics about anchors from responsibilities, block by block.

    Only rows whose responsibility can change a sum are visited: in separated data that is about
    one component a row.
    """

    def __init__(self, anchors: np.ndarray, full: bool):
        K, d = anchors.shape
        self.anchors, self.full, self.weight = anchors, full, 0.0
        self.counts, self.first = np.zeros(K), np.zeros((K, d))
        self.second = np.zeros((K, d, d) if full else (K, d))

    def add(self, X: np.ndarray, weight: np.ndarray | None, resp: np.ndarray) -> None:
        """Add rows with responsibilities of shape (n_components, n_rows)."""
        self.weight += len(X) if weight is None else weight.sum()
        X = np.asarray(X, dtype=np.float64)
        for k, anchor in enumerate(self.anchors):
            rows = np.flatnonzero(resp[k] > NEGLIGIBLE)
            if len(rows) == 0:
                continue
            (diff,) = scratch((len(rows), X.shape[1]))
            if len(rows) == len(X):
                r = resp[k] if weight is None else resp[k] * weight
                np.subtract(X, anchor, out=diff)
            else:
                r = resp[k].take(rows)
                if weight is not None:
                    r *= weight.take(rows)
                X.take(rows, axis=0, out=diff, mode="clip")  # "raise" would buffer
                diff -= anchor
            root = np.sqrt(r)
            diff *= root[:, None]
            self.counts[k] += r.sum()
            self.first[k] += root @ diff
            if self.full:
                self.second[k] += diff.T @ diff  # half the work: BLAS sees the symmetry
            else:
                self.second[k] += np.einsum("ij,ij->j", diff, diff)

    def statistics(self, log_likelihood: float = 0.0) -> GaussianStatistics:
        """What has been added so far."""
        return GaussianStatistics(
            float(self.weight), log_likelihood, self.counts, self.first, self.second, self.anchors
        )


# --------------------------------------------------------------------------- work arrays


class _Buffer(threading.local):
    memory = np.empty(0)


_buffer = _Buffer()


def scratch(*shapes: tuple) -> list[np.ndarray]:
    """Uninitialised arrays in one buffer of this thread, valid until the next call in it.

    Work arrays of megabytes that are allocated anew are mapped anew: touching their pages takes
    longer than the arithmetic on them.
    """
    sizes = [math.prod(shape) for shape in shapes]
    if _buffer.memory.size < sum(sizes):
        _buffer.memory = np.empty(sum(sizes))
    arrays, at = [], 0
    for shape, size in zip(shapes, sizes, strict=True):
        arrays.append(_buffer.memory[at : at + size].reshape(shape))
        at += size
    return arrays
