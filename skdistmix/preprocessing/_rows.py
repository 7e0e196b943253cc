"""A fitted transformer as a function of rows, wherever these are."""

from __future__ import annotations

import warnings
from copy import copy
from dataclasses import dataclass

import numpy as np

from .._shards import is_array
from ._blocks import READ_BYTES, read_only

__all__ = ["PartitionMap", "RowMap", "nameless", "not_row_by_row"]


@dataclass(frozen=True)
class RowMap:
    """A fitted transformer as a function from arrays of rows to arrays of rows."""

    transformer: object
    method: str
    n_features: int

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        if len(rows) == 0:
            return np.empty((0, self.n_features))
        result = np.asarray(getattr(self.transformer, self.method)(read_only(rows)))
        if result.shape != (len(rows), self.n_features):
            raise not_row_by_row(self.transformer, self.method, result.shape, len(rows))
        return result

    def dtype_of(self, rows: np.ndarray) -> np.dtype:
        """The dtype that such rows would give; float64 if these values are not to its taste."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return self(rows).dtype
            except Exception:  # of any kind: it is the transformer's own code
                return np.dtype(np.float64)


@dataclass(frozen=True)
class PartitionMap:
    """A `RowMap` for the partitions of a Dask collection, as ``lazy_rows`` takes it."""

    row_map: RowMap
    columns: tuple | None  # of the rows that it takes
    names: list  # of the columns that it gives
    dtype: np.dtype

    check = False  # a missing value is the transformer's own business

    @classmethod
    def of(cls, row_map: RowMap, X, columns, names) -> PartitionMap:
        """For a collection X, with names of columns where these are known."""
        columns = None if columns is None else tuple(columns)
        names = range(row_map.n_features) if names is None else names
        kinds = {X.dtype} if is_array(X) else set(X.dtypes)
        dtype = np.float32 if kinds == {np.dtype(np.float32)} else np.float64
        return cls(row_map, columns, list(names), row_map.dtype_of(np.ones((1, X.shape[1]), dtype)))

    def __call__(self, block) -> np.ndarray:
        return self.row_map(block.X).astype(self.dtype, copy=False)

    @property
    def block_rows(self) -> int:
        """Rows of a block."""
        return max(1, READ_BYTES // (8 * max(1, len(self.names))))

    @property
    def empty(self) -> np.ndarray:
        """What no rows give."""
        return np.empty((0, len(self.names)), self.dtype)


def not_row_by_row(transformer, method, shape, n_rows):
    return ValueError(
        f"{method} of {transformer} made something of shape {shape} from {n_rows} row(s). Over "
        "shards it must give one dense row for each row, always of the same number of columns."
    )


def nameless(transformer):
    """The transformer for arrays; without names it does not miss them, block after block."""
    if not hasattr(transformer, "feature_names_in_"):
        return transformer
    transformer = copy(transformer)
    vars(transformer).pop("feature_names_in_", None)
    return transformer
