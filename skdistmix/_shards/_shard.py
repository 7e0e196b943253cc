"""One shard: rows in one place, read in order and cut into blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from sklearn.utils.validation import check_array

__all__ = [
    "ArrayShard",
    "Block",
    "FrameShard",
    "Shard",
    "check_finite",
    "default_n_shards",
]


def default_n_shards(n_rows: int) -> int:
    """How many row ranges an array is cut into if nobody says."""
    return max(1, min(8, n_rows // 1000))


@dataclass(frozen=True)
class Block:
    """Consecutive rows on their way into a computation.

    ``rows`` are their global indices: a range, or an array where rows of weight zero were left out.
    """

    X: np.ndarray  # (n_rows, n_features)
    weight: np.ndarray | None  # (n_rows,)
    rows: np.ndarray | range  # (n_rows,)


@dataclass(frozen=True)
class Shard(ABC):
    """Rows in one place. Subclasses read them; only their description is held here.

    Attributes
    ----------
    n_rows, n_features : int
    name : str
        How messages call this shard, for example ``"shard 3 (day-03.npy)"``.
    columns : tuple of str or None
        Column names, when the shard has them.
    weight : ndarray of shape (n_rows,), Shard of one column or None
        Weights of the rows.
    """

    n_rows: int
    n_features: int
    name: str
    columns: tuple | None
    weight: np.ndarray | Shard | None = field(default=None, kw_only=True, repr=False)

    @abstractmethod
    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start:stop`` as a 2-D numeric array (a view where possible)."""

    def reads(self, start: int, stop: int, rows: int) -> Iterator[np.ndarray]:
        """Rows ``start:stop`` one after the other, in arrays of at most `rows` rows."""
        for first in range(start, stop, rows):
            yield self.read(first, min(first + rows, stop))

    def with_columns(self, columns) -> Shard:
        """The same rows, of these columns in this order."""
        return replace(self, columns=tuple(columns), n_features=len(columns))

    @property
    def cuts(self) -> tuple[int, ...] | None:
        """Rows at which reading may begin without reading others in vain; None means anywhere."""
        return None

    @property
    def read_anew(self) -> bool:
        """Whether rows are read anew in each pass, so that it pays to read ahead."""
        return False

    @property
    def travels(self) -> bool:
        """Whether it can go to another process as it is, because rows are opened from a file."""
        return False

    @property
    def client(self):
        """The Dask client on whose cluster the rows live, None if they are read in this process."""
        return None

    @property
    def file(self) -> str | None:
        """The file or folder on disk that rows are read from, if there is one."""
        return getattr(self, "path", None)

    @property
    def held(self) -> tuple:
        """Futures of a Dask cluster that the rows are in."""
        return ()

    @property
    def library(self) -> str:
        """The name of the library whose arrays the rows are given in."""
        return "numpy"

    @property
    def on_device(self) -> bool:
        """Whether blocks hold arrays of another library than NumPy."""
        return False

    @property
    def wide(self) -> bool:
        """Whether blocks are computed on an accelerator, which wants many rows at once."""
        return False

    def on_host(self) -> Shard:
        """The same shard with blocks of NumPy arrays."""
        return self

    def computed_on(self, device) -> Shard:
        """The same shard with blocks that are computed on a device."""
        raise ValueError(
            f"device={device!r} is for arrays of other libraries, {self.name} is read into NumPy "
            "arrays. Give X as such an array, for example torch.from_numpy(X), or device=None."
        )

    def returned(self, values):
        """Values of rows as an array of the library and on the device of the rows."""
        return values

    def light(self) -> Shard:
        """The same shard without its futures, to be `filled` where their values are."""
        return self

    def filled(self, values: Iterator) -> Shard:
        """The same shard with the next of these values in the places of its futures."""
        return self

    def ranges(self, size: int, first: int | None = None) -> Iterator[tuple[int, int]]:
        """Row ranges of `size` rows, longer where rows cannot be entered, the first of `first`."""
        size, following = size if first is None else first, size
        start = 0
        if self.cuts is None:
            while start < self.n_rows:
                stop = min(start + size, self.n_rows)
                yield start, stop
                start, size = stop, following
            return
        for stop in self.cuts[1:]:
            if stop > start and (stop - start >= size or stop == self.n_rows):
                yield start, stop
                start, size = stop, following

    def between(self, start: int, stop: int) -> Shard:
        """Rows ``start:stop`` as a shard; messages still count the rows of the whole."""
        if start == 0 and stop == self.n_rows:
            return self
        weight = self.weight
        if weight is not None:
            weight = (
                weight.between(start, stop) if isinstance(weight, Shard) else weight[start:stop]
            )
        return RowRange(
            stop - start, self.n_features, self.name, self.columns, weight=weight,
            source=replace(self, weight=None), first=start,
        )  # fmt: skip

    def blocks(
        self, start: int, stop: int, size: int, offset: int = 0, check: bool = False
    ) -> Iterator[Block]:
        """Rows ``start:stop`` in blocks of at most `size`; rows of weight zero are left out.

        `offset` is the global index of the shard's first row. With ``check=True`` a NaN or
        infinity raises, naming the shard and the row.
        """
        for read in self.weighted_reads(start, stop, size):
            yield from self.blocks_of(*read, size, offset, check)

    def weighted_reads(self, start: int, stop: int, rows: int) -> Iterator[tuple]:
        """Like `reads`, but as tuples of first row, rows and their weights (or None)."""
        row = start
        weights = self._weights(start, stop, rows)
        for X in self.reads(start, stop, rows):
            yield row, X, None if weights is None else weights(X.shape[0])
            row += X.shape[0]

    def _weights(self, start, stop, rows) -> Callable | None:
        """A function that gives the next so many weights."""
        if self.weight is None:
            return None
        reads = (
            self.weight.reads(start, stop, rows)
            if isinstance(self.weight, Shard)
            else iter([self.weight[start:stop]])
        )
        waiting = np.empty(0)

        def following(n_rows):
            nonlocal waiting
            parts = [waiting]
            while sum(map(len, parts)) < n_rows:  # the two may come in pieces of other lengths
                parts.append(np.asarray(next(reads), dtype=np.float64).reshape(-1))
            joined = parts[-1] if len(parts[0]) == 0 and len(parts) == 2 else np.concatenate(parts)
            waiting = joined[n_rows:]
            return joined[:n_rows]

        return following

    def blocks_of(
        self, first: int, X: np.ndarray, weight, size: int, offset: int, check: bool
    ) -> Iterator[Block]:
        """Rows that were read, beginning with row `first`, in blocks as `blocks` gives them."""
        for start in range(0, len(X), size):
            part = X[start : start + size]
            if part.dtype not in (np.float32, np.float64):
                part = part.astype(np.float64)
            if check:
                check_finite(part, self, first + start)
            row = offset + first + start
            block = Block(part, None, range(row, row + len(part)))
            if weight is not None:
                block = _weighted(block, weight[start : start + size])
            if len(block.X):
                yield block

    def __len__(self) -> int:
        return self.n_rows

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            f"{self.name} is not an array: its {self.n_rows} rows are read block by block. "
            "Use shard.read(start, stop) for some of its rows, or preprocessing.Shardwise to put "
            "a transformer before an estimator of skdistmix."
        )


