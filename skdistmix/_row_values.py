"""Values of rows, in the form that the rows come in."""

from __future__ import annotations

import os
from collections.abc import Callable

from ._compute import Workers, lazy_rows
from ._shards import Shards, is_dask, is_sharded
from ._validation import validated_columns, validated_shards

__all__ = ["any_dask", "mapped", "row_values", "seen_shards"]


def row_values(estimator, X, function: Callable, n_jobs: int | None, on_host=False):
    """What a function of blocks gives for all rows of X.

    Parameters
    ----------
    estimator : estimator
        A fitted one, whose features X must have.
    X : what the package takes for rows
    function : callable
        As for :func:`skdistmix._compute.lazy_rows`.
    n_jobs : int or None
    on_host : bool
        Whether blocks are to be arrays of NumPy.

    Returns
    -------
    An array for an array, a list of them for a list or Shards, a generator of arrays, one a file,
    for a path or glob, and a lazy Dask collection for a Dask collection.
    """
    if any_dask(X):
        return _lazily(estimator, X, function)
    shards = seen_shards(estimator, X, on_host)
    if isinstance(X, (str, os.PathLike)):
        each = (shards[i : i + 1] for i in range(len(shards)))
        return (mapped(function, one, n_jobs)[0] for one in each)
    results = mapped(function, shards, n_jobs)
    return results if is_sharded(X) else results[0]


def any_dask(X) -> bool:
    """Whether X is a Dask collection, or a list with one in it."""
    return is_dask(X) or (isinstance(X, (list, tuple)) and any(is_dask(x) for x in X))


def seen_shards(estimator, X, on_host=False) -> Shards:
    """X as shards of the features that were seen in fit."""
    least = 0 if is_sharded(X) else 1
    return validated_shards(estimator, X, reset=False, min_rows=least, on_host=on_host)


def mapped(function: Callable, shards: Shards, n_jobs: int | None) -> list:
    """A list of arrays, one a shard."""
    with Workers(n_jobs) as workers:
        results = workers.map_rows(function, shards, function.block_rows, check=True)
    return [
        shard.returned(function.empty) if values is None else values
        for shard, values in zip(shards, results)
    ]


def _lazily(estimator, X, function):
    if isinstance(X, (list, tuple)):
        return [_lazily(estimator, x, function) for x in X]
    validated_columns(estimator, X)
    return lazy_rows(X, function)
