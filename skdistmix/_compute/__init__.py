"""How work runs: one map over blocks of rows, one reduction in a fixed order.

Work is cut by size only, and partial results are added in a tree that depends on nothing but the
shards. So the same shards give the same bits for every number of workers and every backend.
"""

from ._backend import resolve_backend, single_threaded_blas
from ._lazy import VALUE_NAMES, lazy_rows, value_names
from ._tasks import TreeSum, cut_tasks, tree_of
from ._workers import Workers

__all__ = [
    "VALUE_NAMES",
    "TreeSum",
    "Workers",
    "cut_tasks",
    "lazy_rows",
    "resolve_backend",
    "single_threaded_blas",
    "tree_of",
    "value_names",
]
