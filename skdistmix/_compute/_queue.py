"""Calls that threads take one after another."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["SharedQueue"]


class SharedQueue:
    """Calls that threads take one after another; results are consumed in the order of calls.

    The threads fetch their next call themselves. A driver that hands out every call has to wake
    up for each, and waits for the interpreter lock together with the threads that compute.

    Parameters
    ----------
    calls : list of callables
    consume : callable
        Called with each result, by one thread at a time.
    window : int
        How far threads may run ahead of the oldest unfinished call (bounded memory).
    begin : callable, optional
        Called with a call while the thread works on the one before it.
    """

    def __init__(self, calls: list, consume: Callable, window: int, begin: Callable | None = None):
        self._calls, self._consume, self._window = calls, consume, window
        self._begin = begin
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
            index = self._take()
            while index is not None:
                # A thread that waited here with a call in hand might wait for itself.
                following = None if self._begin is None else self._take(wait=False)
                self._done(index, self._calls[index]())
                index = self._take() if following is None else following
        except BaseException:
            self._stop()
            raise

    def _take(self, wait: bool = True) -> int | None:
        with self._changed:
            while self._taken - self._consumed >= self._window and not self._stopped:
                if not wait:
                    return None
                self._changed.wait()
            if self._stopped or self._taken == len(self._calls):
                return None
            self._taken += 1
            index = self._taken - 1
        if self._begin is not None:
            self._begin(self._calls[index])
        return index

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
