"""From what a user gives to shards: arrays, frames, lists, paths and globs."""

from __future__ import annotations

import glob
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
from sklearn.utils.validation import check_array

from .._arrays import is_foreign
from ._dask import (
    DaskShard,
    describe,
    is_collection,
    is_dask,
    is_delayed,
    is_future,
    partitions,
)
from ._device import device_shard
from ._files import PARQUET, is_zarr, is_zarr_folder, open_file, zarr_shards
from ._shard import ArrayShard, FrameShard, Shard, default_n_shards
from ._shards import Shards

__all__ = [
    "as_shards",
    "cut_rows",
    "dask_shards",
    "expanded",
    "is_frame",
    "is_sharded",
    "refuse_unusable",
]


def as_shards(X, n_shards: int | None = None, *, columns=None, client=None) -> Shards:
    """See data as a sequence of shards, without copying rows.

    Parameters
    ----------
    X : array-like, DataFrame, str, path, zarr array, Dask collection, list of these, or Shards
        A 2-D array, memmap or DataFrame is cut into row ranges, an open zarr array into its chunks.
        In a list or tuple whose elements are 2-D arrays, DataFrames, paths, futures, delayed
        values or shards, each element is one shard. A path, a folder or a glob pattern
        (``"data/part-*.parquet"``) gives one shard a file (``.npy``, ``.parquet``, ``.zarr``), in
        natural order of the names. Dask arrays and DataFrames give one shard a partition. Arrays
        of other libraries (PyTorch, CuPy) stay on their device. Nested plain lists are ordinary
        array-like input.
    n_shards : int, optional
        Number of row ranges an array is cut into; by default one per 1,000 rows, at least 1 and
        at most 8. Data that come in pieces are not cut again.
    columns : list of str, optional
        The columns that are features, and their order, where X has column names: parquet files,
        DataFrames and Dask DataFrames. By default all.
    client : distributed.Client, optional
        Where Dask partitions are to live; by default where they are already, or on the current
        client. They are loaded on the workers and stay there as long as the result is held.
        Without any client each partition is computed in this process when its rows are needed.

    Returns
    -------
    Shards

    Raises
    ------
    ValueError
        If nothing matches a path, a file is damaged or not a 2-D table of numbers, shards differ
        in their columns, or `n_shards` contradicts data in pieces.
    TypeError
        If an element is of no known kind.
    ImportError
        If a file needs a package that is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from skdistmix import as_shards
    >>> as_shards(np.zeros((5000, 3)))
    Shards(5 shards, 5000 rows, 3 features)
    >>> as_shards([np.zeros((10, 2)), np.zeros((7, 2))]).sizes
    [10, 7]
    """
    if n_shards is not None and (not isinstance(n_shards, (int, np.integer)) or n_shards < 1):
        raise ValueError(
            f"n_shards must be None or a whole number of at least 1, got {n_shards!r}."
        )
    if isinstance(columns, (str, bytes)):
        raise TypeError(f"columns must be a list of names, got {columns!r}: give [{columns!r}].")
    columns = None if columns is None else list(columns)
    if columns is not None and not 0 < len(set(columns)) == len(columns):
        raise ValueError(f"columns must name each feature once, got {columns}.")
    refuse_unusable(X)
    pieces = X if isinstance(X, (list, tuple)) else [X]
    if client is not None and not any(is_dask(piece) for piece in pieces):
        raise ValueError(
            "client is for Dask collections, futures and delayed values. Send rows that are in "
            "memory with client.scatter(list_of_arrays), or fit them within "
            "joblib.parallel_config('dask')."
        )
    if is_sharded(X):
        if isinstance(X, Shards):
            shards = X if columns is None else Shards(_with_columns(list(X), columns))
        else:
            shards = _from_pieces(X, columns, client)
        if n_shards is not None and n_shards != len(shards):
            raise ValueError(
                f"n_shards={n_shards}, but X comes in {len(shards)} pieces, which are not cut "
                "again. Leave n_shards=None for data in pieces."
            )
        return shards
    if is_zarr(X):
        _with_columns([], columns)
        return Shards(zarr_shards(X, n_shards, _range_name))
    if not is_frame(X) and not is_foreign(X):
        X = check_array(X, dtype="numeric", ensure_all_finite=False)
    n_rows = X.shape[0] if X.shape else 0
    n_shards = n_shards or default_n_shards(n_rows)
    return Shards(_with_columns(list(cut_rows(X, n_shards)), columns))


