"""Random numbers that belong to rows, and random samples of rows.

A number is drawn from a counter-based generator keyed by (seed, stage) at the row's global index,
so the draws do not depend on how rows are cut into shards and blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from ._shards import cut_rows

__all__ = [
    "RowRace",
    "RowSample",
    "all_rows",
    "bounded_sample",
    "disjoint_samples",
    "uniforms",
]

# Stages of random numbers: rounds count up from 0, samples stand apart.
SAMPLE_STAGE = 2**32
SUBSET_STAGE = SAMPLE_STAGE + 1


def uniforms(seed: int, stage: int, rows, per_row: int = 1) -> np.ndarray:
    """Uniform numbers in (0, 1) that belong to rows, shape (len(rows), per_row).

    Parameters
    ----------
    seed, stage : int
        Key of the generator (Philox; Salmon et al. 2011).
    rows : range or increasing ndarray of int
        Global row indices.
    per_row : int
    """
    first, last = int(rows[0]), int(rows[-1]) + 1
    start, stop = first * per_row, last * per_row
    generator = np.random.Generator(np.random.Philox(counter=start // 4, key=[seed, stage]))
    numbers = generator.random(stop - start + start % 4)[start % 4 :].reshape(-1, per_row)
    if not isinstance(rows, range) and len(rows) < last - first:
        numbers = numbers[np.asarray(rows) - first]
    return np.maximum(numbers, 2.0**-60)


@dataclass(frozen=True)
class RowRace:
    """The `size` rows of smallest key; keys -log(u)/weight draw rows without replacement.

    Efraimidis and Spirakis (2006).
    """

    keys: np.ndarray  # (m,)
    X: np.ndarray  # (m, n_features)
    size: int

    @classmethod
    def run(cls, keys, X, size) -> RowRace:
        """The first `size` finishers of a block."""
        if len(keys) > size:
            ahead = np.argpartition(keys, size - 1)[:size]
            keys, X = keys[ahead], X[ahead]
        order = np.argsort(keys, kind="stable")
        return cls(keys[order], np.asarray(X[order], dtype=np.float64), size)

    def __add__(self, other: RowRace) -> RowRace:
        keys = np.concatenate([self.keys, other.keys])
        return RowRace.run(keys, np.concatenate([self.X, other.X]), self.size)


@dataclass(frozen=True)
class RowSample:
    """Some rows and their weights."""

    X: np.ndarray
    weight: np.ndarray

    @cached_property
    def shards(self):
        """The rows as shards: one object, so that those who have the same sample share sweeps."""
        return cut_rows(self.X, 1).with_weights(self.weight)

    def __add__(self, other: RowSample) -> RowSample:
        return RowSample(
            np.concatenate([self.X, other.X]), np.concatenate([self.weight, other.weight])
        )


def bounded_sample(map_reduce: Callable, shards, moments, size: int, seed: int):
    """Shards themselves if they are small, otherwise about `size` random rows of them in memory.

    Rows are drawn in proportion to their weights; one that is heavier than its share of the sample
    is always drawn, and keeps the excess as its weight.
    """
    if moments.n_rows <= 2 * size:
        return shards
    unit = moments.weight / size
    sample = map_reduce(partial(_sample, unit=unit, seed=seed), shards)
    if len(sample.X) == 0:
        return shards
    return sample.shards


def _sample(blocks, unit, seed):
    total = None
    for block in blocks:
        share = np.ones(len(block.X)) / unit if block.weight is None else block.weight / unit
        keep = np.flatnonzero(uniforms(seed, SAMPLE_STAGE, block.rows)[:, 0] < share)
        X = np.asarray(block.X[keep], dtype=np.float64)
        part = RowSample(X, np.maximum(share[keep], 1.0))
        total = part if total is None else total + part
    return total


def disjoint_samples(
    map_reduce: Callable, shards, moments, size: int, n_samples: int, seed: int
) -> list[RowSample]:
    """Several random samples of about `size` rows each, in one pass.

    A row of weight w has the expected weight a = size * w / (sum of weights) in each sample. In
    sample j it has the weight floor(u + (j + 1) a) - floor(u + j a) with one uniform number u of
    its own (systematic sampling, Madow 1949): a light row is in one sample at most, and a heavy
    one is spread evenly. Sizes vary as binomial counts do.
    """
    unit = moments.weight / size
    draw = partial(_systematic, unit=unit, n_samples=n_samples, seed=seed)
    return list(map_reduce(draw, shards).samples)


@dataclass(frozen=True)
class RowSamples:
    """Samples that grow side by side."""

    samples: tuple[RowSample, ...]

    def __add__(self, other: RowSamples) -> RowSamples:
        return RowSamples(tuple(a + b for a, b in zip(self.samples, other.samples, strict=True)))


def _systematic(blocks, unit, n_samples, seed):
    total = None
    for block in blocks:
        share = np.ones(len(block.X)) / unit if block.weight is None else block.weight / unit
        start = uniforms(seed, SUBSET_STAGE, block.rows)[:, 0]
        drawn = np.flatnonzero(np.floor(start + n_samples * share) > 0)  # few: look at them alone
        start, share = start[drawn], share[drawn]
        samples = []
        for j in range(n_samples):
            copies = np.floor(start + (j + 1) * share) - np.floor(start + j * share)
            keep = np.flatnonzero(copies)
            X = np.asarray(block.X[drawn[keep]], dtype=np.float64)
            samples.append(RowSample(X, copies[keep]))
        part = RowSamples(tuple(samples))
        total = part if total is None else total + part
    return total


def all_rows(map_reduce: Callable, shards) -> RowSample:
    """All rows of positive weight, in their order."""
    return map_reduce(_whole, shards)


def _whole(blocks):
    parts = []
    for block in blocks:
        X = np.asarray(block.X, dtype=np.float64)
        parts.append(RowSample(X, np.ones(len(X)) if block.weight is None else block.weight))
    if not parts:
        return None
    return RowSample(
        np.concatenate([p.X for p in parts]), np.concatenate([p.weight for p in parts])
    )
