"""Predictions written to parquet: every form of data, in order, all or nothing."""

import os
import warnings

import numpy as np
import pandas as pd
import pytest
from conftest import make_blobs
from sklearn.pipeline import make_pipeline

from skdistmix import DistributedGMM, as_shards
from skdistmix.io import write_predictions
from skdistmix.preprocessing import Shardwise

pytest.importorskip("pyarrow")
X, _ = make_blobs(n_rows=4000)
METHODS = ["predict", "predict_proba", "score_samples"]


@pytest.fixture(scope="module")
def gmm():
    return DistributedGMM(3, random_state=0).fit(X)


def written(files):
    return np.concatenate([pd.read_parquet(file).to_numpy() for file in files])


@pytest.mark.parametrize("method", METHODS)
def test_one_array_gives_one_file(gmm, tmp_path, method):
    (file,) = write_predictions(gmm, X, tmp_path / "new" / "out.parquet", method)
    assert file == str(tmp_path / "new" / "out.parquet")
    expected = getattr(gmm, method)(X).reshape(len(X), -1)
    np.testing.assert_array_equal(written([file]), expected)
    assert (
        pd.read_parquet(file).columns.tolist()
        == {
            "predict": ["label"],
            "predict_proba": ["component_0", "component_1", "component_2"],
            "score_samples": ["log_density"],
        }[method]
    )


def test_pieces_give_a_folder_in_their_order(gmm, tmp_path):
    parts = [X[:3000], X[:0], X[3000:]]
    for i, part in zip((1, 2, 10), parts):
        np.save(tmp_path / f"x-{i}.npy", part)
    expected = gmm.predict(X)[:, None]
    forms = {
        "list": parts,
        "glob": str(tmp_path / "x-*.npy"),
        "shards": as_shards(parts),
        "mapped": as_shards(parts).map(np.copy, n_features=3),
    }
    for name, form in forms.items():
        files = write_predictions(gmm, form, tmp_path / name)
        assert [os.path.basename(f) for f in files] == sorted(os.listdir(tmp_path / name))
        assert [len(pd.read_parquet(f)) for f in files] == [3000, 0, 1000]
        np.testing.assert_array_equal(written(files), expected)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_long_shards_are_predicted_in_row_ranges(gmm, tmp_path, monkeypatch):
    monkeypatch.setattr("skdistmix.io._predictions.read_rows", lambda n_features: 700)
    pd.DataFrame(X, columns=list("abc")).to_parquet(tmp_path / "x.parquet", row_group_size=300)
    named = DistributedGMM(3, random_state=0).fit(tmp_path / "x.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = write_predictions(named, tmp_path / "x.parquet", tmp_path / "a")
    np.testing.assert_array_equal(written(files)[:, 0], gmm.predict(X))
    (file,) = write_predictions(gmm, X, tmp_path / "b.parquet")
    np.testing.assert_array_equal(written([file])[:, 0], gmm.predict(X))
    bad = X.copy()
    bad[3210] = np.nan
    with pytest.raises(ValueError, match="NaN: the data, row 3210"):
        write_predictions(gmm, bad, tmp_path / "c.parquet")


def test_a_pipeline(tmp_path):
    shards = np.array_split(X, 3)
    pipe = make_pipeline(Shardwise(), DistributedGMM(3, random_state=0)).fit(shards)
    files = write_predictions(pipe, shards, tmp_path / "out", "score_samples")
    np.testing.assert_allclose(written(files)[:, 0], np.concatenate(pipe.score_samples(shards)))


def test_what_exists_is_kept_unless_told_otherwise(gmm, tmp_path):
    file, folder = tmp_path / "out.parquet", tmp_path / "out"
    write_predictions(gmm, X, file)
    write_predictions(gmm, [X], folder)
    for data, path in ((X, file), ([X], folder)):
        with pytest.raises(FileExistsError, match="overwrite=True"):
            write_predictions(gmm, data, path)
    (folder / "more.parquet").write_text("")
    write_predictions(gmm, X[:5], file, overwrite=True)
    write_predictions(gmm, [X[:5]], folder, overwrite=True)
    assert len(pd.read_parquet(file)) == 5
    assert os.listdir(folder) == ["part-00000.parquet"]
    with pytest.raises(FileExistsError, match="is a folder"):
        write_predictions(gmm, X, folder, overwrite=True)


def test_no_folder_is_replaced_that_holds_other_things(gmm, tmp_path):
    data, files = tmp_path / "data", [tmp_path / "data" / f"{i}.parquet" for i in range(2)]
    data.mkdir()
    for file in files:
        pd.DataFrame(X).rename(columns=str).to_parquet(file)
    named = DistributedGMM(3, random_state=0).fit(data)
    for form in (data, files, as_shards(data).map(np.copy, 3, columns=list("012"))):
        with pytest.raises(FileExistsError, match=r"holds shard 0 .*which is read"):
            write_predictions(named, form, data, overwrite=True)
    (data / "notes.txt").write_text("of value")
    with pytest.raises(FileExistsError, match=r"holds 'notes.txt'"):
        write_predictions(gmm, [X], data, overwrite=True)
    assert sorted(os.listdir(data)) == ["0.parquet", "1.parquet", "notes.txt"]


def test_what_was_there_is_put_back_if_the_new_cannot_take_its_place(gmm, tmp_path, monkeypatch):
    (file,) = write_predictions(gmm, X, tmp_path / "out.parquet")
    replace = os.replace

    def refusing(source, target):
        if source.endswith("new"):
            raise PermissionError("not here")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refusing)
    with pytest.raises(PermissionError):
        write_predictions(gmm, X[:5], file, overwrite=True)
    assert os.listdir(tmp_path) == ["out.parquet"]
    assert len(pd.read_parquet(file)) == len(X)


def test_nothing_half_written_is_left(gmm, tmp_path):
    bad = X.copy()
    bad[-1] = np.nan
    write_predictions(gmm, [X[:7]], tmp_path / "out")
    with pytest.raises(ValueError, match="NaN: shard 1, row 3999"):
        write_predictions(gmm, [X, bad], tmp_path / "out", overwrite=True)
    with pytest.raises(ValueError, match="NaN"):
        write_predictions(gmm, bad, tmp_path / "one.parquet")
    assert os.listdir(tmp_path) == ["out"]
    assert len(pd.read_parquet(tmp_path / "out")) == 7


def test_what_cannot_be_written(gmm, tmp_path):
    with pytest.raises(ValueError, match=r"method must be one of .* got 'fit'"):
        write_predictions(gmm, X, tmp_path / "x.parquet", "fit")
    with pytest.raises(ValueError, match="has no method predict_proba"):
        write_predictions(Shardwise(), X, tmp_path / "x.parquet", "predict_proba")
