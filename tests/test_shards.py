"""Shards: what becomes a shard, what is refused, and how messages name it."""

import pickle

import numpy as np
import pandas as pd
import pytest
from conftest import CutIn

from skdistmix import DistributedGMM, as_shards
from skdistmix._shards import Shards, is_sharded, split_rows

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2500, 3))


def rows_of(shards):
    return np.concatenate([s.read(0, s.n_rows) for s in shards])


def test_arrays_are_cut_into_views_by_rows():
    shards = as_shards(X)
    assert len(shards) == 2
    assert shards.sizes == [1250, 1250]
    assert all(np.shares_memory(s.read(0, 5), X) for s in shards)
    assert len(as_shards(X[:999])) == 1
    assert len(as_shards(np.zeros((50_000, 1)))) == 8
    assert as_shards(X, n_shards=7).sizes == [357, 357, 357, 357, 357, 357, 358]
    np.testing.assert_array_equal(rows_of(as_shards(X, n_shards=7)), X)


def test_more_shards_than_rows_leave_some_empty():
    shards = as_shards(X[:3], n_shards=5)
    assert sorted(shards.sizes) == [0, 0, 1, 1, 1]


@pytest.mark.parametrize("way", CutIn.ways)
def test_lists_are_shards(way):
    parts = CutIn.cut(X, way)
    assert is_sharded(parts)
    assert as_shards(parts).sizes == [len(p) for p in parts]
    assert not is_sharded(X.tolist())
    assert not is_sharded(list(X))


def test_indexing():
    shards = as_shards(X, n_shards=4)
    assert shards[1].n_rows == 625
    assert isinstance(shards[1:3], Shards)
    np.testing.assert_array_equal(rows_of(shards[[3, 0]]), np.concatenate([X[1875:], X[:625]]))
    assert [s.name for s in shards[2:]] == [shards[2].name, shards[3].name]
    mask = [False, True, False, True]
    for key in (mask, np.array(mask), [1, 3]):
        assert [s.name for s in shards[key]] == [shards[1].name, shards[3].name]
    assert repr(shards[4:]) == "Shards(0 shards, 0 rows, 0 features)"
    np.testing.assert_array_equal(
        rows_of(as_shards([shards[3], shards[0]])), rows_of(shards[[3, 0]])
    )


def test_paths_and_globs_in_natural_order(tmp_path):
    for i in (10, 9, 1):
        np.save(tmp_path / f"part-{i}.npy", np.full((4, 2), i))
    shards = as_shards(str(tmp_path / "part-*.npy"))
    assert rows_of(shards)[:, 0].tolist() == [1] * 4 + [9] * 4 + [10] * 4
    mixed = as_shards([tmp_path / "part-9.npy", np.zeros((2, 2)), str(tmp_path / "part-1*.npy")])
    assert mixed.sizes == [4, 2, 4, 4]


def test_path_shards_pickle_small_and_hold_no_file(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((100_000, 3)))
    assert len(pickle.dumps(as_shards(tmp_path / "a.npy"))) < 2000


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path):
    np.save(tmp_path / "a[1].npy", X)
    assert as_shards(str(tmp_path / "a[1].npy")).n_rows == len(X)


def test_no_implicit_array():
    shards = as_shards(X)
    for thing in (shards, shards[0]):
        with pytest.raises(TypeError, match=r"is not an array.*Shardwise"):
            np.asarray(thing)


def test_map_sees_rows_through_a_function():
    doubled = as_shards(X, n_shards=3).map(lambda rows: 2 * rows[:, :2], n_features=2)
    assert doubled.n_features == 2
    np.testing.assert_array_equal(rows_of(doubled), 2 * X[:, :2])


def keep_every_second(rows):
    return rows[::2]


@pytest.mark.parametrize(
    "function",
    [keep_every_second, lambda rows: rows[:, :2], lambda rows: rows[:, 0], lambda r: r.astype(str)],
)
def test_a_map_that_does_not_keep_rows_or_columns_is_refused(function):
    mapped = as_shards([X]).map(function, n_features=3)
    gmm = DistributedGMM(random_state=0).fit(X)
    for method in (gmm.fit, gmm.predict):
        with pytest.raises(ValueError, match=r"shard 0: the function given to map made .*dtype"):
            method(mapped)


def test_a_map_cannot_change_the_rows():
    own = X.copy()
    with pytest.raises(ValueError, match="read-only"):
        as_shards(own).map(lambda rows: np.multiply(rows, 2, out=rows), 3)[0].read(0, 5)
    np.testing.assert_array_equal(own, X)


