"""EM on a sample first, and starts that share their passes."""

import numpy as np
import pytest
from conftest import make_blobs, start_of
from sklearn.exceptions import ConvergenceWarning

import skdistmix._progressive as progressive
from skdistmix import DistributedGMM
from skdistmix._em import EMRun, em, em_together, first_pass, hopeless
from skdistmix._progressive import sample_size
from skdistmix._seeding import params_from_centers
from skdistmix._shards import cut_rows
from skdistmix.families import DegenerateComponentError, FullGaussian, Moments

ROWS = 30_000
SAMPLE = 3_000


@pytest.fixture(scope="module")
def separated():
    return make_blobs(n_rows=ROWS, n_features=3, n_components=5, spread=8, seed=2)[0]


class Counting:
    """Runs functions over shards in this thread, counts the passes over `whole`."""

    def __init__(self, whole):
        self.whole, self.passes = whole, 0

    def __call__(self, function, shards, block_rows=8192, check=False):
        from skdistmix._compute import Workers

        self.passes += shards is self.whole
        with Workers(1) as workers:
            return workers.map_reduce(function, shards, block_rows, check)


def moments_of(n_rows, d):
    zeros = np.zeros(d)
    return Moments(n_rows, n_rows, zeros, np.eye(d), zeros, zeros, np.zeros((1, d)), 1)


def test_sample_size():
    assert sample_size(None, moments_of(10**9, 2), 3) is None
    assert sample_size("auto", moments_of(499_999, 2), 3) is None
    assert sample_size("auto", moments_of(500_000, 2), 3) == 100_000
    assert sample_size("auto", moments_of(10**7, 2), 300) == 300_000
    assert sample_size("auto", moments_of(10**7, 256), 3) == 2**16
    assert sample_size("auto", moments_of(10**7, 1000), 10) is None  # too few rows a component
    assert sample_size("auto", moments_of(10**9, 100), 500) is None  # too large
    assert sample_size(1000, moments_of(2001, 2), 3) == 1000
    assert sample_size(1000, moments_of(2000, 2), 3) is None


def test_small_data_are_fitted_as_without_a_sample(separated):
    auto = DistributedGMM(5, random_state=0).fit(separated)
    plain = DistributedGMM(5, random_state=0, subsample=None).fit(separated)
    np.testing.assert_array_equal(auto.means_, plain.means_)
    assert auto.objectives_ == plain.objectives_


@pytest.mark.parametrize("init_params", ["k-means||", "k-means++"])
def test_no_worse_than_the_best_of_three_starts(separated, covariance_type, init_params):
    common = {"covariance_type": covariance_type, "tol": 1e-8, "max_iter": 500, "random_state": 0}
    plain = DistributedGMM(5, subsample=None, n_init=3, **common).fit(separated)
    quick = DistributedGMM(5, subsample=SAMPLE, init_params=init_params, **common).fit(separated)
    assert quick.lower_bound_ >= plain.lower_bound_ - 1e-5
    assert quick.converged_
    assert len(quick.objectives_) == quick.n_iter_ + 1
    assert quick.lower_bound_ == pytest.approx(quick.score(separated), abs=1e-12)


@pytest.mark.parametrize("init_params", ["random", "random_from_data"])
def test_random_starts_begin_on_the_sample_too(separated, init_params):
    common = {"init_params": init_params, "random_state": 0, "tol": 1e-4, "max_iter": 500}
    start, end = (
        DistributedGMM(5, subsample=subsample, **common).fit(separated).objectives_[0]
        for subsample in (None, SAMPLE)
    )
    assert end > start + 0.1


def test_never_worse_from_twenty_seeds(separated):
    for seed in range(20):
        plain = DistributedGMM(5, random_state=seed, subsample=None, tol=1e-6).fit(separated)
        quick = DistributedGMM(5, random_state=seed, subsample=SAMPLE, tol=1e-6).fit(separated)
        assert quick.lower_bound_ >= plain.lower_bound_ - 1e-5
        assert quick.n_iter_ <= 15


def test_weights_are_repeated_rows_in_the_sample(separated):
    w = np.random.default_rng(0).integers(0, 4, ROWS)
    common = {"random_state": 0, "subsample": SAMPLE, "tol": 1e-9, "max_iter": 500}
    weighted = DistributedGMM(5, **common).fit(separated, sample_weight=w)
    repeated = DistributedGMM(5, **common).fit(np.repeat(separated, w, axis=0))
    assert weighted.lower_bound_ == pytest.approx(repeated.lower_bound_, abs=1e-8)


@pytest.mark.parametrize(
    "given",
    [
        {"means_init": True},
        {"max_iter": 9, "tol": 0},
        {"warm_start": True},
        {"init_params": "labels"},
    ],
)
def test_no_sample_where_a_start_or_iterations_are_given(separated, given, monkeypatch):
    called = []
    monkeypatch.setattr("skdistmix.mixture._start.fitted_on_sample", called.append)
    if "means_init" in given:
        given = {"means_init": start_of(separated, 5, "full")["means_init"]}
    if "init_params" in given:
        given = {"init_params": np.arange(ROWS) % 5}
    gmm = DistributedGMM(5, random_state=0, subsample=SAMPLE)
    if "warm_start" in given:
        gmm.set_params(subsample=None).fit(separated).set_params(subsample=SAMPLE)
    if "tol" in given:
        with pytest.warns(ConvergenceWarning):
            gmm.set_params(**given).fit(separated)
    else:
        gmm.set_params(**given).fit(separated)
    assert not called


