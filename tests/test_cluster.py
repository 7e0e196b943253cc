"""LandmarkSpectralClustering: against a dense textbook version, over shards, on hard input."""

import pickle

import numpy as np
import pytest
from conftest import CutIn, make_blobs
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.datasets import load_digits, make_circles, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, confusion_matrix

from skdistmix import _landmarks, _spectral, as_shards
from skdistmix.cluster import LandmarkSpectralClustering


def textbook(X, landmarks, n_neighbors, n_clusters, weight=None):
    """Chen and Cai (2011) with dense matrices; singular values, unit rows of left vectors."""
    weight = np.ones(len(X)) if weight is None else weight
    squared = cdist(X, landmarks, "sqeuclidean")
    last = np.sort(squared, axis=1)[:, n_neighbors - 1]
    bandwidth = np.average(last, weights=weight)
    Z = np.where(squared <= last[:, None], np.exp(-squared / bandwidth), 0)
    Z /= Z.sum(axis=1, keepdims=True)
    Z /= np.sqrt(weight @ Z)
    U, S, _ = np.linalg.svd(np.sqrt(weight)[:, None] * Z, full_matrices=False)
    U = U[:, :n_clusters] / np.sqrt(weight)[:, None]
    return S[:n_clusters] ** 2, U / np.linalg.norm(U, axis=1, keepdims=True), bandwidth


@pytest.fixture
def moons():
    return make_moons(600, noise=0.07, random_state=0)


# --------------------------------------------------------------------------- the method


@pytest.mark.parametrize("n_neighbors", [2, 3, 15])
@pytest.mark.parametrize("weighted", [False, True])
def test_embedding_is_that_of_the_textbook(n_neighbors, weighted):
    X, _ = make_blobs(n_rows=900, spread=1.0)
    weight = np.random.default_rng(0).integers(1, 4, len(X)) if weighted else None
    model = LandmarkSpectralClustering(
        4, n_landmarks=120, n_neighbors=n_neighbors, n_draws=1, random_state=0
    ).fit(X, sample_weight=weight)
    values, U, bandwidth = textbook(X, model.landmarks_, n_neighbors, 4, weight)
    assert_allclose(model.bandwidth_, bandwidth, rtol=1e-10)
    assert_allclose(model.eigenvalues_, values, atol=1e-10)
    Y = model.transform(X)
    assert_allclose(Y @ Y.T, U @ U.T, atol=1e-6)  # whatever the signs
    assert_allclose(np.linalg.norm(Y, axis=1), 1)
    squared = cdist(Y, model.cluster_centers_, "sqeuclidean")
    assert_array_equal(model.labels_, squared.argmin(axis=1))
    assert_allclose(model.inertia_, np.average(squared.min(axis=1), weights=weight), rtol=1e-8)


def test_sums_over_shards_give_the_same_embedding(monkeypatch):
    X, _ = make_blobs(n_rows=900, spread=1.0)
    monkeypatch.setattr(_landmarks, "FEWEST_SAMPLE_ROWS", 300)
    model = LandmarkSpectralClustering(3, n_landmarks=30, n_draws=1, random_state=0)
    model.fit(np.array_split(X, 5))
    Z = _spectral.graph(*model._draw.landmark_map.links(X), len(model.landmarks_)).toarray()
    U, S, _ = np.linalg.svd(Z / np.sqrt(Z.sum(axis=0)), full_matrices=False)
    assert_allclose(model.eigenvalues_, S[:3] ** 2, atol=1e-10)
    U = U[:, :3] / np.linalg.norm(U[:, :3], axis=1, keepdims=True)
    Y = model.transform(X)
    assert_allclose(Y @ Y.T, U @ U.T, atol=1e-6)


@pytest.mark.parametrize("make", [make_moons, make_circles])
def test_shapes_that_k_means_cannot_find(make):
    options = {"factor": 0.5} if make is make_circles else {}
    X, y = make(1500, noise=0.05, random_state=0, **options)
    labels = LandmarkSpectralClustering(2, random_state=0).fit_predict(X)
    assert adjusted_rand_score(y, labels) > 0.99


def test_digits():
    X, y = load_digits(return_X_y=True)
    labels = LandmarkSpectralClustering(10, random_state=0).fit_predict(X / 16)
    counts = confusion_matrix(y, labels)
    assert counts.max(axis=0).sum() / len(y) > 0.85


