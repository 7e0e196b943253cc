"""Rows that are made when they are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ._shard import Shard

__all__ = ["GeneratedShard"]


@dataclass(frozen=True)
class GeneratedShard(Shard):
    """Rows that a function makes, block by block, anew in each pass: they are never held.

    Attributes
    ----------
    make : callable
        ``make(i)`` gives the rows of block i, always the same. It is picklable.
    block_rows : int
        Rows of every block but the last.
    """

    make: Callable = field(kw_only=True, repr=False)
    block_rows: int = field(kw_only=True)

    def read(self, start, stop):
        size = self.block_rows
        if stop <= start:
            return np.empty((0, self.n_features))
        first, last = start // size, -(-stop // size)
        parts = [self.make(i) for i in range(first, last)]
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return rows[start - first * size : stop - first * size]

    def reads(self, start, stop, rows):
        while start < stop:  # to the end of a block, so that none is made twice
            end = min((start // self.block_rows + 1) * self.block_rows, stop)
            made = self.read(start, end)
            for first in range(0, len(made), rows):
                yield made[first : first + rows]
            start = end

    @property
    def cuts(self):
        return (*range(0, self.n_rows, self.block_rows), self.n_rows)

    @property
    def travels(self):
        return True
