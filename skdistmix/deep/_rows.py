"""Rows on their way into a network: scaled, and in batches of random order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from .._shards import Shards
from .._shards._shard import check_finite

__all__ = ["Batches", "TrainingRows", "scale_of", "scaled"]

IN_MEMORY = 2**28  # bytes of float32 that are kept in memory, otherwise rows are read anew
CHUNK = 2**23  # bytes of float64 that are read at once
POOL = 8  # chunks that are mixed


def scale_of(shards: Shards) -> tuple[float, float]:
    """Smallest value of all rows and the range of values; the first read, which checks them.

    Raises
    ------
    ValueError
        If a value is missing or infinite.
    """
    low, high = np.inf, -np.inf
    for shard, start, X in _reads(shards):
        check_finite(X, shard, start)
        if X.size:
            low, high = min(low, float(X.min())), max(high, float(X.max()))
    return low, (high - low) or 1.0


def _reads(shards: Shards) -> Iterator[tuple]:
    for index, start, stop in _ranges(shards):
        yield shards[index], start, shards[index].read(start, stop)


def _ranges(shards: Shards) -> list[tuple[int, int, int]]:
    size = max(CHUNK // (8 * max(shards.n_features, 1)), 1)
    return [(i, a, b) for i, shard in enumerate(shards) for a, b in shard.ranges(size) if b > a]


def scaled(X: np.ndarray, shift: float, scale: float) -> np.ndarray:
    """(X - shift) / scale in float32; the difference is taken in float64."""
    scaled = np.subtract(X, shift, dtype=np.float64)
    scaled /= scale
    return scaled.astype(np.float32)


class TrainingRows(torch.utils.data.Dataset):
    """Rows of shards, scaled, for as many epochs as wanted.

    Rows are held in memory as float32 if that takes 256 MB or less. Otherwise every epoch reads
    them anew, in chunks of random order of which eight are mixed at a time; at no time are there
    more of them in memory.

    Parameters
    ----------
    shards : Shards
    shift, scale : float
        Rows are (X - shift) / scale.
    rng : numpy.random.Generator
        Of the order of rows.
    keep : ndarray of bool of shape (n_rows,), optional
        Rows that are used; None: all.
    """

    def __init__(self, shards: Shards, shift: float, scale: float, rng, keep=None):
        self.shards, self.shift, self.scale, self.rng = shards, shift, scale, rng
        self.keep = keep
        self._held = None
        if 4 * shards.n_rows * shards.n_features <= IN_MEMORY:
            parts = [X for _, X in self.chunks()]
            self._held = np.concatenate(parts) if len(parts) > 1 else parts[0]

    def __len__(self) -> int:
        return self.shards.n_rows if self.keep is None else int(np.count_nonzero(self.keep))

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(numbers of rows, rows) in order."""
        if self._held is not None:
            yield self._all_numbers, self._held
            return
        for one in _ranges(self.shards):
            yield self._read(*one)

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(numbers of rows, rows) in random order; no batch is much smaller than the others."""
        if self._held is not None:
            numbers = self._all_numbers
            for part in _even_parts(self.rng.permutation(len(numbers)), size):
                yield numbers[part], self._held[part]
            return
        numbers, X = np.empty(0, dtype=np.int64), np.empty((0, self.shards.n_features), np.float32)
        for more, rows in self._mixed():
            numbers, X = np.concatenate([numbers, more]), np.concatenate([X, rows])
            done = max(len(numbers) // size - 1, 0) * size  # the last batch waits for the end
            for first in range(0, done, size):
                yield numbers[first : first + size], X[first : first + size]
            numbers, X = numbers[done:], X[done:]
        for part in _even_parts(np.arange(len(numbers)), size):
            yield numbers[part], X[part]

    def _mixed(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        ranges = _ranges(self.shards)
        order = self.rng.permutation(len(ranges))
        for first in range(0, len(order), POOL):
            read = [self._read(*ranges[i]) for i in order[first : first + POOL]]
            numbers = np.concatenate([n for n, _ in read])
            mixed = self.rng.permutation(len(numbers))
            yield numbers[mixed], np.concatenate([X for _, X in read])[mixed]

    def _read(self, index: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        X = self.shards[index].read(start, stop)
        check_finite(X, self.shards[index], start)  # of a frozen autoencoder it is the first read
        X = scaled(X, self.shift, self.scale)
        numbers = np.arange(start, stop) + self.shards.offsets[index]
        if self.keep is None:
            return numbers, X
        kept = self.keep[numbers]
        return numbers[kept], X[kept]

    @property
    def _all_numbers(self) -> np.ndarray:
        return np.arange(self.shards.n_rows) if self.keep is None else np.flatnonzero(self.keep)


def _even_parts(order: np.ndarray, size: int) -> list[np.ndarray]:
    return np.array_split(order, max(-(-len(order) // size), 1)) if len(order) else []


class Batches:
    """What skorch iterates over: (inputs, targets) of batches on the device.

    Parameters
    ----------
    dataset : TrainingRows
    batch_size : int
    device : torch.device
    change : callable, optional
        Makes (inputs, targets) of a tensor of rows and the numbers of these rows. None: both are
        the rows.
    in_order : bool, default=False
        For held-out rows, which nobody needs to mix.
    """

    def __init__(self, dataset, batch_size=256, device="cpu", change: Callable | None = None,
                 in_order=False):  # fmt: skip
        self.dataset, self.batch_size, self.device = dataset, batch_size, device
        self.change, self.in_order = change, in_order

    def __iter__(self):
        for numbers, X in self._parts():
            rows = torch.from_numpy(X).to(self.device)
            yield (rows, rows) if self.change is None else self.change(rows, numbers)

    def _parts(self):
        if not self.in_order:
            yield from self.dataset.batches(self.batch_size)
            return
        for numbers, X in self.dataset.chunks():
            for first in range(0, len(X), self.batch_size):
                part = slice(first, first + self.batch_size)
                yield numbers[part], X[part]