def test_the_draw_of_lowest_inertia_is_kept(moons):
    model = LandmarkSpectralClustering(2, n_draws=4, random_state=0).fit(moons[0])
    assert model.inertias_.shape == (4,)
    assert model.inertia_ == model.inertias_.min()
    assert LandmarkSpectralClustering(2, n_draws=1).fit(moons[0]).inertias_.shape == (1,)


def test_eigenvalues_of_crowded_spectra(monkeypatch):
    X, _ = make_moons(3000, noise=0.03, random_state=0)
    options = {"n_landmarks": 500, "n_draws": 1, "random_state": 0}
    lanczos = LandmarkSpectralClustering(4, **options).fit(X)
    monkeypatch.setattr(_spectral, "FEW_RESTARTS", 1)
    inverse = LandmarkSpectralClustering(4, **options).fit(X)
    monkeypatch.setattr(_spectral, "DENSE_LANDMARKS", 1000)
    dense = LandmarkSpectralClustering(4, **options).fit(X)
    for model in (lanczos, inverse):
        assert_allclose(model.eigenvalues_, dense.eigenvalues_, atol=1e-11)
        assert adjusted_rand_score(model.labels_, dense.labels_) == 1


@pytest.mark.parametrize("n_pieces", [2, 3, 7])
def test_graphs_in_pieces(n_pieces):
    rng = np.random.default_rng(0)
    where = np.arange(600) % n_pieces
    X = np.stack([100.0 * where, np.zeros(600)], axis=1) + rng.normal(size=(600, 2))
    model = LandmarkSpectralClustering(3, random_state=0).fit(X)
    assert len(np.unique(model.labels_)) == 3
    assert_allclose(model.eigenvalues_[: min(n_pieces, 3)], 1, atol=0.01)
    if n_pieces >= 3:  # no piece is cut, but for a row at the end of a link
        assert confusion_matrix(where, model.labels_).max(axis=1).sum() >= 598


def test_new_rows(moons):
    X, _ = moons
    model = LandmarkSpectralClustering(2, random_state=0).fit(X)
    assert_array_equal(model.predict(X), model.labels_)
    assert_array_equal(np.concatenate([model.predict(x[None]) for x in X[:50]]), model.labels_[:50])
    new, truth = make_moons(500, noise=0.07, random_state=1)
    assert adjusted_rand_score(truth, model.predict(new)) > 0.97
    assert np.isfinite(model.transform(1e8 * X)).all()  # far from all landmarks


# --------------------------------------------------------------------------- input


def test_paths_give_an_array_a_file(moons, tmp_path):
    X, _ = moons
    paths = [str(tmp_path / f"part-{i}.npy") for i in range(3)]
    for path, part in zip(paths, np.array_split(X, 3), strict=True):
        np.save(path, part)
    model = LandmarkSpectralClustering(2, random_state=0)
    labels = model.fit_predict(str(tmp_path / "part-*.npy"))
    assert [len(some) for some in labels] == [200, 200, 200]
    for some, again in zip(labels, model.predict(str(tmp_path / "part-*.npy")), strict=True):
        assert_array_equal(some, again)
    assert [len(some) for some in model.transform(paths)] == [200, 200, 200]


def test_dask(somewhere, moons):
    da = pytest.importorskip("dask.array")
    X, _ = moons
    lazy = da.from_array(X, chunks=(250, 2))
    model = LandmarkSpectralClustering(2, n_draws=2, random_state=0)
    expected = clone(model).fit(X)
    assert_array_equal(np.concatenate(model.fit(lazy).labels_), expected.labels_)
    labels, Y = model.predict(lazy), model.transform(lazy)
    assert labels.chunks == lazy.chunks[:1] and Y.chunks == ((250, 250, 100), (2,))
    assert_array_equal(labels.compute(), expected.labels_)
    assert_allclose(Y.compute(), expected.transform(X), atol=1e-8)
    dd = pytest.importorskip("dask.dataframe")
    frame = dd.from_dask_array(lazy, columns=["a", "b"])
    by_name = clone(model).fit(frame)
    out = by_name.transform(frame).compute()
    assert list(out.columns) == list(by_name.get_feature_names_out())
    assert_array_equal(by_name.predict(frame).compute(), expected.labels_)


def test_names_and_containers(moons):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(moons[0], columns=["a", "b"], index=np.arange(600) + 7)
    model = LandmarkSpectralClustering(2, random_state=0).set_output(transform="pandas")
    out = model.fit_transform(frame)
    names = ["landmarkspectralclustering0", "landmarkspectralclustering1"]
    assert list(out.columns) == list(model.get_feature_names_out()) == names
    assert_array_equal(out.index, frame.index)
    assert_array_equal(model.feature_names_in_, ["a", "b"])
    pieces = model.transform([frame[:100], frame[100:]])
    assert [len(piece) for piece in pieces] == [100, 500]
    assert all(isinstance(piece, pd.DataFrame) for piece in pieces)
    assert_array_equal(pieces[1].index, frame.index[100:])
    assert isinstance(model.transform(as_shards(frame))[0], np.ndarray)