def test_columns_of_mapped_shards_are_chosen_and_put_in_order():
    frame = pd.DataFrame(X[:, :2], columns=["a", "b"])
    mapped = as_shards(frame, n_shards=1).map(np.negative, n_features=2, columns=["u", "v"])
    chosen = as_shards(mapped, columns=["v"])
    assert (chosen.n_features, chosen.columns) == (1, ("v",))
    np.testing.assert_array_equal(chosen[0].read(0, len(X)), -X[:, [1]])
    swapped = as_shards(frame[["b", "a"]], n_shards=1).map(np.negative, 2, columns=["v", "u"])
    with pytest.warns(UserWarning, match="another order"):
        both = as_shards([mapped[0], swapped[0]])
    np.testing.assert_array_equal(both[1].read(0, len(X)), -X[:, :2])


def test_shards_are_described_without_their_rows():
    for shard in (as_shards(X)[0], as_shards([pd.DataFrame(X)]).with_weights(np.ones(len(X)))[0]):
        assert len(repr(shard)) < 120


def test_zero_weights_leave_rows_out_and_keep_indices():
    w = np.ones(len(X))
    w[::3] = 0
    blocks = list(as_shards(X, n_shards=1).with_weights(w)[0].blocks(0, len(X), 1000))
    rows = np.concatenate([np.asarray(b.rows) for b in blocks])
    np.testing.assert_array_equal(rows, np.flatnonzero(w))
    np.testing.assert_array_equal(np.concatenate([b.X for b in blocks]), X[w > 0])


def test_split_rows_takes_one_array_or_one_a_shard():
    shards = as_shards([X[:10], X[10:15]])
    for values in (np.arange(15), [np.arange(10), np.arange(10, 15)], list(range(15))):
        parts = split_rows(values, shards, "w")
        assert [p.tolist() for p in parts] == [list(range(10)), list(range(10, 15))]


# ------------------------------------------------------------------ frames


def test_frames_keep_names_and_are_reordered_with_a_warning():
    frames = [
        pd.DataFrame(X, columns=["a", "b", "c"]),
        pd.DataFrame(X[:, ::-1], columns=["c", "b", "a"]),
    ]
    with pytest.warns(UserWarning, match=r"columns of shard 1 are in another order"):
        shards = as_shards(frames)
    np.testing.assert_array_equal(shards[0].read(0, 9), shards[1].read(0, 9))
    with pytest.warns(UserWarning, match="another order"):
        gmm = DistributedGMM(random_state=0).fit(frames)
    assert gmm.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        gmm.predict(frames[1])


def test_frames_with_other_columns():
    frames = [pd.DataFrame(X, columns=["a", "b", "c"]), pd.DataFrame(X, columns=["a", "b", "d"])]
    with pytest.raises(ValueError, match=r"shard 1 .*missing \['c'\], unexpected \['d'\]"):
        as_shards(frames)


def test_frames_after_an_array_agree_among_themselves():
    a = pd.DataFrame(X + np.array([0, 10, 20]), columns=["a", "b", "c"])
    with pytest.warns(UserWarning, match="shard 2 are in another order than those of shard 1"):
        shards = as_shards([X, a, a[["c", "b", "a"]]])
    np.testing.assert_array_equal(shards[1].read(0, 9), shards[2].read(0, 9))
    with pytest.raises(ValueError, match=r"shard 2 has other columns than shard 1"):
        as_shards([X, a, a.rename(columns={"a": "z"})])
    gmm = DistributedGMM(random_state=0).fit(a)
    with pytest.raises(ValueError, match="feature names"):
        gmm.predict([X, a[["c", "b", "a"]]])


def test_nullable_and_mixed_columns_are_read_as_numbers():
    frame = pd.DataFrame({"i": pd.array([1, 2, 3], dtype="Int64"), "f": [0.5, 1.5, 2.5]})
    np.testing.assert_array_equal(as_shards(frame)[0].read(0, 3), [[1, 0.5], [2, 1.5], [3, 2.5]])


# ------------------------------------------------------------------ refused


def test_text_columns_name_shard_and_column():
    frames = [
        pd.DataFrame({"a": [1.0, 2], "b": [3.0, 4]}),
        pd.DataFrame({"a": [1.0, 2], "b": ["x", "y"]}),
    ]
    with pytest.raises(ValueError, match="shard 1: column 'b' is not numeric"):
        DistributedGMM().fit(frames)


