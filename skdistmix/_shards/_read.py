"""How much is read at once, and reading ahead of the computation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor

import sklearn

__all__ = ["ReadAhead", "read_rows"]

MAX_READ_BYTES = 2**25  # per thread, of all reads it has in hand
READS_IN_HAND = 8  # computed on, ready, of the next task; decoders and allocators double them


def read_rows(n_features: int) -> int:
    """Most rows of one read, so that a thread holds at most 32 MB of them.

    Less if scikit-learn's ``working_memory`` (1,024 MiB by default) divided by 16 is less.
    """
    allowed = min(MAX_READ_BYTES, sklearn.get_config()["working_memory"] * 2**20 / 16)
    return max(1, int(allowed / READS_IN_HAND) // (8 * n_features))


class ReadAhead:
    """An iterator whose next item is made in another thread while the current one is used.

    Parameters
    ----------
    items : iterable
    executor : Executor
        Where items are made; the first is begun at once.
    """

    def __init__(self, items: Iterable, executor: Executor):
        self._items, self._executor = iter(items), executor
        self._ahead = executor.submit(next, self._items, None)

    def __iter__(self) -> Iterator:
        while (item := self._ahead.result()) is not None:
            self._ahead = self._executor.submit(next, self._items, None)
            yield item
