"""Shardwise: transformers over shards."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)

from skdistmix import DistributedGMM, as_shards
from skdistmix._shards import Shard, Shards
from skdistmix.model_selection import FullData, neg_bic
from skdistmix.preprocessing import Shardwise
from skdistmix.preprocessing import _blocks as module


def without_first(rows):
    return rows[1:]


def row_sums(rows):
    return rows.sum(axis=1)


def column_a(rows):
    return rows[["a"]]


@pytest.fixture
def pieces():
    """Three separated groups of rows on unequal scales, in three ragged pieces."""
    rng = np.random.default_rng(0)
    sizes = (40, 3, 157)
    centers = np.array([[-8.0, 0, 0], [8.0, 0, 0], [0.0, 9, 0]])[np.arange(200) % 3]
    X = (centers + rng.normal(size=(200, 3))) * [1, 1000, 0.01] + [5, -300, 2]
    return np.split(X, np.cumsum(sizes)[:-1])


@pytest.fixture
def paths(pieces, tmp_path):
    for i, piece in enumerate(pieces):
        np.save(tmp_path / f"part-{i}.npy", piece)
    return [str(tmp_path / f"part-{i}.npy") for i in range(len(pieces))]


def forms(pieces, paths):
    """The same rows in every form of shards."""
    return {
        "arrays": pieces,
        "paths": paths,
        "glob": paths[0].replace("part-0", "part-*"),
        "Shards": as_shards(pieces),
        "list of Shard": list(as_shards(pieces)),
        "mixed": [pieces[0], paths[1], as_shards(pieces)[2]],
    }


def rows_of(result):
    """All rows of a list of arrays, list of shards, or Shards."""
    return np.concatenate([r.read(0, len(r)) if isinstance(r, Shard) else r for r in result])


# --------------------------------------------------------------------------- what is learnt


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler((-1, 2)), MaxAbsScaler()])
def test_exact_scalers_learn_the_same_from_every_form(scaler, pieces, paths):
    X = np.concatenate(pieces)
    expected = clone(scaler).fit(X)
    for name, form in forms(pieces, paths).items():
        step = Shardwise(scaler).fit(form)
        assert_allclose(step.transformer_.scale_, expected.scale_, rtol=1e-12, err_msg=name)
        assert_allclose(rows_of(step.transform(form)), expected.transform(X), atol=1e-10)
        assert step.n_features_in_ == 3
    assert not hasattr(scaler, "scale_")  # a copy was fitted


def test_default_is_standard_scaler_and_one_block_gives_the_same_bits(pieces):
    X = np.concatenate(pieces)
    assert_array_equal(Shardwise().fit_transform(X), StandardScaler().fit_transform(X))


def test_many_blocks_give_the_same_to_rounding(pieces, monkeypatch):
    monkeypatch.setattr(module, "READ_BYTES", 8 * 3 * 7)  # 7 rows
    step = Shardwise().fit(pieces)
    assert_allclose(step.transformer_.var_, np.concatenate(pieces).var(axis=0), rtol=1e-12)
    assert step.transformer_.n_samples_seen_ == 200


@pytest.mark.parametrize("fewest", [1, 5, 50, 1000])
def test_blocks_hold_every_row_once_and_are_never_too_small(fewest, monkeypatch):
    monkeypatch.setattr(module, "MIN_BLOCK_ROWS", 16)
    monkeypatch.setattr(module, "READ_BYTES", 8 * 2 * 20)  # 20 rows
    sizes = [3, 0, 41, 1, 1, 60, 7, 2]
    X = np.arange(2 * sum(sizes), dtype=float).reshape(-1, 2)
    blocks = list(module.row_blocks(as_shards(np.split(X, np.cumsum(sizes)[:-1])), fewest))
    assert_array_equal(np.concatenate([rows for rows, _, _ in blocks]), X)
    lengths = [len(rows) for rows, _, _ in blocks]
    assert min(lengths) >= min(fewest, len(X))
    assert min(lengths[:-1], default=16) >= 16
    if fewest <= 20:
        assert max(lengths) <= 40 + fewest


@pytest.mark.parametrize("n_components", [None, 3])
def test_incremental_pca_with_shards_smaller_than_components(n_components, pieces):
    tiny = np.split(pieces[2], np.arange(2, 157, 2))  # 2 rows each
    step = Shardwise(IncrementalPCA(n_components)).fit(tiny)
    expected = IncrementalPCA(n_components).fit(pieces[2])
    assert step.transformer_.components_.shape == (3, 3)
    assert_allclose(step.transformer_.explained_variance_, expected.explained_variance_, rtol=1e-8)
    # what partial_fit cannot learn from at all is said by the transformer
    with pytest.raises(ValueError, match="n_components=3 must be less"):
        Shardwise(IncrementalPCA(3)).fit([pieces[2][:2]])


def test_integer_rows_and_empty_shards():
    shards = [np.empty((0, 2)), np.array([[1, 2], [3, 4]]), np.empty((0, 2))]
    out = Shardwise(MinMaxScaler()).fit_transform(shards)
    assert [piece.shape for piece in out] == [(0, 2), (2, 2), (0, 2)]
    assert_array_equal(out[1], [[0, 0], [1, 1]])
    lazy = Shardwise(MinMaxScaler()).fit_transform(as_shards(shards))
    assert [len(shard.read(0, 5)) for shard in lazy] == [0, 2, 0]


def test_nan_is_left_to_the_transformer(pieces):
    pieces[1][1, 0] = np.nan
    assert np.isfinite(Shardwise().fit(pieces).transformer_.mean_).all()
    with pytest.raises(ValueError, match="contains NaN") as caught:
        Shardwise(IncrementalPCA()).fit(pieces)
    assert "shard 0 to shard 2" in caught.value.__notes__[0]


# --------------------------------------------------------------------------- weights


def test_integer_weights_are_repeated_rows(pieces):
    weights = [np.arange(len(piece)) % 3 for piece in pieces]
    repeated = [np.repeat(piece, w, axis=0) for piece, w in zip(pieces, weights)]
    expected = Shardwise().fit(repeated).transformer_
    for X, w in ((pieces, weights), (np.concatenate(pieces), np.concatenate(weights))):
        fitted = Shardwise().fit(X, sample_weight=w).transformer_
        assert_allclose(fitted.mean_, expected.mean_, rtol=1e-12)
        assert_allclose(fitted.scale_, expected.scale_, rtol=1e-12)
    weighted = as_shards(pieces).with_weights(weights)
    assert_allclose(Shardwise().fit(weighted).transformer_.scale_, expected.scale_, rtol=1e-12)


def test_a_column_of_weights_reaches_the_step_after(pieces):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(np.concatenate(pieces)).rename(columns=str)
    names, w = list(frame.columns), np.arange(len(frame)) % 3
    shards = as_shards(frame.assign(w=w), columns=names)
    pipe = make_pipeline(Shardwise(), DistributedGMM(2, tol=1e-2, random_state=0))
    by_name = clone(pipe).fit(shards, distributedgmm__sample_weight="w")[-1]
    by_value = pipe.fit(shards, distributedgmm__sample_weight=w)[-1]
    assert_allclose(by_name.means_, by_value.means_, rtol=1e-9)


def test_weights_that_the_transformer_cannot_take(pieces):
    weights = [np.ones(len(piece)) for piece in pieces]
    with pytest.raises(TypeError, match=r"IncrementalPCA.* takes no weights"):
        Shardwise(IncrementalPCA()).fit(pieces, sample_weight=weights)
    Shardwise(Normalizer()).fit(pieces, sample_weight=weights)  # nothing is learnt


def test_weights_through_a_pipeline(pieces):
    X, w = np.concatenate(pieces), np.arange(200) % 3
    gmm = DistributedGMM(2, random_state=0, tol="likelihood", max_iter=1000)
    pipe = make_pipeline(Shardwise(), gmm)
    expected = make_pipeline(Shardwise(), gmm).fit(np.repeat(X, w, axis=0))
    pipe.fit(X, shardwise__sample_weight=w, distributedgmm__sample_weight=w)
    assert_allclose(pipe[0].transformer_.mean_, expected[0].transformer_.mean_, rtol=1e-12)
    with config_context(enable_metadata_routing=True):
        routed = make_pipeline(
            Shardwise().set_fit_request(sample_weight=True),
            clone(gmm).set_fit_request(sample_weight=True),
        ).fit(X, sample_weight=w)
    assert_array_equal(routed[1].means_, pipe[1].means_)


# --------------------------------------------------------------------------- forms and laziness


def test_form_of_the_result(pieces, paths):
    step = Shardwise().fit(pieces)
    given = forms(pieces, paths)
    assert isinstance(step.transform(np.concatenate(pieces)), np.ndarray)
    assert all(isinstance(piece, np.ndarray) for piece in step.transform(tuple(pieces)))
    for name in ("paths", "list of Shard", "mixed"):
        result = step.transform(given[name])
        assert isinstance(result, list) and all(isinstance(shard, Shard) for shard in result)
    for name in ("glob", "Shards"):
        result = step.transform(given[name])
        assert isinstance(result, Shards) and result.sizes == [40, 3, 157]
        assert pickle.loads(pickle.dumps(result)).sizes == result.sizes


def test_rows_are_transformed_as_they_are_read(paths):
    step = Shardwise().fit(paths)
    lazy = step.transform(as_shards(paths))
    piece = np.load(paths[2])
    assert_array_equal(lazy[2].read(5, 9), step.transformer_.transform(piece[5:9]))
    np.save(paths[2], 2 * piece)  # the file, not a copy, is what is read
    assert_array_equal(lazy[2].read(5, 9), step.transformer_.transform(2 * piece[5:9]))


def test_inverse_transform(pieces, paths):
    X = np.concatenate(pieces)
    for name, form in forms(pieces, paths).items():
        step = Shardwise().fit(form)
        back = step.inverse_transform(step.transform(form))
        assert_allclose(rows_of(back), X, rtol=1e-10, err_msg=name)
    assert_allclose(step.inverse_transform(step.transform(X)), X, rtol=1e-10)
    step = Shardwise(IncrementalPCA(2)).fit(pieces)
    assert [piece.shape for piece in step.inverse_transform(step.transform(pieces))] == [
        (40, 3),
        (3, 3),
        (157, 3),
    ]
    with pytest.raises(ValueError, match=r"X has 3 features, but Shardwise.* gives 2"):
        step.inverse_transform(pieces)
    assert not hasattr(Shardwise(Normalizer()), "inverse_transform")


def test_number_of_columns_may_change(pieces, paths):
    step = Shardwise(IncrementalPCA(2)).fit(paths)
    lazy = step.transform(as_shards(paths))
    assert lazy.n_features == 2 and lazy[0].read(0, 4).shape == (4, 2)
    assert_array_equal(step.get_feature_names_out(), ["incrementalpca0", "incrementalpca1"])


@pytest.mark.parametrize("scaler", [StandardScaler(copy=False), IncrementalPCA(2, copy=False)])
def test_shards_are_never_written_to(scaler, pieces):
    before = [piece.copy() for piece in pieces]
    step = Shardwise(scaler).fit(pieces)
    lazy = step.transform(as_shards(pieces))
    assert_array_equal(lazy[0].read(0, 9), lazy[0].read(0, 9))
    step.transform(pieces)
    for piece, original in zip(pieces, before):
        assert_array_equal(piece, original)


# --------------------------------------------------------------------------- kinds of transformer


def test_stateless_transformers(pieces):
    expected = Normalizer().fit_transform(np.concatenate(pieces))
    assert_array_equal(rows_of(Shardwise(Normalizer()).fit_transform(pieces)), expected)
    step = Shardwise(FunctionTransformer(np.arctan, inverse_func=np.tan)).fit(pieces)
    assert_array_equal(step.transform(pieces)[1], np.arctan(pieces[1]))
    assert not hasattr(step, "get_feature_names_out")


def test_fitted_transformers(pieces, paths):
    scaler = RobustScaler().fit(np.concatenate(pieces))
    step = Shardwise(FrozenEstimator(scaler)).fit(paths)
    assert_array_equal(rows_of(step.transform(paths)), scaler.transform(np.concatenate(pieces)))
    # frozen means that partial_fit is not called either
    scaler = StandardScaler().fit(pieces[0])
    step = Shardwise(FrozenEstimator(scaler)).set_output(transform="default").fit(pieces[2])
    assert_array_equal(step.transformer_.mean_, scaler.mean_)
    assert scaler.n_samples_seen_ == 40
    with pytest.raises(NotFittedError):
        Shardwise(FrozenEstimator(RobustScaler())).fit(pieces)


@pytest.mark.parametrize("transformer", [PCA(2), RobustScaler(), make_pipeline(StandardScaler())])
def test_transformers_without_partial_fit(transformer, pieces):
    with pytest.raises(TypeError, match=r"has no partial_fit.*IncrementalPCA.*FrozenEstimator"):
        Shardwise(transformer).fit(pieces)


def test_transformers_that_change_the_number_of_rows(pieces):
    for function in (without_first, row_sums):
        with pytest.raises(ValueError, match="must give one dense row for each row"):
            Shardwise(FunctionTransformer(function)).fit(pieces)
    step = Shardwise(FunctionTransformer()).fit(pieces)
    step.transformer_.func = without_first
    with pytest.raises(ValueError, match=r"shape \(39, 3\) from 40 row"):
        step.transform(as_shards(pieces))[0].read(0, 40)


def test_parameters():
    step = Shardwise(StandardScaler(with_mean=False))
    assert step.get_params()["transformer__with_mean"] is False
    assert clone(step).set_params(transformer__with_mean=True).transformer.with_mean
    with pytest.raises(ValueError, match="'transformer' parameter of Shardwise"):
        Shardwise("standard").fit([np.ones((2, 2))])
    with pytest.raises(NotFittedError):
        Shardwise().transform([np.ones((2, 2))])


# --------------------------------------------------------------------------- DataFrames


@pytest.fixture
def frames(pieces):
    pd = pytest.importorskip("pandas")
    index = np.split(np.arange(200) + 1000, [40, 43])
    return [pd.DataFrame(p, columns=list("abc"), index=i) for p, i in zip(pieces, index)]


def test_frames_keep_their_names(frames, pieces, tmp_path):
    step = Shardwise().fit(frames)
    assert_array_equal(step.feature_names_in_, ["a", "b", "c"])
    assert_array_equal(step.get_feature_names_out(), ["a", "b", "c"])
    assert_allclose(
        rows_of(step.transform(frames)),
        StandardScaler().fit_transform(np.concatenate(pieces)),
        atol=1e-10,
    )
    lazy = step.transform(as_shards(frames))
    assert lazy.columns == ("a", "b", "c")
    assert_array_equal(lazy[1].read(0, 3), step.transform(frames)[1])
    with pytest.raises(ValueError, match="feature names should match"):
        step.transform([frame[["b", "a", "c"]] for frame in frames])


def test_arrays_after_frames_and_frames_after_arrays_warn_once(frames, pieces):
    step = Shardwise().fit(frames)
    with pytest.warns(UserWarning, match="not have valid feature names") as record:
        out = step.transform(pieces)
    assert len(record) == 1
    assert_array_equal(rows_of(out), rows_of(step.transform(frames)))
    step = Shardwise().fit(pieces)
    with pytest.warns(UserWarning, match="fitted without feature names") as record:
        step.transform(frames)
    assert len(record) == 1


def test_frames_mixed_with_arrays(frames, pieces):
    mixed = [frames[0], pieces[1], frames[2]]
    step = Shardwise().set_output(transform="pandas").fit(mixed)
    assert_allclose(rows_of(step.transform(mixed)), rows_of(Shardwise().fit_transform(pieces)))
    assert_array_equal(step.get_feature_names_out(), ["a", "b", "c"])


def test_set_output(frames, pieces):
    pd = pytest.importorskip("pandas")
    step = clone(Shardwise().set_output(transform="pandas")).fit(frames)
    out = step.transform(frames)
    assert all(isinstance(frame, pd.DataFrame) for frame in out)
    assert_array_equal(out[2].index, frames[2].index)
    assert list(out[2].columns) == ["a", "b", "c"]
    assert isinstance(step.transform(frames[0]), pd.DataFrame)
    assert isinstance(step.transform(as_shards(frames))[0].read(0, 2), np.ndarray)
    step.set_output(transform="default")
    assert isinstance(step.transform(frames)[0], np.ndarray)
    pipe = make_pipeline(Shardwise(), DistributedGMM(2, random_state=0))
    pipe.set_output(transform="pandas").fit(frames)
    assert list(pipe[1].feature_names_in_) == ["a", "b", "c"]
    assert len(pipe.predict(frames)) == 3


def test_functions_of_frames(frames):
    step = Shardwise(FunctionTransformer(column_a)).fit(frames)
    assert [frame.shape for frame in step.transform(frames)] == [(40, 1), (3, 1), (157, 1)]


def test_polars_frames(pieces):
    pl = pytest.importorskip("polars")
    frames = [pl.DataFrame(piece, schema=["a", "b", "c"]) for piece in pieces]
    step = Shardwise().set_output(transform="polars").fit(frames)
    assert list(step.transform(frames)[1].columns) == ["a", "b", "c"]
    assert_allclose(step.transformer_.mean_, np.concatenate(pieces).mean(axis=0), rtol=1e-10)


def test_bad_frames_are_named(frames):
    text = frames[1].assign(b="word")
    with pytest.raises(ValueError, match="shard 1: column 'b' is not numeric"):
        Shardwise().fit([frames[0], text])
    step = Shardwise().fit(frames)
    with pytest.raises(ValueError, match="shard 1: column 'b' is not numeric"):
        step.transform([frames[0], text])
    with pytest.raises(ValueError, match=r"shard 1 has other columns.*missing \['c'\]"):
        Shardwise().fit([frames[0], frames[1][["a", "b"]]])
    with pytest.raises(ValueError, match="X has 2 features, but Shardwise is expecting 3"):
        Shardwise().fit([np.ones((2, 3))]).transform([np.ones((2, 2))])


# --------------------------------------------------------------------------- in front of a mixture


def test_pipeline_agrees_for_every_form(pieces, paths):
    X = np.concatenate(pieces)
    pipe = make_pipeline(Shardwise(), DistributedGMM(3, random_state=0, tol=1e-8, max_iter=1000))
    expected = clone(pipe).fit(X)
    for name, form in forms(pieces, paths).items():
        fitted = clone(pipe).fit(form)
        assert_allclose(fitted[1].means_, expected[1].means_, atol=1e-8, err_msg=name)
        assert_array_equal(np.concatenate(list(fitted.predict(form))), expected.predict(X))
        assert_allclose(fitted.score(form), expected.score(X), rtol=1e-9)
    again = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(again.predict(X), fitted.predict(X))


def test_steps_can_be_chained(pieces, paths):
    pipe = make_pipeline(
        Shardwise(), Shardwise(IncrementalPCA(2)), DistributedGMM(3, random_state=0)
    )
    assert_array_equal(
        np.concatenate(pipe.fit(paths).predict(paths)), pipe.predict(np.concatenate(pieces))
    )


def test_grid_search(pieces, paths):
    gmm = DistributedGMM(tol="likelihood", max_iter=1000, reg_covar=0, random_state=0)
    grid = {
        "distributedgmm__n_components": [1, 3],
        "shardwise__transformer": [None, MinMaxScaler()],
    }
    for name, form in forms(pieces, paths).items():
        if name == "glob":  # has no number of samples
            continue
        search = GridSearchCV(make_pipeline(Shardwise(), gmm), grid, scoring=neg_bic, cv=FullData())
        search.fit(form)
        assert search.best_params_["distributedgmm__n_components"] == 3
        assert [len(labels) for labels in search.predict(form)] == [40, 3, 157]
        # both scalers give the same density of X, so the same criterion
        scores = search.cv_results_["mean_test_score"].reshape(2, 2)
        assert_allclose(scores[:, 0], scores[:, 1], rtol=1e-6)
