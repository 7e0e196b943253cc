"""Predictions for data larger than memory, written to parquet as they are made."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from .._shards import Shard, Shards, as_shards, is_collection, is_dask, is_sharded, read_rows

__all__ = ["write_predictions"]

NAMES = {"predict": "label", "predict_proba": "component", "score_samples": "log_density"}


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
        If `path` exists and `overwrite` is not set.
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
    if method not in NAMES:
        raise ValueError(f"method must be one of {list(NAMES)}, got {method!r}.")
    if not hasattr(model, method):
        raise ValueError(f"{type(model).__name__} has no method {method}.")
    _pyarrow()
    path = os.path.abspath(os.fspath(path))
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(f"{path!r} exists: choose another path, or set overwrite=True.")
    if is_collection(X):
        with _finished(path) as unfinished:
            os.mkdir(unfinished)
            names = _write_collection(getattr(model, method)(X), unfinished, method)
    elif is_sharded(X):
        with _finished(path) as unfinished:
            os.mkdir(unfinished)
            names = _write_shards(model, as_shards(X), unfinished, method)
    else:
        if os.path.isdir(path):
            raise FileExistsError(f"{path!r} is a folder, but X is in one piece: name a file.")
        with _finished(path) as unfinished:
            _write_shard(model, as_shards(X, n_shards=1)[0], unfinished, method)
        return [path]
    return [os.path.join(path, name) for name in names]


@contextmanager
def _finished(path: str) -> Iterator[str]:
    """A name beside `path` to write to; what is there gets its true name if all goes well."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    beside = tempfile.mkdtemp(prefix=".unfinished-", dir=os.path.dirname(path))
    try:
        unfinished = os.path.join(beside, "new")
        yield unfinished
        if os.path.lexists(path):
            os.replace(path, os.path.join(beside, "old"))
        os.replace(unfinished, path)
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
        for part in _ranges(shard, size):
            (values,) = getattr(model, method)(Shards([part]))
            writer.write(values)


def _ranges(shard: Shard, size: int) -> Iterator[Shard]:
    """The shard in row ranges of about `size` rows, cut where its storage can be entered."""
    if shard.n_rows == 0 or shard.client is not None:
        yield shard
        return
    cuts = range(0, shard.n_rows + size, size) if shard.cuts is None else shard.cuts
    start = 0
    for cut in cuts:
        stop = min(cut, shard.n_rows)
        if stop > start and (stop - start >= size or stop == shard.n_rows):
            whole = start == 0 and stop == shard.n_rows
            yield shard if whole else _RowRange.of(shard, start, stop)
            start = stop


@dataclass(frozen=True)
class _RowRange(Shard):
    """Some rows of another shard."""

    source: Shard = field(kw_only=True)
    first: int = field(kw_only=True)

    in_files = property(lambda self: self.source.in_files)

    @classmethod
    def of(cls, shard: Shard, start: int, stop: int) -> _RowRange:
        """Rows ``start:stop`` of a shard."""
        description = (shard.n_features, shard.name, shard.columns)
        return cls(stop - start, *description, source=shard, first=start)

    def read(self, start, stop):
        return self.source.read(self.first + start, self.first + stop)

    def reads(self, start, stop, rows):
        return self.source.reads(self.first + start, self.first + stop, rows)

    def blocks_of(self, first, X, weight, size, offset, check):
        # Messages give the row of the whole shard.
        moved = self.first + first, X, weight, size, offset - self.first, check
        return self.source.blocks_of(*moved)

    @property
    def cuts(self):
        inner = self.source.cuts
        if inner is None:
            return None
        moved = [cut - self.first for cut in inner]
        return (0, *(cut for cut in moved if 0 < cut < self.n_rows), self.n_rows)


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
        table = _table(np.asarray(values), self._method)
        if self._writer is None:
            self._writer = _pyarrow().parquet.ParquetWriter(self._file, table.schema)
        self._writer.write_table(table)


def _table(values: np.ndarray, method: str):
    name = NAMES[method]
    if values.ndim == 1:
        return _pyarrow().table({name: values})
    return _pyarrow().table({f"{name}_{k}": column for k, column in enumerate(values.T)})


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
    dask.compute(
        *(write(part, os.path.join(folder, name), method) for part, name in zip(parts, names))
    )
    return names


def _write_part(part, file: str, method: str) -> None:
    with _Writer(file, method) as writer:
        writer.write(part)
