"""How work runs: one map over blocks of rows, one reduction in a fixed order.

Work is cut by size only, and partial results are added in a tree that depends on nothing but the
shards. So the same shards give the same bits for every number of workers and every backend.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import lru_cache

import joblib
import numpy as np
from joblib.parallel import get_active_backend
from sklearn.utils.parallel import Parallel, delayed
from threadpoolctl import ThreadpoolController

from ._shards import Block, NpyShard, Shard, Shards

__all__ = ["Workers"]

FAN_IN = 8  # partial results added at one node of the reduction tree
TASK_ELEMENTS = 2**18  # numbers of X in one task: about 2 MB
MIN_TASK_ROWS, MAX_TASK_ROWS = 2**10, 2**16


class Workers:
    """Runs functions of row blocks over shards, on threads or on any joblib backend.

    A context manager: while it is open BLAS is held to one thread (parallelism is over blocks)
    and backends of processes find the data in files dumped once; at the end all is put back.

    Parameters
    ----------
    n_jobs : int or None
        None: outside any joblib context all cores this process may use, as threads (affinity and
        cgroup limits are respected); inside a ``joblib.parallel_config`` context, or in a worker
        of an outer parallel loop, what the context says. -1 means all cores.
    """

    def __init__(self, n_jobs: int | None = None):
        self.n_jobs = n_jobs

    def __enter__(self):
        self._executor = self._parallel = self._folder = None
        self._dumped: dict[int, tuple[Shards, Shards]] = {}
        with ExitStack() as stack:
            in_processes, self.n_workers = resolve_backend(self.n_jobs)
            stack.enter_context(single_threaded_blas())
            if in_processes:
                streams = getattr(get_active_backend()[0], "supports_return_generator", False)
                self._parallel = stack.enter_context(
                    Parallel(self.n_workers, return_as="generator" if streams else "list")
                )
            elif self.n_workers > 1:
                # joblib says how many threads run, but does not run them: it polls its thread
                # pool every 10 ms, which is as long as a whole EM iteration may take.
                self._executor = stack.enter_context(ThreadPoolExecutor(self.n_workers))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info):
        self._dumped.clear()
        return self._stack.__exit__(*exc_info)

    def map_reduce(self, function: Callable, shards: Shards, block_rows: int = 8192, check=False):
        """Sum of ``function(blocks)`` over all tasks.

        Parameters
        ----------
        function : callable
            Takes an iterable of :class:`~skdistmix._shards.Block` (the blocks of one task) and
            returns a value that supports ``+``, or None. Picklable for backends of processes.
        shards : Shards
        block_rows : int
            Largest number of rows in a block.
        check : bool
            Whether rows are checked for NaN and infinity as they are read.

        Returns
        -------
        object or None
            The sum; None if there is no row.
        """
        total = TreeSum()
        self._run(total.add, _reduce_task, function, shards, block_rows, check)
        return total.result()

    def map_rows(self, function: Callable, shards: Shards, block_rows: int = 8192, check=False):
        """``function(block)`` (an array with one entry a row) for all rows: one array a shard.

        A shard without rows gives None.
        """
        results: list[list[np.ndarray]] = [[] for _ in shards.sizes]

        def keep(values_of_task):
            for shard, values in values_of_task:
                results[shard].append(values)

        self._run(keep, _rows_task, function, shards, block_rows, check)
        return [np.concatenate(r) if len(r) > 1 else (r[0] if r else None) for r in results]

    def _run(self, consume, body, function, shards, block_rows, check) -> None:
        """Call `consume` with what the body makes of each task, in the order of tasks."""
        tasks = cut_tasks(shards.sizes, shards.n_features, block_rows)
        in_processes = self._parallel is not None and len(tasks) > 1
        if in_processes:
            shards = self._on_disk(shards)
        # A task holds the shards it reads and no others: there may be thousands.
        calls = (
            (body, function, [Piece(shards, *part) for part in task], block_rows, check)
            for task in tasks
        )
        if in_processes:
            for result in self._parallel(delayed(_in_process)(*call) for call in calls):
                consume(result)
        elif self._executor is not None and len(tasks) > 1:
            queue = SharedQueue(list(calls), consume, window=4 * self.n_workers)
            queue.run(self._executor, self.n_workers)
        else:
            for body, *arguments in calls:
                consume(body(*arguments))

    def _on_disk(self, shards: Shards) -> Shards:
        """The same shards with in-memory rows in .npy files, which worker processes map."""
        if id(shards) not in self._dumped:
            if self._folder is None:
                self._folder = tempfile.mkdtemp("-skdistmix", dir=os.getenv("JOBLIB_TEMP_FOLDER"))
                self._stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            prefix = os.path.join(self._folder, str(len(self._dumped)))
            # The original is kept beside its copy, so that its id stays its own.
            self._dumped[id(shards)] = (shards, dump_shards(shards, prefix))
        return self._dumped[id(shards)][1]


# --------------------------------------------------------------------------- where work runs


def resolve_backend(n_jobs: int | None) -> tuple[bool, int]:
    """Whether tasks run in other processes, and how many workers there are."""
    backend, context_jobs = get_active_backend()
    if not _in_joblib_context():
        return False, _count(joblib.cpu_count(), -1 if n_jobs is None else n_jobs)
    wanted = n_jobs if n_jobs is not None else (1 if context_jobs is None else context_jobs)
    # A context may set only n_jobs; then the hint decides, and ours is threads.
    hinted, _ = get_active_backend(prefer="threads")
    if getattr(hinted, "supports_sharedmem", False):
        return False, max(1, hinted.effective_n_jobs(wanted))
    workers = backend.effective_n_jobs(wanted)
    return workers > 1, workers


def _in_joblib_context() -> bool:
    # joblib has no public way to tell "no context" from "a context that says n_jobs=1".
    parallel = joblib.parallel
    config = getattr(getattr(parallel, "_backend", None), "config", None)
    return config is not None and config is not getattr(parallel, "default_parallel_config", None)


def _count(n_cores: int, n_jobs: int) -> int:
    if n_jobs == 0:
        raise ValueError("n_jobs=0 has no meaning: give None, a positive number, or -1 for all.")
    return n_jobs if n_jobs > 0 else max(1, n_cores + 1 + n_jobs)


class _BlasHold:
    """Counts who holds BLAS to one thread: concurrent fits must not undo each other's limit."""

    lock = threading.Lock()
    holders = 0
    limiter = None


