"""The bootstrap likelihood ratio of G against G + 1 components, and what it is made of."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import binom
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from skdistmix import DistributedGMM
from skdistmix._shards import GeneratedShard, Shards, cut_rows
from skdistmix._splits import merged_start, split_starts
from skdistmix.families import (
    GAUSSIAN_FAMILIES,
    DegenerateComponentError,
    GaussianComponents,
    Moments,
)
from skdistmix.model_selection import _order_test, _ratio, bootstrap_likelihood_ratio
from skdistmix.model_selection._ratio import NullResamples, ratio_of


def groups(n_groups, n_rows=60, seed=1, distance=8.0, n_features=1):
    """Groups in a row along the first column."""
    X = np.random.default_rng(seed).normal(size=(n_rows, n_features))
    X[:, 0] += distance * (np.arange(n_rows) % n_groups)
    return X


def tied():
    return DistributedGMM(covariance_type="tied")


def order_test(X, n_resamples=5, estimator=None, **options):
    options = {"random_state": 0, "n_jobs": 1, "level": 0.2, "max_components": 3, **options}
    return bootstrap_likelihood_ratio(estimator or tied(), X, n_resamples=n_resamples, **options)


def statistic(X, n_components, estimator=None, seed=0):
    return ratio_of(estimator or tied(), cut_rows(X, 1), n_components, seed, 1).statistic


# --------------------------------------------------------------------------- the parts


@pytest.mark.parametrize("matrices", [True, False])
def test_halves_merge_to_the_whole(matrices):
    rng = np.random.default_rng(0)
    A = rng.normal(size=(3, 2, 2))
    covariances = A @ A.transpose(0, 2, 1) if matrices else rng.uniform(1, 2, size=(3, 2))
    whole = GaussianComponents(np.array([0.2, 0.3, 0.5]), rng.normal(size=(3, 2)), covariances)
    split = whole.split(1, np.array([0.3, -0.8]))
    assert len(split) == 4 and split.is_finite
    assert_allclose(np.sort(split.weights), [0.15, 0.15, 0.2, 0.5])
    merged = split.merged([2], [3])
    for name in ("weights", "means", "covariances"):
        assert_allclose(getattr(merged, name)[0], getattr(whole, name)[1], atol=1e-12)


def test_starts_are_one_larger_and_one_smaller(covariance_type):
    X = groups(3, n_features=2)
    kind = GAUSSIAN_FAMILIES[covariance_type]
    families = [
        kind(K).prepare(Moments.of_rows(X, None, kind.full_scatter, limit=K)) for K in (3, 4)
    ]
    fitted = DistributedGMM(3, covariance_type=covariance_type, random_state=0).fit(X)
    params = fitted._fitted_params()
    starts = split_starts(families[0], params, families[1], seed=0)
    for start in starts:
        assert_allclose(np.sort(start.weights)[2:].sum(), 2 / 3, atol=1e-3)
        # splitting keeps the first two moments, so merging the halves gives the fit back
        back = merged_start(families[1], start, families[0])
        assert_allclose(np.sort(back.means[:, 0]), np.sort(params.means[:, 0]), atol=1e-6)
        assert back.covariances.shape == params.covariances.shape


def make_block(i):
    return np.arange(i * 10, min((i + 1) * 10, 25), dtype=float)[:, None] * [1.0, -1.0]


def test_generated_rows_are_the_same_however_they_are_read():
    shard = GeneratedShard(25, 2, "made", None, make=make_block, block_rows=10)
    everything = np.concatenate([make_block(i) for i in range(3)])
    for start, stop in ((0, 25), (3, 7), (8, 22), (20, 25), (5, 5)):
        assert_array_equal(shard.read(start, stop), everything[start:stop])
        for rows in (1, 4, 100):
            reads = [*shard.reads(start, stop, rows), np.empty((0, 2))]
            assert_array_equal(np.concatenate(reads), everything[start:stop])
            assert all(len(read) <= rows for read in reads)
    assert shard.cuts == (0, 10, 20, 25)
    assert_array_equal(pickle.loads(pickle.dumps(shard)).read(0, 25), everything)
    fits = [DistributedGMM(2, random_state=0).fit(data) for data in (Shards([shard]), everything)]
    assert_allclose(fits[0].lower_bound_, fits[1].lower_bound_, rtol=1e-10)


# --------------------------------------------------------------------------- statistics


# Twice the difference of the log-likelihoods of R's mclust 6.0.0, models VVV, EEE, VVI, VII, run
# from hierarchical clustering to a relative tolerance of 1e-12.
@pytest.mark.parametrize(
    ("covariance_type", "expected"),
    [("full", 331.119852), ("tied", 166.934111), ("diag", 709.664377), ("spherical", 821.914070)],
)
def test_one_against_two_components_as_mclust(iris, covariance_type, expected):
    estimator = DistributedGMM(covariance_type=covariance_type, reg_covar=0)
    assert_allclose(statistic(iris, 1, estimator), expected, atol=0.1)


@pytest.mark.parametrize("n_components", [1, 2])
def test_optima_are_no_lower_than_those_of_several_starts(covariance_type, n_components):
    X = groups(3, distance=3.0, n_features=2)
    ratio = ratio_of(
        DistributedGMM(covariance_type=covariance_type), cut_rows(X, 1), n_components, 0, 1
    )
    null = np.logaddexp.reduce(ratio.family.kernel(ratio.params).log_joint(X), axis=0).sum()
    for found, K in ((null, n_components), (null + ratio.statistic / 2, n_components + 1)):
        other = GaussianMixture(K, covariance_type=covariance_type, n_init=4, random_state=0)
        other.set_params(tol=1e-5, max_iter=500).fit(X)
        if other.weights_.min() > 0.05:  # no spike on a row or two
            assert found > 60 * other.score(X) - 0.1


def test_statistics_are_not_negative():
    for seed in range(3):
        X = np.random.default_rng(seed).uniform(size=(40, 1))
        for K in (1, 3):
            assert statistic(X, K, seed=seed) >= 0.0


def test_statistics_follow_neither_units_nor_origin():
    X = groups(2, distance=3.0, n_features=2)
    estimator = DistributedGMM(reg_covar=0)
    expected = statistic(X, 1, estimator)
    assert_allclose(statistic(1e3 * X + 1e6, 1, estimator), expected, atol=0.1)


# --------------------------------------------------------------------------- the test


@pytest.mark.slow
def test_it_finds_three_groups():
    test = order_test(groups(3), n_resamples=19, level=0.05, max_components=4)
    assert test.n_components == 3 and test.is_conclusive
    assert_array_equal(test.tested, [1, 2, 3])
    assert_array_equal(test.p_values[:2], 0.05)
    assert test.p_values[2] > 0.05
    assert_array_equal(test.n_failed, 0)
    assert_array_equal(test.n_unfinished, 0)


def test_p_values_by_hand():
    test = order_test(groups(1, distance=0), n_resamples=9, early_stopping=False, max_components=2)
    (null,) = test.null_statistics
    assert len(null) == 9
    assert test.p_values[0] == (1 + np.sum(null >= test.statistics[0])) / 10


def test_stopping_early_changes_no_decision():
    for seed in range(2):
        X = groups(1, n_rows=40, seed=seed)
        options = {"n_resamples": 9, "max_components": 2, "random_state": seed}
        early, late = order_test(X, **options), order_test(X, early_stopping=False, **options)
        assert (early.p_values > 0.2) == (late.p_values > 0.2)
        n = len(early.null_statistics[0])
        assert_array_equal(early.null_statistics[0], late.null_statistics[0][:n])
        if n < 9:  # two of ten may be as large, that of the data and one: the second is too many
            assert np.sum(early.null_statistics[0] >= early.statistics[0]) == 2
            assert early.null_statistics[0][-1] >= early.statistics[0]


def test_all_may_be_rejected():
    test = order_test(groups(3), max_components=2)
    assert test.n_components == 2 and not test.is_conclusive
    test = order_test(groups(3), min_components=2)
    assert_array_equal(test.tested, [2])
    assert test.n_components == 3 and not test.is_conclusive


def assert_same(a, b, rtol=1e-6):
    assert a.n_components == b.n_components
    assert_allclose(a.statistics, b.statistics, rtol=rtol, atol=rtol)
    for x, y in zip(a.null_statistics, b.null_statistics, strict=True):
        assert_allclose(x, y, rtol=rtol, atol=rtol)


def test_shards_and_workers_change_nothing(tmp_path):
    X = groups(2, distance=4.0)
    expected = order_test(X)
    np.save(tmp_path / "rows.npy", X)
    for form in (np.split(X, [7, 50]), str(tmp_path / "rows.npy")):
        assert_same(order_test(form), expected)
    several = order_test(X, n_jobs=3)
    for a, b in zip(several.null_statistics, expected.null_statistics, strict=True):
        assert_array_equal(a, b)


def test_weights_are_frequencies():
    X = groups(2, n_rows=60, distance=4.0)
    w = np.arange(60) % 3
    repeated = order_test(np.repeat(X, w, axis=0))
    weighted = order_test(X, sample_weight=w)
    assert_array_equal(weighted.tested, repeated.tested)
    # starts differ, optima do not
    assert_allclose(weighted.statistics, repeated.statistics, atol=0.1)


def test_large_resamples_are_drawn_anew_in_each_pass(monkeypatch):
    X = groups(2, distance=5.0)
    monkeypatch.setattr(_ratio, "BLOCK_ROWS", 50)
    expected = order_test(X, max_components=3)
    monkeypatch.setattr(_ratio, "HELD_ELEMENTS", 10)
    assert_same(order_test(X, max_components=3, n_jobs=2), expected)


def test_resamples_are_of_the_fitted_mixture():
    X = groups(2, n_rows=200, distance=6.0)
    null = ratio_of(tied(), cut_rows(X, 1), 2, 0, 1)
    resamples = NullResamples(tied(), null, 20_000, seed=0)
    drawn, other = (resamples.shards(i)[0].read(0, 20_000) for i in (1, 2))
    assert drawn.shape == (20_000, 1)
    assert_allclose(drawn.mean(), X.mean(), atol=0.1)
    assert_allclose(drawn.var(), X.var(), rtol=0.03)
    assert not np.intersect1d(drawn, other).size
    assert len(np.unique(drawn)) == 20_000  # blocks have random numbers of their own


def test_failed_resamples_are_counted_in_favour_of_fewer_components(monkeypatch):
    X, calls = groups(2), []

    def sometimes(*args):
        calls.append(args)
        if len(calls) == 3:
            raise DegenerateComponentError("collapsed")
        return ratio_of(*args)

    monkeypatch.setattr(_ratio, "ratio_of", sometimes)
    test = order_test(X, max_components=2, n_resamples=11)
    assert_array_equal(test.n_failed, [1])
    assert np.isinf(test.null_statistics[0][2]) and len(test.null_statistics[0]) == 11
    assert test.p_values[0] == 2 / 12


def test_the_tests_end_where_a_mixture_cannot_be_fitted():
    X = np.repeat([[0.0], [1.0], [5.0]], 20, axis=0)
    with pytest.warns(UserWarning, match=r"end at 3 components, because 4 cannot be fitted: X has"):
        test = order_test(X, max_components=5)
    assert test.n_components == 3 and not test.is_conclusive
    with pytest.raises(ValueError, match="3 distinct row"):
        order_test(X, min_components=3, max_components=4)


def test_unfinished_fits_warn_once(monkeypatch):
    monkeypatch.setattr(_ratio, "MAX_ITER", 1)
    with pytest.warns(ConvergenceWarning, match=r"on the data \(test of 1 components\)") as caught:
        test = order_test(
            groups(1, distance=0), estimator=DistributedGMM(max_iter=1), max_components=2
        )
    assert len(caught) == 1
    assert caught[0].filename == _order_test.__file__.replace(
        "skdistmix/model_selection/_order_test.py", "tests/test_order_test.py"
    )
    assert test.n_unfinished[0] > 0


def test_it_says_what_it_does(capsys):
    order_test(groups(2), max_components=2, verbose=1)
    out = capsys.readouterr().out
    assert "1 against 2 components: statistic" in out
    assert "  5 resamples, 0 of them with as large a statistic" in out
    assert "p = 0.167" in out
    order_test(groups(2), max_components=2)
    assert capsys.readouterr().out == ""


def test_the_estimator_is_left_as_it_is():
    X, estimator = groups(2), tied()
    order_test(X, estimator=estimator, max_components=2)
    assert not hasattr(estimator, "weights_") and not hasattr(estimator, "n_features_in_")


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_components": 0}, "'min_components'"),
        ({"max_components": 1}, "'max_components'"),
        ({"min_components": 4, "max_components": 4}, "max_components=4 must be above"),
        ({"max_components": 61}, "max_components=61 is more than the 60 rows"),
        ({"n_resamples": 18, "level": 0.05}, "use at least 19"),
        ({"n_resamples": 50, "level": 0.01}, "no p-value is below 0.0196, .* use at least 99"),
        ({"level": 1.0}, "'level'"),
        ({"sample_weight": -np.ones(60)}, "weight"),
    ],
)
def test_bad_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        order_test(groups(2), **options)


@pytest.mark.parametrize(
    "estimator", [GaussianMixture(2), [1, 2], "gmm", DistributedGMM, [DistributedGMM()]], ids=repr
)
def test_other_estimators_are_refused(estimator):
    with pytest.raises(TypeError, match="estimator must be a DistributedGMM"):
        order_test(groups(2), estimator=estimator)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"means_init": [[0.0]]}, "means_init of the estimator are for one number"),
        ({"init_params": np.zeros(60, int)}, "init_params of the estimator are"),
        ({"device": "cpu"}, "use device=None"),
        ({"covariance_type": "round"}, "covariance_type='round'"),
    ],
)
def test_estimators_that_cannot_be_used(parameters, message):
    with pytest.raises(ValueError, match=message):
        order_test(groups(2), estimator=DistributedGMM(**parameters))


def test_rows_with_missing_values_are_named():
    X = groups(2)
    X[7] = np.nan
    with pytest.raises(ValueError, match=r"NaN.* row 7"):
        order_test(X)


# --------------------------------------------------------------------------- slow


@pytest.mark.slow
def test_a_tenth_of_true_nulls_is_rejected():
    options = {"n_resamples": 19, "max_components": 2, "level": 0.1}
    p_values = [
        order_test(groups(1, 60, seed), random_state=seed, **options).p_values[0]
        for seed in range(40)
    ]
    n_rejected = np.sum(np.array(p_values) <= 0.1)
    assert n_rejected <= binom.ppf(0.99, 40, 0.1)


@pytest.mark.slow
def test_joblib_processes_give_the_same():
    import joblib

    X = groups(2, distance=4.0)
    expected = order_test(X, max_components=3)
    with joblib.parallel_config("loky", n_jobs=2):
        assert_same(order_test(X, max_components=3, n_jobs=None), expected, rtol=0)
