"""Functions of rows over every form of input: arrays in, arrays out, shard by shard."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .._compute import Workers, lazy_rows
from .._shards import is_dask, is_sharded
from .._validation import validated_columns, validated_shards

__all__ = ["RowFunction", "in_the_form_of", "mapped"]


@dataclass(frozen=True)
class RowFunction:
    """A function from the rows of a block to one entry, or row, for each."""

    function: Callable  # of an array of shape (n_rows, n_features)
    n_features: int
    columns: tuple | None  # names seen in fit
    names: list[str]  # of what it gives
    empty: np.ndarray  # what it gives for no rows
    block_rows: int

    check = True  # for missing values

    def __call__(self, block):
        if block.X.shape[1] != self.n_features:
            raise ValueError(
                f"X has {block.X.shape[1]} features, but the model was fitted to "
                f"{self.n_features} features."
            )
        return self.function(block.X)


def mapped(function: RowFunction, shards, workers: Workers) -> list:
    """One array a shard."""
    results = workers.map_rows(function, shards, function.block_rows, check=True)
    return [
        shard.returned(function.empty) if values is None else values
        for shard, values in zip(shards, results)
    ]


def in_the_form_of(X, estimator, function: RowFunction):
    """What the function gives for all rows: an array for an array, otherwise one a shard.

    A list for a list or Shards, a generator for a path or glob, and for Dask something lazy.
    """
    if is_dask(X):
        validated_columns(estimator, X)
        return lazy_rows(X, function)
    if isinstance(X, (list, tuple)) and any(is_dask(x) for x in X):
        return [in_the_form_of(x, estimator, function) for x in X]
    shards = validated_shards(estimator, X, reset=False, min_rows=0 if is_sharded(X) else 1)
    if isinstance(X, (str, os.PathLike)):
        return _one_by_one(function, shards, estimator.n_jobs)
    with Workers(estimator.n_jobs) as workers:
        results = mapped(function, shards, workers)
    return results if is_sharded(X) else results[0]


def _one_by_one(function, shards, n_jobs):
    for i in range(len(shards)):
        with Workers(n_jobs) as workers:
            values = mapped(function, shards[i : i + 1], workers)
        yield values[0]
