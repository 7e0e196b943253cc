"""Rows on their way into a network: each once an epoch, from wherever they are."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")
pytest.importorskip("skorch")

from conftest import CutIn  # noqa: E402

from skdistmix import as_shards  # noqa: E402
from skdistmix.deep import Autoencoder, DeepEmbeddedClustering, _rows  # noqa: E402
from skdistmix.deep._rows import Batches, TrainingRows, scale_of, scaled  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def X():
    X = np.random.default_rng(0).normal(size=(500, 3))
    X[:, 0] = np.arange(500)  # tells a row
    return X


@pytest.fixture(params=["held in memory", "streamed"])
def kept(request, monkeypatch):
    if request.param == "streamed":
        stream(monkeypatch)
    return request.param


def stream(monkeypatch, rows_of_a_chunk=11, n_columns=3):
    monkeypatch.setattr(_rows, "IN_MEMORY", 0)
    monkeypatch.setattr(_rows, "CHUNK", 8 * n_columns * rows_of_a_chunk)


def rows_of(X, seed=0, **options):
    return TrainingRows(as_shards(X), 0.0, 1.0, np.random.default_rng(seed), **options)


def epoch_of(rows, size):
    batches = list(rows.batches(size))
    return [len(n) for n, _ in batches], *(np.concatenate(part) for part in zip(*batches))


@pytest.mark.parametrize("way", CutIn.ways)
@pytest.mark.parametrize("size", [1, 64, 256, 10_000])
def test_every_row_once_an_epoch(X, kept, way, size):
    rows = rows_of(CutIn.cut(X, way))
    orders = []
    for _ in range(2):
        sizes, numbers, batch = epoch_of(rows, size)
        assert_array_equal(np.sort(numbers), np.arange(500))
        assert_allclose(batch, X[numbers], rtol=1e-6)
        assert len(sizes) == -(-500 // size) and max(sizes) <= size
        assert min(sizes) >= min(size, 500) / 2
        orders.append(numbers)
    assert (orders[0] != orders[1]).any() and (orders[0] != np.arange(500)).mean() > 0.9


def test_some_rows_only(X, kept):
    keep = np.arange(500) % 3 == 0
    rows = rows_of(np.array_split(X, 7), keep=keep)
    assert len(rows) == keep.sum()
    _, numbers, batch = epoch_of(rows, 32)
    assert_array_equal(np.sort(numbers), np.flatnonzero(keep))
    assert_allclose(batch, X[numbers], rtol=1e-6)
    numbers, in_order = (np.concatenate(part) for part in zip(*rows.chunks()))
    assert_array_equal(numbers, np.flatnonzero(keep))
    assert_allclose(in_order, X[keep], rtol=1e-6)


def test_chunks_are_mixed(X, monkeypatch):
    stream(monkeypatch)
    _, numbers, _ = epoch_of(rows_of(X), 32)
    chunks = numbers[:32] // 11
    assert len(set(chunks)) > 4  # of the eight that are read at a time


def test_rows_in_memory_have_one_order(X):
    """Whatever shards they came in."""
    expected = epoch_of(rows_of(X), 64)[1]
    for way in CutIn.ways:
        assert_array_equal(epoch_of(rows_of(CutIn.cut(X, way)), 64)[1], expected)
    assert (epoch_of(rows_of(X, seed=1), 64)[1] != expected).any()


def test_memory_is_used_up_to_the_limit(X, monkeypatch):
    monkeypatch.setattr(_rows, "IN_MEMORY", 4 * X.size)
    assert rows_of(X)._held is not None
    monkeypatch.setattr(_rows, "IN_MEMORY", 4 * X.size - 1)
    assert rows_of(X)._held is None


def test_batches_for_skorch(X, kept):
    def change(rows, numbers):
        return rows * 2, torch.from_numpy(numbers)

    changed = list(Batches(rows_of(X), 64, change=change))
    for doubled, numbers in changed:
        assert doubled.dtype == torch.float32
        assert_allclose(doubled, 2 * X[numbers], rtol=1e-6)
    in_order = [rows for rows, _ in Batches(rows_of(X), 64, in_order=True)]
    assert_allclose(torch.cat(in_order), X, rtol=1e-6)


def test_scale(X):
    assert scale_of(as_shards(CutIn.cut(X, "with an empty one"))) == (X.min(), 499 - X.min())
    assert scale_of(as_shards(np.full((4, 2), 7.0))) == (7.0, 1.0)
    # an offset that float32 cannot hold beside the differences
    far = scaled(X + 1e9, X.min() + 1e9, 499.0)
    assert_allclose(far, (X - X.min()) / 499, atol=1e-6)
    assert far.dtype == np.float32


def test_a_value_that_is_missing(X, kept):
    X[37, 1] = np.nan
    with pytest.raises(ValueError, match="NaN: shard 1, row 17"):
        scale_of(as_shards([X[:20], X[20:]]))
    with pytest.raises(ValueError, match="NaN: shard 1, row 17"):
        epoch_of(rows_of([X[:20], X[20:]]), 64)


# --------------------------------------------------------------------------- forms


def forms_of(X, folder):
    """The same rows in other forms."""
    pieces = np.array_split(X, 4)
    for i, piece in enumerate(pieces):
        np.save(folder / f"{i}.npy", piece)
    np.save(folder / "all.npy", X)
    yield "list", pieces
    yield "shards", as_shards(pieces)
    yield "paths", [str(folder / f"{i}.npy") for i in range(4)]
    yield "glob", str(folder / "[0-3].npy")
    yield "memmap", np.load(folder / "all.npy", mmap_mode="r")


def dask_forms_of(X):
    da = pytest.importorskip("dask.array")
    dd = pytest.importorskip("dask.dataframe")
    pd = pytest.importorskip("pandas")
    yield da.from_array(X, chunks=(125, 3))
    yield dd.from_pandas(pd.DataFrame(X, columns=list("abc")), npartitions=4)


def together(values):
    if isinstance(values, np.ndarray):
        return values
    if hasattr(values, "compute"):
        return np.asarray(values.compute())
    return np.concatenate([v if isinstance(v, np.ndarray) else v.read(0, v.n_rows) for v in values])


@pytest.fixture
def small():
    autoencoder = Autoencoder(hidden=[8], n_components=2, max_epochs=2)
    return DeepEmbeddedClustering(3, autoencoder=autoencoder, max_epochs=2, tol=0, random_state=0)


def test_forms_agree_in_memory(X, small, tmp_path):
    small.fit(X)
    codes, labels = small.transform(X), small.labels_
    for name, form in forms_of(X, tmp_path):
        assert_array_equal(together(small.fit(form).labels_), labels, err_msg=name)
        assert_array_equal(together(small.transform(form)), codes, err_msg=name)
        assert_array_equal(together(small.predict(form)), labels, err_msg=name)


def test_forms_agree_when_streamed(X, small, tmp_path, monkeypatch):
    """For the same shards."""
    stream(monkeypatch, rows_of_a_chunk=40)
    small.fit(np.array_split(X, 4))
    codes = small.transform(X)
    for name, form in forms_of(X, tmp_path):
        small.fit(form)
        if name == "memmap":
            assert np.isfinite(small.transform(X)).all()
        else:
            assert_array_equal(small.transform(X), codes, err_msg=name)


def test_dask(X, small):
    codes = small.fit(X).transform(X)
    for form in dask_forms_of(X):
        small.fit(form)
        assert len(small.labels_) == 4
        assert_array_equal(together(small.transform(form)), codes)
        assert_array_equal(together(small.predict(form)), together(small.labels_))
        assert_allclose(together(small.predict_proba(form)).sum(axis=1), 1)


def test_frames_with_names(X, small):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abc"))
    small.fit(frame)
    assert list(small.feature_names_in_) == list("abc")
    assert list(small.autoencoder_.feature_names_in_) == list("abc")
    assert_array_equal(small.predict(frame), small.labels_)
    with pytest.raises(ValueError, match="feature names"):
        small.predict(frame[["b", "a", "c"]])
    small.set_output(transform="pandas")
    out = small.transform(frame)
    assert list(out.columns) == ["deepembeddedclustering0", "deepembeddedclustering1"]
    assert list(out.columns) == list(small.get_feature_names_out())