def cut_rows(X, n_shards: int) -> Shards:
    """An array or DataFrame as `n_shards` contiguous row ranges of nearly equal size (views)."""
    if is_zarr(X):
        return Shards(zarr_shards(X, n_shards, _range_name))
    foreign = is_foreign(X)
    if n_shards == 1 or (foreign and X.ndim != 2):
        return Shards([_one_shard(X, "the data")])
    bounds = np.linspace(0, X.shape[0], n_shards + 1).astype(int).tolist()
    pieces = X.iloc if hasattr(X, "iloc") else X
    return Shards(
        [
            _one_shard(pieces[a:b, :] if foreign else pieces[a:b], _range_name(i, a, b - 1))
            for i, (a, b) in enumerate(pairwise(bounds))
        ]
    )


def _range_name(index: int, first: int, last: int) -> str:
    return f"shard {index} (rows {first} to {last})"


def is_sharded(X) -> bool:
    """Whether X comes in pieces: Shards, a path, Dask, or a list of 2-D arrays, frames, paths."""
    if isinstance(X, (Shards, Shard, str, os.PathLike)) or is_dask(X):
        return True
    if not isinstance(X, (list, tuple)) or len(X) == 0:
        return False
    return any(isinstance(x, (Shard, str, os.PathLike)) or is_dask(x) or _is_2d(x) for x in X)


def is_frame(X) -> bool:
    """Whether X is a DataFrame of pandas, polars or the like, held in memory."""
    if not all(hasattr(X, name) for name in ("__getitem__", "shape", "iloc")):
        return type(X).__name__ == "DataFrame" and hasattr(X, "columns") and hasattr(X, "shape")
    return hasattr(X, "columns")


def refuse_unusable(X) -> None:
    """One clear error for what is neither an array nor a sequence of shards."""
    once = isinstance(X, (dict, set, bytes, bytearray, Iterator)) and not hasattr(X, "shape")
    if once or type(X).__name__ == "LazyFrame":
        raise TypeError(
            f"X is a {type(X).__name__}, which has no rows or can be read only once. Give an "
            "array, a DataFrame, a path or glob of files, a Dask collection, or a list of these "
            "(one element a shard); for a generator list(X), for a LazyFrame X.collect()."
        )


def _is_2d(x) -> bool:
    return is_frame(x) or (hasattr(x, "dtype") and getattr(x, "ndim", 0) == 2)


def _from_pieces(X, columns, client) -> Shards:
    if is_dask(X):
        return dask_shards(X, client, columns)
    pieces = list(X) if isinstance(X, (list, tuple)) else [X]
    if any(is_dask(piece) for piece in pieces):
        collections = [p for p in pieces if not (is_future(p) or is_delayed(p))]
        if collections:
            raise TypeError(
                f"A list of {type(pieces[0]).__name__} and {type(collections[-1]).__name__}: next "
                "to futures and delayed values a list of shards can hold nothing else. Put Dask "
                "collections together with dask.array.concatenate or dask.dataframe.concat."
            )
        return dask_shards(pieces, client, columns)
    letters = len(pieces) > 1 and all(isinstance(p, str) and len(p) == 1 for p in pieces)
    if letters and not all(map(os.path.exists, pieces)):
        raise ValueError(
            f"X is the list of letters {pieces[:4]}, as a search makes it of a path: give the "
            "search as_shards(path), or a list of paths."
        )
    opened = []
    for piece in pieces:
        opened.extend(expanded(piece) if isinstance(piece, (str, os.PathLike)) else [piece])
    # A shard that a search has picked keeps the name it had, so messages stay true.
    shards = [
        _with_columns([piece], columns)[0]
        if isinstance(piece, Shard)
        else _one_shard(piece, f"shard {i}", columns)
        for i, piece in enumerate(opened)
    ]
    return Shards(_agree(shards))


