"""Workers: cutting by size, adding in a fixed tree, leaving no trace."""

import os

import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_info

from skdistmix import as_shards
from skdistmix._compute import TreeSum, Workers, cut_tasks, resolve_backend, single_threaded_blas

X = np.arange(600_000.0).reshape(-1, 3)


def total(blocks):
    return sum(block.X.sum(axis=0) for block in blocks)


def fail(blocks):
    raise RuntimeError("in a task")


def double(block):
    return 2 * block.X


class Bag(frozenset):
    def __add__(self, other):
        return Bag(self | other)


def pids(blocks):
    list(blocks)
    return Bag({os.getpid()})


def test_tree_adds_in_groups_of_eight():
    class Word(str):
        def __add__(self, other):
            return Word(f"({self}{other!s})")

    tree = TreeSum()
    for letter in "abcdefghij":
        tree.add(Word(letter))
    eight = "(((((((ab)c)d)e)f)g)h)"
    assert tree.result() == f"({eight}(ij))"
    assert TreeSum().result() is None


@pytest.mark.parametrize("sizes", [[10], [100_000], [3, 0, 5], [70_000, 2, 130_000], [50] * 3000])
def test_tasks_cover_every_row_once_in_order(sizes):
    tasks = cut_tasks(as_shards([np.empty((n, 3)) for n in sizes]), block_rows=1000)
    pieces = [piece for task in tasks for piece in task]
    assert pieces == sorted(pieces)
    covered = [np.zeros(n) for n in sizes]
    for shard, start, stop in pieces:
        covered[shard][start:stop] += 1
    assert all(np.all(c == 1) for c in covered)
    rows = [sum(stop - start for _, start, stop in task) for task in tasks]
    assert max(rows) <= 66_000 and min(rows[:-1], default=1) == max(rows[:-1], default=1)


@pytest.mark.parametrize("backend", [None, "threading", "loky", "multiprocessing", "sequential"])
def test_backends_agree(backend):
    shards = as_shards(X, n_shards=3).with_weights(np.arange(1, len(X) + 1))
    context = joblib.parallel_config(backend, n_jobs=2) if backend else joblib.parallel_config()
    with context, Workers(None) as workers:
        np.testing.assert_array_equal(workers.map_reduce(total, shards), X.sum(axis=0))
        parts = workers.map_rows(double, shards)
    np.testing.assert_array_equal(np.concatenate(parts), 2 * X)


def test_processes_get_empty_shards():
    shards = as_shards([X[:0], X[:70_000], X[:0], X[70_000:]])
    with joblib.parallel_config("loky", n_jobs=2), Workers(None) as workers:
        np.testing.assert_array_equal(workers.map_reduce(total, shards), X.sum(axis=0))
        assert [r is None for r in workers.map_rows(double, shards)] == [True, False, True, False]


def test_processes_really_run_and_temporary_files_go(tmp_path, monkeypatch):
    monkeypatch.setenv("JOBLIB_TEMP_FOLDER", str(tmp_path))
    with joblib.parallel_config("loky", n_jobs=2), Workers(None) as workers:
        seen = workers.map_reduce(pids, as_shards(X))
        assert os.getpid() not in seen
        assert [p for p in tmp_path.iterdir() if p.name.endswith("-skdistmix")]
    assert not [p for p in tmp_path.iterdir() if p.name.endswith("-skdistmix")]


def test_mapped_files_are_not_copied_for_processes(tmp_path, monkeypatch):
    monkeypatch.setenv("JOBLIB_TEMP_FOLDER", str(tmp_path))
    np.save(tmp_path / "x.npy", np.tile(X, (3, 1)))
    files = as_shards([tmp_path / "x.npy"])
    for function, n_copies in ((np.negative, 0), (lambda rows: -rows, 1)):  # no pickle of a lambda
        with joblib.parallel_config("loky", n_jobs=2), Workers(None) as workers:
            mapped = files.map(function, n_features=3)
            np.testing.assert_array_equal(workers.map_reduce(total, mapped), -3 * X.sum(axis=0))
            assert len(list(tmp_path.glob("*-skdistmix/*"))) == n_copies


def test_small_shards_share_blocks():
    sizes = []

    def note(blocks):
        sizes.extend(len(b.X) for b in blocks)

    with Workers(1) as workers:
        workers.map_reduce(note, as_shards([X[:7]] * 1000), block_rows=1000)
    assert sum(sizes) == 7000
    assert len(sizes) < 10


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_errors_in_tasks_reach_the_caller_and_blas_is_restored(n_jobs):
    before = threadpool_info()
    with pytest.raises(RuntimeError, match="in a task"), Workers(n_jobs) as workers:
        workers.map_reduce(fail, as_shards(X))
    assert threadpool_info() == before


def test_concurrent_users_of_the_blas_limit():
    before = threadpool_info()
    first, second = single_threaded_blas(), single_threaded_blas()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert all(p["num_threads"] == 1 for p in threadpool_info() if p["user_api"] == "blas")
    second.__exit__(None, None, None)
    assert threadpool_info() == before


def test_number_of_workers():
    cores = joblib.cpu_count()
    assert resolve_backend(None) == (False, cores)
    assert resolve_backend(-1) == (False, cores)
    assert resolve_backend(3) == (False, 3)
    assert resolve_backend(-1000) == (False, 1)
    with joblib.parallel_config(n_jobs=1):
        assert resolve_backend(None) == (False, 1)
    with joblib.parallel_config(n_jobs=4):
        assert resolve_backend(None) == (False, 4)
    with joblib.parallel_config("loky", n_jobs=2):
        assert resolve_backend(None) == (True, 2)
        assert resolve_backend(3) == (True, 3)
    with joblib.parallel_config("threading", n_jobs=2):
        assert resolve_backend(None) == (False, 2)
    assert resolve_backend(None) == (False, cores)
    with pytest.raises(ValueError, match="n_jobs=0"):
        resolve_backend(0)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_workers_of_an_outer_loop_use_one_thread(backend):
    counts = joblib.Parallel(n_jobs=2, backend=backend)(
        joblib.delayed(resolve_backend)(None) for _ in range(2)
    )
    assert [n for _, n in counts] == [1, 1]
