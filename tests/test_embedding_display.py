"""EmbeddingDisplay: the points, where they come from, and how they are drawn."""

import builtins

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdistmix import DistributedGMM, as_shards
from skdistmix.inspection import EmbeddingDisplay
from skdistmix.inspection import _embedding_display as module
from skdistmix.inspection._scatter import label_positions, some

mpl = pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def no_windows():
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    centers = rng.normal(0, 5, size=(3, 4))
    return centers[np.arange(300) % 3] + rng.normal(size=(300, 4))


class Coder:
    """A clusterer with codes that notes what it was given."""

    def transform(self, X):
        self.given = X
        return 2 * np.asarray(X)

    def predict(self, X):
        return (np.asarray(X)[:, 0] > 0).astype(int)


def test_principal_components(X):
    labels = np.arange(300) % 3
    centers = np.array([X[labels == k].mean(axis=0) for k in range(3)])
    display = EmbeddingDisplay.from_codes(X, labels, centers=centers)
    pca = PCA(2).fit(X)
    assert_allclose(display.points, pca.transform(X), atol=1e-9)
    assert_allclose(display.centers, pca.transform(centers), atol=1e-9)
    assert display.axis_names[0].startswith("principal component 1 (")
    assert_array_equal(display.rows, np.arange(300))
    for label, points in display.artist_.items():
        assert_array_equal(points.get_offsets(), display.points[labels == label])
    assert [text.get_text() for text in display.text_.values()] == ["0", "1", "2"]
    assert_allclose([text.xy for text in display.text_.values()], display.centers)
    assert display.plot(names=["a", "b", "c"]).text_[2].get_text() == "c"
    display.figure_.canvas.draw()


def test_neighbours_by_tsne(X):
    labels = np.arange(60) % 3
    centers = np.array([X[:60][labels == k].mean(axis=0) for k in range(3)])
    display = EmbeddingDisplay.from_codes(X[:60], labels, centers=centers, method="tsne")
    assert display.points.shape == (60, 2) and display.centers.shape == (3, 2)
    middle = np.array([display.points[labels == k].mean(axis=0) for k in range(3)])
    away = np.linalg.norm(display.centers[:, None] - middle, axis=2)
    assert_array_equal(away.argmin(axis=1), [0, 1, 2])
    again = EmbeddingDisplay.from_codes(X[:60], labels, centers=centers, method="tsne")
    assert_array_equal(again.points, display.points)
    few = EmbeddingDisplay.from_codes(X[:3], labels[:3], method="tsne")
    assert few.points.shape == (3, 2)


def test_two_columns_are_drawn_as_they_are(X):
    display = EmbeddingDisplay.from_codes(X[:, :2], np.zeros(300, int))
    assert_array_equal(display.points, X[:, :2])
    assert display.axis_names == ("code 0", "code 1")


@pytest.mark.parametrize("form", ["array", "list", "Shards", "glob", "frame", "mixed"])
def test_only_some_rows_are_read(X, form, tmp_path, monkeypatch):
    pd = pytest.importorskip("pandas")
    np.save(tmp_path / "part-0.npy", X[:100])
    np.save(tmp_path / "part-1.npy", X[100:])
    forms = {
        "array": X,
        "list": [X[:100], X[100:100], X[100:]],
        "Shards": as_shards([X[:100], X[100:]]),
        "glob": str(tmp_path / "part-*.npy"),
        "frame": pd.DataFrame(X),
        "mixed": [str(tmp_path / "part-0.npy"), X[100:]],
    }
    monkeypatch.setattr(module, "READ_ELEMENTS", 60)
    coder = Coder()
    display = EmbeddingDisplay.from_estimator(coder, forms[form], max_points=50)
    assert_array_equal(display.rows, some(300, 50, 0))
    assert_array_equal(np.asarray(coder.given), X[display.rows])
    assert_array_equal(display.labels, coder.predict(X)[display.rows])
    own = np.arange(300) % 4 - 1
    for labels in (own, [own[:100], own[100:]]):
        known = EmbeddingDisplay.from_estimator(coder, forms[form], labels=labels, max_points=50)
        assert_array_equal(known.labels, own[known.rows])


def test_names_of_columns_reach_the_estimator(X):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcd"))
    pipe = make_pipeline(StandardScaler(), KMeans(3, n_init=1, random_state=0)).fit(frame)
    whole = EmbeddingDisplay.from_estimator(pipe, frame)
    pieces = EmbeddingDisplay.from_estimator(pipe, [frame[:100], frame[100:]])
    assert_allclose(pieces.points, whole.points)
    assert whole.axis_names[0].startswith("principal component")


