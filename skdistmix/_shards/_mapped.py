"""Shards seen through a function of their rows."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from ._shard import Shard

__all__ = ["BesideShard", "MappedShard"]


@dataclass(frozen=True)
class AroundShard(Shard):
    """Something made of the rows of another shard, as they are read."""

    source: Shard = field(kw_only=True)

    @property
    def cuts(self):
        return self.source.cuts

    @property
    def read_anew(self):
        return self.source.read_anew

    @property
    def travels(self):
        return self.source.travels

    @property
    def client(self):
        return self.source.client

    @property
    def file(self):
        return self.source.file

    @property
    def held(self):
        return self.source.held

    def light(self):
        return replace(self, source=self.source.light())

    def filled(self, values):
        return replace(self, source=self.source.filled(values))


@dataclass(frozen=True)
class BesideShard(AroundShard):
    """The rows of another shard with the columns of an array beside them."""

    beside: np.ndarray = field(kw_only=True, repr=False)

    def read(self, start, stop):
        return np.hstack([self.source.read(start, stop), self.beside[start:stop]])

    def reads(self, start, stop, rows):
        for X in self.source.reads(start, stop, rows):
            yield np.hstack([X, self.beside[start : start + len(X)]])
            start += len(X)


@dataclass(frozen=True)
class MappedShard(AroundShard):
    """Another shard seen through a function of its rows."""

    function: Callable = field(kw_only=True)

    def read(self, start, stop):
        return self._mapped(self.source.read(start, stop))

    def reads(self, start, stop, rows):
        for X in self.source.reads(start, stop, rows):
            yield self._mapped(X)

    def _mapped(self, X):
        X = X.view()
        X.flags.writeable = False  # it may be the user's own array, and is read many times
        result = np.asarray(self.function(X))
        if result.shape != (len(X), self.n_features) or result.dtype.kind not in "fiub":
            raise ValueError(
                f"{self.name}: the function given to map made an array of shape {result.shape} and "
                f"dtype {result.dtype} of one of shape {X.shape}. It must give numbers, and for "
                f"each row one of {self.n_features} column(s)."
            )
        return result

    def with_columns(self, columns):
        picks = [self.columns.index(column) for column in columns]
        return MappedShard(
            self.n_rows, len(picks), self.name, tuple(columns), weight=self.weight, source=self,
            function=partial(np.take, indices=picks, axis=1),
        )  # fmt: skip

    @property
    def travels(self):
        return self.source.travels and _pickles(self.function)


def _pickles(function: Callable) -> bool:
    try:
        pickle.dumps(function)
    except Exception:  # of any kind: it is the function's own code
        return False
    return True
