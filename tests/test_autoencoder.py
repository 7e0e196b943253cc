"""MarginalizedDenoisingAutoencoder: against explicit corruption, and over shards."""

import itertools
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from skdistmix import DistributedGMM, as_shards
from skdistmix._shards import Shard, Shards
from skdistmix.preprocessing import MarginalizedDenoisingAutoencoder, Shardwise


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(200, 5)) @ rng.normal(size=(5, 5)) * 0.4 + [0, 0.5, 0, -1, 0]


@pytest.fixture
def counts():
    """Words of two topics, most of them absent."""
    rng = np.random.default_rng(1)
    rates = np.repeat([[0.6, 0.05], [0.05, 0.6]], 10, axis=1)
    labels = np.arange(400) % 2
    return rng.poisson(rates[labels]).astype(float), labels


def layers_of(model):
    return list(zip(model.coefs_, model.intercepts_))


def by_all_corruptions(X, corruption):
    """A layer from every corruption with its probability: regression on 2^d times the rows."""
    n, d = X.shape
    rows, targets, weights = [], [], []
    for kept in itertools.product([0, 1], repeat=d):
        n_kept = sum(kept)
        rows.append(np.column_stack([X * kept, np.ones(n)]))
        targets.append(X)
        weights.append(np.full(n, (1 - corruption) ** n_kept * corruption ** (d - n_kept)))
    root = np.sqrt(np.concatenate(weights))[:, None]
    A, B = root * np.concatenate(rows), root * np.concatenate(targets)
    W = np.linalg.lstsq(A, B, rcond=None)[0]
    return W[:-1], W[-1]


# --------------------------------------------------------------------------- the closed form


@pytest.mark.parametrize("corruption", [0.1, 0.5, 0.9])
def test_layers_are_the_regression_on_all_corruptions(X, corruption):
    model = MarginalizedDenoisingAutoencoder(3, corruption=corruption, reg=0).fit(X)
    Z = X
    for coef, intercept in layers_of(model):
        expected_coef, expected_intercept = by_all_corruptions(Z, corruption)
        assert_allclose(coef, expected_coef, atol=1e-10)
        assert_allclose(intercept, expected_intercept, atol=1e-10)
        Z = np.tanh(Z @ coef + intercept)
    assert_allclose(model.transform(X), Z, rtol=1e-12)


def test_random_corruptions_come_closer_with_their_number(X):
    model = MarginalizedDenoisingAutoencoder(1, corruption=0.3, reg=0).fit(X)
    rng = np.random.default_rng(0)
    distances = []
    for copies in (4, 64, 1024):
        rows = np.tile(X, (copies, 1))
        corrupted = np.column_stack([rows * (rng.random(rows.shape) > 0.3), np.ones(len(rows))])
        W = np.linalg.lstsq(corrupted, rows, rcond=None)[0]
        distances.append(np.abs(W[:-1] - model.coefs_[0]).max())
    assert distances[0] > 2 * distances[1] > 4 * distances[2]
    assert distances[2] < 0.01


def test_ridge_is_a_share_of_the_mean_square(X):
    reg, kept = 0.1, np.array([0.5] * 5 + [1.0])
    model = MarginalizedDenoisingAutoencoder(1, corruption=0.5, reg=reg).fit(X)
    Z = np.column_stack([X, np.ones(len(X))])
    S = Z.T @ Z / len(Z)
    Q = S * np.outer(kept, kept)
    np.fill_diagonal(Q, np.diag(S) * (kept + np.array([reg] * 5 + [0.0])))
    W = np.linalg.solve(Q, (S[:-1] * kept).T)
    assert_allclose(model.coefs_[0], W[:-1], rtol=1e-9)
    assert_allclose(model.intercepts_[0], W[-1], rtol=1e-8)


def test_columns_of_zeros_and_constant_columns(X):
    X[:, 1], X[:, 3] = 0.0, 0.7
    with_them = MarginalizedDenoisingAutoencoder(2).fit(X)
    without = MarginalizedDenoisingAutoencoder(2).fit(np.delete(X, 1, axis=1))
    assert_allclose(
        np.delete(with_them.transform(X), 1, axis=1), without.transform(np.delete(X, 1, axis=1))
    )
    assert_array_equal(with_them.transform(X)[:, 1], 0.0)
    # the intercept gives a constant column, whatever is erased
    assert_allclose(with_them.coefs_[0][:, 3], 0, atol=1e-3)
    assert_allclose(with_them.intercepts_[0][3], 0.7, rtol=1e-3)