@lru_cache(maxsize=1)
def _blas_controller() -> ThreadpoolController:
    return ThreadpoolController()  # looking for libraries takes a millisecond


@contextmanager
def single_threaded_blas():
    """Hold BLAS to one thread until the last concurrent user is done, then restore it."""
    hold = _BlasHold
    with hold.lock:
        if hold.holders == 0:
            hold.limiter = _blas_controller().limit(limits=1, user_api="blas")
        hold.holders += 1
    try:
        yield
    finally:
        with hold.lock:
            hold.holders -= 1
            if hold.holders == 0:
                hold.limiter.restore_original_limits()
                hold.limiter = None


class SharedQueue:
    """Calls that threads take one after another; results are consumed in the order of calls.

    The threads fetch their next call themselves. A driver that hands out every call has to wake
    up for each, and waits for the interpreter lock together with the threads that compute.

    Parameters
    ----------
    calls : list of (function, *arguments)
    consume : callable
        Called with each result, by one thread at a time.
    window : int
        How far threads may run ahead of the oldest unfinished call (bounded memory).
    """

    def __init__(self, calls: list, consume: Callable, window: int):
        self._calls, self._consume, self._window = calls, consume, window
        self._results: dict = {}
        self._taken = self._consumed = 0
        self._stopped = False
        self._changed = threading.Condition()

    def run(self, executor, n_threads: int) -> None:
        """Work through all calls; the first exception ends the work and is raised."""
        futures = [executor.submit(self._work) for _ in range(min(n_threads, len(self._calls)))]
        try:
            for future in futures:
                future.result()
        finally:
            self._stop()

    def _work(self) -> None:
        try:
            while (index := self._take()) is not None:
                function, *arguments = self._calls[index]
                self._done(index, function(*arguments))
        except BaseException:
            self._stop()
            raise

    def _take(self) -> int | None:
        with self._changed:
            while self._taken - self._consumed >= self._window and not self._stopped:
                self._changed.wait()
            if self._stopped or self._taken == len(self._calls):
                return None
            self._taken += 1
            return self._taken - 1

    def _done(self, index: int, result) -> None:
        with self._changed:
            self._results[index] = result
            while self._consumed in self._results:
                self._consume(self._results.pop(self._consumed))
                self._consumed += 1
            self._changed.notify_all()

    def _stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()