def test_rows_of_weight_zero_have_labels(moons):
    X, _ = moons
    weight = np.ones(len(X))
    weight[::3] = 0
    model = LandmarkSpectralClustering(2, random_state=0).fit(X, sample_weight=weight)
    assert len(model.labels_) == 600
    without = clone(model).fit(X[weight > 0])
    assert_array_equal(without.landmarks_, model.landmarks_)
    assert_array_equal(without.predict(X), model.labels_)
    pieces = clone(model).fit(np.split(X, [250]), sample_weight=np.split(weight, [250]))
    assert_array_equal(np.concatenate(pieces.labels_), model.labels_)


def test_duplicates():
    X = np.repeat([[0.0, 0], [0, 1], [9, 9], [9, 8]], [500, 2, 300, 1], axis=0)
    model = LandmarkSpectralClustering(2, random_state=0).fit(X)
    assert_array_equal(model.labels_[[0, 500, 502]] == model.labels_[0], [True, True, False])
    with pytest.warns(ConvergenceWarning, match="Only 4 of 8 clusters have rows"):
        LandmarkSpectralClustering(8, random_state=0).fit(X)
    with pytest.warns(ConvergenceWarning, match="Only 1 of 2 clusters have rows"):
        LandmarkSpectralClustering(2, random_state=0).fit(np.ones((50, 3)))
    assert_array_equal(LandmarkSpectralClustering(1).fit(np.ones((5, 3))).labels_, np.zeros(5))


def test_few_rows():
    X, _ = make_blobs(n_rows=5)
    for n_clusters in (1, 2, 5):
        model = LandmarkSpectralClustering(n_clusters, n_neighbors=9, random_state=0).fit(X)
        assert len(np.unique(model.labels_)) == n_clusters
    assert LandmarkSpectralClustering(1).fit(X[:1]).labels_.tolist() == [0]


def test_bad_input(moons):
    X, _ = moons
    with pytest.raises(ValueError, match="n_samples=3 should be >= n_clusters=8"):
        LandmarkSpectralClustering().fit(X[:3])
    with pytest.raises(ValueError, match="n_neighbors=5 is more than n_landmarks=4"):
        LandmarkSpectralClustering(2, n_landmarks=4, n_neighbors=5).fit(X)
    with pytest.raises(ValueError, match="n_clusters=8 is more than n_landmarks=4"):
        LandmarkSpectralClustering(n_landmarks=4).fit(X)
    bad = [X[:100], X[100:].copy()]
    bad[1][7, 0] = np.nan
    with pytest.raises(ValueError, match="NaN: shard 1, row 7"):
        LandmarkSpectralClustering(2).fit(bad)
    model = LandmarkSpectralClustering(2, n_draws=1, random_state=0).fit(X)
    with pytest.raises(ValueError, match="NaN: shard 1, row 7"):
        model.predict(bad)
    with pytest.raises(ValueError, match="X has 3 features, but LandmarkSpectral"):
        model.predict(np.ones((2, 3)))


def test_verbose(moons, capsys):
    LandmarkSpectralClustering(2, n_draws=2, verbose=1).fit(moons[0])
    assert capsys.readouterr().out.count("of landmarks, inertia") == 2


@pytest.mark.parametrize("way", CutIn.ways)
def test_many_rows_do_not_depend_on_contiguous_splits(monkeypatch, way):
    monkeypatch.setattr(_landmarks, "FEWEST_SAMPLE_ROWS", 500)
    X, _ = make_moons(3000, noise=0.05, random_state=0)
    model = LandmarkSpectralClustering(2, n_landmarks=50, random_state=0)
    whole, cut = clone(model).fit(X), clone(model).fit(CutIn.cut(X, way))
    assert_array_equal(cut.landmarks_, whole.landmarks_)
    assert_allclose(cut.inertias_, whole.inertias_, rtol=1e-6)
    assert_array_equal(np.concatenate(cut.labels_), whole.labels_)


def test_pickle(moons):
    model = LandmarkSpectralClustering(2, random_state=0).fit(moons[0])
    back = pickle.loads(pickle.dumps(model))
    assert_array_equal(back.predict(moons[0]), model.labels_)
