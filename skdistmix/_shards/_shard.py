"""One shard, and the light sequence of shards that the package works on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from sklearn.utils.validation import check_array

__all__ = [
    "ArrayShard",
    "Block",
    "FrameShard",
    "MappedShard",
    "NpyShard",
    "Shard",
    "Shards",
    "split_rows",
]


# --------------------------------------------------------------------------- one shard


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
    weight : ndarray of shape (n_rows,), str or None
        Weights of the rows, or the path of a ``.npy`` file of them.
    """

    n_rows: int
    n_features: int
    name: str
    columns: tuple | None
    weight: np.ndarray | str | None = field(default=None, kw_only=True)

    @abstractmethod
    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start:stop`` as a 2-D numeric array (a view where possible)."""

    def blocks(
        self, start: int, stop: int, size: int, offset: int = 0, check: bool = False
    ) -> Iterator[Block]:
        """Rows ``start:stop`` in blocks of at most `size`; rows of weight zero are left out.

        `offset` is the global index of the shard's first row. With ``check=True`` a NaN or
        infinity raises, naming the shard and the row.
        """
        weights = loaded(self.weight)
        for first in range(start, stop, size):
            last = min(first + size, stop)
            X = self.read(first, last)
            if X.dtype not in (np.float32, np.float64):
                X = X.astype(np.float64)
            if check:
                _check_finite(X, self, first)
            rows = range(offset + first, offset + last)
            weight = None if weights is None else weights[first:last]
            if weight is not None and not weight.all():
                keep = np.flatnonzero(weight)
                X, weight, rows = X[keep], weight[keep], rows.start + keep
            if len(X):
                yield Block(X, weight, rows)

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

    array: np.ndarray = field(kw_only=True)

    def read(self, start, stop):
        return self.array[start:stop]


@dataclass(frozen=True)
class FrameShard(Shard):
    """A pandas or polars DataFrame; ``columns`` fixes the order in which columns are read."""

    frame: object = field(kw_only=True)

    def read(self, start, stop):
        rows = (
            self.frame.iloc[start:stop] if hasattr(self.frame, "iloc") else self.frame[start:stop]
        )
        if tuple(rows.columns) != self.columns:
            rows = rows[list(self.columns)]
        return _numeric(rows, self.name)


@dataclass(frozen=True)
class NpyShard(Shard):
    """A ``.npy`` file, opened as a read-only memory map at each read (so no open file is kept)."""

    path: str = field(kw_only=True)

    def read(self, start, stop):
        return np.load(self.path, mmap_mode="r", allow_pickle=False)[start:stop]


@dataclass(frozen=True)
class MappedShard(Shard):
    """Another shard seen through a function of its rows."""

    source: Shard = field(kw_only=True)
    function: Callable = field(kw_only=True)

    def read(self, start, stop):
        return np.asarray(self.function(self.source.read(start, stop)))


# --------------------------------------------------------------------------- many shards


@dataclass(frozen=True)
class Block:
    """Consecutive rows on their way into a computation.

    ``rows`` are their global indices: a range, or an array where rows of weight zero were left out.
    """

    X: np.ndarray  # (n_rows, n_features)
    weight: np.ndarray | None  # (n_rows,)
    rows: np.ndarray | range  # (n_rows,)


class Shards(Sequence):
    """A sequence of shards, as made by :func:`as_shards`.

    Indexing with an integer gives one shard, with a slice or a list of integers a smaller
    ``Shards``. It has no ``shape`` and no implicit conversion to an array, so that searches and
    pipelines of scikit-learn hand it on untouched and one shard counts as one sample.

    Attributes
    ----------
    n_features : int
    n_rows : int
        Rows in all shards together.
    columns : tuple of str or None
        Column names, when the shards have them.
    """

    def __init__(self, shards: Sequence[Shard]):
        self._shards = tuple(shards)
        self.offsets = np.cumsum([0, *(shard.n_rows for shard in self._shards)])

    @property
    def n_features(self) -> int:
        return self._shards[0].n_features if self._shards else 0

    @property
    def n_rows(self) -> int:
        return int(self.offsets[-1])

    @property
    def columns(self):
        return next((s.columns for s in self._shards if s.columns is not None), None)

    @property
    def sizes(self) -> list[int]:
        """Rows of each shard."""
        return [s.n_rows for s in self._shards]

    def __len__(self):
        return len(self._shards)

    def __getitem__(self, key):
        if isinstance(key, (int, np.integer)):
            return self._shards[key]
        picks = np.arange(len(self))[np.asarray(key) if isinstance(key, (list, tuple)) else key]
        return Shards([self._shards[k] for k in picks])

    def __repr__(self):
        return f"Shards({len(self)} shards, {self.n_rows} rows, {self.n_features} features)"

    __array__ = Shard.__array__

    @property
    def name(self) -> str:
        """How messages call this object."""
        return repr(self)

    def map(self, function: Callable, n_features: int, columns=None) -> Shards:
        """The same shards seen through a function of their rows, applied as rows are read.

        Parameters
        ----------
        function : callable
            Takes an array of shape (m, n_features), returns one of shape (m, `n_features`).
        n_features : int
            Number of columns that `function` returns.
        columns : sequence of str, optional
            Their names.

        Returns
        -------
        Shards
        """
        columns = None if columns is None else tuple(columns)
        return Shards(
            [
                MappedShard(
                    s.n_rows,
                    n_features,
                    s.name,
                    columns,
                    weight=s.weight,
                    source=s,
                    function=function,
                )
                for s in self._shards
            ]
        )

    def with_weights(self, sample_weight) -> Shards:
        """These shards with one non-negative weight a row.

        Parameters
        ----------
        sample_weight : None, array of shape (n_rows,) or list of arrays, one a shard

        Returns
        -------
        Shards

        Raises
        ------
        ValueError
            If lengths do not match, a weight is negative or not finite, or all are zero.
        """
        if sample_weight is None:
            return self
        weights = split_rows(sample_weight, self, "sample_weight")
        for shard, w in zip(self._shards, weights, strict=True):
            if not np.all(np.isfinite(w)):
                raise ValueError(f"sample_weight of {shard.name} contains NaN or infinity.")
            if np.any(w < 0):
                raise ValueError(
                    f"sample_weight of {shard.name} is negative at row {int(np.argmax(w < 0))} "
                    f"({w[np.argmax(w < 0)]:g}). Weights must be at least zero."
                )
        if not any(w.any() for w in weights):
            raise ValueError("Sample weights must contain a value above zero: all are zero.")
        pairs = zip(self._shards, weights, strict=True)
        return Shards([replace(shard, weight=w) for shard, w in pairs])

    @property
    def total_weight(self) -> float:
        """Sum of the weights of all rows; a row without a weight counts one."""
        return float(
            sum(s.n_rows if s.weight is None else loaded(s.weight).sum() for s in self._shards)
        )


def loaded(weight: np.ndarray | str | None) -> np.ndarray | None:
    """Weights in memory, or mapped from their file."""
    return np.load(weight, mmap_mode="r") if isinstance(weight, str) else weight


def split_rows(values, shards: Shards, what: str, ndim=(1,), dtype=np.float64) -> list[np.ndarray]:
    """Cut per-row values (one array, or one array a shard) into one array a shard."""
    per_shard = isinstance(values, (list, tuple)) and any(np.ndim(v) > 0 for v in values)
    if per_shard and not (len(values) == shards.n_rows and len(shards) == 1):
        if len(values) != len(shards):
            raise ValueError(
                f"{what} has {len(values)} arrays, X has {len(shards)} shards: give one a shard."
            )
        parts = [_as_numbers(v, what, dtype) for v in values]
    else:
        values = _as_numbers(values, what, dtype)
        if values.ndim == 0:
            values = np.full(shards.n_rows, values)
        if len(values) != shards.n_rows:
            raise ValueError(
                f"{what} has shape {values.shape}, X has {shards.n_rows} rows: give one a row."
            )
        parts = [values[a:b] for a, b in pairwise(shards.offsets)]
    for part, shard in zip(parts, shards, strict=True):
        if part.ndim not in ndim or len(part) != shard.n_rows:
            raise ValueError(
                f"{what} of {shard.name} has shape {part.shape}, the shard has {shard.n_rows} rows."
            )
    return parts


def _as_numbers(values, what: str, dtype) -> np.ndarray:
    try:
        values = np.asarray(values)
        if values.dtype.kind == "c":
            raise ValueError("complex numbers")
        return np.asarray(values, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{what} must hold real numbers, one array a shard or one in all: {error}."
        ) from error


# --------------------------------------------------------------------------- checks on rows


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


def _check_finite(X: np.ndarray, shard: Shard, first: int) -> None:
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
        f"Input X contains {kind}: {shard.name}, row {first + row}. Mixtures cannot use missing or "
        "infinite values; drop or impute such rows (for example with sklearn.impute)."
    )
