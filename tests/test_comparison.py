"""Criteria side by side: equal to what each is alone."""

import numpy as np
import pytest
from conftest import make_blobs
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdistmix import DistributedGMM
from skdistmix.model_selection import bootstrap_likelihood_ratio, compare_criteria

GMM = DistributedGMM(tol="likelihood", max_iter=3000, acceleration="squarem", random_state=7)


@pytest.fixture(scope="module")
def rows():
    return make_blobs(600, 2, 3)[0]


@pytest.fixture(scope="module")
def result(rows):
    return compare_criteria(GMM, rows, [4, 2, 3, 3])


def fitted(K, X, sample_weight=None):
    return clone(GMM).set_params(n_components=K).fit(X, sample_weight=sample_weight)


def test_criteria_are_those_of_separate_fits(rows, result):
    assert result.n_components.tolist() == [2, 3, 4]
    one = fitted(1, rows).score(rows) * 600
    for i, K in enumerate(result.n_components):
        alone = fitted(K, rows)
        for name in ("bic", "icl", "aic"):
            assert result.table[name][i] == pytest.approx(getattr(alone, name)(rows), abs=1e-4)
        resp = alone.predict_proba(rows)
        entropy = -(resp * np.log(np.maximum(resp, 1e-300))).sum()
        assert result.table["entropy"][i] == pytest.approx(entropy, rel=1e-4, abs=1e-6)
        gain = alone.score(rows) * 600 - one
        assert result.table["nec"][i] == pytest.approx(entropy / gain, rel=1e-4, abs=1e-9)
        assert result.table["n_parameters"][i] == alone.n_parameters_
        assert result.models[K].bic_ == result.table["bic"][i]
    assert result.errors == {}
    assert set(result.best) == {"bic", "icl", "aic", "nec", "held_out"}
    assert result.best["bic"] == result.best["held_out"] == 3
    for name in ("bic", "icl", "aic", "nec"):
        assert result.best[name] == result.n_components[np.argmin(result.table[name])]


def test_held_out_is_that_of_fits_without_the_rows(rows, result):
    fold_of = np.random.default_rng([7, 1]).permutation(600) % 5
    assert result.held_out_folds.shape == (3, 5)
    for f in range(5):
        alone = fitted(3, rows, sample_weight=(fold_of != f).astype(float))
        assert result.held_out_folds[1, f] == pytest.approx(alone.score(rows[fold_of == f]), 1e-6)
    np.testing.assert_allclose(result.table["held_out"], result.held_out_folds.mean(axis=1))
    # rows of the fit flatter it
    assert (result.table["held_out"] < result.table["log_likelihood"] / 600).all()


def test_shards_are_left_out(rows):
    shards = [rows[:100], rows[100:350], rows[350:], rows[:0]]
    result = compare_criteria(GMM, shards, [2, 3], cv="shards")
    means = []
    for out in range(3):
        rest = [rows for m, rows in enumerate(shards) if m != out]
        means.append(fitted(3, rest).score(shards[out]))
    np.testing.assert_allclose(result.held_out_folds[1], means, atol=2e-3)  # starts are drawn anew
    sizes = np.array([100, 250, 250])
    np.testing.assert_allclose(result.table["held_out"], result.held_out_folds @ sizes / 600)


def test_forms_of_data_and_workers(rows, result, tmp_path):
    parts = [rows[:50], rows[50:400], rows[400:]]
    paths = [tmp_path / f"{m}.npy" for m in range(3)]
    for path, part in zip(paths, parts):
        np.save(path, part)
    for X, n_jobs in ((parts, 2), ([str(path) for path in paths], None)):
        again = compare_criteria(GMM, X, [2, 3, 4], n_jobs=n_jobs)
        assert again.best == result.best
        for name, values in result.table.items():
            np.testing.assert_allclose(again.table[name], values, rtol=1e-6, atol=1e-5)


def test_weights(rows, result):
    doubled = compare_criteria(GMM, rows, [2, 3, 4], sample_weight=np.full(600, 2.0))
    for name, factor in (("held_out", 1), ("log_likelihood", 2)):
        # EM goes a little further, as tol="likelihood" is about the total
        np.testing.assert_allclose(doubled.table[name], factor * result.table[name], rtol=1e-4)
    # rows without weight are neither fitted nor judged
    weight = np.ones(600)
    weight[:200] = 0.0
    wild = rows.copy()
    wild[:200] += 50.0
    one = compare_criteria(GMM, [rows[:200], rows[200:]], [2, 3], sample_weight=weight, cv=3)
    other = compare_criteria(GMM, [wild[:200], wild[200:]], [2, 3], sample_weight=weight, cv=3)
    np.testing.assert_allclose(one.table["held_out"], other.table["held_out"], atol=1e-6)


def test_tests(rows):
    X = rows[:150, :1]
    result = compare_criteria(GMM, X, [1, 2, 3, 4], cv=None, n_resamples=19, random_state=3)
    alone = bootstrap_likelihood_ratio(GMM, X, max_components=4, n_resamples=19, random_state=3)
    assert result.best["test"] == alone.n_components
    n = len(alone.tested)
    np.testing.assert_array_equal(result.table["p_value"][:n], alone.p_values)
    assert np.isnan(result.table["p_value"][n:]).all()
    assert result.held_out_folds is None
    assert "held_out" not in result.table and "held_out" not in result.best
    assert result.table["nec"][0] == 1.0


def test_candidates_that_fail(rows):
    X = rows[:10]
    result = compare_criteria(GMM, X, [1, 2, 11], cv=2)
    assert list(result.errors) == [11] and "11" in result.errors[11]
    assert list(result.models) == [1, 2]
    assert np.isnan(result.table["bic"][2]) and np.isnan(result.table["held_out"][2])
    with pytest.raises(ValueError, match="None of the candidates could be fitted"):
        compare_criteria(GMM, X, [11, 12])


def test_bad_input(rows):
    with pytest.raises(TypeError, match="not a Pipeline"):
        compare_criteria(make_pipeline(StandardScaler(), GMM), rows, [1, 2])
    with pytest.raises(TypeError, match="DistributedGMM"):
        compare_criteria(StandardScaler(), rows, [1, 2])
    for wrong in ([], [0, 1], [1.5], [True]):
        with pytest.raises(ValueError, match="whole numbers of at least 1"):
            compare_criteria(GMM, rows, wrong)
    with pytest.raises(ValueError, match="no gaps"):
        compare_criteria(GMM, rows, [1, 3], n_resamples=19)
    with pytest.raises(ValueError, match="single one"):
        compare_criteria(GMM, rows, [1, 2], cv="shards")
    with pytest.raises(ValueError, match="fewer folds"):
        compare_criteria(GMM, rows[:4], [1, 2])
    with pytest.raises(ValueError, match="NaN"):
        compare_criteria(GMM, np.where(rows > 3, np.nan, rows), [1, 2])
    assert not hasattr(GMM, "means_")