def test_one_row_and_columns_of_other_units(X):
    assert np.isfinite(MarginalizedDenoisingAutoencoder().fit_transform(X[:1])).all()
    units = np.array([1e-100, 1.0, 1e-6, 1e90, 1e3])
    model = MarginalizedDenoisingAutoencoder(1).fit(X)
    scaled = MarginalizedDenoisingAutoencoder(1).fit(X * units)
    assert_allclose(scaled.coefs_[0], model.coefs_[0] * units / units[:, None], rtol=1e-8)
    assert_allclose(scaled.intercepts_[0], model.intercepts_[0] * units, rtol=1e-8)


def test_absent_words_are_filled_in(counts):
    """Words of a text tell its topic better after denoising: fewer are needed."""
    X, labels = counts
    hidden = X * (np.random.default_rng(2).random(X.shape) < 0.3)
    denoised = MarginalizedDenoisingAutoencoder(2).fit(X).transform(hidden)
    known = hidden.sum(axis=1) > 0

    def share_found(rows):
        first = rows[:, :10].sum(axis=1) - rows[:, 10:].sum(axis=1)
        return ((first < 0) == labels)[known].mean()

    assert share_found(denoised) >= share_found(hidden) - 0.01
    # each single word of a topic alone shows the topic
    own = np.where(labels[:, None] == 0, denoised[:, :10], denoised[:, 10:])
    other = np.where(labels[:, None] == 0, denoised[:, 10:], denoised[:, :10])
    assert (own.mean(axis=1) > other.mean(axis=1))[known].mean() > 0.9
    raw = np.where(labels[:, None] == 0, hidden[:, :10], hidden[:, 10:])
    assert (own.std(axis=1) < raw.std(axis=1))[known].mean() > 0.9


# --------------------------------------------------------------------------- outputs


def test_output_of_all_layers(X):
    model = MarginalizedDenoisingAutoencoder(3, output="concatenate").fit(X)
    Z = X
    parts = []
    for coef, intercept in layers_of(model):
        Z = np.tanh(Z @ coef + intercept)
        parts.append(Z)
    assert_allclose(model.transform(X), np.hstack(parts), rtol=1e-12)
    assert_allclose(model.set_params(output="last").transform(X), parts[-1], rtol=1e-12)


def test_names(X):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcde"), index=np.arange(200) + 7)
    model = MarginalizedDenoisingAutoencoder(2, output="concatenate").fit(frame)
    names = [f"layer{i}_{name}" for i in (1, 2) for name in "abcde"]
    assert_array_equal(model.get_feature_names_out(), names)
    assert isinstance(model.transform(frame), np.ndarray)
    model = clone(model.set_output(transform="pandas")).fit(frame)
    out = model.transform(frame)
    assert list(out.columns) == names and out.index[0] == 7
    pieces = model.transform([frame[:50], frame[50:]])
    assert [len(piece) for piece in pieces] == [50, 150] and pieces[1].index[0] == 57
    assert model.transform(as_shards(frame)).columns == tuple(names)
    assert isinstance(model.set_output(transform="default").transform(frame), np.ndarray)
    model.set_params(output="last")
    assert_array_equal(model.get_feature_names_out(), names[5:])


def test_polars_output(X):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(X, schema=list("abcde"))
    model = MarginalizedDenoisingAutoencoder(1).set_output(transform="polars").fit(frame)
    assert model.transform(frame).columns == [f"layer1_{c}" for c in "abcde"]


def test_floating_point_type(X):
    model = MarginalizedDenoisingAutoencoder().fit(X.astype(np.float32))
    assert model.transform(X.astype(np.float32)).dtype == np.float32
    assert model.transform(X).dtype == np.float64
    assert model.transform((10 * X).astype(int)).dtype == np.float64
    assert model.coefs_[0].dtype == np.float64


# --------------------------------------------------------------------------- shards


def test_form_of_the_result(X, tmp_path):
    pieces = np.split(X, [40, 40, 43])
    model = MarginalizedDenoisingAutoencoder(2).fit(pieces)
    whole = model.transform(X)
    out = model.transform(pieces)
    assert [rows.shape for rows in out] == [(40, 5), (0, 5), (3, 5), (157, 5)]
    assert_allclose(np.concatenate(out), whole, rtol=1e-12)
    paths = [str(tmp_path / f"part-{i}.npy") for i in range(4)]
    for path, piece in zip(paths, pieces):
        np.save(path, piece)
    for form in (as_shards(pieces), str(tmp_path / "part-*.npy")):
        lazy = model.transform(form)
        assert isinstance(lazy, Shards) and lazy.sizes == [40, 0, 3, 157]
        assert_allclose(lazy[3].read(1, 9), whole[44:52], rtol=1e-12)
    for form in (paths, list(as_shards(pieces)), [pieces[0], *paths[1:]]):
        lazy = model.transform(form)
        assert isinstance(lazy, list) and all(isinstance(shard, Shard) for shard in lazy)
        assert_allclose(lazy[0].read(0, 40), whole[:40], rtol=1e-12)


