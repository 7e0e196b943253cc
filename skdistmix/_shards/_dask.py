"""Partitions of Dask collections, futures and delayed values as shards."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import numpy as np

from ._shard import Shard

__all__ = [
    "DaskShard",
    "ScatteredShard",
    "cancelled_if_it_fails",
    "computed",
    "is_dask",
    "loaded",
    "lost_cluster",
    "on_workers",
    "partitions",
]


@dataclass(frozen=True)
class DaskShard(Shard):
    """A partition: a future on a cluster, or a delayed value that is computed at each read."""

    part: object = field(kw_only=True)
    one_shard: Callable = field(kw_only=True)  # from what a partition holds to a shard
    available: tuple | None = field(default=None, kw_only=True)  # all columns of a DataFrame

    def local(self, part=None) -> Shard:
        """The rows in this process; `part` is given where it is there already."""
        if part is None and self.client is None:
            part = self.part.compute(scheduler="synchronous")
        elif part is None:
            part = self.part.result()
        shard = self.one_shard(part, self.name, self.columns).on_host()
        if shard.n_rows != self.n_rows or shard.n_features != self.n_features:
            raise ValueError(
                f"{self.name} has the shape {(shard.n_rows, shard.n_features)}, announced was "
                f"{(self.n_rows, self.n_features)}: the shape or chunks of the Dask collection are "
                "wrong."
            )
        return shard

    @property
    def held(self):
        return (self.part,)

    def light(self):
        return replace(self, part=None)

    def filled(self, values):
        return self.local(next(values))

    def read(self, start, stop):
        return self.local().read(start, stop)

    def reads(self, start, stop, rows):
        yield self.local().read(start, stop)

    @property
    def cuts(self):
        return (0, self.n_rows)

    @property
    def read_anew(self):
        return self.client is None

    @property
    def client(self):
        return client_of(self.part) if is_future(self.part) else None


@dataclass(frozen=True)
class ScatteredShard(Shard):
    """Rows that were sent to a cluster in chunks of equal length."""

    chunks: tuple = field(kw_only=True)  # futures, or None for chunks that are left out
    rows: int = field(kw_only=True)

    def read(self, start, stop):
        parts = [
            self.chunks[c][max(start - c * self.rows, 0) : stop - c * self.rows]
            for c in range(start // self.rows, -(-stop // self.rows))
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def only(self, start: int, stop: int) -> ScatteredShard:
        """This shard with only the chunks that hold some of these rows."""
        first, last = start // self.rows, -(-stop // self.rows)
        chunks = [c if first <= i < last else None for i, c in enumerate(self.chunks)]
        return replace(self, chunks=tuple(chunks))

    @property
    def held(self):
        return tuple(c for c in self.chunks if c is not None)

    def light(self):
        return replace(self, chunks=tuple(None if c is None else True for c in self.chunks))

    def filled(self, values):
        return replace(self, chunks=tuple(None if c is None else next(values) for c in self.chunks))


def loaded(name: str):
    """A module if something has imported it; where another thread is about to, it is awaited."""
    return None if sys.modules.get(name) is None else importlib.import_module(name)


def is_future(X) -> bool:
    """Whether X is a future of Dask's distributed."""
    distributed = loaded("distributed")
    return distributed is not None and isinstance(X, distributed.Future)


def client_of(future):
    """The client of a future; one that came from another process gets the client of this one."""
    if future.client is None:
        try:
            future.bind_client(loaded("distributed").get_client())
        except ValueError as error:
            raise RuntimeError(
                "The data are futures of a Dask cluster, and this process has no client of it. Fit "
                "where the client is, or in a task on the cluster."
            ) from error
    return future.client


def is_dask(X) -> bool:
    """Whether X is a Dask collection, a delayed value or a future."""
    dask = loaded("dask")
    return is_future(X) or (dask is not None and dask.is_dask_collection(X))


def is_delayed(X) -> bool:
    """Whether X is one delayed value."""
    module = loaded("dask.delayed")
    return module is not None and isinstance(X, module.Delayed)


def is_array(X) -> bool:
    """Whether X is a Dask array."""
    # A delayed value seems to have every attribute.
    return is_dask(X) and not is_delayed(X) and hasattr(X, "chunks") and hasattr(X, "numblocks")


def is_collection(X) -> bool:
    """Whether X is a Dask array, DataFrame or Series: it knows its partitions."""
    named = is_dask(X) and not is_delayed(X) and hasattr(X, "npartitions") and hasattr(X, "_meta")
    return is_array(X) or named