def dask_shards(X, client, columns=None, n_columns: int | None = None) -> Shards:
    """The partitions of Dask collections, futures or delayed values as shards.

    With ``n_columns=1`` they hold one number a row.
    """
    if n_columns is None and is_collection(X) and X.ndim == 1:
        raise ValueError(f"Expected 2D array, got 1D Dask {type(X).__name__} instead.")
    parts, client = partitions(X, client)
    facts = describe(X, parts, client)
    one_shard = _one_column if n_columns == 1 else _one_shard
    shards = []
    for i, (part, fact) in enumerate(zip(parts, facts, strict=True)):
        name = f"partition {i}"
        if len(fact.shape) == 1 and n_columns == 1:
            fact = replace(fact, shape=(*fact.shape, 1))
        if n_columns == 1 and len(fact.shape) == 2 and fact.shape[1] != 1:
            raise ValueError(f"{name} of sample_weight has shape {fact.shape}: give one a row.")
        if len(fact.shape) != 2:
            raise ValueError(
                f"{name} is a {fact.kind} of shape {fact.shape}: a partition must be a 2-D array "
                "or a DataFrame."
            )
        kind = (
            np.dtype(fact.dtype.rpartition(".")[2]).kind
            if fact.columns is None and fact.dtype
            else "f"
        )
        if kind not in "fiub":
            raise ValueError(f"{name} holds values of dtype {fact.dtype}: expected numbers.")
        names = fact.columns if n_columns is None else None
        shards.append(
            DaskShard(*fact.shape, name, names, part=part, one_shard=one_shard, available=names)
        )
    return Shards(_agree(_with_columns(shards, columns)))


def expanded(path) -> list[str]:
    """The files a path, folder or glob stands for, in natural order (part-2 before part-10)."""
    path = os.fspath(path)
    if os.path.isdir(path) and not is_zarr_folder(path):
        return _files_of_folder(path) or [path]
    if not glob.has_magic(path) or os.path.exists(path):
        return [path]
    matches = glob.glob(path, recursive=True)
    found = [p for p in matches if os.path.isfile(p) or is_zarr_folder(p)]
    if not found:  # only folders, as writers of large tables leave them
        found = [file for folder in matches for file in _files_of_folder(folder)]
    if not found:
        raise ValueError(
            f"No file matches {path!r} (working directory {os.getcwd()!r}). "
            "Check the pattern, or give a list of paths."
        )
    return sorted(found, key=_natural)


def _natural(path: str) -> tuple:
    # The path itself decides between part-1 and part-01.
    return [int(t) if t.isdecimal() else t for t in re.split(r"(\d+)", path)], path


def _files_of_folder(folder: str) -> list[str]:
    """The .parquet or .npy files in a folder and those below, but for names that begin . or _."""
    found = []
    for where, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith((".", "_"))]
        found += [os.path.join(where, f) for f in files if not f.startswith((".", "_"))]
    kinds = [[p for p in found if p.endswith(ends)] for ends in (PARQUET, (".npy",))]
    if all(kinds):
        raise ValueError(
            f"The folder {folder!r} has both .parquet and .npy files: give a pattern such as "
            f"{os.path.join(folder, '*.npy')!r}."
        )
    return sorted(kinds[0] or kinds[1], key=_natural)