@pytest.mark.parametrize(
    ("value", "kind"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")]
)
def test_nonfinite_values_name_shard_and_row(value, kind, tmp_path):
    parts = [X.copy(), X.copy()]
    parts[1][1234, 2] = value
    np.save(tmp_path / "bad.npy", parts[1])
    for data, name in ((parts, "shard 1"), ([X, tmp_path / "bad.npy"], "shard 1 .*bad.npy")):
        with pytest.raises(ValueError, match=f"{kind}: {name}.*, row 1234"):
            DistributedGMM().fit(data)
    gmm = DistributedGMM().fit(X)
    for method in ("predict", "predict_proba", "score_samples", "score", "bic"):
        with pytest.raises(ValueError, match=f"{kind}: shard 1, row 1234"):
            getattr(gmm, method)(parts)


def test_different_numbers_of_columns():
    with pytest.raises(ValueError, match="shard 1 has 2 features, shard 0 has 3"):
        as_shards([X, X[:, :2]])


def test_paths_that_do_not_work(tmp_path):
    with pytest.raises(ValueError, match=r"No file matches .*none-\*.npy"):
        as_shards(str(tmp_path / "none-*.npy"))
    with pytest.raises(ValueError, match=r"shard 0 .*there is no such file"):
        as_shards(tmp_path / "none.npy")
    with pytest.raises(ValueError, match="is a folder"):
        as_shards(tmp_path)
    np.save(tmp_path / "whole.npy", X)
    (tmp_path / "short.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"shard 1 .*short.npy.* truncated"):
        as_shards([tmp_path / "whole.npy", tmp_path / "short.npy"])
    (tmp_path / "empty.npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty.npy.* cannot be read"):
        as_shards(tmp_path / "empty.npy")
    np.save(tmp_path / "objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        as_shards(tmp_path / "objects.npy")
    np.save(tmp_path / "vector.npy", X[:, 0])
    with pytest.raises(ValueError, match=r"shape \(2500,\).*expected a 2-D"):
        as_shards(tmp_path / "vector.npy")
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(ValueError, match=r"does not end in \.npy"):
        as_shards(tmp_path / "a.csv")


@pytest.mark.parametrize("bad", [X[None], X[0], None, X.tolist()])
def test_a_bad_element_of_a_list_is_named(bad):
    with pytest.raises(ValueError, match=r"shard 1 is a .*each element of a list of shards must"):
        DistributedGMM().fit([X, bad])


@pytest.mark.parametrize("bad", [iter([X]), (x for x in [X]), {"a": X}, b"x.npy"])
def test_what_cannot_be_read_twice_is_refused(bad):
    with pytest.raises(TypeError, match=r"Give an array, a DataFrame, a path"):
        DistributedGMM().fit(bad)


def test_empty_input():
    with pytest.raises(ValueError, match="0 sample"):
        DistributedGMM().fit([np.empty((0, 3)), np.empty((0, 3))])
    with pytest.raises(ValueError, match=r"0 feature\(s\)"):
        as_shards([np.empty((5, 0))])


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        ([np.ones(2500)], "1 arrays, X has 2 shards"),
        (np.ones(7), r"shape \(7,\), X has 5000 rows"),
        ([np.ones(2500), np.ones(9)], r"shard 1 has shape \(9,\)"),
        ([np.ones(2500), -np.ones(2500)], "shard 1 is negative at row 0"),
        ([np.ones(2500), np.full(2500, np.nan)], "shard 1 contains NaN"),
        (["a"] * 5000, "sample_weight must hold real numbers"),
        (np.ones(5000) * 1j, "sample_weight must hold real numbers"),
        (np.zeros(5000), "Sample weights must contain a value above zero"),
    ],
)
def test_bad_weights(weights, match):
    with pytest.raises(ValueError, match=match):
        DistributedGMM().fit([X, X], sample_weight=weights)


def test_n_shards_does_not_cut_pieces_again():
    with pytest.raises(ValueError, match="comes in 2 pieces"):
        DistributedGMM(n_shards=3).fit([X, X])
    with pytest.raises(ValueError, match="at least 1"):
        as_shards(X, n_shards=0)


def test_a_polars_frame_alone():
    pl = pytest.importorskip("polars")
    assert as_shards(pl.DataFrame({"a": [1.0, 2.0]})).n_rows == 2
