"""How many workers there are, of which kind, and BLAS held to one thread while they run."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import lru_cache

import joblib
from joblib.parallel import get_active_backend
from threadpoolctl import ThreadpoolController

from .._shards import loaded

__all__ = ["dask_client_of_backend", "in_dask_worker", "resolve_backend", "single_threaded_blas"]


def resolve_backend(n_jobs: int | None) -> tuple[bool, int]:
    """Whether tasks run in other processes, and how many workers there are."""
    backend, context_jobs = get_active_backend()
    if in_dask_worker():  # the cluster has one such task a core
        return False, 1 if n_jobs is None else _count(joblib.cpu_count(), n_jobs)
    if not _in_joblib_context():
        return False, _count(joblib.cpu_count(), -1 if n_jobs is None else n_jobs)
    wanted = n_jobs if n_jobs is not None else (1 if context_jobs is None else context_jobs)
    # A context may set only n_jobs; then the hint decides, and ours is threads.
    hinted, _ = get_active_backend(prefer="threads")
    if getattr(hinted, "supports_sharedmem", False):
        return False, max(1, hinted.effective_n_jobs(wanted))
    workers = backend.effective_n_jobs(wanted)
    return workers > 1, workers


def in_dask_worker() -> bool:
    """Whether this is a task on a worker of a Dask cluster."""
    distributed = loaded("distributed")
    if distributed is None:
        return False
    try:
        return distributed.get_worker() is not None
    except ValueError:
        return False


def dask_client_of_backend():
    """The client of joblib's dask backend if that is the active one."""
    backend = get_active_backend()[0]
    dask = type(backend).__name__ == "DaskDistributedBackend" and not in_dask_worker()
    return backend.client if dask else None


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
