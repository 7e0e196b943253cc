"""Shards in files: .npy, parquet and zarr. No file stays open between two reads of a task."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise

import numpy as np

from ._shard import Shard, default_n_shards

__all__ = [
    "NpyShard",
    "ParquetShard",
    "ZarrShard",
    "is_zarr",
    "open_file",
    "zarr_shards",
]

PARQUET = (".parquet", ".pq", ".parq")
BATCH_ELEMENTS, MIN_BATCH_ROWS = 2**16, 2**10  # of a parquet file, decoded at once


def open_file(path: str, name: str, columns=None) -> Shard:
    """The shard of a file (or of a folder that is a zarr array), by the end of its name.

    Raises
    ------
    ValueError
        If the file is missing, damaged, of another kind, or holds no numeric table.
    """
    if not os.path.exists(path):
        raise ValueError(f"{name}: there is no such file (working directory {os.getcwd()!r}).")
    if path.endswith(PARQUET):
        return parquet_shard(path, name, columns)
    if columns is not None:
        raise ValueError(f"{name} has no column names: columns={list(columns)} cannot be chosen.")
    if path.rstrip("/\\").endswith(".zarr") or is_zarr_folder(path):
        return zarr_path_shard(path, name)
    if path.endswith(".npy"):
        return npy_shard(path, name)
    what = (
        "is a folder without .parquet or .npy files"
        if os.path.isdir(path)
        else ("does not end in .npy, .parquet or .zarr")
    )
    raise ValueError(
        f"{name}: the path {what}. Give .npy or .parquet files, a zarr array, a folder of such "
        "files, or a pattern such as 'folder/*.parquet'."
    )


def missing(package: str, what: str) -> ImportError:
    """The error for an extra that is not installed."""
    return ImportError(f'{what} needs {package}: pip install "skdistmix[files]"')


# --------------------------------------------------------------------------- .npy


@dataclass(frozen=True)
class NpyShard(Shard):
    """A ``.npy`` file, read from its place in the file (so no file is kept open)."""

    path: str = field(kw_only=True)
    dtype: np.dtype = field(kw_only=True)
    data_offset: int = field(kw_only=True)  # bytes before the first row
    by_columns: bool = field(kw_only=True)  # Fortran order: a row range is not in one piece

    read_anew = travels = True

    def read(self, start, stop):
        return next(self.reads(start, stop, max(1, stop - start)), np.empty((0, self.n_features)))

    def reads(self, start, stop, rows):
        if self.by_columns:
            whole = np.load(self.path, mmap_mode="r", allow_pickle=False)
            if whole.shape != (self.n_rows, self.n_features) or whole.dtype != self.dtype:
                raise _changed(self.name)
            for first in range(start, stop, rows):
                yield np.array(whole[first : min(first + rows, stop)], order="K")
            return
        # Reading into memory beats a map of the file: no page fault for every few rows.
        with open(self.path, "rb", buffering=0) as file:
            row_bytes = self.n_features * self.dtype.itemsize
            if os.fstat(file.fileno()).st_size != self.data_offset + self.n_rows * row_bytes:
                raise _changed(self.name)
            file.seek(self.data_offset + start * row_bytes)
            for first in range(start, stop, rows):
                X = np.empty((min(rows, stop - first), self.n_features), self.dtype)
                _fill(file, X, self.name)
                yield X


def _fill(file, X: np.ndarray, name: str) -> None:
    room = memoryview(X.reshape(-1).view(np.uint8))
    while len(room):
        n_read = file.readinto(room)
        if not n_read:
            raise _changed(name)
        room = room[n_read:]


def _changed(name: str) -> ValueError:
    return ValueError(
        f"{name} is not the file any more that as_shards or fit saw at first: it was written anew "
        "or cut short in the meantime. Begin again when it does not change."
    )


def npy_shard(path: str, name: str, ndim: int = 2) -> NpyShard:
    """The shard of a .npy file; with ``ndim=1`` a file of one number a row."""
    if not path.endswith(".npy"):
        raise ValueError(f"{name} does not end in .npy.")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(
            f"{name}: there is no such file (working directory {os.getcwd()!r})."
        ) from None
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(
            f"{name} cannot be read as a .npy file: {error}. It may be truncated or hold Python "
            "objects; write it again with numpy.save from a numeric array."
        ) from error
    if array.ndim != ndim or array.dtype.kind not in "fiub":
        shape = "a 2-D numeric array (rows, features)" if ndim == 2 else "one number a row"
        raise ValueError(
            f"{name} holds an array of shape {array.shape} and dtype {array.dtype}: expected "
            f"{shape}."
        )
    n_features = array.shape[1] if ndim == 2 else 1
    if n_features == 0:
        raise ValueError(f"{name} has 0 feature(s) (shape={array.shape}): at least 1 is required.")
    offset = getattr(array, "offset", 0)
    by_columns = not array.flags.c_contiguous
    return NpyShard(
        len(array), n_features, name, None, path=os.path.abspath(path), dtype=array.dtype,
        data_offset=offset, by_columns=by_columns,
    )  # fmt: skip


# --------------------------------------------------------------------------- parquet


@dataclass(frozen=True)
class ParquetShard(Shard):
    """Chosen columns of a parquet file; row groups are read one after the other."""

    path: str = field(kw_only=True)
    group_rows: tuple[int, ...] = field(kw_only=True)  # rows of each row group
    available: tuple[str, ...] = field(kw_only=True)  # all columns of the file
    dtype: str = field(kw_only=True)  # float32 if all chosen columns fit in it, or float64

    read_anew = travels = True

    @cached_property
    def _starts(self) -> tuple[int, ...]:
        return tuple(accumulate(self.group_rows, initial=0))

    @property
    def cuts(self):
        return self._starts

    def with_columns(self, columns) -> ParquetShard:
        """The same file with other columns chosen."""
        return replace(parquet_shard(self.path, self.name, columns), weight=self.weight)

    def read(self, start, stop):
        parts = list(self.reads(start, stop, max(1, stop - start)))
        if not parts:
            return np.empty((0, self.n_features))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def reads(self, start, stop, rows):
        groups = [
            g for g, n in enumerate(self.group_rows)
            if self._starts[g] < stop and self._starts[g] + n > start
        ]  # fmt: skip
        if not groups or stop <= start:
            return
        # A map of the file costs no memory of our own for the compressed bytes; small batches keep
        # what is decoded small, and are put together as they come.
        metadata = _metadata(self.path)
        if metadata.num_rows != self.n_rows or metadata.num_row_groups != len(self.group_rows):
            raise _changed(self.name)
        opened = _parquet().ParquetFile(self.path, memory_map=True, metadata=metadata)
        row = self._starts[groups[0]]
        batch_rows = max(MIN_BATCH_ROWS, BATCH_ELEMENTS // self.n_features)
        with opened as file:
            X, n_filled = self._room(rows, stop - start), 0
            for batch in file.iter_batches(batch_rows, groups, self.columns, use_threads=False):
                first, last = max(row, start), min(row + batch.num_rows, stop)
                row += batch.num_rows
                while first < last:
                    n = min(last - first, X.shape[1] - n_filled)
                    here = first - row + batch.num_rows
                    _fill_columns(X[:, n_filled : n_filled + n], batch, here, self.columns)
                    first, n_filled = first + n, n_filled + n
                    if n_filled == X.shape[1] and first < stop:
                        yield X.T
                        X, n_filled = self._room(rows, stop - first), 0
        if n_filled < X.shape[1]:
            raise _changed(self.name)
        yield X.T  # the last one, when the memory of the decoder is given back

    def _room(self, rows: int, left: int) -> np.ndarray:
        """Memory column after column, as the kernels like it."""
        return np.empty((self.n_features, min(rows, left)), self.dtype)


def _fill_columns(X: np.ndarray, batch, first: int, columns) -> None:
    for row, name in zip(X, columns):
        part = batch.column(name).slice(first, len(row))
        if part.type == "bool":  # with a null it would be an array of objects
            part = part.cast("uint8")
        row[:] = part.to_numpy(zero_copy_only=False)  # a null is a NaN


@lru_cache(maxsize=16)
def _metadata_of(path: str, modified: int, size: int):
    return _parquet().read_metadata(path)


def _metadata(path: str):
    """What a parquet file says of itself; with many row groups it takes a while to parse."""
    status = os.stat(path)
    return _metadata_of(path, status.st_mtime_ns, status.st_size)


def _parquet():
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise missing("pyarrow", "A parquet file") from error
    return pyarrow.parquet


def parquet_shard(path: str, name: str, columns=None) -> ParquetShard:
    """The shard of a parquet file; by default of all its columns but a written index."""
    try:
        with _parquet().ParquetFile(path) as file:
            metadata, schema = file.metadata, file.schema_arrow
            groups = tuple(metadata.row_group(g).num_rows for g in range(metadata.num_row_groups))
    except (OSError, ValueError) as error:  # pyarrow's errors are of these kinds
        raise ValueError(f"{name} cannot be read as a parquet file: {error}.") from error
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    features = [c for c in schema.names if c not in index]
    if len(set(schema.names)) < len(schema.names):
        raise ValueError(f"{name} has several columns of one name: {schema.names}.")
    chosen = features if columns is None else list(columns)
    absent = [c for c in chosen if c not in schema.names]
    if absent:
        raise ValueError(f"{name} has no column(s) {absent}; it has {features}.")
    kinds = [str(schema.field(column).type) for column in chosen]
    for column, kind in zip(chosen, kinds):
        if not kind.startswith(("int", "uint", "float", "double", "halffloat", "bool")):
            raise ValueError(
                f"{name}: column {column!r} is not numeric ({kind}). Choose others with "
                "as_shards(path, columns=[...]), or write it as a number."
            )
    if not chosen:
        raise ValueError(f"{name} has 0 feature(s): at least one numeric column is required.")
    return ParquetShard(
        metadata.num_rows, len(chosen), name, tuple(chosen), path=os.path.abspath(path),
        group_rows=groups, available=tuple(schema.names),
        dtype="float32" if set(kinds) <= {"float", "halffloat"} else "float64",
    )  # fmt: skip


# --------------------------------------------------------------------------- zarr


@dataclass(frozen=True)
class ZarrShard(Shard):
    """Rows of a chunked array on disk (zarr, or the like): an open array, or how to open it."""

    source: object = field(kw_only=True)  # array, or a function that opens it
    first: int = field(kw_only=True)  # row of the array that is row 0 here
    chunk_rows: int = field(kw_only=True)  # 1 if rows can be read from anywhere

    read_anew = True

    @property
    def travels(self):
        return isinstance(self.source, OpenZarr)

    @property
    def file(self):
        return self.source.path if self.travels else None

    def read(self, start, stop):
        source = self.source() if isinstance(self.source, OpenZarr) else self.source
        return np.asarray(source[self.first + start : self.first + stop])

    def reads(self, start, stop, rows):
        source = self.source() if isinstance(self.source, OpenZarr) else self.source
        # Whole chunks, however large: none is decoded twice.
        step = max(self.chunk_rows, rows - rows % self.chunk_rows)
        row, end = self.first + start, self.first + stop
        while row < end:
            last = min(row - row % self.chunk_rows + step, end)
            X = np.asarray(source[row:last])
            if len(X) < last - row:
                raise _changed(self.name)
            for first in range(0, len(X), rows):
                yield X[first : first + rows]
            row = last

    @property
    def cuts(self):
        if self.chunk_rows == 1:
            return None
        inner = range(
            -self.first % self.chunk_rows or self.chunk_rows, self.n_rows, self.chunk_rows
        )
        return (0, *inner, self.n_rows)


@dataclass(frozen=True)
class OpenZarr:
    """Opens a zarr array for reading."""

    path: str

    def __call__(self):
        try:
            import zarr
        except ImportError as error:
            raise missing("zarr", "A zarr array") from error
        return zarr.open(self.path, mode="r")


def is_zarr(X) -> bool:
    """Whether X is an open chunked array on disk, of zarr or h5py."""
    return (
        type(X).__module__.partition(".")[0] in ("zarr", "h5py")
        and hasattr(X, "chunks")
        and hasattr(X, "ndim")
    )


def is_zarr_folder(path: str) -> bool:
    """Whether a folder is a zarr array or group."""
    return any(os.path.exists(os.path.join(path, f)) for f in ("zarr.json", ".zarray", ".zgroup"))


def zarr_path_shard(path: str, name: str) -> ZarrShard:
    """A zarr array on disk as one shard."""
    source = OpenZarr(os.path.abspath(path))
    try:
        array = source()
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{name} cannot be opened as a zarr array: {error}.") from error
    if not is_zarr(array):
        raise ValueError(
            f"{name} is a zarr group: give the path of an array in it, such as "
            f"{os.path.join(path, 'NAME')!r}."
        )
    return _zarr_shard(array, source, name)


def zarr_shards(array, n_shards: int | None, name: Callable) -> list[ZarrShard]:
    """An open array as `n_shards` pieces cut between chunks, by default one a chunk.

    An array that is not cut into chunks counts as an array in memory.
    ``name(index, first_row, last_row)`` names the pieces.
    """
    whole = _zarr_shard(array, array, "the data")
    n_chunks = -(-whole.n_rows // whole.chunk_rows)
    if n_shards is None:
        n_shards = n_chunks if array.chunks else default_n_shards(whole.n_rows)
    bounds = np.linspace(0, n_chunks, max(1, n_shards) + 1).astype(int) * whole.chunk_rows
    bounds = np.minimum(bounds, whole.n_rows)
    return [
        ZarrShard(
            int(b - a), whole.n_features, name(i, a, b - 1) if n_shards > 1 else whole.name, None,
            source=array, first=int(a), chunk_rows=whole.chunk_rows,
        )
        for i, (a, b) in enumerate(pairwise(bounds))
    ]  # fmt: skip


def _zarr_shard(array, source, name: str) -> ZarrShard:
    dtype = np.dtype(array.dtype)
    if array.ndim != 2 or dtype.kind not in "fiub" or array.shape[1] == 0:
        raise ValueError(
            f"{name} holds an array of shape {array.shape} and dtype {dtype}: expected a 2-D "
            "numeric array (rows, features)."
        )
    chunk_rows = int(array.chunks[0]) if array.chunks else 1
    return ZarrShard(
        int(array.shape[0]), int(array.shape[1]), name, None, source=source, first=0,
        chunk_rows=chunk_rows,
    )  # fmt: skip