def _one_shard(piece, name: str, columns=None) -> Shard:
    if isinstance(piece, str):
        return open_file(piece, f"{name} ({piece})", columns)
    if is_zarr(piece):
        shard = replace(zarr_shards(piece, 1, _range_name)[0], name=name)
        return _with_columns([shard], columns)[0]
    if is_frame(piece):
        shard = FrameShard(*piece.shape, name, tuple(piece.columns), frame=piece)
        return _with_columns([shard], columns)[0]
    if is_foreign(piece):
        return _with_columns([device_shard(piece, name)], columns)[0]
    if not _is_2d(piece):
        shape = getattr(piece, "shape", "")
        raise ValueError(
            f"{name} is a {type(piece).__name__} {shape}: each element of a list of shards must be "
            "a 2-D array, a DataFrame, a path of a file or a shard."
        )
    if hasattr(piece, "toarray") or np.asarray(piece).dtype.kind not in "fiub":
        try:
            piece = check_array(
                piece, dtype="numeric", ensure_all_finite=False, ensure_min_samples=0
            )
        except (ValueError, TypeError) as error:
            raise type(error)(f"{name}: {error}") from error
    array = np.asarray(piece)
    if array.shape[1] == 0:
        raise ValueError(f"{name} has 0 feature(s) (shape={array.shape}): at least 1 is required.")
    shard = ArrayShard(array.shape[0], array.shape[1], name, None, array=array)
    return _with_columns([shard], columns)[0]


def _one_column(values, name: str, columns=None) -> Shard:
    return _one_shard(np.asarray(values).reshape(-1, 1), name)


def _with_columns(shards: list[Shard], columns) -> list[Shard]:
    """The same shards, of the chosen columns only."""
    if columns is None:
        return shards
    columns = tuple(columns)
    for shard in shards or [None]:
        there = getattr(shard, "available", None) or getattr(shard, "columns", None)
        if there is None:
            what = "The data" if shard is None else shard.name
            raise ValueError(
                f"{what} have no column names: columns={list(columns)} cannot be chosen."
            )
        absent = [c for c in columns if c not in there]
        if absent:
            raise ValueError(f"{shard.name} has no column(s) {absent}; it has {list(there)}.")
        twice = [c for c in columns if list(there).count(c) > 1]
        if twice:
            raise ValueError(f"{shard.name} has several columns of the name(s) {twice}.")
    return [shard.with_columns(columns) for shard in shards]


def _agree(shards: list[Shard]) -> list[Shard]:
    """Check that shards have the same columns, and bring frames to the first one's order."""
    if not shards:
        raise ValueError("X is an empty list: at least one shard is required.")
    first = shards[0]
    for shard in shards:
        if shard.library != first.library:
            raise ValueError(
                f"{first.name} holds rows of {first.library}, {shard.name} of {shard.library}: "
                "give all shards as arrays of one library."
            )
    if not all(shard.on_device for shard in shards):  # one device of several has no float64
        shards = [shard.on_host() for shard in shards]
    named = next((shard for shard in shards if shard.columns is not None), None)
    reordered = []
    for i, shard in enumerate(shards):
        if shard.columns is not None:
            if set(shard.columns) != set(named.columns):
                missing = sorted(map(str, set(named.columns) - set(shard.columns)))
                extra = sorted(map(str, set(shard.columns) - set(named.columns)))
                raise ValueError(
                    f"{shard.name} has other columns than {named.name}: missing {missing}, "
                    f"unexpected {extra}. All shards must have the same columns."
                )
            if shard.columns != named.columns:
                shards[i] = shard.with_columns(named.columns)
                reordered.append(shard.name)
        if shard.n_features != first.n_features:
            raise ValueError(
                f"{shard.name} has {shard.n_features} features, {first.name} has "
                f"{first.n_features}: all shards must have the same number of columns."
            )
    if reordered:
        more = f" and {len(reordered) - 3} more" if len(reordered) > 3 else ""
        warnings.warn(
            f"The columns of {', '.join(reordered[:3])}{more} are in another order than those of "
            f"{named.name}; they are read in the order of {named.name}.",
            UserWarning,
            stacklevel=4,
        )
    return shards