# --------------------------------------------------------------------------- tasks


def cut_tasks(sizes, n_features: int, block_rows: int) -> list[list[tuple[int, int, int]]]:
    """Cut shards into tasks, each a list of (shard, start, stop), by size alone.

    Large shards are split at multiples of `block_rows`; small ones share a task.
    """
    wanted = min(MAX_TASK_ROWS, max(MIN_TASK_ROWS, TASK_ELEMENTS // n_features))
    task_rows = max(1, round(wanted / block_rows)) * block_rows
    tasks, task, room = [], [], task_rows
    for shard, n_rows in enumerate(sizes):
        start = 0
        while start < n_rows:
            stop = min(start + room, n_rows)
            task.append((shard, start, stop))
            room -= stop - start
            start = stop
            if room == 0:
                tasks.append(task)
                task, room = [], task_rows
    if task:
        tasks.append(task)
    return tasks


class Piece:
    """A row range of one shard."""

    def __init__(self, shards: Shards, index: int, start: int, stop: int):
        self.shard, self.index, self.start, self.stop = shards[index], index, start, stop
        self.offset = int(shards.offsets[index])

    def blocks(self, block_rows: int, check: bool) -> Iterator[Block]:
        """The rows, in blocks."""
        return self.shard.blocks(self.start, self.stop, block_rows, self.offset, check)


def _task_blocks(task: list[Piece], block_rows: int, check: bool) -> Iterator[Block]:
    """The blocks of a task; rows of small shards are put together into blocks of useful size."""
    waiting: list[Block] = []
    n_waiting = 0
    for piece in task:
        for block in piece.blocks(block_rows, check):
            if waiting and n_waiting + len(block.X) > block_rows:
                yield _joined(waiting)
                waiting, n_waiting = [], 0
            waiting.append(block)
            n_waiting += len(block.X)
    if waiting:
        yield _joined(waiting)


def _joined(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    weights = None
    if any(b.weight is not None for b in blocks):
        weights = np.concatenate(
            [np.ones(len(b.X)) if b.weight is None else b.weight for b in blocks]
        )
    return Block(
        np.concatenate([b.X for b in blocks]),
        weights,
        np.concatenate([b.rows for b in blocks]),
    )


def _reduce_task(function, task, block_rows, check):
    return function(_task_blocks(task, block_rows, check))


def _rows_task(function, task, block_rows, check):
    return [
        (piece.index, function(block))
        for piece in task
        for block in piece.blocks(block_rows, check)
    ]


def _in_process(body, *arguments):
    with single_threaded_blas():
        return body(*arguments)


class TreeSum:
    """Adds values in a tree of fixed shape, keeping one partial sum a level."""

    def __init__(self):
        self._levels: list[list] = []  # [number of values added, their sum]

    def add(self, value, level: int = 0) -> None:
        if value is None:
            return
        if level == len(self._levels):
            self._levels.append([0, None])
        node = self._levels[level]
        node[0], node[1] = node[0] + 1, value if node[1] is None else node[1] + value
        if node[0] == FAN_IN:
            full, self._levels[level] = node[1], [0, None]
            self.add(full, level + 1)

    def result(self):
        total = None
        for _, value in self._levels:
            if value is not None:
                total = value if total is None else value + total
        return total


def dump_shards(shards: Shards, prefix: str) -> Shards:
    """Write in-memory (or computed) rows and weights to .npy files named after `prefix`."""

    def on_disk(index: int, shard: Shard) -> NpyShard:
        weight = shard.weight
        if isinstance(weight, np.ndarray):
            weight = f"{prefix}-weight-{index}.npy"
            np.save(weight, shard.weight)
        if isinstance(shard, NpyShard):
            return replace(shard, weight=weight)
        path = f"{prefix}-{index}.npy"
        step = max(1, TASK_ELEMENTS // shard.n_features)
        shape, dtype = (shard.n_rows, shard.n_features), shard.read(0, 1).dtype
        out = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        for start in range(0, shard.n_rows, step):
            out[start : start + step] = shard.read(start, min(start + step, shard.n_rows))
        out.flush()
        return NpyShard(*shape, shard.name, shard.columns, weight=weight, path=path)

    return Shards([on_disk(index, shard) for index, shard in enumerate(shards)])
