"""Lazy results for Dask collections: the same chunks, the same index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .._shards import Shard, as_shards, is_array, is_collection
from ._backend import single_threaded_blas

__all__ = ["VALUE_NAMES", "lazy_rows", "value_names"]

# What the values of a method are called where they need a name.
VALUE_NAMES = {"predict": "label", "predict_proba": "component", "score_samples": "log_density"}


def value_names(method: str, values: np.ndarray) -> list[str]:
    """A name for each column of what a method gives."""
    name = VALUE_NAMES[method]
    return [name] if values.ndim == 1 else [f"{name}_{k}" for k in range(values.shape[1])]


def lazy_rows(X, function: Callable):
    """``function(block)`` for the rows of a Dask collection, when its result is computed.

    Parameters
    ----------
    X : Dask array, DataFrame, delayed value or future
    function : callable
        Takes a block, returns an array with one entry (or one row) a row. It says with
        ``function.block_rows`` how many rows a block has, with ``function.empty`` what no rows
        give, with ``function.names`` what the values are called in a DataFrame, with
        ``function.columns`` which columns blocks must have (None if that is not known), and with
        ``function.check`` whether a missing value is an error.

    Returns
    -------
    Dask array for an array, Series or DataFrame for a DataFrame, otherwise a delayed array
    """
    empty = function.empty
    if is_array(X):
        X = X.rechunk({1: -1})
        wide = empty.ndim == 2
        return X.map_blocks(
            rows_of_part,
            function=function,
            dtype=empty.dtype,
            drop_axis=None if wide else 1,
            chunks=(X.chunks[0], (empty.shape[1],)) if wide else None,
            meta=empty,
        )
    if is_collection(X):
        return X.map_partitions(
            _frame_of_part, function=function, meta=_frame_of(empty, X._meta.index[:0], function)
        )
    import dask

    return dask.delayed(rows_of_part)(X, function)


def rows_of_part(part, function, block_info=None) -> np.ndarray:
    """``function`` of all blocks of a partition; Dask tells arrays which one it is."""
    number = block_info[0]["chunk-location"][0] if block_info else None
    return _values(part, function, number)


def _frame_of_part(part, function, partition_info=None):
    number = partition_info["number"] if partition_info else None
    return _frame_of(_values(part, function, number), part.index, function)


def _values(part, function, number: int | None) -> np.ndarray:
    name = "a partition" if number is None else f"partition {number}"
    shard = replace(as_shards([part])[0].on_host(), name=name)
    shard = _in_order(shard, function.columns)
    with single_threaded_blas():
        blocks = shard.blocks(0, shard.n_rows, function.block_rows, check=function.check)
        parts = [function(block) for block in blocks]
    return np.concatenate(parts) if parts else function.empty


def _in_order(shard: Shard, columns: tuple | None) -> Shard:
    """The shard with its columns in order; only here are those of a delayed DataFrame seen."""
    if columns is None or shard.columns is None or shard.columns == columns:
        return shard
    if sorted(map(str, shard.columns)) != sorted(columns):
        raise ValueError(
            f"{shard.name} has the columns {list(shard.columns)}, but the model was fitted to "
            f"{list(columns)}: the names must be the same."
        )
    return shard.with_columns(columns)


def _frame_of(values, index, function):
    import pandas as pd

    if values.ndim == 1:
        return pd.Series(values, index=index, name=function.names[0])
    return pd.DataFrame(values, index=index, columns=function.names)
