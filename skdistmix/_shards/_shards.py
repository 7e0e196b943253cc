"""The light sequence of shards that the package works on, and what belongs to its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from .._arrays import is_foreign, to_host
from ._mapped import BesideShard, MappedShard
from ._shard import Shard

__all__ = ["Shards", "split_rows"]


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
    def client(self):
        """The Dask client on whose cluster rows live, or None."""
        return next((s.client for s in self._shards if s.client is not None), None)

    @property
    def on_device(self) -> bool:
        """Whether blocks hold arrays of another library than NumPy."""
        return any(s.on_device for s in self._shards)

    def on_host(self) -> Shards:
        """The same shards with blocks of NumPy arrays."""
        return Shards([s.on_host() for s in self._shards]) if self.on_device else self

    def computed_on(self, device) -> Shards:
        """The same shards with blocks that are computed on a device.

        Raises
        ------
        ValueError
            If they hold no arrays of another library than NumPy, or the device cannot be used.
        """
        return Shards([s.computed_on(device) for s in self._shards])

    @property
    def name(self) -> str:
        """How messages call this object."""
        return repr(self)

    def map(self, function: Callable, n_features: int, columns=None) -> Shards:
        """The same shards seen through a function of their rows, applied as rows are read.

        Parameters
        ----------
        function : callable
            Takes an array of shape (m, n_features), which it must not change, and returns one of
            shape (m, `n_features`).
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
                    source=replace(s, weight=None),
                    function=function,
                )
                for s in self.on_host()
            ]
        )

    def beside(self, arrays: list[np.ndarray]) -> Shards:
        """The same shards with further columns, one array of shape (n_rows, m) a shard."""
        return Shards(
            [
                BesideShard(
                    s.n_rows, s.n_features + columns.shape[1], s.name, None, weight=s.weight,
                    source=replace(s, weight=None), beside=columns,
                )
                for s, columns in zip(self.on_host(), arrays, strict=True)
            ]
        )  # fmt: skip

    def with_weights(self, sample_weight) -> Shards:
        """These shards with one non-negative weight a row.

        Parameters
        ----------
        sample_weight : None, array, list of arrays, path, list of paths, str, Dask array or Series
            One array of shape (n_rows,); one array a shard; ``.npy`` files of one column, one a
            shard; the name of a column of parquet files or DataFrames that is no feature; or a
            Dask collection with the partitions of the data.

        Returns
        -------
        Shards

        Raises
        ------
        ValueError
            If lengths do not match, a weight is negative or not finite, all are zero, or their sum
            is above 1e150.
        """
        from ._weights import weighted  # which reads files and collections as as_shards does

        return self if sample_weight is None else weighted(self, sample_weight)

    @property
    def total_weight(self) -> float:
        """Sum of the weights of all rows; a row without a weight counts one."""
        from ._weights import weight_facts

        weights = [s.weight for s in self._shards if s.weight is not None]
        unweighted = sum(s.n_rows for s in self._shards if s.weight is None)
        return float(unweighted + sum(facts.total for facts in weight_facts(weights)))


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
        values = to_host(values) if is_foreign(values) else np.asarray(values)
        if values.dtype.kind == "c":
            raise ValueError("complex numbers")
        return np.asarray(values, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{what} must hold real numbers, one array a shard or one in all: {error}."
        ) from error
