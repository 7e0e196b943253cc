"""Lazy results for Dask collections: the same chunks, the same index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .._shards import as_shards, is_array, is_collection
from ._backend import single_threaded_blas

__all__ = ["lazy_rows"]


def lazy_rows(X, function: Callable):
    """``function(block)`` for the rows of a Dask collection, when its result is computed.

    Parameters
    ----------
    X : Dask array, DataFrame, delayed value or future
    function : callable
        Takes a block, returns an array with one entry (or one row) a row. It says with
        ``function.block_rows`` how many rows a block has, with ``function.empty`` what no rows
        give, and with ``function.name`` how a Series of the values is called.

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
    """``function`` of all blocks of a partition."""
    name = f"partition {block_info[0]['chunk-location'][0]}" if block_info else "a partition"
    shard = replace(as_shards([part])[0], name=name)
    with single_threaded_blas():
        blocks = shard.blocks(0, shard.n_rows, function.block_rows, check=True)
        parts = [function(block) for block in blocks]
    return np.concatenate(parts) if parts else function.empty


def _frame_of_part(part, function, partition_info=None):
    number = (partition_info or {}).get("number")
    info = None if number is None else {0: {"chunk-location": (number,)}}
    return _frame_of(rows_of_part(part, function, info), part.index, function)


def _frame_of(values, index, function):
    import pandas as pd

    if values.ndim == 1:
        return pd.Series(values, index=index, name=function.name)
    columns = [f"{function.name}_{k}" for k in range(values.shape[1])]
    return pd.DataFrame(values, index=index, columns=columns)