@dataclass(frozen=True)
class ArrayShard(Shard):
    """A 2-D array in memory, or a memmap."""

    array: np.ndarray = field(kw_only=True, repr=False)

    def read(self, start, stop):
        return self.array[start:stop]


@dataclass(frozen=True)
class FrameShard(Shard):
    """A pandas or polars DataFrame; ``columns`` fixes the order in which columns are read."""

    frame: object = field(kw_only=True, repr=False)

    def read(self, start, stop):
        rows = (
            self.frame.iloc[start:stop] if hasattr(self.frame, "iloc") else self.frame[start:stop]
        )
        if tuple(rows.columns) != self.columns:
            rows = rows[list(self.columns)]
        return _numeric(rows, self.name)


@dataclass(frozen=True)
class RowRange(Shard):
    """Some consecutive rows of another shard, which is read in this process."""

    source: Shard = field(kw_only=True)
    first: int = field(kw_only=True)

    def read(self, start, stop):
        return self.source.read(self.first + start, self.first + stop)

    def reads(self, start, stop, rows):
        return self.source.reads(self.first + start, self.first + stop, rows)

    def blocks_of(self, first, X, weight, size, offset, check):
        moved = self.first + first, X, weight, size, offset - self.first, check
        return self.source.blocks_of(*moved)

    @property
    def cuts(self):
        if self.source.cuts is None:
            return None
        inner = [cut - self.first for cut in self.source.cuts]
        return (0, *(cut for cut in inner if 0 < cut < self.n_rows), self.n_rows)

    @property
    def read_anew(self):
        return self.source.read_anew

    @property
    def travels(self):
        return self.source.travels

    @property
    def library(self):
        return self.source.library

    @property
    def on_device(self):
        return self.source.on_device

    @property
    def wide(self):
        return self.source.wide

    def on_host(self):
        return replace(self, source=self.source.on_host())

    def computed_on(self, device):
        return replace(self, source=self.source.computed_on(device))

    def returned(self, values):
        return self.source.returned(values)


def _weighted(block: Block, weight: np.ndarray) -> Block:
    """The block with weights, rows of weight zero left out."""
    if weight.all():
        return Block(block.X, weight, block.rows)
    keep = np.flatnonzero(weight)
    return Block(block.X[keep], weight[keep], block.rows.start + keep)


def _numeric(rows, name: str) -> np.ndarray:
    """Rows of a DataFrame as a numeric array; text columns raise with the column's name."""
    try:
        array = np.asarray(rows)
        if array.dtype.kind in "fiub":
            return array
        return check_array(rows, dtype=np.float64, ensure_all_finite=False, ensure_min_samples=0)
    except (TypeError, ValueError) as error:
        for column in rows.columns:
            try:
                np.asarray(rows[column], dtype=np.float64)
            except (TypeError, ValueError):
                raise ValueError(
                    f"{name}: column {column!r} is not numeric ({error}). Encode or drop it first."
                ) from error
        raise


def check_finite(X: np.ndarray, shard: Shard, first: int) -> None:
    """Raise if there is a NaN or an infinity, naming the shard and the row."""
    # One cheap reduction for the usual case; the row is looked for only when something is wrong.
    with np.errstate(over="ignore", invalid="ignore"):
        if X.dtype.kind != "f" or np.isfinite(X.sum()):
            return
    finite = np.isfinite(X).all(axis=1)
    if finite.all():
        return
    row = int(np.argmin(finite))
    value = X[row][~np.isfinite(X[row])][0]
    kind = "NaN" if np.isnan(value) else "infinity"
    raise ValueError(
        f"Input X contains {kind}: {shard.name}, row {first + row}. Missing and infinite values "
        "cannot be used; drop or impute such rows (for example with sklearn.impute)."
    )