def partitions(X, client=None) -> tuple[list, object]:
    """The partitions of X (futures, or delayed without a cluster), and the client.

    With a cluster all partitions are loaded on its workers, and stay there as long as the futures
    are held.

    Parameters
    ----------
    X : Dask array, DataFrame or Series, future, delayed, or list of futures and delayed values
    client : distributed.Client, optional
        By default the one that X lives on already, or the current one, if there is any.
    """
    if isinstance(X, (list, tuple)):
        parts = list(X)
    elif is_array(X):
        if X.ndim not in (1, 2):
            raise ValueError(f"Expected 2D array, got {X.ndim}D Dask array of shape {X.shape}.")
        parts = (X if X.ndim == 1 else X.rechunk({1: -1})).to_delayed().ravel().tolist()
    elif is_collection(X):
        parts = X.to_delayed()
    else:
        parts = [X]
    client = client or _found_client(X)
    if client is None:
        return parts, None
    if getattr(client, "asynchronous", True):
        raise TypeError(
            f"client must be a distributed.Client that is not asynchronous, got {client!r}: give "
            "distributed.Client(address)."
        )
    with lost_cluster(client):
        # One graph for all of them: what partitions share is computed once.
        loading = iter(client.compute([p for p in parts if not is_future(p)]))
    return [p if is_future(p) else next(loading) for p in parts], client


def _found_client(X):
    distributed = loaded("distributed")
    if distributed is None:
        return None
    for part in X if isinstance(X, (list, tuple)) else [X]:
        held = [part] if is_future(part) else distributed.futures_of(part)
        if held:
            return held[0].client
    try:
        return distributed.get_client()
    except ValueError:
        return None


def on_workers(client, function: Callable, parts: list) -> list:
    """``function(part)`` for every part, where the part is."""
    with lost_cluster(client):
        return gathered(client, client.map(function, parts, pure=False))


def gathered(client, futures: list) -> list:
    """The values of futures of our own making."""
    with cancelled_if_it_fails(client, futures):
        return client.gather(futures)


@contextmanager
def cancelled_if_it_fails(client, futures: list) -> Iterator[None]:
    """Cancels futures on an error, those too that are added to the list meanwhile.

    Dask keeps the error as long as its future lives, and with the traceback all that was in sight:
    the future itself, and the partitions on the workers.
    """
    try:
        yield
    except BaseException:
        if client.status == "running":
            with suppress(Exception):  # the first error is the one to tell
                client.cancel(futures)
        raise


def computed(values: list, X) -> list:
    """The delayed values, on the cluster that the Dask collection X lives on, if there is any."""
    client = _found_client(X)
    if client is None:
        import dask

        return list(dask.compute(*values))
    with lost_cluster(client):
        return gathered(client, client.compute(values))


@contextmanager
def lost_cluster(client) -> Iterator[None]:
    """Turns the ways in which Dask says that the cluster is gone into one clear error."""
    from concurrent.futures import CancelledError

    from distributed import CancelledError as DaskCancelled
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError
    from distributed.comm import CommClosedError

    cancelled = (CancelledError, DaskCancelled, FutureCancelledError)
    gone = (*cancelled, CommClosedError)
    try:
        yield
    except KilledWorker as error:
        raise RuntimeError(
            f"A Dask worker died while it computed, several times: {error} Its partition may "
            "not fit in its memory: use smaller partitions or workers with more memory."
        ) from error
    except Exception as error:
        running = client.status in ("running", "connecting")
        if not isinstance(error, gone) and running:
            raise
        if isinstance(error, cancelled) and running:
            raise RuntimeError(
                "Rows that had been sent to a Dask worker are gone, because the worker was lost or "
                f"their futures were cancelled ({type(error).__name__}: {error}). Send them again, "
                "or give a Dask collection, whose partitions are computed anew on another worker."
            ) from error
        raise RuntimeError(
            "The Dask client or its cluster was closed before the work was done "
            f"({type(error).__name__}: {error}). Keep the client open until fit, predict or "
            "score returns, then call it again with a new client."
        ) from error


@dataclass(frozen=True)
class PartFacts:
    """What a partition holds."""

    kind: str
    shape: tuple
    dtype: str
    columns: tuple | None


def part_facts(part) -> PartFacts:
    """Describe what a partition holds; reads no numbers."""
    columns = getattr(part, "columns", None)
    shape = tuple(getattr(part, "shape", ()))
    dtype = str(getattr(part, "dtype", ""))
    return PartFacts(type(part).__name__, shape, dtype, None if columns is None else tuple(columns))


def describe(X, parts: list, client) -> list[PartFacts]:
    """Facts of all partitions, found where they are; a Dask array with known chunks is believed."""
    if client is not None:
        return on_workers(client, part_facts, parts)
    if is_array(X) and not np.isnan(sum(X.chunks[0])):
        width = X.shape[1:]
        return [PartFacts("ndarray", (n, *width), str(X.dtype), None) for n in X.chunks[0]]
    import dask

    return list(dask.compute(*[dask.delayed(part_facts)(part) for part in parts]))
