"""Sparse matrices as shards: rows are made dense as they are read."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import issparse

from .._shards import Shard

__all__ = ["SparseShard", "with_sparse_shards"]


@dataclass(frozen=True)
class SparseShard(Shard):
    """A sparse matrix of scipy in CSR form."""

    matrix: object = field(kw_only=True, repr=False)

    @classmethod
    def of(cls, matrix, name: str) -> SparseShard:
        """A shard of a sparse matrix of any form."""
        if matrix.ndim != 2:
            raise ValueError(f"{name}: expected 2D sparse array, got {matrix.ndim}D instead.")
        if matrix.shape[1] == 0:
            raise ValueError(
                f"{name} has 0 feature(s) (shape={matrix.shape}): at least 1 is required."
            )
        if np.dtype(matrix.dtype).kind not in "fiub":
            raise ValueError(
                f"{name} holds values of dtype {matrix.dtype}: expected real numbers. Complex data "
                "not supported."
            )
        return cls(*matrix.shape, name, None, matrix=matrix.tocsr())

    def read(self, start, stop):
        return self.matrix[start:stop].toarray()


def with_sparse_shards(X):
    """X with each sparse matrix, alone or in a list, replaced by a shard."""
    if issparse(X):
        return [SparseShard.of(X, "the data")]
    if isinstance(X, (list, tuple)) and any(map(issparse, X)):
        return [SparseShard.of(x, f"shard {i}") if issparse(x) else x for i, x in enumerate(X)]
    return X
