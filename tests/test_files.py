"""Rows in files: parquet, zarr and .npy, read in bounded pieces ahead of the computation."""

import os
import threading
import time
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from conftest import make_blobs
from sklearn.exceptions import ConvergenceWarning

from skdistmix import DistributedGMM, as_shards
from skdistmix._compute._queue import SharedQueue
from skdistmix._shards import ReadAhead, read_rows

X, _ = make_blobs(n_rows=5000)
W = np.random.default_rng(1).integers(0, 4, len(X)).astype(float)
NAMES = list("abc")


def rows_of(shards):
    return np.concatenate([s.read(0, s.n_rows) for s in shards])


def fit(Z, sample_weight=None, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        gmm = DistributedGMM(3, tol=0, max_iter=4, random_state=3, **kwargs)
        return gmm.fit(Z, sample_weight=sample_weight)


def same(a, b):
    return np.allclose(a.means_, b.means_, rtol=1e-8, atol=1e-10)


@pytest.fixture
def parquet(tmp_path):
    """Writes frames of one folder; returns the folder."""
    pytest.importorskip("pyarrow")
    folder = tmp_path / "folder"
    folder.mkdir()

    def write(*frames, names=None, **kwargs):
        for i, frame in enumerate(frames):
            name = names[i] if names else f"part-{i}.parquet"
            frame.to_parquet(folder / name, engine="pyarrow", **kwargs)
        return folder

    return write


def frame(values=X):
    return pd.DataFrame(values, columns=NAMES)


# ------------------------------------------------------------------ parquet


@pytest.mark.parametrize("group", [100, 1300, 10**6])
def test_row_groups_of_any_size_are_read(parquet, group):
    folder = parquet(frame(X[:3000]), frame(X[3000:]), row_group_size=group)
    shards = as_shards(folder)
    assert shards.sizes == [3000, 2000]
    np.testing.assert_array_equal(rows_of(shards), X)
    np.testing.assert_array_equal(shards[1].read(137, 1411), X[3137:4411])
    pieces = list(shards[0].reads(50, 2950, 700))
    assert max(map(len, pieces)) == 700
    np.testing.assert_array_equal(np.concatenate(pieces), X[50:2950])
    assert same(fit(folder), fit(X))


def test_columns_are_chosen_and_ordered(parquet):
    folder = parquet(frame().assign(text="x", w=W))
    with pytest.raises(ValueError, match=r"column 'text' is not numeric .*columns=\["):
        as_shards(folder)
    shards = as_shards(folder, columns=["c", "a"])
    assert (shards.n_features, shards.columns) == (2, ("c", "a"))
    np.testing.assert_array_equal(rows_of(shards), X[:, [2, 0]])
    np.testing.assert_array_equal(rows_of(as_shards(shards, columns=["b"])), X[:, [1]])
    np.testing.assert_array_equal(rows_of(as_shards(frame(), columns=["b"])), X[:, [1]])
    with pytest.raises(ValueError, match=r"has no column\(s\) \['z'\]"):
        as_shards(folder, columns=["a", "z"])
    with pytest.raises(TypeError, match="columns must be a list"):
        as_shards(folder, columns="a")
    with pytest.raises(ValueError, match="no column names"):
        as_shards([X], columns=["a"])
    for columns in ([], ["a", "a"]):
        with pytest.raises(ValueError, match="must name each feature once"):
            as_shards(folder, columns=columns)
    with pytest.raises(ValueError, match=r"several columns of the name\(s\) \['a'\]"):
        as_shards(pd.DataFrame(X, columns=["a", "a", "b"]), columns=["a", "b"])


def test_names_are_noted_and_checked(parquet):
    folder = parquet(frame())
    gmm = fit(folder)
    assert gmm.feature_names_in_.tolist() == NAMES
    assert [len(labels) for labels in gmm.predict(folder)] == [5000]
    with pytest.raises(ValueError, match="feature names"):
        gmm.predict(as_shards(folder, columns=NAMES[::-1]))


def test_a_written_index_is_no_feature(parquet):
    folder = parquet(frame().set_index(np.arange(7, 5007)))
    assert as_shards(folder).columns == ("a", "b", "c")


def test_kinds_of_numbers_and_nulls(parquet):
    columns = {
        "i": np.arange(9, dtype=np.int8),
        "f": np.float32(range(9)),
        "b": [True, False, True] * 3,
    }
    folder = parquet(pd.DataFrame(columns))
    expected = np.column_stack([np.asarray(c, dtype=float) for c in columns.values()])
    np.testing.assert_array_equal(rows_of(as_shards(folder)), expected)
    assert as_shards(folder, columns=["f"])[0].read(0, 9).dtype == np.float32
    holes = pd.DataFrame(
        {"i": pd.array([1, None, 3] * 3, "Int64"), "b": pd.array([True, None, False] * 3)}
    )
    shards = as_shards(parquet(holes, names=["part-1.parquet"]) / "part-1.parquet")
    assert np.isnan(shards[0].read(0, 9)).sum() == 6
    with pytest.raises(ValueError, match=r"NaN: shard 0 .*part-1.parquet\), row 1"):
        fit(shards)


def test_missing_values_in_file_17_row_3_are_named(parquet, tmp_path):
    parts = np.array_split(X, 20)
    parts[17] = parts[17].copy()
    parts[17][3, 1] = np.nan
    folder = parquet(*map(frame, parts), row_group_size=2)
    with pytest.raises(ValueError, match=r"NaN: shard 17 .*part-17\.parquet\), row 3\."):
        fit(folder)
    for i, part in enumerate(parts):
        np.save(tmp_path / f"part-{i}.npy", part)
    pattern = str(tmp_path / "*.npy")
    with pytest.raises(ValueError, match=r"NaN: shard 17 .*part-17\.npy\), row 3\."):
        fit(pattern)
    results = fit(X).predict(pattern)
    for _ in range(17):
        assert len(next(results)) == 250
    with pytest.raises(ValueError, match=r"part-17\.npy\), row 3\."):
        next(results)


def test_mixed_schemas(parquet):
    folder = parquet(frame(), frame().rename(columns={"c": "z"}))
    with pytest.raises(ValueError, match=r"part-1.*missing \['c'\], unexpected \['z'\]"):
        fit(folder)
    assert as_shards(folder, columns=["a", "b"]).n_features == 2
    folder = parquet(frame(X[:9]), frame(X[9:])[["c", "a", "b"]])
    with pytest.warns(UserWarning, match="another order"):
        shards = as_shards(folder)
    np.testing.assert_array_equal(rows_of(shards), X)
    folder = parquet(frame(X[:9].round()).astype(int), frame(X[9:]))
    assert same(fit(folder), fit([X[:9].round().astype(int), X[9:]]))


def test_folders_empty_files_and_natural_order(parquet):
    names = ["part-10.parquet", "part-9.parquet", "part-1.parquet"]
    folder = parquet(frame(X[:5]), frame(X[:0]), frame(X[5:9]), names=names)
    (folder / "_SUCCESS").write_text("")
    (folder / "inside").mkdir()
    (folder / "_old").mkdir()
    frame(X[9:12]).to_parquet(folder / "inside" / "more.parquet")
    frame(X[12:13]).to_parquet(folder / "_old" / "gone.parquet")
    assert as_shards(folder).sizes == [3, 4, 0, 5]
    assert as_shards(str(folder / "part-*.parquet")).sizes == [4, 0, 5]
    assert [len(y) for y in fit(frame()).predict(str(folder / "part-*.parquet"))] == [4, 0, 5]
    np.save(folder / "x.npy", X)
    with pytest.raises(ValueError, match=r"both .parquet and .npy"):
        as_shards(folder)


def test_a_pattern_of_folders_stands_for_the_files_in_them(parquet, tmp_path):
    parquet(frame(X[:5]), frame(X[5:9]), names=["part-01.parquet", "part-1.parquet"])
    assert as_shards(str(tmp_path / "fol*")).sizes == [5, 4]
    with pytest.raises(ValueError, match="No file matches"):
        as_shards(str(tmp_path / "none*"))


def test_a_path_taken_apart_by_a_search(parquet, tmp_path, monkeypatch):
    path = str(parquet(frame()))
    with pytest.raises(ValueError, match=r"list of letters .*as_shards\(path\)"):
        fit(list(path[1:9]))
    for name in "AB":
        np.save(tmp_path / f"{name}.npy", X)
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.npy").rename(tmp_path / name / "x.npy")
    monkeypatch.chdir(tmp_path)
    assert as_shards(["A", "B"]).sizes == [5000, 5000]


def test_damaged_files(parquet):
    folder = parquet(frame())
    (folder / "part-1.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match=r"shard 1 .*part-1.parquet.* cannot be read as a parquet"):
        as_shards(folder)


def test_memory_does_not_grow_with_row_groups(parquet):
    rows = np.random.default_rng(0).normal(size=(400_000, 3))
    folder = parquet(frame(rows), row_group_size=10**6)
    shards = as_shards(folder)
    fit(shards)
    tracemalloc.start()
    fit(shards, n_jobs=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The row group is 9.6 MB; reads are limited below to a megabyte.
    with sklearn.config_context(working_memory=128):
        tracemalloc.start()
        small = fit(shards, n_jobs=1)
        small_peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert small_peak < peak
    assert same(small, fit(rows))


# ------------------------------------------------------------------ zarr


@pytest.fixture
def zarr_array(tmp_path):
    zarr = pytest.importorskip("zarr")
    array = zarr.open(
        str(tmp_path / "x.zarr"), mode="w", shape=X.shape, chunks=(700, 2), dtype=float
    )
    array[:] = X
    return array


def test_zarr_arrays_and_paths(zarr_array, tmp_path):
    whole = fit(X)
    for form in (zarr_array, tmp_path / "x.zarr", str(tmp_path / "*.zarr"), as_shards(zarr_array)):
        assert same(fit(form), whole)
    assert as_shards(zarr_array).sizes == [700] * 7 + [100]
    assert as_shards(zarr_array, n_shards=3).sizes == [1400, 2100, 1500]
    np.testing.assert_array_equal(rows_of(as_shards(zarr_array)), X)
    np.testing.assert_array_equal(as_shards([zarr_array])[0].read(650, 2200), X[650:2200])
    pieces = list(as_shards([zarr_array])[0].reads(650, 2200, 300))  # smaller than a chunk
    assert max(map(len, pieces)) == 300
    np.testing.assert_array_equal(np.concatenate(pieces), X[650:2200])
    assert isinstance(whole.predict(zarr_array), np.ndarray)
    assert [len(y) for y in whole.predict(tmp_path / "x.zarr")] == [5000]
    with joblib.parallel_config("loky", n_jobs=2):
        for form in (zarr_array, tmp_path / "x.zarr"):
            assert same(fit(form), whole)


def test_an_array_on_disk_without_chunks_is_read_from_anywhere():
    class Dataset:  # as h5py keeps it by default
        shape, ndim, dtype, chunks = X.shape, 2, X.dtype, None
        most = 0

        def __getitem__(self, rows):
            self.most = max(self.most, rows.stop - rows.start)
            return X[rows]

    Dataset.__module__ = "h5py._hl.dataset"
    data = Dataset()
    assert as_shards(data).sizes == [1000] * 5
    assert as_shards(data, n_shards=2).sizes == [2500, 2500]
    np.testing.assert_array_equal(
        np.concatenate(list(as_shards([data])[0].reads(3, 5000, 700))), X[3:]
    )
    assert data.most == 700
    assert same(fit(data), fit(X))


def test_a_zarr_array_that_shrinks_later(zarr_array):
    gmm, shards = fit(X), as_shards([zarr_array])
    zarr_array.resize((4000, 3))
    with pytest.raises(ValueError, match="shard 0 is not the file any more"):
        gmm.predict(shards)


def test_zarr_that_is_no_table_of_numbers(zarr_array, tmp_path):
    zarr = pytest.importorskip("zarr")
    cube = zarr.open(str(tmp_path / "cube.zarr"), mode="w", shape=(3, 3, 3), dtype=float)
    with pytest.raises(ValueError, match="expected a 2-D"):
        fit(cube)
    zarr.open_group(str(tmp_path / "group.zarr"), mode="w")
    with pytest.raises(ValueError, match="is a zarr group"):
        fit(tmp_path / "group.zarr")
    with pytest.raises(ValueError, match="cannot be chosen"):
        as_shards(zarr_array, columns=["a"])


# ------------------------------------------------------------------ .npy


@pytest.mark.parametrize("kind", ["F", "big-endian", "int16", "float32", "bool", "empty"])
def test_npy_files_of_every_kind(tmp_path, kind):
    array = {
        "F": np.asfortranarray(X),
        "big-endian": X.astype(">f8"),
        "int16": (100 * X).astype(np.int16),
        "float32": X.astype(np.float32),
        "bool": X > 0,
        "empty": X[:0],
    }[kind]
    np.save(tmp_path / "x.npy", array)
    shard = as_shards(tmp_path / "x.npy")[0]
    np.testing.assert_array_equal(shard.read(0, len(array)), array)
    pieces = list(shard.reads(11, len(array), 999))
    assert all(p.dtype == array.dtype for p in pieces)
    np.testing.assert_array_equal(np.concatenate([X[:0], *pieces]), array[11:])


def test_a_file_that_is_cut_short_later(tmp_path):
    np.save(tmp_path / "x.npy", X)
    shards = as_shards(tmp_path / "x.npy")
    os.truncate(tmp_path / "x.npy", 50_000)
    with pytest.raises(ValueError, match=r"x\.npy\) is not the file any more"):
        fit(shards)


def test_a_parquet_file_that_is_written_anew_later(parquet):
    folder = parquet(frame())
    shards = as_shards(folder)
    parquet(frame(X[:4000]))
    with pytest.raises(ValueError, match=r"part-0\.parquet\) is not the file any more"):
        fit(shards)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="looks at open files under /proc")
def test_no_file_stays_open(parquet, tmp_path):
    folder = parquet(frame())
    np.save(tmp_path / "x.npy", X)
    gmms = [fit(folder), fit(tmp_path / "x.npy")]
    held = {os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}
    assert len(gmms) == 2
    assert not [path for path in held if path.startswith(str(tmp_path))]


# ------------------------------------------------------------------ weights


def test_weights_from_files_and_columns(parquet, tmp_path):
    weighted = fit(X, W)
    cut = [2000]
    both = frame().assign(w=W)
    folder = parquet(both[:2000], both[2000:], row_group_size=300)
    shards = as_shards(folder, columns=NAMES)
    for i, part in enumerate(np.split(W, cut)):
        np.save(tmp_path / f"w{i}.npy", part)
    np.save(tmp_path / "all.npy", W)
    paths = [tmp_path / "w0.npy", tmp_path / "w1.npy"]
    for weights in (
        "w",
        str(tmp_path / "w*.npy"),
        paths,
        [paths[0], W[2000:]],
        tmp_path / "all.npy",
        W,
        np.split(W, cut),
    ):
        assert same(fit(shards, weights), weighted)
        assert shards.with_weights(weights).total_weight == W.sum()
    assert same(fit(as_shards(frame().assign(w=W), columns=NAMES), "w"), weighted)
    with pytest.raises(ValueError, match="is also a feature"):
        fit(folder, "w")
    with pytest.raises(ValueError, match="has no such column"):
        fit(shards, "weight")
    with pytest.raises(ValueError, match=r"shape \(2000,\), X has 5000 rows"):
        fit(shards, [tmp_path / "w0.npy"])
    with pytest.raises(ValueError, match="3 pieces, X in 2 shards"):
        fit(shards, [tmp_path / "w0.npy"] * 3)
    with pytest.raises(ValueError, match="has 2000 values, the shard has 3000 rows"):
        fit(shards, [tmp_path / "w0.npy"] * 2)


# ------------------------------------------------------------------ reading ahead


def test_the_next_item_is_made_while_one_is_used():
    made = []

    def items():
        for i in range(4):
            made.append(i)
            yield i

    with ThreadPoolExecutor(1) as executor:
        ahead = iter(ReadAhead(items(), executor))
        assert next(ahead) == 0
        deadline = time.monotonic() + 10
        while made != [0, 1] and time.monotonic() < deadline:
            time.sleep(0.001)
        assert made == [0, 1]  # one ahead, and no more
        assert list(ahead) == [1, 2, 3]


def test_errors_of_the_reader_reach_the_computation():
    def items():
        yield 1
        raise OSError("the disk is gone")

    with ThreadPoolExecutor(1) as executor:
        ahead = iter(ReadAhead(items(), executor))
        assert next(ahead) == 1
        with pytest.raises(OSError, match="the disk is gone"):
            next(ahead)


def test_reads_follow_the_working_memory():
    assert read_rows(10) * 10 * 8 <= 2**25
    with sklearn.config_context(working_memory=16):
        assert read_rows(10) * 10 * 8 <= 2**20
        assert read_rows(10) < 14_000
    assert read_rows(10**9) == 1


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_threads_that_begin_the_next_call_never_wait_for_themselves(n_threads):
    begun, done = [], []

    class Call:
        def __init__(self, i):
            self.i = i

        def __call__(self):
            assert self.i in begun
            time.sleep(0.002 * (self.i % 7 == 0))  # the oldest is slow, the window fills
            return self.i

    calls = [Call(i) for i in range(200)]
    queue = SharedQueue(calls, done.append, n_threads + 1, lambda call: begun.append(call.i))
    with ThreadPoolExecutor(n_threads) as executor:
        runner = threading.Thread(target=queue.run, args=(executor, n_threads), daemon=True)
        runner.start()
        runner.join(30)
        assert not runner.is_alive()
    assert done == list(range(200))
