"""Predictions for data larger than memory, written to parquet as they are made."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from .._arrays import is_foreign, to_host
from .._compute import VALUE_NAMES, value_names
from .._shards import (
    Shard,
    Shards,
    as_shards,
    computed,
    is_collection,
    is_dask,
    is_sharded,
    read_rows,
)

__all__ = ["write_predictions"]


def write_predictions(model, X, path, method="predict", *, overwrite=False) -> list[str]:
    """Write what a fitted model says of each row to parquet files.

    Rows are read, predicted and written in pieces of bounded size. Files appear under their names
    only when all is written.

    Parameters
    ----------
    model : fitted estimator or Pipeline
        With the given method. It must take what :func:`skdistmix.as_shards` returns, as estimators
        of skdistmix do, and pipelines of them with :class:`skdistmix.preprocessing.Shardwise`; on
        Dask collections any estimator that gives lazy collections for these.
    X : array-like, DataFrame, zarr array, list, path, glob, Dask collection or Shards
        The rows, as for `fit`.
    path : str or path
        For rows in one piece the file to write. For data in pieces a folder, in which one file a
        piece is written: ``part-00000.parquet`` and so on, in the order of the pieces. On a Dask
        cluster its workers write there, so it must be a place that all of them see.
    method : {"predict", "predict_proba", "score_samples"}, default="predict"
        What is written: a column ``label``; columns ``component_0``, ``component_1`` and so on; or
        a column ``log_density``.
    overwrite : bool, default=False
        Whether an existing file or folder is replaced.

    Returns
    -------
    list of str
        The files, in the order of the pieces. Their rows are in the order of the rows of X.

    Raises
    ------
    FileExistsError
        If `path` exists and `overwrite` is not set, or is a folder that holds the files of X or
        anything that is no parquet file: it would be gone.
    ValueError
        If the method is not one of these, or rows cannot be used.
    ImportError
        If pyarrow is not installed.

    Examples
    --------
    >>> import numpy as np, os, tempfile
    >>> from skdistmix import DistributedGMM
    >>> from skdistmix.io import write_predictions
    >>> rng = np.random.default_rng(0)
    >>> shards = [rng.normal(center, 1.0, size=(200, 2)) for center in (-5, 5)]
    >>> gmm = DistributedGMM(2, random_state=0).fit(shards)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = write_predictions(gmm, shards, os.path.join(folder, "labels"))
    ...     [os.path.basename(file) for file in files]
    ['part-00000.parquet', 'part-00001.parquet']
    """
    if method not in VALUE_NAMES:
        raise ValueError(f"method must be one of {list(VALUE_NAMES)}, got {method!r}.")
    if not hasattr(model, method):
        raise ValueError(f"{type(model).__name__} has no method {method}.")
    _pyarrow()
    path = os.path.abspath(os.fspath(path))
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(f"{path!r} exists: choose another path, or set overwrite=True.")
    if is_collection(X):
        _refuse_loss(path)
        with _finished(path) as unfinished:
            os.mkdir(unfinished)
            names = _write_collection(getattr(model, method)(X), unfinished, method)
    elif is_sharded(X):
        shards = as_shards(X)
        _refuse_loss(path, shards)
        with _finished(path) as unfinished:
            os.mkdir(unfinished)
            names = _write_shards(model, shards, unfinished, method)
    else:
        if os.path.isdir(path):
            raise FileExistsError(f"{path!r} is a folder, but X is in one piece: name a file.")
        with _finished(path) as unfinished:
            _write_shard(model, as_shards(X, n_shards=1)[0], unfinished, method)
        return [path]
    return [os.path.join(path, name) for name in names]


def _refuse_loss(path: str, shards=()) -> None:
    """No folder is replaced that holds the data themselves, or what we cannot have written."""
    place = os.path.realpath(path)
    for shard in shards:
        if shard.file is not None and (os.path.realpath(shard.file) + os.sep).startswith(
            place + os.sep
        ):
            raise FileExistsError(f"{path!r} holds {shard.name}, which is read: name another path.")
    entries = os.scandir(path) if os.path.isdir(path) else ()
    foreign = [e.name for e in entries if not (e.is_file() and e.name.endswith(".parquet"))]
    if foreign:
        raise FileExistsError(
            f"{path!r} is not a folder of predictions: it holds {sorted(foreign)[0]!r}, which "
            "overwrite=True would remove. Name another path."
        )


@contextmanager
def _finished(path: str) -> Iterator[str]:
    """A name beside `path` to write to; what is there gets its true name if all goes well."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    beside = tempfile.mkdtemp(prefix=".unfinished-", dir=os.path.dirname(path))
    try:
        unfinished = os.path.join(beside, "new")
        yield unfinished
        old = os.path.join(beside, "old")
        if os.path.lexists(path):
            os.replace(path, old)
        try:
            os.replace(unfinished, path)
        except OSError:
            if os.path.lexists(old):
                os.replace(old, path)
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _part_name(index: int) -> str:
    return f"part-{index:05d}.parquet"


def _write_shards(model, shards: Shards, folder: str, method: str) -> list[str]:
    names = [_part_name(index) for index in range(len(shards))]
    for shard, name in zip(shards, names, strict=True):
        _write_shard(model, shard, os.path.join(folder, name), method)
    return names


def _write_shard(model, shard: Shard, file: str, method: str) -> None:
    """Write the values of one shard, a row group for each bounded range of its rows."""
    size = max(read_rows(shard.n_features), 1)
    with _Writer(file, method) as writer:
        for start, stop in list(shard.ranges(size)) or [(0, 0)]:  # no rows: a file without rows
            (values,) = getattr(model, method)(Shards([shard.between(start, stop)]))
            writer.write(values)


class _Writer:
    """A parquet file that grows by one row group a call."""

    def __init__(self, file: str, method: str):
        self._file, self._method, self._writer = file, method, None

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        if self._writer is not None:
            self._writer.close()

    def write(self, values) -> None:
        """Append the values of some rows."""
        table = _table(to_host(values) if is_foreign(values) else np.asarray(values), self._method)
        if self._writer is None:
            self._writer = _pyarrow().parquet.ParquetWriter(self._file, table.schema)
        self._writer.write_table(table)


def _table(values: np.ndarray, method: str):
    columns = values.T if values.ndim == 2 else [values]
    return _pyarrow().table(dict(zip(value_names(method, values), columns)))


def _pyarrow():
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            'Writing parquet needs pyarrow: pip install "skdistmix[files]"'
        ) from error
    return pyarrow


def _write_collection(values, folder: str, method: str) -> list[str]:
    """Let a lazy collection be computed and written partition by partition, where it is."""
    import dask

    if not is_dask(values):
        raise ValueError(
            f"The model gave a {type(values).__name__} for a Dask collection, not a lazy one: give "
            "as_shards(X)."
        )
    parts = values.to_delayed()
    parts = parts.ravel().tolist() if isinstance(parts, np.ndarray) else parts
    names = [_part_name(index) for index in range(len(parts))]
    write = dask.delayed(_write_part, pure=False)
    files = [os.path.join(folder, name) for name in names]
    computed([write(part, file, method) for part, file in zip(parts, files)], values)
    return names


def _write_part(part, file: str, method: str) -> None:
    with _Writer(file, method) as writer:
        writer.write(part)
