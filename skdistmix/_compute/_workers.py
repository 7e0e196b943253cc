"""Workers: where tasks run in this session."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import zip_longest

import numpy as np
from joblib.parallel import get_active_backend
from sklearn.utils.parallel import Parallel, delayed

from .._arrays import joined
from .._shards import Shards, read_rows
from ._backend import dask_client_of_backend, resolve_backend, single_threaded_blas
from ._cluster import Cluster
from ._dump import dump_shards
from ._queue import SharedQueue
from ._tasks import Piece, Task, TreeSum, cut_tasks, reduce_body, rows_body, useful_block_rows

__all__ = ["Workers"]


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
        self._executor = self._parallel = self._folder = self._reader = self._cluster = None
        self._dumped: dict[int, tuple[Shards, Shards]] = {}
        with ExitStack() as stack:
            self._client = dask_client_of_backend()
            in_processes, self.n_workers = resolve_backend(self.n_jobs)
            stack.enter_context(single_threaded_blas())
            if self._client is not None:
                pass  # tasks go to the cluster
            elif in_processes:
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
        cluster = self._cluster_of(shards)
        if cluster is not None:
            return cluster.map_reduce(function, shards, block_rows, check)
        total = TreeSum()
        self._run(total.add, reduce_body, function, shards, block_rows, check)
        return total.result()

    def map_rows(self, function: Callable, shards: Shards, block_rows: int = 8192, check=False):
        """``function(block)`` (an array with one entry a row) for all rows: one array a shard.

        Rows have no weights here. A shard without rows gives None.
        """
        results: list[np.ndarray | None] = [None] * len(shards)
        filled = [0] * len(shards)
        parts: list[list] = [[] for _ in shards]  # of libraries that cannot write to arrays

        def keep(values_of_task):
            # Put in its place at once: a list of parts would need the memory twice in the end.
            for shard, values in values_of_task:
                values = shards[shard].returned(values)
                if not isinstance(values, np.ndarray):
                    parts[shard].append(values)
                    continue
                if results[shard] is None:
                    shape = (shards.sizes[shard], *values.shape[1:])
                    results[shard] = np.empty(shape, values.dtype)
                first, filled[shard] = filled[shard], filled[shard] + len(values)
                results[shard][first : filled[shard]] = values

        cluster = self._cluster_of(shards)
        if cluster is not None:
            cluster.map_rows(keep, function, shards, block_rows, check)
        else:
            self._run(keep, rows_body, function, shards, block_rows, check)
        return [joined(some) if some else one for some, one in zip(parts, results)]

    def map_shards(
        self, function: Callable, shards: Shards, arguments: list, which: list | None = None
    ) -> list:
        """``function(shard, argument)`` for each shard, worked out where its rows are.

        Parameters
        ----------
        function : callable
            Takes a :class:`Shards` of one shard, whose rows it may read many times in one thread,
            and its argument. Picklable for backends of processes.
        shards : Shards
        arguments : list
            One a shard, or one an entry of `which`.
        which : list of int, optional
            Indices of the shards to visit, some perhaps several times. None: each once.

        Returns
        -------
        list
            What `function` returned, in the order of `which`.
        """
        which = list(range(len(shards))) if which is None else which
        cluster = self._cluster_of(shards)
        if cluster is not None:
            return cluster.map_shards(function, shards, arguments, which)
        if self._parallel is not None and len(which) > 1:
            each = zip(_each(self._on_disk(shards), which), arguments, strict=True)
            return list(self._parallel(delayed(shard_alone)(function, *one) for one in each))
        if self._executor is not None and not shards.on_device:
            return list(self._executor.map(function, _each(shards, which), arguments))
        return list(map(function, _each(shards, which), arguments))

    def _run(self, consume, body, function, shards, block_rows, check) -> None:
        """Call `consume` with what the body makes of each task, in the order of tasks."""
        block_rows = useful_block_rows(shards, block_rows)
        cut = cut_tasks(shards, block_rows)
        in_processes = self._parallel is not None and len(cut) > 1
        if in_processes:
            shards = self._on_disk(shards)
        rows = read_rows(shards.n_features)

        def task(parts):
            pieces = [Piece.of(shards, *part) for part in parts]
            return Task(body, function, pieces, block_rows, rows, check)

        if in_processes:
            for result in self._parallel(delayed(run_alone)(task(parts)) for parts in cut):
                consume(result)
            return
        tasks = [task(parts) for parts in cut]
        begin = None
        if any(t.reads_files for t in tasks):
            reader = self._reading_threads()
            begin = partial(Task.begin, executor=reader)
        # Other libraries than NumPy share the work of one task among threads of their own.
        if self._executor is not None and len(tasks) > 1 and not shards.on_device:
            queue = SharedQueue(tasks, consume, 4 * self.n_workers, begin)
            queue.run(self._executor, self.n_workers)
            return
        for current, following in zip_longest(tasks, tasks[1:]):
            if begin is not None and current.begun is None:
                begin(current)
            if begin is not None and following is not None:
                begin(following)
            consume(current())

    def _reading_threads(self) -> ThreadPoolExecutor:
        """Threads that read ahead, one for each that computes."""
        if self._reader is None:
            self._reader = ThreadPoolExecutor(self.n_workers)
            self._stack.callback(self._reader.shutdown, cancel_futures=True)
        return self._reader

    def _cluster_of(self, shards: Shards) -> Cluster | None:
        """The cluster on which rows live, or that the joblib context names; None for neither."""
        if shards.on_device:
            self._refuse_other_processes(shards)
            return None
        client = shards.client or self._client
        if client is None:
            return None
        if self._cluster is None or self._cluster.client is not client:
            self._cluster = Cluster(client)
            self._stack.enter_context(self._cluster)
        return self._cluster

    def _refuse_other_processes(self, shards: Shards) -> None:
        if self._client is None and self._parallel is None:
            return
        backend = type(get_active_backend()[0]).__name__
        raise ValueError(
            f"X holds arrays of {shards[0].library}, which are computed in this process, but the "
            f"joblib context asks for other processes ({backend}). Leave that context, or give "
            "NumPy arrays (of a torch tensor X.numpy(force=True))."
        )

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


def run_alone(task: Task):
    """Run a task in a process of its own."""
    with single_threaded_blas(), ThreadPoolExecutor(1) as reader:
        task.begin(reader)
        return task()


def shard_alone(function: Callable, shard: Shards, argument):
    """Run a function of one shard in a process of its own."""
    with single_threaded_blas():
        return function(shard, argument)


def _each(shards: Shards, which: list) -> list[Shards]:
    return [shards[i : i + 1] for i in which]