def test_dask(X):
    da = pytest.importorskip("dask.array")
    dd = pytest.importorskip("dask.dataframe")
    pd = pytest.importorskip("pandas")
    model = MarginalizedDenoisingAutoencoder(2).fit(X)
    array = da.from_array(X, chunks=(60, 3))
    lazy = clone(model).fit(array).transform(array)
    assert lazy.chunks[0] == array.chunks[0] and lazy.shape == X.shape
    assert_allclose(lazy.compute(), model.transform(X), rtol=1e-9)
    frame = dd.from_pandas(pd.DataFrame(X, columns=list("abcde")), npartitions=3)
    lazy = clone(model).fit(frame).transform(frame)
    assert list(lazy.columns) == [f"layer2_{c}" for c in "abcde"]
    assert_allclose(lazy.compute(), model.transform(X), rtol=1e-9)


@pytest.mark.parametrize("form", ["csr", "csc", "lil", "dok", "bsr"])
@pytest.mark.parametrize("kind", ["matrix", "array"])
def test_sparse_counts(counts, form, kind):
    X, _ = counts
    made = getattr(sparse, f"{form}_{kind}")
    model = MarginalizedDenoisingAutoencoder(2).fit(X)
    for given in (made(X), [made(X[:150]), made(X[150:])], [made(X[:150]), X[150:]]):
        fitted = clone(model).fit(given)
        assert_allclose(fitted.coefs_[1], model.coefs_[1], rtol=1e-9, atol=1e-12)
        out = fitted.transform(given)
        assert isinstance(out, list) == isinstance(given, list)
        assert_allclose(np.concatenate(out) if isinstance(out, list) else out, model.transform(X))
    weights = np.arange(400) % 3
    weighted = clone(model).fit(made(X.astype(np.uint8)), sample_weight=weights)
    repeated = clone(model).fit(np.repeat(X, weights, axis=0))
    assert_allclose(weighted.coefs_[1], repeated.coefs_[1], rtol=1e-9, atol=1e-12)


def test_before_a_mixture(counts):
    X, labels = counts
    pieces = np.array_split(X, 3)
    pipe = make_pipeline(
        Shardwise(MaxAbsScaler()),
        MarginalizedDenoisingAutoencoder(2),
        DistributedGMM(2, covariance_type="diag", random_state=0),
    ).fit(pieces)
    found = np.concatenate(pipe.predict(pieces))
    agreement = (found == labels).mean()
    assert max(agreement, 1 - agreement) > 0.97


# --------------------------------------------------------------------------- errors and state


def test_errors(X):
    model = MarginalizedDenoisingAutoencoder()
    with pytest.raises(NotFittedError):
        model.transform(X)
    for name, value in (("n_layers", 0), ("corruption", 0.0), ("corruption", 1.0), ("reg", -1),
                        ("output", "first")):  # fmt: skip
        with pytest.raises(ValueError, match=f"The '{name}' parameter"):
            clone(model).set_params(**{name: value}).fit(X)
    bad = X.copy()
    bad[7, 1] = np.nan
    with pytest.raises(ValueError, match="contains NaN: shard 1, row 7"):
        model.fit([X, bad])
    model.fit(X)
    with pytest.raises(ValueError, match="contains NaN: shard 1, row 7"):
        model.transform([X, bad])
    with pytest.raises(ValueError, match="X contains NaN or infinity"):
        model.transform(as_shards([X, bad]))[1].read(0, 10)
    with pytest.raises(ValueError, match="X has 4 features, but Marginalized"):
        model.transform([X[:, 1:]])
    with pytest.raises(ValueError, match=r"leave the range .*MaxAbsScaler"):
        model.fit(1e200 * X)
    with pytest.raises(ValueError, match=r"shard 1 holds values of dtype complex"):
        model.fit([X, sparse.csr_matrix(1j * X)])
    with pytest.raises(ValueError, match=r"0 feature\(s\)"):
        model.fit(sparse.csr_matrix((3, 0)))


def test_state(X):
    model = MarginalizedDenoisingAutoencoder(2).fit(X)
    assert set(vars(model)) - set(model.get_params()) == {"coefs_", "intercepts_", "n_features_in_"}
    back = pickle.loads(pickle.dumps(model))
    assert_array_equal(back.transform(X), model.transform(X))
    assert [coef.shape for coef in model.coefs_] == [(5, 5)] * 2