def test_images_are_rows_too():
    class Images(Coder):
        def transform(self, X):
            return X.reshape(len(X), -1)

        def predict(self, X):
            return np.zeros(len(X), int)

    images = np.random.default_rng(0).normal(size=(40, 1, 3, 3))
    assert EmbeddingDisplay.from_estimator(Images(), images, max_points=30).points.shape == (30, 2)


def test_codes_in_shards(X):
    labels = np.arange(300) % 3
    whole = EmbeddingDisplay.from_codes(X, labels)
    pieces = EmbeddingDisplay.from_codes([X[:50], X[50:]], [labels[:50], labels[50:]])
    assert_array_equal(pieces.points, whole.points)
    assert_array_equal(pieces.labels, labels)


def test_samples():
    assert_array_equal(some(5, 9, 0), np.arange(5))
    rows = some(10_000, 500, 3)
    assert len(np.unique(rows)) == 500 and (np.diff(rows) > 0).all()
    assert 4500 < rows.mean() < 5500
    assert_array_equal(rows, some(10_000, 500, 3))


def test_a_name_stands_on_a_point_of_its_cluster():
    t = np.linspace(0, 2 * np.pi, 40)
    x, y = np.cos(t), np.sin(t)  # with nothing in the middle
    place = label_positions(x, y, np.zeros(40, int))[0]
    assert np.hypot(*place) == pytest.approx(1)
    assert label_positions(x, y, np.full(40, -1)) == {}


def test_each_of_many_clusters_has_its_look(X):
    labels = np.arange(300) % 41 - 1
    display = EmbeddingDisplay(points=X[:, :2], labels=labels).plot()
    looks = {
        (tuple(points.get_facecolor()[0][:3]), points.get_paths()[0].vertices.tobytes())
        for points in display.artist_.values()
    }
    assert len(looks) == 41
    assert -1 in display.artist_ and -1 not in display.text_
    sized = EmbeddingDisplay(points=X[:, :2], labels=labels).plot(scatter_kw={"s": 7})
    assert sized.artist_[0].get_sizes().tolist() == [7]


def test_axes_of_the_user(no_windows, X):
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    display = EmbeddingDisplay.from_codes(X, np.arange(300) % 3, ax=ax)
    assert display.figure_ is ax.figure and display.ax_ is ax
    assert no_windows.get_fignums() == []


def test_errors(X, no_windows):
    labels = np.zeros(300, int)
    gmm = DistributedGMM(2, random_state=0).fit(X)
    with pytest.raises(TypeError, match=r"needs transform .*from_codes\(X, model.predict"):
        EmbeddingDisplay.from_estimator(gmm, X)
    with pytest.raises(TypeError, match="got the class KMeans"):
        EmbeddingDisplay.from_estimator(KMeans, X)
    with pytest.raises(NotFittedError):
        EmbeddingDisplay.from_estimator(KMeans(2), X)
    for kw, message in (
        ({"method": "umap"}, r"method='umap' must be one of"),
        ({"max_points": 0}, "max_points must be"),
        ({"centers": X[:3, :2]}, "centers have 2 columns, the codes 4"),
    ):
        with pytest.raises(ValueError, match=message):
            EmbeddingDisplay.from_codes(X, labels, **kw)
    with pytest.raises(ValueError, match="Codes have one column"):
        EmbeddingDisplay.from_codes(X[:, :1], labels)
    with pytest.raises(ValueError, match=r"labels have shape \(9,\)"):
        EmbeddingDisplay.from_codes(X, labels[:9])
    with pytest.raises(ValueError, match="minimum of 3 is required"):
        EmbeddingDisplay.from_codes(X[:2], labels[:2])
    with pytest.raises(ValueError, match=r"points have shape \(300, 4\)"):
        EmbeddingDisplay(points=X, labels=labels)
    with pytest.raises(ValueError, match=r"centers have shape \(300, 4\)"):
        EmbeddingDisplay(points=X[:, :2], labels=labels, centers=X)
    with pytest.raises(ValueError, match="dtype float64, expected whole"):
        EmbeddingDisplay(points=X[:, :2], labels=0.5 * np.ones(300))
    with pytest.raises(ValueError, match="1 names were given, but there is a label 1"):
        EmbeddingDisplay(points=X[:2, :2], labels=[0, 1]).plot(names=["a"])
    assert no_windows.get_fignums() == []


def test_without_matplotlib(monkeypatch, X):
    true_import = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(f"No module named {name!r}")
        return true_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"EmbeddingDisplay needs matplotlib: pip install"):
        EmbeddingDisplay.from_codes(X, np.zeros(300, int))
