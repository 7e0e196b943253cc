"""Tasks on the workers of a Dask cluster: rows stay there, sums come back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np

from .._shards import (
    ArrayShard,
    ScatteredShard,
    Shard,
    Shards,
    cancelled_if_it_fails,
    lost_cluster,
    read_rows,
)
from ._backend import in_dask_worker, single_threaded_blas
from ._tasks import FAN_IN, Piece, Task, TreeSum, cut_tasks, reduce_body, rows_body, tree_of

__all__ = ["Cluster"]

CHUNK_ELEMENTS = 2**21  # numbers of in-memory data that are sent as one piece: 16 MB


class Cluster:
    """Maps over shards on the workers of a Dask cluster; a context manager.

    A round sends the function (the parameters) out once, has it applied to every unit of rows where
    the rows are, adds results on the workers in the tree of :class:`TreeSum` and brings back the
    sum. Rows in memory of this process are sent once, at their first use.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client):
        self.client = client
        self._sent: dict[int, tuple[Shards, Shards]] = {}
        self._inner = None

    def __enter__(self):
        self._working = self.client
        if in_dask_worker():  # leaves its place to the tasks it waits for
            from distributed import worker_client

            self._inner = worker_client()
            self._working = self._inner.__enter__()
        return self

    def __exit__(self, *exc_info):
        self._sent.clear()
        if self._inner is not None:
            self._inner.__exit__(*exc_info)

    def map_reduce(self, function: Callable, shards: Shards, block_rows: int, check: bool):
        """As ``Workers.map_reduce``."""
        with self._round():
            sums = self._map(_reduced_unit, function, shards, block_rows, check)
            whole = [future for future, is_whole in sums if is_whole]
            rest = next((future for future, is_whole in sums if not is_whole), None)
            root = tree_of(whole, self._add, rest)
            return None if root is None else root.result()

    def map_rows(self, consume: Callable, function, shards, block_rows, check) -> None:
        """As ``Workers.map_rows``: calls `consume` with the values of each unit, in order."""
        with self._round():
            parts = self._map(_rows_of_unit, function, shards, block_rows, check)
            for values in self._working.gather([future for future, _ in parts]):
                consume(values)

    def map_shards(self, function: Callable, shards: Shards, arguments: list, which: list) -> list:
        """As ``Workers.map_shards``."""
        with self._round():
            located = self._located(shards)
            whole = [[Piece.of(located, i, 0, located[i].n_rows)] for i in which]
            sent = self._working.scatter(function, hash=False, broadcast=len(whole) > 1)
            self._futures += self._working.map(
                _of_shard, [sent] * len(whole), [_each(one, Shard.light) for one in whole],
                [_held(one) for one in whole], arguments, pure=False,
            )  # fmt: skip
            return self._working.gather(self._futures)

    @contextmanager
    def _round(self) -> Iterator[None]:
        self._futures = []
        with lost_cluster(self.client), cancelled_if_it_fails(self._working, self._futures):
            yield
        self._futures = []

    def _add(self, *futures):
        self._futures.append(self._working.submit(_sum, *futures, pure=False))
        return self._futures[-1]

    def _map(self, body, function, shards, block_rows, check) -> list[tuple]:
        """A future for each unit, and whether the unit has its full number of tasks."""
        units = list(_units(self._located(shards), block_rows, check))
        if not units:
            return []
        sent = self._working.scatter(function, hash=False, broadcast=len(units) > 1)
        futures = self._working.map(
            body, [sent] * len(units), [u.light() for u in units], [u.held for u in units],
            pure=False,
        )  # fmt: skip
        self._futures += futures
        return list(zip(futures, [u.is_whole for u in units]))

    def _located(self, shards: Shards) -> Shards:
        """The same shards with in-memory rows and weights on the cluster."""
        if id(shards) not in self._sent:
            located = Shards([self._locate(shard) for shard in shards])
            # The original is kept beside its copy, so that its id stays its own.
            self._sent[id(shards)] = (shards, located)
        return self._sent[id(shards)][1]

    def _locate(self, shard: Shard) -> Shard:
        weight = shard.weight
        if isinstance(weight, np.ndarray):
            column = weight.reshape(-1, 1)
            name = f"sample_weight of {shard.name}"
            weight = self._scattered(ArrayShard(len(column), 1, name, None, array=column))
        if shard.travels or shard.client is not None:
            return replace(shard, weight=weight)
        return replace(self._scattered(shard), weight=weight)

    def _scattered(self, shard) -> ScatteredShard:
        rows = max(1, CHUNK_ELEMENTS // shard.n_features)
        chunks = tuple(
            self._working.scatter(np.ascontiguousarray(X), hash=False)
            for X in shard.reads(0, shard.n_rows, rows)
        )
        return ScatteredShard(
            shard.n_rows, shard.n_features, shard.name, shard.columns, chunks=chunks, rows=rows
        )


# --------------------------------------------------------------------------- units of work


@dataclass(frozen=True)
class Unit:
    """Consecutive tasks that one worker does at once."""

    tasks: list[list[Piece]]
    block_rows: int
    read_rows: int
    check: bool
    is_whole: bool  # whether it is a full group of the reduction tree

    @property
    def held(self) -> list:
        """The futures whose values the unit needs; Dask puts the values in their places."""
        return [future for pieces in self.tasks for future in _held(pieces)]

    def light(self) -> Unit:
        """This unit without futures, to be filled with values where they are."""
        return replace(self, tasks=[_each(pieces, Shard.light) for pieces in self.tasks])

    def run(self, body: Callable, function: Callable, held: list) -> Iterator:
        """What the body makes of each task, on a worker."""
        values = iter(held)
        with single_threaded_blas():
            for pieces in self.tasks:
                filled = _each(pieces, lambda shard: shard.filled(values))
                yield Task(body, function, filled, self.block_rows, self.read_rows, self.check)()


def _units(shards: Shards, block_rows: int, check: bool) -> Iterator[Unit]:
    """One unit a partition; elsewhere as many tasks as are added at one node of the tree."""
    rows = read_rows(shards.n_features)
    if any(shard.client is not None for shard in shards):
        for index, shard in enumerate(shards):
            if shard.n_rows:
                piece = Piece.of(shards, index, 0, shard.n_rows)
                yield Unit([[_narrow(piece)]], block_rows, rows, check, True)
        return
    tasks = cut_tasks(shards, block_rows)
    for i in range(0, len(tasks), FAN_IN):
        group = [[_narrow(Piece.of(shards, *p)) for p in task] for task in tasks[i : i + FAN_IN]]
        yield Unit(group, block_rows, rows, check, len(group) == FAN_IN)


def _narrow(piece: Piece) -> Piece:
    """The piece with only those chunks of its shard and weights that hold its rows."""

    def only(shard):
        scattered = isinstance(shard, ScatteredShard)
        return shard.only(piece.start, piece.stop) if scattered else shard

    return _each([piece], only)[0]


def _each(pieces: list[Piece], change: Callable) -> list[Piece]:
    """The pieces with their shards changed, and the shards of their weights where there are any."""
    changed = []
    for piece in pieces:
        shard, weight = change(piece.shard), piece.shard.weight
        weight = change(weight) if isinstance(weight, Shard) else weight
        changed.append(replace(piece, shard=replace(shard, weight=weight)))
    return changed


def _held(pieces: list[Piece]) -> list:
    """The futures in shards and weights, in the order in which `filled` takes their values."""
    both = [s for p in pieces for s in (p.shard, p.shard.weight) if isinstance(s, Shard)]
    return [future for shard in both for future in shard.held]


def _reduced_unit(function, unit: Unit, held: list):
    total = TreeSum()
    for value in unit.run(reduce_body, function, held):
        total.add(value)
    return total.result()


def _rows_of_unit(function, unit: Unit, held: list) -> list:
    return [part for values in unit.run(rows_body, function, held) for part in values]


def _of_shard(function, whole: list[Piece], held: list, argument):
    values = iter(held)
    with single_threaded_blas():
        (piece,) = _each(whole, lambda shard: shard.filled(values))
        return function(Shards([piece.shard]), argument)


def _sum(*values):
    values = [value for value in values if value is not None]
    return reduce(add, values) if values else None