def test_a_sample_too_poor_for_the_model_is_left(monkeypatch):
    rng = np.random.default_rng(0)
    X = np.repeat([[0.0, 0.0]], 20_000, axis=0)
    X[:40] = rng.normal(size=(40, 2))
    poor = DistributedGMM(3, random_state=0, subsample=4).fit(X)  # mostly one distinct row
    plain = DistributedGMM(3, random_state=0, subsample=None).fit(X)
    assert poor.lower_bound_ == plain.lower_bound_

    def degenerate(*args):
        raise DegenerateComponentError

    monkeypatch.setattr(progressive, "em_together", degenerate)
    X, _ = make_blobs(n_rows=5000)
    same = DistributedGMM(3, random_state=0, subsample=500).fit(X)
    assert same.objectives_ == DistributedGMM(3, random_state=0, subsample=None).fit(X).objectives_


def test_a_rare_component_is_found_more_often_than_without_a_sample():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100_000, 2))
    X[:30] = 12 + 0.5 * rng.normal(size=(30, 2))

    def found(subsample):
        fits = (DistributedGMM(2, random_state=i, subsample=subsample).fit(X) for i in range(10))
        return sum(abs(gmm.weights_.min() * 1e5 - 30) < 1 for gmm in fits)

    assert found(30_000) > found(None)


# ------------------------------------------------------------------ starts side by side


def prepared(X, K):
    shards = cut_rows(X, 1)
    map_reduce = Counting(shards)
    family = FullGaussian(K, 1e-6).prepare(first_pass(map_reduce, shards, True, K))
    starts = [
        params_from_centers(
            map_reduce, shards, family, X[np.random.RandomState(i).permutation(len(X))[:K]]
        )
        for i in range(6)
    ]
    return map_reduce, shards, family, starts


def test_starts_side_by_side_are_the_separate_fits(separated):
    X = separated[:6000]
    map_reduce, shards, family, starts = prepared(X, 5)
    alone = [em(map_reduce, shards, family, params, 1e-6, 200) for params in starts]
    map_reduce.passes = 0
    together = em_together(map_reduce, shards, [EMRun(family, p, 1e-6, 200) for p in starts])
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(a.values, b.values, rtol=1e-12)
        np.testing.assert_allclose(a.params.means, b.params.means, rtol=1e-9, atol=1e-9)
    longest = max(fit.n_iter for fit in alone)
    assert longest < map_reduce.passes <= 1.5 * longest + 5  # of about six times as many


@pytest.mark.parametrize("seed", range(8))
def test_the_best_start_is_never_given_up(seed):
    X, _ = make_blobs(n_rows=2000, n_components=6, spread=3, seed=seed)
    map_reduce, shards, family, starts = prepared(X, 6)

    def fits(give_up):
        runs = [EMRun(family, params, 1e-7, 1000) for params in starts]
        return em_together(map_reduce, shards, runs, give_up)

    every, some = fits(False), fits(True)
    best = max(range(6), key=lambda i: every[i].values[-1])
    assert some[best].values == pytest.approx(every[best].values, abs=1e-12)


def test_hopeless_starts_are_named():
    def run(gain, rate, n=40):
        gains = gain * rate ** np.arange(n)
        return EMRun(None, None, 0, 10, objectives=list(-9 + np.cumsum(gains)))

    good = run(1.0, 0.9)  # ends near 1
    stuck = run(0.1, 0.8)
    slow = run(0.1, 0.99)
    on_a_plateau = run(1e-6, 1.1)
    young = run(0.1, 0.8, 25)
    assert hopeless([good, stuck, slow, on_a_plateau, young]) == [1]


def test_given_up_starts_keep_their_last_score():
    X, _ = make_blobs(n_rows=3000, n_components=6, spread=9, seed=1)
    gmm = DistributedGMM(
        6, n_init=8, init_params="random_from_data", random_state=0, tol=1e-8, max_iter=3000
    ).fit(X)
    assert gmm.init_scores_.shape == (8,) and np.isfinite(gmm.init_scores_).all()
    assert gmm.init_scores_.max() == pytest.approx(gmm.lower_bound_, rel=1e-11)


@pytest.mark.parametrize("n_components", [1, 3])
def test_samples_of_very_few_rows(n_components):
    X, _ = make_blobs(n_rows=200)
    plain = DistributedGMM(n_components, random_state=0, subsample=None).fit(X)
    for size in range(2, 7):
        gmm = DistributedGMM(n_components, random_state=0, subsample=size).fit(X)
        assert np.isfinite(gmm.lower_bound_)
        if n_components == 1:
            assert gmm.lower_bound_ == pytest.approx(plain.lower_bound_)
    weight = np.r_[1e6, np.ones(199)]  # one row is nearly all of the data
    gmm = DistributedGMM(n_components, random_state=0, subsample=50)
    assert np.isfinite(gmm.fit(X, sample_weight=weight).lower_bound_)
